"""Random numbers that follow from a seed: keys, and the order of the rows."""
