"""How to quantize: what a user may choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from fieldwave.errors import CalibrationError

__all__ = ["Method", "Options"]

Method = Literal["minmax", "percentile", "error"]


@dataclass(frozen=True)
class Options:
    """How activations get their scales, and what is done to the weights before.

    The defaults are what docs/quantization.md measures best.

    Attributes:
        method: which power of two a tensor's scale is. ``minmax``: the finest that clips no value; ``percentile``:
            the finest that clips no more than `percentile` allows; ``error``: the one that makes the least squared
            error on the image where that is largest.
        percentile: share of a tensor's values, in percent, that must not be clipped.
        bias_correction: shift each bias by the mean error that rounding the weights makes (Nagel et al. 2019,
            arXiv:1906.04721, section 4.2).
        equalise: scale the channels between two layers so that they use their bytes alike (the same, section 4.1),
            and each such tensor so that a power of two is its best step.

    Raises:
        CalibrationError: an unknown method, or a percentile that is none.
    """

    method: Method = "minmax"
    percentile: float = 99.99
    bias_correction: bool = True
    equalise: bool = False

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            known = ", ".join(get_args(Method))
            raise CalibrationError(f"there is no calibration method {self.method!r}; there are {known}")
        if not 50 < self.percentile <= 100:
            raise CalibrationError(f"percentile is {self.percentile}; it must be above 50 and at most 100")
