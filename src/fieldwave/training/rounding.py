"""Rounding with straight-through gradients: what is rounded on the way forward is not on the way back.

Bengio, Leonard and Courville: Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
Computation, 2013 (arXiv:1308.3432), section 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.training.framework import torch

__all__ = ["lookup", "rounded", "saturated", "stands_for"]


def rounded(x: torch.Tensor) -> torch.Tensor:
    """Half to even; the gradient passes as it is."""
    return _Round.apply(x)


def saturated(steps: torch.Tensor, zero_point: int) -> torch.Tensor:
    """Bytes, as floats: rounded, clipped, moved by the zero point; no gradient for what was clipped."""
    return torch.clamp(rounded(steps), -zero_point, 255 - zero_point) + zero_point


def stands_for(integers: NDArray[Any], real: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor:
    """``integers`` as a tensor, with the gradient of ``real``, of the same shape and type; with none for None."""
    values = torch.from_numpy(integers.astype(np.float64))
    return values.to(dtype) if real is None else _StandsFor.apply(real, values.to(real))


def lookup(table: NDArray[np.uint8], x: torch.Tensor) -> torch.Tensor:
    """``table[x]`` for bytes; the slope between the two neighbouring entries is the gradient."""
    values = torch.from_numpy(table.astype(np.float64)).to(x)
    slopes = torch.from_numpy(np.gradient(table.astype(np.float64))).to(x)
    return _Lookup.apply(x, values, slopes)


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.round(x)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


class _StandsFor(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, real: torch.Tensor, integers: torch.Tensor) -> torch.Tensor:
        return integers.clone()

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor, values: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
        index = x.long()
        context.save_for_backward(slopes[index])
        return values[index]

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (slopes,) = context.saved_tensors
        return gradient * slopes, None, None
