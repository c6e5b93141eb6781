"""The residual add over all pairs of operands, against exact integers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldwave.npu.eltwise import Eltwise
from tests.npu_verilate import Verilated, verilate

LANES = 16
A, B = (grid.reshape(-1, LANES).astype(np.int8) for grid in np.mgrid[-128:128, -128:128])
ZERO_POINTS = [(a, b, y) for a in (-128, 0) for b in (-128, 0) for y in (-128, 0)]


@pytest.fixture(scope="module")
def eltwise() -> Verilated:
    return verilate(Eltwise(LANES))


def round_half_even(numerator: NDArray[np.int64], shift: NDArray[np.int64]) -> NDArray[np.int64]:
    """numerator / 2**shift, exactly, on integers alone."""
    floor = numerator >> shift
    fraction = 2 * (numerator - (floor << shift))
    return floor + ((fraction > 1 << shift) | ((fraction == 1 << shift) & (floor % 2 == 1)))


def golden(x: NDArray[Any], b: NDArray[np.int8]) -> NDArray[np.int8]:
    add = x["add"]
    wide = {name: add[name].astype(np.int64)[:, None] for name in add.dtype.names if name != "target"}
    target = {name: add["target"][name].astype(np.int64)[:, None] for name in add["target"].dtype.names}
    left = (x["data"] - wide["zero_a"]) << wide["shift_a"]
    right = (b - wide["zero_b"]) * wide["residual"] << wide["shift_b"]
    total = left + right + (target["zero_point"] << wide["shift"])
    y = round_half_even(total, wide["shift"])
    return np.minimum(np.maximum(y, target["low"]), target["high"]).astype(np.int8)


def additions(exponents: Iterator[tuple[int, int]], zero_points: list[tuple[int, int, int]]) -> Iterator[Any]:
    for a, b in exponents:
        shift = max(0, -a, -b)
        for zero_a, zero_b, zero_point in zero_points:
            target = (zero_point, -128, 127)
            yield (1, zero_a, zero_b, a + shift, b + shift, shift, target)


def check(eltwise: Verilated, x: NDArray[Any], b: NDArray[np.int8], *, seed: int = 0, stalls: bool) -> None:
    taken = b[x["add"]["residual"] == 1]
    y = eltwise.run({"a": x, "b": taken}, {"output": len(x)}, seed=seed, stalls=stalls)["output"]
    expected = golden(x, b)
    if not np.array_equal(y, expected):
        row, lane = np.argwhere(y != expected)[0]
        pytest.fail(
            f"{x['data'][row, lane]} + {b[row, lane]} under {x['add'][row]} "
            f"gives {y[row, lane]}, not {expected[row, lane]}"
        )


def all_pairs(eltwise: Verilated, adds: list[Any]) -> None:
    """Every pair of operands under every one of ``adds``."""
    x = eltwise.zeros("a", len(A))
    for number, add in enumerate(adds):
        x["data"] = A
        x["add"] = add
        check(eltwise, x, B, seed=number, stalls=number % 16 == 0)


def test_all_pairs_for_the_exponents_of_networks(eltwise: Verilated) -> None:
    exponents = ((a, b) for a in range(-7, 3) for b in range(-7, 3))
    all_pairs(eltwise, list(additions(exponents, ZERO_POINTS)))


@pytest.mark.slow
def test_all_pairs_for_all_exponents(eltwise: Verilated) -> None:
    exponents = ((a, b) for a in range(-15, 16) for b in range(-15, 16) if abs(a - b) <= 15)
    all_pairs(eltwise, list(additions(exponents, ZERO_POINTS)))


def test_any_settings_in_any_order(eltwise: Verilated) -> None:
    """Settings that change with every vector, any shifts, zero points and bounds, with and without b."""
    rng = np.random.default_rng(0)
    for seed in range(4):
        x = eltwise.zeros("a", 40_000)
        x["data"] = rng.integers(-128, 128, x["data"].shape)
        b = rng.integers(-128, 128, x["data"].shape, dtype=np.int8)
        add = x["add"]
        add["residual"] = rng.integers(0, 2, len(x))
        for name, bounds in {"zero_a": (-128, 128), "zero_b": (-128, 128)}.items():
            add[name] = rng.integers(*bounds, len(x))
        for name in ("shift_a", "shift_b", "shift"):
            add[name] = rng.integers(0, 16, len(x)) >> rng.integers(0, 3, len(x))
        add["target"]["zero_point"] = rng.integers(-128, 128, len(x))
        add["target"]["low"], add["target"]["high"] = np.sort(rng.integers(-128, 128, (2, len(x))), axis=0)
        check(eltwise, x, b, seed=seed, stalls=True)


def test_without_a_residual_a_passes(eltwise: Verilated) -> None:
    x = eltwise.zeros("a", len(A))
    x["data"] = A
    x["add"] = (0, 0, 0, 0, 0, 0, (0, -128, 127))
    result = eltwise.run({"a": x, "b": eltwise.zeros("b", 0)}, {"output": len(x)}, stalls=False)
    assert np.array_equal(result["output"], A)
    assert (result.latency, result.clocks) == (8, len(x) + 8)
