"""Live figures: second by second, and percentiles close to the true ones."""

from __future__ import annotations

import numpy as np

from fieldwave.serving.figures import PERCENTILE_SECONDS, SERIES_SECONDS, Figures
from fieldwave.serving.metrics import Metrics


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_each_second_is_counted_in_its_place_and_forgotten_in_time() -> None:
    clock = Clock()
    figures = Figures(clock)
    figures.took(0.010)
    figures.took(0.010)
    clock.now += 5.5
    figures.took(0.010)
    figures.refused()
    seen = figures.recent()
    assert len(seen.answered) == len(seen.refused) == SERIES_SECONDS
    assert (seen.answered[-1], seen.answered[-6], sum(seen.answered)) == (1, 2, 3)
    assert (seen.refused[-1], sum(seen.refused)) == (1, 1)
    clock.now += PERCENTILE_SECONDS
    seen = figures.recent()
    assert (seen.p50, seen.p99, sum(seen.answered)) == (None, None, 3)
    clock.now += SERIES_SECONDS
    assert sum(figures.recent().answered) == 0


def test_a_gap_longer_than_the_series_leaves_nothing_of_before() -> None:
    clock = Clock()
    figures = Figures(clock)
    for _ in range(2 * SERIES_SECONDS):
        figures.took(0.001)
        clock.now += 1
    assert figures.recent().answered == (1,) * (SERIES_SECONDS - 1) + (0,)
    clock.now += 10 * SERIES_SECONDS
    figures.took(0.001)
    assert figures.recent().answered == (0,) * (SERIES_SECONDS - 1) + (1,)


def test_percentiles_are_within_what_is_promised() -> None:
    figures = Figures(Clock())
    values = np.random.default_rng(0).lognormal(-5, 1.5, 5000)
    for value in values:
        figures.took(float(value))
    seen = figures.recent()
    for found, share in ((seen.p50, 50), (seen.p99, 99)):
        true = np.percentile(values, share, method="inverted_cdf")
        assert found is not None and abs(found / true - 1) <= 0.0221


def test_what_is_no_prediction_is_not_counted_as_refused() -> None:
    metrics = Metrics()
    metrics.answered("server_ready", "UNAVAILABLE")
    metrics.answered("predict", "INVALID_ARGUMENT")
    assert sum(metrics.figures.recent().refused) == 0
    metrics.answered("predict", "RESOURCE_EXHAUSTED")
    assert sum(metrics.figures.recent().refused) == 1
