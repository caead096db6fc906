"""What kernels are written with: LLVM vectors, loops of rules, function pointers."""
