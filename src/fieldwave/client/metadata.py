"""What a service says about its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from fieldwave.errors import ServiceError
from fieldwave.wire.dtypes import dtype_name
from fieldwave.wire.messages import GetModelMetadataRequest, GetModelMetadataResponse, ModelSpec, SignatureDefMap
from fieldwave.wire.methods import DEFAULT_SIGNATURE, SIGNATURE_FIELD

__all__ = ["ModelMetadata", "TensorMetadata", "metadata_request", "read_metadata"]


@dataclass(frozen=True)
class TensorMetadata:
    """One input or output.

    Attributes:
        key: the name that the service advertises for it.
        name: its name in the graph; a Fieldwave service takes both.
        dtype: ``float32``, ``string``, ...
        shape: None where any size will do.
    """

    key: str
    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class ModelMetadata:
    """A model as its service describes it."""

    name: str
    version: int
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


def metadata_request(field: str, model: str = "") -> bytes:
    """The bytes of the request for a field of a model's metadata; of the first model, without a name."""
    spec = ModelSpec(name=model) if model else None
    data: bytes = GetModelMetadataRequest(model_spec=spec, metadata_field=[field]).SerializeToString()
    return data


def read_metadata(data: bytes, target: str) -> ModelMetadata:
    """Read a ``GetModelMetadataResponse`` from ``target``.

    Raises:
        ServiceError: it is none, or has no default signature.
    """
    signatures = SignatureDefMap()
    try:
        response = GetModelMetadataResponse.FromString(data)
        response.metadata[SIGNATURE_FIELD].Unpack(signatures)
    except DecodeError:
        raise ServiceError(f"{target} sent model metadata that cannot be read") from None
    if DEFAULT_SIGNATURE not in signatures.signature_def:
        raise ServiceError(f"{target} sent model metadata without the signature {DEFAULT_SIGNATURE!r}")
    signature = signatures.signature_def[DEFAULT_SIGNATURE]
    return ModelMetadata(
        name=response.model_spec.name,
        version=response.model_spec.version.value,
        inputs=_tensors(signature.inputs),
        outputs=_tensors(signature.outputs),
    )


def _tensors(infos: Mapping[str, Any]) -> tuple[TensorMetadata, ...]:
    return tuple(
        TensorMetadata(
            key=key,
            name=info.name,
            dtype=dtype_name(info.dtype),
            shape=tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim),
        )
        for key, info in sorted(infos.items())
    )
