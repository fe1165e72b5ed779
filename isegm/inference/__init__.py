"""Segmenting one image by clicks."""

BACKENDS = ("torch", "onnxruntime", "openvino")
"""What can run a network."""
