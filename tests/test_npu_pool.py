"""The average's division against exact integers: every sum under every divisor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldwave.npu.pool import MAX_DIVISOR, Divide
from tests.npu_verilate import Verilated, verilate

LANES = 8
Rng = np.random.Generator


@pytest.fixture(scope="module")
def divide() -> Verilated:
    return verilate(Divide(LANES))


def quotient(sums: NDArray[Any], divisor: Any, shift: Any, target: Any) -> NDArray[np.int8]:
    """``clamp(rne(sums / divisor * 2**(8 - shift) + zero_point), low, high)`` on integers."""
    zero_point, low, high = (target[name].astype(np.int64)[..., None] for name in ("zero_point", "low", "high"))
    numerator = sums.astype(np.int64) << 8
    denominator = (divisor.astype(np.int64) << shift)[..., None]
    floor = numerator // denominator
    twice = 2 * (numerator - floor * denominator)
    floor += zero_point
    y = floor + ((twice > denominator) | ((twice == denominator) & (floor % 2 == 1)))
    return np.clip(y, low, high).astype(np.int8)


def check_quotients(divide: Verilated, x: NDArray[Any], *, seed: int, stalls: bool) -> None:
    y = divide.run({"input": x}, {"output": len(x)}, seed=seed, stalls=stalls)["output"]
    common = x["common"]
    expected = quotient(x["data"], common["divisor"], common["shift"].astype(np.int64), common["target"])
    if not np.array_equal(y, expected):
        row, lane = np.argwhere(y != expected)[0]
        pytest.fail(f"{x['data'][row, lane]} / {common[row]} gives {y[row, lane]}, not {expected[row, lane]}")


def test_every_sum_under_every_divisor(divide: Verilated) -> None:
    """All of the 16.8 million averages that there are, the input's scale kept."""
    vectors, numbers = [], 0
    for divisor in range(1, MAX_DIVISOR + 1):
        sums = np.arange(-255 * divisor, 255 * divisor + 1)
        numbers += len(sums)
        x = divide.zeros("input", -(-len(sums) // LANES))
        x["data"].reshape(-1)[: len(sums)] = sums
        x["common"] = (divisor, 8, (0, -128, 127))
        vectors.append(x)
    assert numbers == 255 * MAX_DIVISOR * (MAX_DIVISOR + 1) + MAX_DIVISOR
    for seed, x in enumerate(np.array_split(np.concatenate(vectors), 16)):
        check_quotients(divide, x, seed=seed, stalls=seed == 0)


def test_any_scale_zero_point_and_bounds(divide: Verilated) -> None:
    """Settings that change with every vector; many sums at a tie or one beside it."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x = divide.zeros("input", 20_000)
        common = x["common"]
        common["divisor"] = np.where(rng.random(len(x)) < 0.5, rng.integers(1, 257, len(x)), rng.integers(1, 10))
        common["shift"] = np.where(rng.random(len(x)) < 0.8, rng.integers(5, 12, len(x)), rng.integers(1, 32))
        common["target"]["zero_point"] = rng.choice([-128, 0, -1, 77], len(x))
        free = rng.random(len(x)) < 0.7
        low, high = np.sort(rng.integers(-128, 128, (2, len(x))), axis=0)
        common["target"]["low"] = np.where(free, -128, low)
        common["target"]["high"] = np.where(free, 127, high)
        divisor = common["divisor"].astype(np.int64)[:, None]
        sums = rng.integers(-255 * divisor, 255 * divisor + 1, x["data"].shape)
        k = rng.integers(-260, 260, sums.shape)
        tie = ((2 * k + 1) * divisor << common["shift"][:, None] >> 9) + rng.integers(-1, 2, sums.shape)
        use_tie = (np.abs(tie) <= 255 * divisor) & (rng.random(sums.shape) < 0.5)
        x["data"] = np.where(use_tie, tie, sums)
        check_quotients(divide, x, seed=seed, stalls=seed % 2 == 0)


@pytest.mark.parametrize("parts", [1, 2, 8])
def test_fewer_dividers_take_longer(parts: int) -> None:
    divide = verilate(Divide(LANES, parts))
    rng = np.random.default_rng(parts)
    x = divide.zeros("input", 4_000)
    x["common"]["divisor"] = rng.integers(1, 257, len(x))
    x["common"]["shift"] = 8
    x["common"]["target"] = (0, -128, 127)
    bound = 255 * x["common"]["divisor"].astype(np.int64)[:, None]
    x["data"] = rng.integers(-bound, bound + 1, x["data"].shape)
    check_quotients(divide, x, seed=parts, stalls=True)
    result = divide.run({"input": x}, {"output": len(x)}, stalls=False)
    latency = 23 if parts == 1 else 24
    assert (result.latency, result.clocks) == (latency, parts * len(x) + latency)
