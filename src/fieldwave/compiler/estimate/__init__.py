"""How long a compiled network takes on an NPU, without running it."""

from fieldwave.compiler.estimate.estimate import estimate_image
from fieldwave.compiler.estimate.port import Memory

__all__ = ["Memory", "estimate_image"]
