"""From a ``ModelInferRequest`` to what the device takes, and back to a ``ModelInferResponse``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from fieldwave.errors import NotFoundError, TensorError
from fieldwave.package import TensorSpec
from fieldwave.serving.assemble import Prediction, assemble
from fieldwave.serving.signature import Signature, quoted
from fieldwave.wire.inference import (
    datatype_of,
    from_contents,
    from_raw,
    parse_infer_request,
    put_contents,
    raw_output,
)
from fieldwave.wire.messages import ModelInferResponse
from fieldwave.wire.methods import MODEL_VERSION

__all__ = ["InferRequest", "check_extensions", "check_name", "encode_infer", "infer_names", "read_infer"]

_UNSUPPORTED = {
    "shared_memory_region": "tensors in shared memory are not read; send them in the request",
    "classification": "outputs are not classified; ask for the output itself",
}


@dataclass(frozen=True)
class InferRequest:
    """A request that has been read, its tensors not yet.

    Attributes:
        id: the client's, for the answer.
        raw: whether tensors travel as raw bytes; so they do back.
    """

    id: str
    raw: bool
    _message: Message
    _contents: tuple[memoryview | bytes, ...]

    @property
    def model(self) -> str:
        """The name of the model that is asked for; empty if it is not said."""
        name: str = self._message.model_name
        return name

    def decode(self, signature: Signature, go_on: Callable[[], None], *, max_batch: int) -> Prediction:
        """Make of each input what the device takes; see `assemble`."""
        message = self._message
        check_name(message.model_name, message.model_version, signature)
        if self.raw and len(self._contents) != len(message.inputs):
            raise TensorError(
                f"{len(message.inputs)} inputs, but {len(self._contents)} raw_input_contents; send one for each"
            )
        for each in (*message.inputs, *message.outputs):
            check_extensions(each.name, each.parameters)
        tensors = [(each.name, partial(self._read, index, each)) for index, each in enumerate(message.inputs)]
        outputs = tuple([each.name for each in message.outputs])
        return assemble(tensors, outputs, signature, max_batch=max_batch, go_on=go_on)

    def _read(self, index: int, tensor: Message) -> NDArray[Any]:
        if not self.raw:
            return from_contents(tensor.datatype, tensor.shape, tensor.contents)
        if tensor.HasField("contents"):
            raise TensorError("both contents and raw_input_contents are filled; send one of them")
        return from_raw(tensor.datatype, tensor.shape, self._contents[index])


def read_infer(data: bytes) -> InferRequest:
    """The request in ``data``.

    Raises:
        TensorError: there is none.
    """
    try:
        message, contents = parse_infer_request(data)
    except DecodeError:
        raise TensorError("the bytes received are no inference.ModelInferRequest") from None
    return InferRequest(message.id, bool(contents), message, tuple(contents))


def encode_infer(
    results: Mapping[str, NDArray[Any]], prediction: Prediction, signature: Signature, *, id: str, raw: bool
) -> bytes:
    """Write the answer: the outputs that were asked for by these names, or each once.

    Parameters:
        results: every output by its name in the graph.
        raw: in raw bytes instead of typed contents.
    """
    names = infer_names(prediction, signature)
    arrays = [results[spec.name] for _, spec in names]
    described = tuple(
        (name, array.dtype.name, array.shape) for (name, _), array in zip(names, arrays, strict=True)
    )
    head = _head(signature.model, described)
    parts: list[bytes | memoryview] = [ModelInferResponse(id=id).SerializeToString(), head] if id else [head]
    if raw:
        for array in arrays:
            parts += raw_output(array)
        return b"".join(parts)
    response = ModelInferResponse.FromString(b"".join(parts))
    for output, array in zip(response.outputs, arrays, strict=True):
        put_contents(array, output.contents)
    data: bytes = response.SerializeToString()
    return data


@lru_cache(maxsize=64)
def _head(model: str, outputs: tuple[tuple[str, str, tuple[int, ...]], ...]) -> bytes:
    """What answers say of themselves; a service says the same thousands of times in a second."""
    response = ModelInferResponse(model_name=model, model_version=str(MODEL_VERSION))
    for name, dtype, shape in outputs:
        response.outputs.add(name=name, datatype=datatype_of(dtype), shape=shape)
    data: bytes = response.SerializeToString()
    return data


def infer_names(prediction: Prediction, signature: Signature) -> Sequence[tuple[str, TensorSpec]]:
    """Which outputs are answered under which names: those asked for, or each under its first alias."""
    if prediction.outputs:
        return [(name, signature.output(name)) for name in prediction.outputs]
    return [(spec.public_name, spec) for spec in signature.outputs]


def check_name(model: str, version: str, signature: Signature) -> None:
    """Refuse another model or version; an empty name means the served one.

    Raises:
        NotFoundError: it is another.
    """
    if model and model != signature.model:
        raise NotFoundError(f"no model {quoted(model)} here; this service has {signature.model!r}")
    if version and version != str(MODEL_VERSION):
        raise NotFoundError(
            f"model {signature.model!r} has no version {quoted(version)} here; "
            f"this service has version {MODEL_VERSION}"
        )


def check_extensions(name: str, parameters: Iterable[str]) -> None:
    """Refuse parameters of a tensor whose neglect would make the answer wrong.

    Raises:
        TensorError: there is one.
    """
    for parameter in parameters:
        if parameter in _UNSUPPORTED:
            raise TensorError(f"{quoted(name)} has the parameter {parameter!r}: {_UNSUPPORTED[parameter]}")
