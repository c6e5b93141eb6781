"""Trained networks from TensorFlow, PyTorch and ONNX, their preprocessing found, ready to be quantized."""

from fieldwave.frontends.load import load
from fieldwave.frontends.pixels import Pixels

__all__ = ["Pixels", "load"]
