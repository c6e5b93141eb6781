"""The ten model classes of ``azureml.accel.models``, and the preprocessing of images."""

from fieldwave.compat.azureml.accel.models.classes import (
    Densenet121,
    QuantizedDensenet121,
    QuantizedResnet50,
    QuantizedResnet152,
    QuantizedSsdVgg,
    QuantizedVgg16,
    Resnet50,
    Resnet152,
    SsdVgg,
    Vgg16,
)
from fieldwave.compat.azureml.accel.models.utils import preprocess_array

__all__ = [
    "Densenet121",
    "QuantizedDensenet121",
    "QuantizedResnet50",
    "QuantizedResnet152",
    "QuantizedSsdVgg",
    "QuantizedVgg16",
    "Resnet50",
    "Resnet152",
    "SsdVgg",
    "Vgg16",
    "preprocess_array",
]
