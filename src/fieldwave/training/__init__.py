"""Training on PyTorch: int8 networks through their rounding, and detectors; needs ``fieldwave[torch]``."""

from fieldwave.training.detection import adapted, fine_tune_detector, multibox_loss
from fieldwave.training.fake_quantize import fake_quantized
from fieldwave.training.fine_tune import fine_tune
from fieldwave.training.matching import Targets, match
from fieldwave.training.network import FakeQuantized
from fieldwave.training.precision import mean_average_precision
from fieldwave.training.voc import Annotation, read_annotation, read_annotations

__all__ = [
    "Annotation",
    "FakeQuantized",
    "Targets",
    "adapted",
    "fake_quantized",
    "fine_tune",
    "fine_tune_detector",
    "match",
    "mean_average_precision",
    "multibox_loss",
    "read_annotation",
    "read_annotations",
]
