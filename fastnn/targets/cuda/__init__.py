"""The CUDA target: Numba kernels of three families, one of them chosen for each network."""
