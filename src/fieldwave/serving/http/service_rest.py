"""Addresses of our own, ``/fieldwave``: what is served, live figures, an image read as people read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import InputError, TensorError
from fieldwave.package import TensorSpec
from fieldwave.preprocess import Preprocessing, preprocess, promised_size
from fieldwave.serving.assemble import Prediction
from fieldwave.serving.execution import Executor
from fieldwave.serving.figures import PERCENTILE_SECONDS
from fieldwave.serving.http.exchange import HttpCall, Response
from fieldwave.serving.http.json_body import write_json
from fieldwave.serving.metrics import Metrics
from fieldwave.serving.models import Models
from fieldwave.serving.predictor import Predictor
from fieldwave.serving.reading import MOST_CLASSES, TOP_CLASSES, kind_of, read_results
from fieldwave.serving.signature import Signature, quoted
from fieldwave.version import __version__
from fieldwave.wire.methods import MODEL_VERSION

__all__ = ["ServiceRest"]

_RATE_SECONDS = 10


class ServiceRest:
    """The answers.

    Parameters:
        models: what is served.
        metrics: what it has done.
        about: what else a client has to know to call: ports, limits.
    """

    def __init__(self, models: Models, metrics: Metrics, about: Mapping[str, Any]) -> None:
        self._models = models
        self._metrics = metrics
        self._about = about

    def service(self, body: bytes, call: HttpCall) -> Response:
        """What is served, by what, and how it is called."""
        models = [_model(predictor) for predictor in self._models.all]
        return Response(body=(write_json({"fieldwave": __version__, **self._about, "models": models}),))

    def figures(self, body: bytes, call: HttpCall) -> Response:
        """The last minutes."""
        recent = self._metrics.figures.recent()
        executor = self._models.first.executor
        whole = recent.answered[-1 - _RATE_SECONDS : -1]
        said = {
            "answered": recent.answered,
            "refused": recent.refused,
            "rate": sum(whole) / len(whole),
            "percentile_seconds": PERCENTILE_SECONDS,
            "p50_milliseconds": _milliseconds(recent.p50),
            "p99_milliseconds": _milliseconds(recent.p99),
            "in_hand": len(self._models.first.places),
            "places": self._models.first.places.capacity,
            "waiting": 0 if executor is None else executor.waiting,
            "state": _state(self._models.first),
            "device": None if executor is None else _counted(executor),
        }
        return Response(body=(write_json(said),))

    def read(self, predictor: Predictor, query: str, body: bytes, call: HttpCall) -> Response:
        """A prediction for the one image file that is the body."""
        top, threshold = _asked(query)

        def decode(signature: Signature, go_on: Callable[[], None]) -> Prediction:
            spec, images = _image_input(signature)
            go_on()
            return Prediction({spec.name: preprocess(body, images)[np.newaxis]})

        def encode(results: Mapping[str, NDArray[Any]], prediction: Prediction, signature: Signature) -> bytes:
            width, height = promised_size(body)
            said = read_results(results, signature, top=top, threshold=threshold)
            about = {"model_name": signature.model, "model_version": str(MODEL_VERSION)}
            return write_json({**about, "image": {"width": width, "height": height}, **said})

        return Response(body=(predictor.predict(call, decode, encode),))


def _image_input(signature: Signature) -> tuple[TensorSpec, Preprocessing]:
    """The input that takes image files.

    Raises:
        TensorError: none does, or it is not the only one.
    """
    first = signature.inputs[0]
    images = signature.accepted(first).images
    if images is None or len(signature.inputs) > 1:
        raise TensorError(f"{signature.model!r} takes no image files here; {signature.inputs_text()}")
    return first, images


def _asked(query: str) -> tuple[int, float | None]:
    """How many classes, and the least score of an object.

    Raises:
        InputError: the query says something else.
    """
    asked = dict(parse_qsl(query, keep_blank_values=True))
    unknown = next((name for name in asked if name not in ("top", "threshold")), None)
    if unknown is not None:
        raise InputError(f"unknown parameter {quoted(unknown)}; there are top and threshold")
    top = asked.get("top", str(TOP_CLASSES))
    if not (top.isascii() and top.isdigit() and len(top) < 6 and 1 <= int(top) <= MOST_CLASSES):
        raise InputError(f"top is {quoted(top)}; it is a number from 1 to {MOST_CLASSES}")
    threshold = None
    if "threshold" in asked:
        try:
            threshold = float(asked["threshold"])
        except ValueError:
            threshold = -1.0
        if not 0 <= threshold <= 1:
            raise InputError(f"threshold is {quoted(asked['threshold'])}; it is a number from 0 to 1")
    return int(top), threshold


def _model(predictor: Predictor) -> dict[str, Any]:
    model = predictor.model
    signature = model.signature
    first = signature.inputs[0]
    images = signature.accepted(first).images if len(signature.inputs) == 1 else None
    return {
        "name": signature.model,
        "state": _state(predictor),
        "reads": kind_of(signature),
        "labels": len(signature.labels),
        "threshold": None if signature.detector is None else signature.detector.score_threshold,
        "input": first.public_name,
        "image": None
        if images is None
        else {
            "width": images.width,
            "height": images.height,
            "order": images.order,
            "resize": images.resize,
            "shortest_side": images.shortest_side,
        },
        "accepts": {spec.public_name: signature.accepted(spec).text for spec in signature.inputs},
        "outputs": [
            {"name": spec.public_name, "dtype": spec.dtype, "shape": spec.shape} for spec in signature.outputs
        ],
        "package": model.digest,
        "device": model.device,
        "npu": None if model.npu is None else {"configuration": model.npu[0], "fingerprint": model.npu[1]},
        "exact": _exact(predictor),
    }


def _state(predictor: Predictor) -> str:
    if predictor.state != "serving":
        return predictor.state
    return "serving" if predictor.serving else "failed"


def _exact(predictor: Predictor) -> dict[str, Any] | None:
    """Whether the answers are the normative bits, where that is known."""
    if predictor.executor is None:
        return None
    kind = predictor.model.device.partition(":")[0]
    if kind == "rtl":
        return {"exact": True, "why": "the gateware itself, simulated cycle by cycle"}
    if kind != "cpu":
        return None
    from fieldwave.devices.exactness import exactness  # found when the package was loaded

    found = exactness()
    if not found.exact:
        return {"exact": False, "why": f"{', '.join(found.differing)} can differ on this processor"}
    return {"exact": True, "why": f"this processor's kernels are checked: {found.path}"}


def _counted(executor: Executor) -> dict[str, Any] | None:
    counters = executor.counters
    if counters is None:
        return None
    return {
        "images": counters.images,
        "busy_seconds": counters.busy_seconds,
        "cycles": counters.cycles,
        "utilisation": counters.utilisation,
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(1e3 * seconds, 3)
