"""Networks in other runtimes: ONNX Runtime, LiteRT, Python functions; opened in a child process first."""
