"""Machine code of kernels: compiled, shipped, kept on disk, and loaded."""
