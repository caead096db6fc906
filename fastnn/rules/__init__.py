"""The mathematics of fastnn: every activation, loss and update rule, once, for every target."""
