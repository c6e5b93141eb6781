"""From a trained network to a package: quantize, compare, compile, write."""

from fieldwave.conversion.conversion import Conversion, compile_programs, convert, write

__all__ = ["Conversion", "compile_programs", "convert", "write"]
