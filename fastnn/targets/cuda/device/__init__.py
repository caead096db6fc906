"""Device functions that kernels of all families are made of."""
