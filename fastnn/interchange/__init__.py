"""Networks as other libraries have them: modules of PyTorch, and files of ONNX."""
