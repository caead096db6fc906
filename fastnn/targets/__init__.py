"""Where to compute: the same operations in NumPy, on the processor, and on CUDA."""
