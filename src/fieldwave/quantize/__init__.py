"""Post-training int8 quantization: a float graph in, the QOperator graph and a report out."""

from fieldwave.quantize.quantizer import Quantized, quantize
from fieldwave.quantize.report import LayerError, Report

__all__ = ["LayerError", "Quantized", "Report", "quantize"]
