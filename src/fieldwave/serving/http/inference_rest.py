"""The REST of the Open Inference Protocol: ``/v2``, with its extension for tensors as binary data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import TensorError
from fieldwave.serving.assemble import Prediction, assemble
from fieldwave.serving.http.exchange import HttpCall, Response
from fieldwave.serving.http.json_body import numbers, parse_object, strings, write_json
from fieldwave.serving.infer import check_extensions, infer_names
from fieldwave.serving.inference_service import PLATFORM, SERVER_NAME, tensor_metadata
from fieldwave.serving.predictor import Predictor
from fieldwave.serving.signature import Signature, quoted
from fieldwave.version import __version__
from fieldwave.wire.dtypes import STRING
from fieldwave.wire.inference import DATATYPES, datatype_of, from_raw
from fieldwave.wire.methods import MODEL_VERSION
from fieldwave.wire.tensors import check_rank, checked_shape

__all__ = ["BINARY_HEADER", "MOST_TENSORS", "InferenceRest"]

BINARY_HEADER = "inference-header-content-length"
"""How many bytes of the body are JSON; tensors as binary data come after them."""
_BINARY = "application/octet-stream"
MOST_TENSORS = 64


class InferenceRest:
    """The answers; that the model and its version are ours has been seen to by whoever calls.

    Parameters:
        predictor: makes predictions.
        max_batch: the most images in one request.
    """

    def __init__(self, predictor: Predictor, *, max_batch: int) -> None:
        self._predictor = predictor
        self._max_batch = max_batch

    def server(self, body: bytes, call: HttpCall) -> Response:
        """Who answers."""
        about = {"name": SERVER_NAME, "version": __version__, "extensions": ["binary_tensor_data"]}
        return Response(body=(write_json(about),))

    def live(self, body: bytes, call: HttpCall) -> Response:
        """Whether the process answers: it does."""
        return Response(body=(write_json({"live": True}),))

    def model_ready(self, body: bytes, call: HttpCall) -> Response:
        """Whether predictions of the model are answered."""
        ready = self._predictor.serving
        about = {"name": self._predictor.model.signature.model, "ready": ready}
        return Response(200 if ready else 503, (write_json(about),), code="OK" if ready else "UNAVAILABLE")

    def model(self, body: bytes, call: HttpCall) -> Response:
        """The model's tensors."""
        signature = self._predictor.model.signature
        accepts = {f"accepts:{spec.public_name}": signature.accepted(spec).text for spec in signature.inputs}
        about = {
            "name": signature.model,
            "versions": [str(MODEL_VERSION)],
            "platform": PLATFORM,
            "inputs": [tensor_metadata(spec) for spec in signature.inputs],
            "outputs": [tensor_metadata(spec) for spec in signature.outputs],
            "properties": {**accepts, "device": self._predictor.model.device},
        }
        return Response(body=(write_json(about),))

    def infer(self, json_bytes: int | None, body: bytes, call: HttpCall) -> Response:
        """A prediction.

        Parameters:
            json_bytes: how many bytes of ``body`` are JSON; None for all of them.
        """
        request = _Request(body, json_bytes)
        json_size, parts = self._predictor.predict(
            call, partial(request.decode, max_batch=self._max_batch), request.encode
        )
        if json_size is None:
            return Response(body=parts)
        return Response(body=parts, headers=(("content-type", _BINARY), (BINARY_HEADER, str(json_size))))


class _Request:
    """One request; its JSON is parsed when it has a place."""

    def __init__(self, body: bytes, json_bytes: int | None) -> None:
        self._body = memoryview(body)
        self._json_bytes = len(body) if json_bytes is None else json_bytes
        self._id: Any = None
        self._binary: dict[str, bool] = {}
        self._all_binary = False

    def decode(self, signature: Signature, go_on: Callable[[], None], *, max_batch: int) -> Prediction:
        if self._json_bytes > len(self._body):
            raise TensorError(f"{BINARY_HEADER} is {self._json_bytes}, but the body has {len(self._body)} bytes")
        request = parse_object(self._body[: self._json_bytes])
        self._id = request.get("id")
        if not isinstance(self._id, (str, type(None))):
            raise TensorError("id is no text")
        self._all_binary = _parameters(request).get("binary_data_output") is True
        inputs, outputs = _objects(request, "inputs"), _objects(request, "outputs")
        rest = self._body[self._json_bytes :]
        tensors = []
        for each in inputs:
            raw: memoryview | None = None
            size = _parameters(each).get("binary_data_size")
            if size is not None:
                if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(rest):
                    raise TensorError(
                        f"binary_data_size of {quoted(_name(each))} is no size that the body has; "
                        f"{len(rest)} bytes are left"
                    )
                raw, rest = rest[:size], rest[size:]
            tensors.append((_name(each), partial(_read, each, raw)))
        if len(rest):
            raise TensorError(f"{len(rest)} bytes of binary data belong to no input")
        names = tuple(map(_name, outputs))
        for name, each in zip(names, outputs, strict=True):
            self._binary[name] = _parameters(each).get("binary_data") is True
        for each in (*inputs, *outputs):
            check_extensions(_name(each), _parameters(each))
        return assemble(tensors, names, signature, max_batch=max_batch, go_on=go_on)

    def encode(
        self, results: Mapping[str, NDArray[Any]], prediction: Prediction, signature: Signature
    ) -> tuple[int | None, list[bytes | memoryview]]:
        """How many bytes of the answer are JSON, None for all, and the answer in parts."""
        described, binary = [], []
        for name, spec in infer_names(prediction, signature):
            array = results[spec.name]
            output: dict[str, Any] = {
                "name": name,
                "datatype": datatype_of(array.dtype.name),
                "shape": array.shape,
            }
            if self._binary.get(name, False) or (name not in self._binary and self._all_binary):
                little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
                binary.append(little.reshape(-1).view(np.uint8).data)
                output["parameters"] = {"binary_data_size": little.nbytes}
            else:
                output["data"] = array.ravel().tolist()
            described.append(output)
        answer = {"model_name": signature.model, "model_version": str(MODEL_VERSION), "outputs": described}
        if self._id is not None:
            answer["id"] = self._id
        text = write_json(answer)
        return (len(text) if binary else None), [text, *binary]


def _objects(request: Mapping[str, Any], field: str) -> list[dict[str, Any]]:
    found = request.get(field, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise TensorError(f"{field} is no list of objects")
    if len(found) > MOST_TENSORS:
        raise TensorError(f"{len(found)} {field}; at most {MOST_TENSORS} are supported")
    return found


def _name(tensor: Mapping[str, Any]) -> str:
    name = tensor.get("name")
    if not isinstance(name, str):
        raise TensorError("a tensor has no name")
    return name


def _parameters(of: Mapping[str, Any]) -> dict[str, Any]:
    parameters = of.get("parameters", {})
    if not isinstance(parameters, dict):
        raise TensorError("parameters is no object")
    return parameters


def _read(tensor: Mapping[str, Any], raw: memoryview | None) -> NDArray[Any]:
    datatype, sizes = tensor.get("datatype"), tensor.get("shape")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise TensorError(f"datatype {quoted(str(datatype))} is not supported; use one of {', '.join(DATATYPES)}")
    if not isinstance(sizes, list) or any(isinstance(size, bool) or not isinstance(size, int) for size in sizes):
        raise TensorError("shape is no list of sizes")
    if raw is not None:
        if "data" in tensor:
            raise TensorError("both data and binary data are sent; send one of them")
        return from_raw(datatype, sizes, raw)
    data = tensor.get("data")
    if not isinstance(data, list):
        raise TensorError("data is no list, and there is no binary data")
    check_rank(len(sizes))
    shape = checked_shape(tuple(sizes))
    if DATATYPES[datatype] is STRING:
        encoded = _parameters(tensor).get("content_type") == "base64"
        array = strings([{"b64": value} for value in data] if encoded else data)
    else:
        array = numbers(data, DATATYPES[datatype].dtype).reshape(-1)
    if array.size != math.prod(shape):
        raise TensorError(f"shape {list(shape)} takes {math.prod(shape)} values, but data has {array.size}")
    return array.reshape(shape)
