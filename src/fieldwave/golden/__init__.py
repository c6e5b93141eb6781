"""The normative operators in numpy: what every device must compute, bit for bit.

They are written to be read beside the table of ``docs/numerics.md`` and are checked, operator by operator and in
whole networks, against ONNX Runtime and against the gateware with ``==``.
"""

from fieldwave.golden.convolution import accumulate, qgemm, qlinear_conv, qlinear_matmul
from fieldwave.golden.elementwise import dequantize_linear, lookup, qlinear_add, quantize_linear
from fieldwave.golden.network import run
from fieldwave.golden.pooling import max_pool, qlinear_average_pool, qlinear_global_average_pool
from fieldwave.golden.requantize import multiplier, requantize, saturate
from fieldwave.golden.window import Window

__all__ = [
    "Window",
    "accumulate",
    "dequantize_linear",
    "lookup",
    "max_pool",
    "multiplier",
    "qgemm",
    "qlinear_add",
    "qlinear_average_pool",
    "qlinear_conv",
    "qlinear_global_average_pool",
    "qlinear_matmul",
    "quantize_linear",
    "requantize",
    "run",
    "saturate",
]
