"""Matrix products: micro-kernels, and the loops around them."""
