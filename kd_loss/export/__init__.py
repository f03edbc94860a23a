"""Students for other runtimes: LiteRT, ONNX, SavedModel and a web page."""
