"""What is recognised of the work on pixels, and in which numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldwave.frontends.affine import Affine, fit_affine, plain

Array = np.ndarray[Any, Any]
MEAN = np.asarray([123.68, 116.779, 103.939], np.float32)


@pytest.mark.parametrize(
    ("apply", "expected"),
    [
        (lambda x: x, Affine((0, 1, 2), (1.0,) * 3, (0.0,) * 3)),
        (lambda x: x - MEAN, Affine((0, 1, 2), (1.0,) * 3, (-123.68, -116.779, -103.939))),
        (lambda x: (x - MEAN)[..., ::-1], Affine((2, 1, 0), (1.0,) * 3, (-103.939, -116.779, -123.68))),
        (lambda x: x / np.float32(127.5) - 1, Affine((0, 1, 2), (1 / 127.5,) * 3, (-1.0,) * 3)),
        (lambda x: x * np.float32(0.017), Affine((0, 1, 2), (0.017,) * 3, (0.0,) * 3)),
    ],
    ids=["nothing", "mean", "bgr", "reciprocal", "scale"],
)
def test_recognised(apply: Callable[[Array], Array], expected: Affine) -> None:
    assert fit_affine(apply, (5, 4, 3)) == expected


@pytest.mark.parametrize(
    "apply",
    [
        lambda x: x * x,
        lambda x: x + np.arange(5, dtype=np.float32)[:, np.newaxis, np.newaxis],
        lambda x: x.mean(2, keepdims=True),
        lambda x: x[::-1],
        lambda x: np.clip(x, 10, 200),
        lambda x: x * 0,
        lambda x: x[:3],
    ],
    ids=["square", "place", "mix", "flip", "clip", "zero", "crop"],
)
def test_anything_else_is_not(apply: Callable[[Array], Array]) -> None:
    assert fit_affine(apply, (5, 4, 3)) is None


def test_no_mean_is_zero_and_not_minus_zero() -> None:
    assert [str(value) for value in Affine((0,), (0.5,), (0.0,)).mean] == ["0.0"]


def test_one_after_the_other() -> None:
    backwards = Affine((2, 1, 0), (1.0,) * 3, (0.0,) * 3)
    scaled = Affine((0, 1, 2), (2.0, 3.0, 4.0), (1.0, 0.0, -1.0))
    pixels = np.random.default_rng(0).uniform(0, 255, (5, 4, 3)).astype(np.float32)
    for first, second in ((backwards, scaled), (scaled, backwards)):
        both = second.after(first)
        found = fit_affine(lambda x: applied(second, applied(first, x)), (5, 4, 3))  # noqa: B023
        assert found is not None and found.source == both.source
        np.testing.assert_allclose(applied(both, pixels), applied(found, pixels), rtol=1e-5)


def applied(affine: Affine, x: Array) -> Array:
    return np.asarray(
        x[..., list(affine.source)] * np.float32(affine.gain) + np.float32(affine.offset), np.float32
    )


@given(st.integers(1, 9_999), st.integers(-4, 4), st.booleans())
def test_a_short_number_survives_float32(digits: int, exponent: int, inverse: bool) -> None:
    value = float(f"{digits}e{exponent}")
    value = 1 / value if inverse else value
    assert plain(float(np.float32(value))) == pytest.approx(value, rel=2e-7)
    assert plain(value) in (value, pytest.approx(value, rel=1e-15))
