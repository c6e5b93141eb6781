"""The way of a prediction through the service, the same for every protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

from numpy.typing import NDArray

from fieldwave.serving.assemble import Prediction
from fieldwave.serving.call import Call
from fieldwave.serving.caller import CallerGoneError, check_waiting
from fieldwave.serving.execution import Executor, Network, ReplacedError
from fieldwave.serving.metrics import Metrics
from fieldwave.serving.places import Place, Places
from fieldwave.serving.signature import Signature
from fieldwave.serving.status import NotReadyError

__all__ = ["Decode", "Encode", "Model", "Predictor", "State"]

_T = TypeVar("_T")

Decode = Callable[[Signature, Callable[[], None]], Prediction]
"""Reads a request for a model; the function that it is given is to be called before each longer piece of work."""
Encode = Callable[[Mapping[str, NDArray[Any]], Prediction, Signature], _T]
"""Writes the answer to a prediction, of every output by its name in the graph."""


State = Literal["waiting", "programming", "serving", "stopping"]


@dataclass(frozen=True)
class Model:
    """What clients are told of the package that is served.

    Attributes:
        signature: its tensors.
        manifest: its ``manifest.json``.
        device: what computes it.
        digest: of the package.
        npu: the name and the fingerprint of the device's NPU; None where there is none.
    """

    signature: Signature
    manifest: str = "{}"
    device: str = ""
    digest: str = ""
    npu: tuple[str, str] | None = None


class Predictor:
    """Admits a request, decodes it, lets the device run it in its turn, and encodes the answer.

    Parameters:
        model: what is served.
        places: of the requests in hand, of this model and of those that share its device.
        metrics: where all this is counted.

    Attributes:
        model: what is served; a request reads it once.
        executor: set once the model is loaded, None before and after.
        network: the model's on the executor's device; None for the one that was loaded first.
        state: of the service: it waits for a device, programs it, serves, or stops.
    """

    def __init__(self, model: Model, *, places: Places, metrics: Metrics) -> None:
        self.model = model
        self.network: Network | None = None
        self.executor: Executor | None = None
        self.state: State = "waiting"
        self.places = places
        self._metrics = metrics

    def ready(self) -> Executor:
        """What runs predictions.

        Raises:
            NotReadyError: the model is still being loaded, or the service is stopping.
        """
        executor = self.executor
        if executor is None:
            raise NotReadyError(f"model {self.model.signature.model!r} is not ready; try again")
        return executor

    @property
    def serving(self) -> bool:
        """Whether predictions are answered, as far as is known."""
        executor = self.executor
        return executor is not None and executor.healthy and self.state == "serving"

    def predict(self, call: Call, decode: Decode, encode: Encode[_T]) -> _T:
        """The answer to ``call``.

        Raises:
            NotReadyError: as `ready`.
            BusyError: as many predictions are in hand as there are places.
            CallerGoneError: the caller did not wait; the device has not been used.
            DeviceError: the device failed.
            Exception: as ``decode``.
        """
        executor = self.ready()
        place = self.places.enter(call)
        try:
            return self._predict(call, place, executor, decode, encode)
        except CallerGoneError:
            if place.lost:
                raise self.places.busy() from None
            raise
        finally:
            self.places.leave(place)

    def _predict(self, call: Call, place: Place, executor: Executor, decode: Decode, encode: Encode[_T]) -> _T:
        timings = call.timings
        go_on = partial(check_waiting, place)
        while True:
            network = self.network or executor.first
            loads, signature = network.loads, self.model.signature
            begin = time.perf_counter()
            prediction = decode(signature, go_on)
            timings.decode += time.perf_counter() - begin
            try:
                results = executor.run(
                    prediction.inputs, place, loads, timings, network, getattr(call, "abandon", None)
                )
            except ReplacedError:
                continue  # its bytes are what the client sent: they are for the new model now
            begin = time.perf_counter()
            answer = encode(results, prediction, signature)
            timings.encode += time.perf_counter() - begin
            self._metrics.predicted(signature.model, timings, prediction.images)
            return answer
