"""PyTorch, imported in one place: who trains needs it, nobody else does."""

from __future__ import annotations

from fieldwave.errors import MissingExtraError

try:
    import torch
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError("training", "torch") from error

__all__ = ["functional", "torch"]
