"""From what the device returned to the bytes of a ``PredictResponse``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.message import Message
from numpy.typing import NDArray

from fieldwave.package import TensorSpec
from fieldwave.serving.assemble import Prediction
from fieldwave.serving.signature import Signature
from fieldwave.wire import to_tensor_proto
from fieldwave.wire.messages import PredictResponse
from fieldwave.wire.methods import DEFAULT_SIGNATURE, MODEL_VERSION

__all__ = ["EVERY_NAME_BYTES", "encode", "fill_model_spec"]

EVERY_NAME_BYTES = 64 << 10
"""An output of at most this size is sent under every name that it has."""


def encode(
    results: Mapping[str, NDArray[Any]], prediction: Prediction, signature: Signature, *, once: bool = False
) -> bytes:
    """Write the answer to ``prediction``, values in ``float_val`` and its sisters, never in ``tensor_content``.

    Which names: those that the client asked for. Clients of the retired service never ask, and look the answer
    up by whichever name they know; so without a filter an output of up to 64 KiB is sent under every name it
    has, and a larger one under its name in the graph, and under its aliases as well when the client used an
    alias for an input.

    Parameters:
        results: every output by its name in the graph.
        once: without a filter, send each output once, under its name in the graph.
    """
    response = PredictResponse()
    fill_model_spec(response.model_spec, signature)
    if prediction.outputs:
        for name in prediction.outputs:
            _put(response, (name,), results[signature.output(name).name])
    else:
        for spec in signature.outputs:
            result = results[spec.name]
            _put(response, (spec.name,) if once else _names(spec, result.nbytes, prediction.by_alias), result)
    data: bytes = response.SerializeToString()
    return data


def fill_model_spec(model_spec: Message, signature: Signature) -> None:
    """Name the model, version and signature that answered."""
    model_spec.name = signature.model
    model_spec.version.value = MODEL_VERSION
    model_spec.signature_name = DEFAULT_SIGNATURE


def _names(spec: TensorSpec, size: int, by_alias: bool) -> tuple[str, ...]:
    if size <= EVERY_NAME_BYTES:
        return spec.names()
    return (spec.name, *spec.aliases) if by_alias else (spec.name,)


def _put(response: Message, names: Iterable[str], result: NDArray[Any]) -> None:
    proto = to_tensor_proto(result)
    for name in names:
        response.outputs[name].CopyFrom(proto)
