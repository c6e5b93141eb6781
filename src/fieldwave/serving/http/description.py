"""What is at which address, as OpenAPI 3.1 says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fieldwave.package import TensorSpec
from fieldwave.serving.http.inference_rest import MOST_TENSORS
from fieldwave.serving.inference_service import tensor_metadata
from fieldwave.serving.reading import MOST_CLASSES, TOP_CLASSES
from fieldwave.serving.signature import Signature
from fieldwave.version import __version__
from fieldwave.wire.inference import DATATYPES
from fieldwave.wire.methods import MODEL_VERSION

__all__ = ["description"]

_ERRORS = {
    "400": "A name, dtype, shape, size or image is wrong; the text says which.",
    "401": "The key is missing or wrong.",
    "404": "Nothing is there: another address, model or version.",
    "405": "Another method.",
    "408": "The request took too long to arrive.",
    "412": "The model has no such signature.",
    "413": "The request is too large.",
    "415": "The body is compressed.",
    "429": "As many predictions are in hand as the service takes; try again.",
    "500": "A fault of the service.",
    "503": "Loading, stopping, or the device failed; try again.",
    "504": "The deadline has passed.",
}
_BINARY = "application/octet-stream"
_READ_PARAMETERS = [
    {
        "name": "top",
        "in": "query",
        "description": "How many classes.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST_CLASSES, "default": TOP_CLASSES},
    },
    {
        "name": "threshold",
        "in": "query",
        "description": "The least score of an object; the package's if it is not said.",
        "schema": {"type": "number", "minimum": 0, "maximum": 1},
    },
]


def description(signatures: Sequence[Signature], *, page: bool = False) -> dict[str, Any]:
    """The description for the models with these signatures.

    Parameters:
        page: whether there is a page at ``/``.
    """
    paths: dict[str, Any] = {
        "/metrics": {"get": _operation("Metrics for Prometheus.", media="text/plain")},
        "/openapi.json": {"get": _operation("This description.")},
        "/fieldwave/service": {"get": _operation("What is served, by which device, and how it is called.")},
        "/fieldwave/figures": {"get": _operation("Rates, latencies and refusals of the last minutes.")},
        "/v2": {"get": _operation("Who answers.")},
        "/v2/health/live": {"get": _operation("Whether the process answers.")},
        "/v2/health/ready": {"get": _operation("Whether predictions are answered.")},
    }
    if page:
        paths["/"] = {"get": _operation("A page to try the networks on.", media="text/html")}
    for signature in signatures:
        paths |= _paths(signature)
    error = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": " and ".join(signature.model for signature in signatures),
            "version": __version__,
            "description": "Networks behind Fieldwave.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": error},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _paths(signature: Signature) -> dict[str, Any]:
    model = signature.model
    predict = {"post": _operation("A prediction, rows or columns.", _predict_body(), _free())}
    infer = {"post": _operation("A prediction.", _infer_body(signature), _free())}
    read = _operation("What a person reads of the answer for one image file.", {}, _free(), takes=_BINARY)
    read["parameters"] = _READ_PARAMETERS
    return {
        f"/fieldwave/models/{model}/read": {"post": read},
        f"/v2/models/{model}": {"get": _operation("The model's tensors.")},
        f"/v2/models/{model}/ready": {"get": _operation("Whether predictions are answered.")},
        f"/v2/models/{model}/infer": infer,
        f"/v2/models/{model}/versions/{MODEL_VERSION}/infer": infer,
        f"/v1/models/{model}": {"get": _operation("In which state the model is.")},
        f"/v1/models/{model}/metadata": {"get": _operation("The model's signature.")},
        f"/v1/models/{model}:predict": predict,
        f"/v1/models/{model}/versions/{MODEL_VERSION}:predict": predict,
    }


def _operation(
    text: str,
    body: Mapping[str, Any] | None = None,
    schema: Mapping[str, Any] | None = None,
    media: str = "application/json",
    takes: str = "application/json",
) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses: dict[str, Any] = {
        "200": {"description": text, "content": {media: {"schema": schema or _free(media)}}},
        **{status: {"description": why, "content": error} for status, why in _ERRORS.items()},
    }
    if body is None:
        # A service that is not ready says so in the form of its readiness, too.
        responses["503"] = {"description": _ERRORS["503"], "content": {"application/json": {"schema": _free()}}}
        return {"summary": text, "responses": responses}
    content = {takes: {"schema": body}}
    return {"summary": text, "requestBody": {"required": True, "content": content}, "responses": responses}


def _free(media: str = "application/json") -> dict[str, Any]:
    return {"type": "object" if media == "application/json" else "string"}


def _predict_body() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "signature_name": {"type": "string"},
            "instances": {"type": "array", "minItems": 1, "description": "A row for each image."},
            "inputs": {"description": "A column for each input, or the one input itself."},
        },
        "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
        "additionalProperties": False,
    }


def _infer_body(signature: Signature) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "inputs": {
                "type": "array",
                "maxItems": MOST_TENSORS,
                "items": {
                    "type": "object",
                    "required": ["name", "shape", "datatype", "data"],
                    "properties": {
                        "name": {"type": "string", "examples": _names(signature.inputs)},
                        "shape": {"type": "array", "items": {"type": "integer"}},
                        "datatype": {"type": "string", "enum": list(DATATYPES)},
                        "parameters": {"type": "object"},
                        "data": {"type": "array"},
                    },
                },
            },
            "outputs": {
                "type": "array",
                "maxItems": MOST_TENSORS,
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "examples": _names(signature.outputs)},
                        "parameters": {"type": "object"},
                    },
                },
            },
        },
    }


def _names(specs: tuple[TensorSpec, ...]) -> list[str]:
    return [str(tensor_metadata(spec)["name"]) for spec in specs]
