"""Post-training int8 quantization: a float graph in, the QOperator graph and a report out."""

from fieldwave.quantize.emit import emit, quantized_name
from fieldwave.quantize.quantizer import Prepared, Quantized, prepare, quantize
from fieldwave.quantize.report import LayerError, Report, compare

__all__ = [
    "LayerError",
    "Prepared",
    "Quantized",
    "Report",
    "compare",
    "emit",
    "prepare",
    "quantize",
    "quantized_name",
]
