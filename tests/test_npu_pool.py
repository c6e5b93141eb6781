"""Pooling against exact integers: every sum under every divisor, and windows of all kinds in any order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldwave.npu.pool import MAX_DIVISOR, Divide, Kind, Pool
from tests.npu_verilate import Verilated, verilate

LANES = 8
DIVIDERS = 8
Rng = np.random.Generator


@pytest.fixture(scope="module")
def divide() -> Verilated:
    return verilate(Divide(DIVIDERS))


@pytest.fixture(scope="module", params=[1, 4])
def pool(request: pytest.FixtureRequest) -> Verilated:
    return verilate(Pool(LANES, request.param))


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
        x = divide.zeros("input", -(-len(sums) // DIVIDERS))
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


def windows(rng: Rng, pool: Verilated, count: int, kinds: list[Kind]) -> NDArray[Any]:
    """``count`` windows one after the other, their settings repeated in every vector."""
    sizes = rng.choice([1, 2, 3, 4, 9, 49, 256], count, p=[0.1, 0.1, 0.1, 0.3, 0.3, 0.08, 0.02])
    ends = np.cumsum(sizes)
    owner = np.arange(count).repeat(sizes)
    each = pool.zeros("input", count)["settings"]
    each["kind"] = rng.choice([kind.value for kind in kinds], count)
    each["zero_in"] = rng.choice([-128, 0, 5], count)
    each["quotient"]["divisor"] = sizes
    each["quotient"]["shift"] = rng.integers(6, 10, count)
    each["quotient"]["target"]["zero_point"] = rng.choice([-128, 0, 3], count)
    low, high = np.sort(rng.integers(-128, 128, (2, count)), axis=0)
    free = rng.random(count) < 0.7
    each["quotient"]["target"]["low"] = np.where(free, -128, low)
    each["quotient"]["target"]["high"] = np.where(free, 127, high)
    x = pool.zeros("input", ends[-1])
    x["data"] = rng.integers(-128, 128, x["data"].shape) >> rng.integers(0, 8, (len(x), 1))
    x["settings"] = each[owner]
    x["last"][ends - 1] = 1
    x["first"][ends - sizes] = 1
    return x


def golden(x: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """What should come out of ``output`` and of ``sums``."""
    starts = np.flatnonzero(x["first"])
    settings = x["settings"][starts]
    target = settings["quotient"]["target"]
    differences = x["data"].astype(np.int64) - x["settings"]["zero_in"].astype(np.int64)[:, None]
    sums = np.add.reduceat(differences, starts)
    maxima = np.maximum.reduceat(x["data"], starts)
    maxima = np.clip(maxima, target["low"][:, None], target["high"][:, None])
    shift = settings["quotient"]["shift"].astype(np.int64)
    averages = quotient(sums, settings["quotient"]["divisor"], shift, target)
    kind = settings["kind"]
    output = np.where((kind == Kind.MAXIMUM.value)[:, None], maxima, averages)
    return output[kind != Kind.SUM.value], sums[kind == Kind.SUM.value].astype(np.int32)


@pytest.mark.parametrize("kinds", [[Kind.MAXIMUM], [Kind.AVERAGE], [Kind.SUM], list(Kind)], ids=str)
def test_windows(pool: Verilated, kinds: list[Kind]) -> None:
    for seed in range(3):
        x = windows(np.random.default_rng(seed), pool, 5_000, kinds)
        output, sums = golden(x)
        result = pool.run({"input": x}, {"output": len(output), "sums": len(sums)}, seed=seed)
        assert np.array_equal(result["output"], output)
        assert np.array_equal(result["sums"], sums)


def test_the_largest_sum(pool: Verilated) -> None:
    x = pool.zeros("input", 65_536)
    x["settings"]["kind"] = Kind.SUM.value
    x["settings"]["zero_in"] = -128
    x["data"][:, 0] = 127
    x["data"][:, 1] = -128
    x["first"][0] = x["last"][-1] = 1
    sums = pool.run({"input": x}, {"output": 0, "sums": 1}, stalls=False)["sums"]
    assert sums[0].tolist() == [255 * 65_536, 0, *[128 * 65_536] * (LANES - 2)]


@pytest.mark.parametrize("parts", [1, 4])
def test_a_vector_a_clock(parts: int) -> None:
    pool = verilate(Pool(LANES, parts))
    for kind, stream, latency in (
        (Kind.MAXIMUM, "output", 3),
        (Kind.SUM, "sums", 2),
        (Kind.AVERAGE, "output", 19 + parts),
    ):
        x = pool.zeros("input", 4_000)
        x["settings"]["kind"] = kind.value
        x["settings"]["quotient"] = (4, 8, (0, -128, 127))
        x["first"][::4] = x["last"][3::4] = 1
        result = pool.run({"input": x}, {"output": 0, "sums": 0, stream: 1_000}, stalls=False)
        assert (kind, result.latency, result.clocks) == (kind, latency + 3, len(x) + latency)
