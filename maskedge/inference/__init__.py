"""One port over LiteRT, tflite-runtime and the Edge TPU; see :mod:`maskedge.inference.network`."""
