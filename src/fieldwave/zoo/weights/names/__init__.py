"""What publishers call the weights of the zoo's networks, one file each."""

from __future__ import annotations

from fieldwave.zoo.weights.names.family import Family, Rule
from fieldwave.zoo.weights.names.keras import KERAS
from fieldwave.zoo.weights.names.own import OWN, OWN_ONNX
from fieldwave.zoo.weights.names.timm import TIMM
from fieldwave.zoo.weights.names.torchvision import TORCHVISION
from fieldwave.zoo.weights.names.transformers import TRANSFORMERS

__all__ = ["FAMILIES", "OWN", "OWN_ONNX", "Family", "Rule"]

FAMILIES = (OWN, OWN_ONNX, TORCHVISION, TIMM, TRANSFORMERS, KERAS)
"""In this order where a file's names suit several."""
