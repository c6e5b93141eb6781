"""From the bytes of a ``PredictRequest`` to the tensors that the device takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from google.protobuf.message import DecodeError, Message

from fieldwave.errors import InputError, NotFoundError, TensorError
from fieldwave.serving.assemble import Prediction, assemble
from fieldwave.serving.signature import Signature, quoted
from fieldwave.wire import from_tensor_proto
from fieldwave.wire.contents import parse_request
from fieldwave.wire.methods import DEFAULT_SIGNATURE, MODEL_VERSION

__all__ = ["UnknownSignatureError", "asked_model", "check_model", "decode"]


class UnknownSignatureError(InputError):
    """The request asks for a signature that the model has not."""


def decode(
    data: bytes, signature: Signature, *, max_batch: int, go_on: Callable[[], None] = lambda: None
) -> Prediction:
    """Read a ``PredictRequest`` and make of each input what the device takes; see `assemble`.

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
    tensors = [
        (name, partial(from_tensor_proto, proto, contents.get(name))) for name, proto in request.inputs.items()
    ]
    return assemble(tensors, tuple(request.output_filter), signature, max_batch=max_batch, go_on=go_on)


def asked_model(data: bytes) -> str:
    """The name of the model that a ``PredictRequest`` asks for; empty if it says none, or is none."""
    try:
        request, _ = parse_request(data)
    except DecodeError:
        return ""
    name: str = request.model_spec.name
    return name


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
