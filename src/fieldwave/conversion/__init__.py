"""From a trained network to a package: quantize, compare, compile, write."""

from fieldwave.conversion.conversion import Conversion, convert, write

__all__ = ["Conversion", "convert", "write"]
