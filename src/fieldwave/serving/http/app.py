"""Which address is answered by what, and how errors are told over HTTP."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from fieldwave.errors import NotFoundError
from fieldwave.preprocess import MAX_IMAGE_BYTES
from fieldwave.serving.answered import Answered
from fieldwave.serving.authentication import Authentication
from fieldwave.serving.http.description import description
from fieldwave.serving.http.exchange import Head, HttpCall, Refusal, Response, Route
from fieldwave.serving.http.inference_rest import BINARY_HEADER, InferenceRest
from fieldwave.serving.http.json_body import write_json
from fieldwave.serving.http.page import PageFiles
from fieldwave.serving.http.service_rest import ServiceRest
from fieldwave.serving.http.tensorflow_rest import TensorflowRest
from fieldwave.serving.infer import check_name
from fieldwave.serving.metrics import CONTENT_TYPE
from fieldwave.serving.models import Models
from fieldwave.serving.predictor import Predictor
from fieldwave.serving.status import NotReadyError, status_of
from fieldwave.wire.methods import MODEL_VERSION, REQUEST_ID_KEY, TIMINGS_KEY

__all__ = ["App"]

STATUSES = {
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "NOT_FOUND": 404,
    "FAILED_PRECONDITION": 412,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""HTTP's status for each of gRPC's, as TensorFlow Serving has them."""

_RETRY = frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE"})
_OPEN = frozenset({"/v2/health/live", "/v2/health/ready"})
_MODEL_V1 = re.compile(r"/v1/models/([^/:]+)(?:/(versions|labels)/([^/:]+))?(/metadata|:[a-z]+)?")
_MODEL_V2 = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(/ready|/infer)?")
_READING = ("GET", "HEAD")
_READ = re.compile(r"/fieldwave/models/([^/]+)/read")


class App:
    """The service's addresses.

    Parameters:
        models: what is served.
        answered: told of each answer.
        authentication: who may call; None for everybody.
        max_batch: the most images in one request.
        max_bytes: the largest request.
        page: whether there is a page at ``/``.
        about: what else a client has to know to call: other ports.
    """

    def __init__(
        self,
        models: Models,
        answered: Answered,
        authentication: Authentication | None,
        *,
        max_batch: int,
        max_bytes: int,
        page: bool = False,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self._models = models
        self._answered = answered
        self._authentication = authentication
        self._max_bytes = max_bytes
        self._max_image_bytes = min(max_bytes, MAX_IMAGE_BYTES)
        self._page = PageFiles(wants_key=authentication is not None) if page else None
        limits = {"keys": authentication is not None, "max_image_bytes": self._max_image_bytes}
        self._service = ServiceRest(models, answered.metrics, {**(about or {}), **limits})
        self._tensorflow = {each: TensorflowRest(each, max_batch=max_batch) for each in models.all}
        self._inference = {each: InferenceRest(each, max_batch=max_batch) for each in models.all}
        inference = self._inference[models.first]
        self._fixed = {
            "/metrics": Route("metrics", self._metrics, slow=True),
            "/openapi.json": Route("describe", self._describe),
            "/fieldwave/service": Route("service", self._service.service),
            "/fieldwave/figures": Route("figures", self._service.figures),
            "/v2": Route("server_metadata", inference.server),
            "/v2/health/live": Route("server_live", inference.live),
            "/v2/health/ready": Route("server_ready", self._ready),
        }

    def route(self, head: Head) -> Route:
        """Who answers; the key is asked for before all else.

        Raises:
            Refusal: nobody does.
        """
        page = None if self._page is None else self._page.route(head)
        if self._authentication is not None and page is None and head.path not in _OPEN:
            reason = self._authentication.objection(head.headers.get("authorization", ()), "HTTP")
            if reason is not None:
                raise Refusal(401, reason, ("www-authenticate", "Bearer"), code="UNAUTHENTICATED")
        route, methods = self._found(head) if page is None else (page, _READING)
        if head.method not in methods:
            raise Refusal(
                405, f"this address takes {' and '.join(methods)}", ("allow", ", ".join(methods)), code="NOT_FOUND"
            )
        if route.slow and route.max_bytes:
            self._check_ready()
        return route

    def respond(self, route: Route, body: bytes, call: HttpCall) -> Response:
        """The answer of ``route``, or of its error."""
        try:
            response = route.answer(body, call)
        except Exception as error:
            code, text = status_of(error, call.request_id)
            response = _error(code.name, text)
        seconds = time.perf_counter() - call.begin
        if response.code == "OK" and route.max_bytes:
            self._answered.metrics.took(route.protocol, seconds)
        self._answered(route.protocol, response.code, call, seconds, response.text)
        headers = (*response.headers, (REQUEST_ID_KEY, call.request_id))
        if call.timings.device:
            headers += ((TIMINGS_KEY, call.timings.header()),)
        return Response(response.status, response.body, headers, response.code, response.text)

    def refused(self, protocol: str, code: str) -> None:
        """Count an answer to what has not been read."""
        self._answered.metrics.answered(protocol, code)

    def _found(self, head: Head) -> tuple[Route, tuple[str, ...]]:
        path = head.path.rstrip("/") or "/"
        if path in self._fixed:
            return self._fixed[path], _READING
        if (match := _MODEL_V1.fullmatch(path)) is not None:
            model, kind, version, action = match.groups()
            tensorflow = self._tensorflow[self._found_model(model, version, label=kind == "labels")]
            if action is None:
                return Route("get_model_status", tensorflow.status), _READING
            if action == "/metadata":
                return Route("get_model_metadata", tensorflow.metadata), _READING
            if action == ":predict":
                return Route("rest_predict", tensorflow.predict, self._max_bytes, slow=True), ("POST",)
        if (match := _MODEL_V2.fullmatch(path)) is not None:
            model, version, action = match.groups()
            inference = self._inference[self._found_model(model, version)]
            if action is None:
                return Route("model_metadata", inference.model), _READING
            if action == "/ready":
                return Route("model_ready", inference.model_ready), _READING
            infer = partial(inference.infer, _json_bytes(head))
            return Route("rest_infer", infer, self._max_bytes, slow=True), ("POST",)
        if (match := _READ.fullmatch(path)) is not None:
            predictor = self._found_model(match[1], None)
            read = partial(self._service.read, predictor, head.query)
            return Route("rest_read", read, self._max_image_bytes, slow=True), ("POST",)
        raise Refusal(404, "nothing is at this address; GET /openapi.json says what is where", code="NOT_FOUND")

    def _found_model(self, model: str, version: str | None, *, label: bool = False) -> Predictor:
        try:
            predictor = self._models.of(model)
            signature = predictor.model.signature
            # Over REST, clients of TensorFlow Serving know a label "stable" or none; here versions have none.
            if label:
                raise NotFoundError(
                    f"model {signature.model!r} has no version labels; it has version {MODEL_VERSION}"
                )
            check_name(model, version or "", signature)
            return predictor
        except NotFoundError as error:
            raise Refusal(404, str(error), code="NOT_FOUND") from None

    def _check_ready(self) -> None:
        try:
            self._models.first.ready()
        except NotReadyError as error:
            raise Refusal(503, str(error), ("retry-after", "1"), code="UNAVAILABLE") from None

    def _metrics(self, body: bytes, call: HttpCall) -> Response:
        return Response(body=(self._answered.metrics.exposition(),), headers=(("content-type", CONTENT_TYPE),))

    def _describe(self, body: bytes, call: HttpCall) -> Response:
        signatures = [predictor.model.signature for predictor in self._models.all]
        return Response(body=(write_json(description(signatures, page=self._page is not None)),))

    def _ready(self, body: bytes, call: HttpCall) -> Response:
        ready = self._models.serving
        answer = (write_json({"ready": ready}),)
        return Response(200 if ready else 503, answer, code="OK" if ready else "UNAVAILABLE")


def _json_bytes(head: Head) -> int | None:
    text = head.header(BINARY_HEADER)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise Refusal(400, f"{BINARY_HEADER} is no number of bytes")
    return int(text)


def _error(code: str, text: str) -> Response:
    retry = (("retry-after", "1"),) if code in _RETRY else ()
    headers = (("content-type", "application/json"), *retry)
    return Response(STATUSES[code], (write_json({"error": text}),), headers, code, text)
