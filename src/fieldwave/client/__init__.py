"""Clients of a prediction service; they need grpcio, protobuf and numpy, and nothing else."""

from fieldwave.client.asynchronous import AsyncPredictionClient
from fieldwave.client.client import PredictionClient
from fieldwave.client.metadata import ModelMetadata, TensorMetadata

__all__ = ["AsyncPredictionClient", "ModelMetadata", "PredictionClient", "TensorMetadata"]
