"""From the bytes of a ``PredictRequest`` to the tensors that the device takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from fieldwave.errors import ImageError, InputError, NotFoundError, TensorError
from fieldwave.preprocess import Preprocessing, check_total_pixels, normalise, preprocess
from fieldwave.serving.accepted import Accepted
from fieldwave.serving.signature import Signature, quoted
from fieldwave.wire import from_tensor_proto
from fieldwave.wire.contents import parse_request
from fieldwave.wire.methods import DEFAULT_SIGNATURE, MODEL_VERSION

__all__ = ["Prediction", "UnknownSignatureError", "check_model", "decode"]


class UnknownSignatureError(InputError):
    """The request asks for a signature that the model has not."""


@dataclass(frozen=True)
class Prediction:
    """One decoded request.

    Attributes:
        inputs: what the device takes, by the graph's tensor names; the first dimension is the batch.
        outputs: the names that the client asked for; empty for all.
        by_alias: whether the client called an input by an alias instead of its name in the graph.
    """

    inputs: Mapping[str, NDArray[Any]]
    outputs: tuple[str, ...] = ()
    by_alias: bool = False


def decode(
    data: bytes, signature: Signature, *, max_batch: int, go_on: Callable[[], None] = lambda: None
) -> Prediction:
    """Read a ``PredictRequest`` and make of each input what the device takes.

    An image network's input may come as image files (string [N]), pixels (uint8 [N, height, width, channels], in
    R, G, B order), or as the network's own tensor (float32 of that shape).

    Parameters:
        max_batch: the most images in one input.
        go_on: called before each image is decoded; what it raises ends the work.

    Raises:
        TensorError: the bytes are no such request, or a tensor's name, dtype, shape or size is wrong.
        ImageError: one of the image files cannot be decoded.
        NotFoundError: the request names another model.
        UnknownSignatureError: the request names another signature.
    """
    try:
        request, contents = parse_request(data)
    except DecodeError:
        raise TensorError("the bytes received are no tensorflow.serving.PredictRequest") from None
    check_model(request.model_spec, signature)
    outputs = _outputs(request, signature)
    protos: dict[str, tuple[str, Message, memoryview | None]] = {}
    for name, proto in request.inputs.items():
        spec = signature.input(name)
        if spec.name in protos:
            first, second = sorted((protos[spec.name][0], name))
            raise TensorError(f"{quoted(first)} and {quoted(second)} are names of one input; send one of them")
        protos[spec.name] = (name, proto, contents.get(name))
    missing = [spec for spec in signature.inputs if spec.name not in protos]
    if missing:
        raise TensorError(f"input {missing[0].name!r} is missing; {signature.inputs_text()}")
    inputs = {
        spec.name: _input(*protos[spec.name], signature.accepted(spec), max_batch, go_on)
        for spec in signature.inputs
    }
    if len(inputs) > 1:
        _check_batches(inputs, signature)
    return Prediction(inputs, outputs, by_alias=not signature.aliases.isdisjoint(request.inputs))


def check_model(model_spec: Message, signature: Signature) -> None:
    """Refuse a request that is for another model, version or signature; empty fields mean the served ones.

    Raises:
        NotFoundError: another model or version.
        UnknownSignatureError: another signature.
    """
    if model_spec.name and model_spec.name != signature.model:
        raise NotFoundError(f"no model {quoted(model_spec.name)} here; this service has {signature.model!r}")
    if model_spec.HasField("version_label"):
        raise NotFoundError(f"model {signature.model!r} has no version label {quoted(model_spec.version_label)}")
    # Clients of OpenVINO's server say 0 for the latest.
    if model_spec.HasField("version") and model_spec.version.value not in (0, MODEL_VERSION):
        raise NotFoundError(
            f"model {signature.model!r} has no version {model_spec.version.value} here; "
            f"this service has version {MODEL_VERSION}"
        )
    if model_spec.signature_name not in ("", DEFAULT_SIGNATURE):
        raise UnknownSignatureError(
            f"unknown signature {quoted(model_spec.signature_name)}; this model has {DEFAULT_SIGNATURE!r}"
        )


def _outputs(request: Message, signature: Signature) -> tuple[str, ...]:
    names = tuple(request.output_filter)
    for place, name in enumerate(names):
        signature.output(name)
        if name in names[:place]:
            raise TensorError(f"output {quoted(name)} is asked for twice; name it once")
    return names


def _input(
    name: str,
    proto: Message,
    content: memoryview | None,
    accepted: Accepted,
    max_batch: int,
    go_on: Callable[[], None],
) -> NDArray[Any]:
    try:
        array = from_tensor_proto(proto, content)
        accepted.check(array, max_batch)
        if accepted.images is not None and array.dtype != np.float32:
            if array.dtype == object:
                return _decode_images(array, accepted.images, go_on)
            return normalise(array, accepted.images)
    except InputError as error:
        raise type(error)(f"input {quoted(name)}: {error}") from None
    # A value that stands for the whole tensor becomes one only here, after its shape has been checked.
    # A tensor in the request's bytes begins wherever the names before it ended, but processors and drivers may
    # insist on a multiple of its item's size; the copy takes 10 us for 600 kB, and most requests need it.
    return np.require(array, requirements=("C", "A"))


def _decode_images(files: NDArray[Any], images: Preprocessing, go_on: Callable[[], None]) -> NDArray[np.float32]:
    go_on()
    if len(files) == 1:
        return preprocess(files[0], images)[np.newaxis]
    check_total_pixels(files)
    batch = np.empty((len(files), images.height, images.width, images.channels), np.float32)
    for index, data in enumerate(files):
        go_on()
        try:
            batch[index] = preprocess(data, images)
        except ImageError as error:
            raise ImageError(f"image {index + 1} of {len(files)}: {error}") from None
    return batch


def _check_batches(inputs: Mapping[str, NDArray[Any]], signature: Signature) -> None:
    batches = {spec.name: len(inputs[spec.name]) for spec in signature.inputs if signature.accepted(spec).batched}
    if len(set(batches.values())) > 1:
        listed = ", ".join(f"{size} in {name!r}" for name, size in batches.items())
        raise TensorError(f"the inputs have batches of different sizes: {listed}; send equal ones")
