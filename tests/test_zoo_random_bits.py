from __future__ import annotations

import numpy as np

from fieldwave.zoo.random_bits import bell, uniform
from fieldwave.zoo.scenes import dead_leaves


def test_seeds_and_streams_are_told_apart() -> None:
    draws = [uniform(seed, stream, (4,)).tobytes() for seed in (0, 1) for stream in ("a", "b")]
    assert len(set(draws)) == 4
    np.testing.assert_array_equal(uniform(0, "a", (2, 2)).ravel(), uniform(0, "a", (4,)))


def test_uniform_fills_the_unit_interval() -> None:
    values = uniform(0, "values", (100_000,))
    assert 0 <= values.min() < 0.001
    assert 0.999 < values.max() < 1
    assert abs(values.mean() - 0.5) < 0.005
    assert abs(values.var() - 1 / 12) < 0.002


def test_bell_has_mean_0_variance_1_and_short_tails() -> None:
    values = bell(0, "values", (100_000,))
    assert abs(values.mean()) < 0.01
    assert abs(values.var() - 1) < 0.02
    assert 3 < np.abs(values).max() < 3.47
    assert abs((np.abs(values) < 1).mean() - 0.68) < 0.02


def test_scenes_have_the_range_and_the_smoothness_of_photographs() -> None:
    scenes = dead_leaves(0, 4, (96, 128, 3))
    assert scenes.shape == (4, 96, 128, 3)
    assert scenes.dtype == np.uint8
    levels = scenes.astype(np.float64)
    assert (levels.std(axis=(1, 2, 3)) > 20).all()
    near = np.abs(np.diff(levels, axis=2)).mean()
    far = np.abs(levels[:, :, 32:] - levels[:, :, :-32]).mean()
    assert 2 * near < far  # a pixel resembles its neighbour, not one far away
    grey = levels.mean(axis=3, keepdims=True)
    assert (levels - grey).std() < levels.std() / 2  # the channels rise and fall together


def test_scenes_differ_between_seeds_and_within_one() -> None:
    scenes = [*dead_leaves(0, 2, (16, 16, 1)), *dead_leaves(1, 2, (16, 16, 1))]
    assert len({scene.tobytes() for scene in scenes}) == 4
