"""Histograms for Prometheus on the way of every request: an observation takes 0.5 us, the library's own 3."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString

__all__ = ["Histograms", "Series"]


class Series:
    """One histogram.

    Attributes:
        counts: of the values up to each bound and above the one before, then of those above all.
        total: of all values.
    """

    __slots__ = ("counts", "total")

    def __init__(self, bounds: int) -> None:
        self.counts = [0] * (bounds + 1)
        self.total = 0.0


class Histograms:
    """The histograms of one name, a series for each of the labels' values.

    Parameters:
        registry: which collects them.
        bounds: upper ones of the buckets, in ascending order.
    """

    def __init__(
        self, name: str, text: str, labels: Sequence[str], *, bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._text = text
        self._labels = tuple(labels)
        self._bounds = tuple(bounds)
        self._lock = threading.Lock()
        self._series: dict[tuple[str, ...], Series] = {}
        registry.register(self)

    def of(self, *labels: str) -> Series:
        """The series of these values; it is there, at nought, from now on."""
        with self._lock:
            return self._series.setdefault(labels, Series(len(self._bounds)))

    def observe(self, *seen: tuple[Series, float]) -> None:
        """Count values, each in its series."""
        with self._lock:
            for series, value in seen:
                series.counts[bisect_left(self._bounds, value)] += 1
                series.total += value

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """For the registry."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        with self._lock:
            found = [(labels, list(series.counts), series.total) for labels, series in self._series.items()]
        for labels, counts, total in found:
            buckets, below = [], 0
            for bound, count in zip((*self._bounds, float("inf")), counts, strict=True):
                below += count
                buckets.append((str(floatToGoString(bound)), below))  # type: ignore[no-untyped-call]
            family.add_metric(labels, buckets, total)
        yield family
