"""Post-training int8 quantization: a float graph in, the QOperator graph and a report out."""

from fieldwave.quantize.emit import emit, quantized_name
from fieldwave.quantize.foreign import from_quantized, is_quantized
from fieldwave.quantize.options import Options
from fieldwave.quantize.quantizer import Prepared, Quantized, prepare, quantize
from fieldwave.quantize.report import LayerError, Report, compare
from fieldwave.quantize.unmeasured import unmeasured

__all__ = [
    "LayerError",
    "Options",
    "Prepared",
    "Quantized",
    "Report",
    "compare",
    "emit",
    "from_quantized",
    "is_quantized",
    "prepare",
    "quantize",
    "quantized_name",
    "unmeasured",
]
