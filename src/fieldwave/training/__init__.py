"""Training on PyTorch: int8 networks through their rounding, and detectors; needs ``fieldwave[torch]``."""

from fieldwave.training.fake_quantize import fake_quantized
from fieldwave.training.fine_tune import fine_tune
from fieldwave.training.network import FakeQuantized

__all__ = ["FakeQuantized", "fake_quantized", "fine_tune"]
