"""The REST of TensorFlow Serving: ``/v1/models/NAME``, ``/metadata`` and ``:predict``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import TensorError
from fieldwave.serving.assemble import Prediction, assemble
from fieldwave.serving.decode import UnknownSignatureError
from fieldwave.serving.http.exchange import HttpCall, Response
from fieldwave.serving.http.json_body import numbers, parse_object, strings, write_json
from fieldwave.serving.model_service import model_status
from fieldwave.serving.predictor import Predictor
from fieldwave.serving.signature import Signature, quoted
from fieldwave.wire.dtypes import BY_NAME
from fieldwave.wire.messages import DataType
from fieldwave.wire.methods import DEFAULT_SIGNATURE, MODEL_VERSION, PREDICT_METHOD_NAME

__all__ = ["TensorflowRest"]

_FIELDS = {"signature_name", "instances", "inputs"}
_DTYPE_NAMES = {number: name for name, number in DataType.items()}


class TensorflowRest:
    """The answers; that the model and its version are ours has been seen to by whoever calls.

    Parameters:
        predictor: makes predictions.
        max_batch: the most images in one request.
    """

    def __init__(self, predictor: Predictor, *, max_batch: int) -> None:
        self._predictor = predictor
        self._max_batch = max_batch

    def status(self, body: bytes, call: HttpCall) -> Response:
        """In which state the model is."""
        state, code, text = model_status(self._predictor)
        status = {"error_code": "UNAVAILABLE" if code else "OK", "error_message": text}
        versions = [{"version": str(MODEL_VERSION), "state": state, "status": status}]
        return Response(body=(write_json({"model_version_status": versions}),))

    def metadata(self, body: bytes, call: HttpCall) -> Response:
        """The model's signature."""
        signature = self._predictor.model.signature
        described = {
            "inputs": {spec.public_name: _tensor_info(spec) for spec in signature.inputs},
            "outputs": {spec.public_name: _tensor_info(spec) for spec in signature.outputs},
            "method_name": PREDICT_METHOD_NAME,
        }
        answer = {
            "model_spec": {"name": signature.model, "signature_name": "", "version": str(MODEL_VERSION)},
            "metadata": {"signature_def": {"signature_def": {DEFAULT_SIGNATURE: described}}},
        }
        return Response(body=(write_json(answer),))

    def predict(self, body: bytes, call: HttpCall) -> Response:
        """A prediction; rows in, rows out, or columns in and columns out."""

        by_rows = True

        def decode(signature: Signature, go_on: Callable[[], None]) -> Prediction:
            nonlocal by_rows
            request = parse_object(body)
            _check(request)
            by_rows = "instances" in request
            columns = (_rows if by_rows else _columns)(request, signature)
            tensors = [
                (name, partial(_tensor, values, signature.input(name).dtype)) for name, values in columns.items()
            ]
            return assemble(tensors, (), signature, max_batch=self._max_batch, go_on=go_on)

        def encode(results: Mapping[str, NDArray[Any]], prediction: Prediction, signature: Signature) -> bytes:
            values = {spec.public_name: results[spec.name].tolist() for spec in signature.outputs}
            only = next(iter(values.values())) if len(values) == 1 else None
            if by_rows:
                rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
                return write_json({"predictions": rows if only is None else only})
            return write_json({"outputs": values if only is None else only})

        return Response(body=(self._predictor.predict(call, decode, encode),))


def _check(request: Mapping[str, Any]) -> None:
    unknown = next((name for name in request if name not in _FIELDS), None)
    if unknown is not None:
        raise TensorError(f"unknown field {quoted(unknown)}; send signature_name, and instances or inputs")
    if ("instances" in request) == ("inputs" in request):
        raise TensorError("send either instances (rows) or inputs (columns)")
    name = request.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise TensorError("signature_name is no text")
    if name not in ("", DEFAULT_SIGNATURE):
        raise UnknownSignatureError(f"unknown signature {quoted(name)}; this model has {DEFAULT_SIGNATURE!r}")


def _rows(request: Mapping[str, Any], signature: Signature) -> Mapping[str, Any]:
    rows = request["instances"]
    if not isinstance(rows, list) or not rows:
        raise TensorError("instances is no list of rows, or an empty one")
    if not _is_named(rows[0]):
        return {_only(signature): rows}
    names = set(rows[0])
    if not all(_is_named(row) and set(row) == names for row in rows):
        raise TensorError("each row of instances names its inputs, or none does; these differ")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _columns(request: Mapping[str, Any], signature: Signature) -> Mapping[str, Any]:
    columns = request["inputs"]
    return columns if _is_named(columns) else {_only(signature): columns}


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and set(value) != {"b64"}


def _only(signature: Signature) -> str:
    if len(signature.inputs) > 1:
        raise TensorError(f"the values have no name; {signature.inputs_text()}")
    return signature.inputs[0].name


def _tensor(values: Any, dtype: str) -> NDArray[Any]:
    if isinstance(values, (str, dict)):
        raise TensorError("one byte string without a list around it; send a list of them")
    if isinstance(values, list) and values and isinstance(values[0], (str, dict)):
        return strings(values)
    return numbers(values, np.dtype(dtype))


def _tensor_info(spec: Any) -> dict[str, Any]:
    sizes = [{"size": str(-1 if size is None else size), "name": ""} for size in spec.shape]
    return {
        "dtype": _DTYPE_NAMES[BY_NAME[spec.dtype].enum],
        "tensor_shape": {"dim": sizes, "unknown_rank": False},
        "name": spec.name,
    }
