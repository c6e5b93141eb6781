"""gRPC reflection, so that grpcurl and its like can list and call the services without .proto files."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection, reflection_pb2

from fieldwave.wire.messages import FILES
from fieldwave.wire.methods import HEALTH_SERVICE, PREDICTION_SERVICE

__all__ = ["add_reflection"]


def add_reflection(server: Any) -> None:
    """Describe the prediction service, health and reflection itself on ``server``."""
    # A pool of its own, because the default pool must not know TensorFlow's names (see fieldwave.wire.messages).
    pool = DescriptorPool()
    for file in (*FILES, reflection_pb2.DESCRIPTOR.serialized_pb):
        pool.AddSerializedFile(file)
    names = (PREDICTION_SERVICE, HEALTH_SERVICE, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server, pool=pool)
