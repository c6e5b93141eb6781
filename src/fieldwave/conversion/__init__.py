"""From a trained network to a package: quantize, compare, compile, write."""

from fieldwave.conversion.conversion import Conversion, compile_programs, convert, write
from fieldwave.conversion.programs import with_programs
from fieldwave.conversion.remarks import left_to_host

__all__ = ["Conversion", "compile_programs", "convert", "left_to_host", "with_programs", "write"]
