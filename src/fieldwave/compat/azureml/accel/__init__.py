"""``azureml.accel``."""

from fieldwave.compat.azureml.accel.client import PredictionClient, client_from_service
from fieldwave.compat.azureml.accel.container_image import AccelContainerImage, AccelImageConfiguration
from fieldwave.compat.azureml.accel.inference_config import AccelInferenceConfig
from fieldwave.compat.azureml.accel.onnx_converter import AccelOnnxConverter

__all__ = [
    "AccelContainerImage",
    "AccelImageConfiguration",
    "AccelInferenceConfig",
    "AccelOnnxConverter",
    "PredictionClient",
    "client_from_service",
]
