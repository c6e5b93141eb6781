"""Latency figures: their order, their count, and that they come from real calls."""

from __future__ import annotations

import numpy as np

from fieldwave.bench import HardwareTime, bench_device, example_input, measure
from fieldwave.conversion import Conversion


def test_a_slow_call_is_measured_once_after_one_to_warm_up() -> None:
    calls: list[int] = []
    figures = measure(lambda: calls.append(1), seconds=0, warm_up=2)
    assert figures.count == 1 and len(calls) == 2
    assert 0 < figures.best <= figures.p50 <= figures.p90 <= figures.p99


def test_the_example_is_an_input_of_the_network(digits: Conversion) -> None:
    (image,) = example_input(digits.package).values()
    assert image.shape == (1, 8, 8, 1) and image.dtype == np.float32
    assert image.min() >= 0 and image.max() < 1


def test_a_device_is_measured(digits: Conversion) -> None:
    figures, hardware = bench_device(digits.package, "cpu", seconds=0.1)
    assert figures.count >= 1 and figures.p50 > 0
    assert hardware is None


def test_hardware_time_follows_the_clock() -> None:
    assert HardwareTime(2_000_000, 256_000_000, 0.5).milliseconds(200) == 10.0
