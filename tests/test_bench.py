"""Latency figures: their order, their count, and that they come from real calls."""

from __future__ import annotations

import numpy as np

from fieldwave.bench import bench_device, example_input, measure
from fieldwave.conversion import Conversion


def test_measure_calls_at_least_three_times() -> None:
    calls: list[int] = []
    figures = measure(lambda: calls.append(1), seconds=0, warm_up=2)
    assert figures.count == 3 and len(calls) == 5
    assert 0 < figures.best <= figures.p50 <= figures.p90 <= figures.p99


def test_the_example_is_an_input_of_the_network(digits: Conversion) -> None:
    (image,) = example_input(digits.package).values()
    assert image.shape == (1, 8, 8, 1) and image.dtype == np.float32
    assert image.min() >= 0 and image.max() < 1


def test_a_device_is_measured(digits: Conversion) -> None:
    figures, counters = bench_device(digits.package, "cpu", seconds=0.1)
    assert counters.images == figures.count + 3
    assert counters.busy_seconds > 0
