"""gRPC reflection, so that grpcurl and its like can list and call the services without .proto files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from fieldwave.serving.receiving import Receiving
from fieldwave.serving.status import BusyError, status_of
from fieldwave.wire.messages import FILES
from fieldwave.wire.methods import HEALTH_SERVICE, INFERENCE_SERVICE, MODEL_SERVICE, PREDICTION_SERVICE

__all__ = ["add_reflection"]


def add_reflection(server: Any, receiving: Receiving) -> None:
    """Describe the services, health and reflection itself on ``server``.

    Parameters:
        receiving: where questions are waited for.
    """
    # A pool of its own, because the default pool must not know TensorFlow's names (see fieldwave.wire.messages).
    pool = DescriptorPool()
    for file in (*FILES, reflection_pb2.DESCRIPTOR.serialized_pb):
        pool.AddSerializedFile(file)
    names = (PREDICTION_SERVICE, MODEL_SERVICE, INFERENCE_SERVICE, HEALTH_SERVICE, reflection.SERVICE_NAME)
    servicer = _EndingReflectionServicer(names, pool, receiving)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)


class _EndingReflectionServicer(reflection.ReflectionServicer):  # type: ignore[misc]
    """gRPC's own, each of whose streams would else hold a thread for as long as its client says nothing."""

    def __init__(self, names: tuple[str, ...], pool: DescriptorPool, receiving: Receiving) -> None:
        super().__init__(names, pool)
        self._receiving = receiving

    def ServerReflectionInfo(self, request_iterator: Iterator[Any], context: Any) -> Iterator[Any]:
        try:
            while (request := self._receiving.next(request_iterator, context)) is not None:
                yield from super().ServerReflectionInfo(iter((request,)), context)
        except BusyError as error:
            context.abort(*status_of(error))
