"""The CPU target: Numba kernels over an LLVM-vector GEMM, and a team of threads."""
