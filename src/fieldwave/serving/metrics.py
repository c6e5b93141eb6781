"""What a service has done, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from fieldwave.devices import Counters
from fieldwave.serving.figures import Figures
from fieldwave.serving.timings import STAGES, Timings
from fieldwave.version import __version__

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of what `Metrics.exposition` gives: Prometheus' text format."""

_SECONDS = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds of histograms: 1-2-5 steps from 0.1 ms, where an NPU's answers are, to gRPC's usual deadlines."""

_PREDICTIONS = frozenset({"predict", "infer", "rest_predict", "rest_infer", "rest_read"})
_NOT_MADE = frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL"})


class Metrics:
    """The counters of one service, in a registry of its own; an observation takes 1 us.

    Attributes:
        figures: the last minutes alone.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.figures = Figures()
        common: dict[str, Any] = {"namespace": "fieldwave", "registry": self.registry}
        self._requests = Counter(
            "requests", "Calls answered, by protocol and gRPC status.", ("protocol", "code"), **common
        )
        seconds = Histogram(
            "request_seconds",
            "From the last byte of a prediction's request to its answer.",
            ("protocol",),
            buckets=_SECONDS,
            **common,
        )
        stages = Histogram(
            "stage_seconds", "Where the time of a prediction went.", ("stage", "model"), buckets=_SECONDS, **common
        )
        images = Counter("images", "Images predicted.", ("model",), **common)

        # To look labels up takes as long as to observe.
        self._seconds_of = cache(lambda protocol: seconds.labels(protocol).observe)
        self._calls_of = cache(lambda protocol, code: self._requests.labels(protocol, code).inc)

        @cache
        def observers(model: str) -> tuple[Callable[[float], None], tuple[Callable[[float], None], ...]]:
            return images.labels(model).inc, tuple(stages.labels(each, model).observe for each in STAGES)

        self._observers = observers
        self._healthy = Gauge("device_healthy", "1 if the device answered its last run, else 0.", **common)
        self._info = Gauge(
            "build_info",
            "1, with what is served as labels.",
            ("version", "model", "device", "package"),
            **common,
        )
        self._common = common
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def describe(self, models: Iterable[tuple[str, str, str]]) -> None:
        """Say what is served from now on: each model's name, device, and package's digest."""
        self._info.clear()
        for each in models:
            self._info.labels(__version__, *each).set(1)
            self._observers(each[0])  # at nought from the beginning: a rate needs where it began

    def watch(
        self, *, in_hand: Callable[[], int], waiting: Callable[[], int], counters: Callable[[], Counters | None]
    ) -> None:
        """Ask for these whenever somebody asks here.

        Parameters:
            in_hand: requests that have a place.
            waiting: predictions that wait for the device.
            counters: the device's.
        """
        Gauge("in_hand", "Predictions in hand.", **self._common).set_function(in_hand)
        Gauge("waiting", "Predictions that wait for the device.", **self._common).set_function(waiting)
        self.registry.register(_DeviceCollector(counters))

    def answered(self, protocol: str, code: str) -> None:
        """A call has been answered, with the gRPC status of that name, or what corresponds to it elsewhere."""
        self._calls_of(protocol, code)()
        if code in _NOT_MADE and protocol in _PREDICTIONS:
            self.figures.refused()

    def took(self, protocol: str, seconds: float) -> None:
        """A prediction has been answered, so many seconds after its request was complete."""
        self._seconds_of(protocol)(seconds)
        self.figures.took(seconds)

    def predicted(self, model: str, timings: Timings, images: int) -> None:
        """A prediction has been made by the model of that name."""
        count, stages = self._observers(model)
        count(images)
        for observe, seconds in zip(stages, timings.seconds(), strict=True):
            observe(seconds)

    def healthy(self, healthy: bool) -> None:
        """Whether the device answers."""
        self._healthy.set(healthy)

    def exposition(self) -> bytes:
        """All of it, in Prometheus' text format."""
        text: bytes = generate_latest(_WithoutBirthdays(self.registry))
        return text


class _WithoutBirthdays:
    """A registry without when each series began, which the library writes as a series more."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class _DeviceCollector:
    """The device's own counters, read when they are asked for."""

    def __init__(self, counters: Callable[[], Counters | None]) -> None:
        self._counters = counters

    def collect(self) -> Iterator[CounterMetricFamily]:
        counters = self._counters()
        if counters is None:
            return
        yield _counter("device_images", "Images that the device has run.", counters.images)
        yield _counter("device_busy_seconds", "Seconds that the device has spent in runs.", counters.busy_seconds)
        if counters.cycles is not None:
            yield _counter("device_cycles", "Clock cycles of the NPU in runs.", counters.cycles)
        if counters.macs is not None:
            yield _counter("device_macs", "Multiply-accumulates that the networks asked of it.", counters.macs)
        if counters.bytes_read is not None:
            yield _counter("device_bytes_read", "Bytes that the NPU has read from memory.", counters.bytes_read)
        if counters.bytes_written is not None:
            yield _counter("device_bytes_written", "Bytes that it has written there.", counters.bytes_written)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"fieldwave_{name}", text, value=value)
