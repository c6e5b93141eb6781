"""The requantizer against numpy's float32, on vectors chosen to break it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldwave.npu.requantize import Requantize
from tests.npu_verilate import Verilated, verilate

LANES = 8
CHUNK = 500_000  # vectors of one kind, elements of all lanes counted
Rng = np.random.Generator


@pytest.fixture(scope="module")
def requantize() -> Verilated:
    return verilate(Requantize(LANES))


def golden(x: NDArray[Any]) -> NDArray[np.int8]:
    """numerics.md in numpy: every step in float32, each rounded once."""
    zero_point = x["zero_point"].astype(np.float32)
    low, high = x["low"] - zero_point, x["high"] - zero_point
    with np.errstate(over="ignore"):
        product = x["acc"].astype(np.float32) * x["scale"].view(np.float32)
    return (np.rint(np.clip(product, low, high)) + zero_point).astype(np.int8)


def magnitudes(rng: Rng, count: int, bits: int = 31) -> NDArray[np.int64]:
    """Integers whose number of bits is uniform, both signs."""
    return rng.integers(-(2**31), 2**31, count) >> rng.integers(31 - bits, 32, count)


def normals(rng: Rng, count: int, low: float, high: float) -> NDArray[np.float32]:
    """Positive float32 whose logarithm is uniform."""
    return np.exp2(rng.uniform(low, high, count)).astype(np.float32)


def near_ties(rng: Rng, acc: NDArray[np.int64]) -> NDArray[np.float32]:
    """For each accumulator a scale that puts the product within 2 units in the last place of some k + 1/2."""
    target = rng.integers(0, 260, len(acc)) + 0.5
    with np.errstate(divide="ignore"):
        scale = (target / np.abs(acc).astype(np.float32)).astype(np.float32)
    bits = scale.view(np.int32) + rng.integers(-2, 3, len(acc), dtype=np.int32)
    return np.where(acc == 0, np.float32(1), bits.view(np.float32))


# Each kind gives accumulators and scales.


def ordinary(rng: Rng, count: int) -> tuple[Any, Any]:
    """What networks have: sums of some thousand products, results spread over the range and beyond."""
    acc = rng.normal(0, 20_000, count).astype(np.int64)
    return acc, normals(rng, count, -10, -5)


def any_magnitude(rng: Rng, count: int) -> tuple[Any, Any]:
    acc = magnitudes(rng, count)
    return acc, (normals(rng, count, -1, 9) / np.maximum(np.abs(acc), 1)).astype(np.float32)


def any_normal_scale(rng: Rng, count: int) -> tuple[Any, Any]:
    """Any normal bit pattern, either sign."""
    exponent = rng.integers(1, 255, count) << 23
    bits = exponent | rng.integers(0, 1 << 23, count) | rng.integers(0, 2, count) << 31
    return magnitudes(rng, count), bits.astype(np.uint32).view(np.float32)


def ties_and_neighbours(rng: Rng, count: int) -> tuple[Any, Any]:
    """Products at k + 1/2 and up to 2 units in the last place beside it, accumulators exact in float32."""
    acc = magnitudes(rng, count, bits=24)
    return acc, near_ties(rng, acc)


def exact_ties(rng: Rng, count: int) -> tuple[Any, Any]:
    """Odd multiples of 2**(p - 1) with scale 2**-p, and the integers beside them."""
    power = rng.integers(1, 22, count)
    acc = (2 * rng.integers(-260, 260, count) + 1 << power - 1) + rng.integers(-1, 2, count)
    return acc, np.exp2(-power).astype(np.float32)


def rounded_accumulators(rng: Rng, count: int) -> tuple[Any, Any]:
    """|acc| >= 2**24 at the ties of int32 -> float32 and beside them, products near k + 1/2."""
    shift = rng.integers(1, 8, count)
    acc = (rng.integers(1 << 23, 1 << 24, count) << shift) + (1 << shift - 1) + rng.integers(-1, 2, count)
    acc *= rng.choice([-1, 1], count)
    return acc, near_ties(rng, acc)


def carried_accumulators(rng: Rng, count: int) -> tuple[Any, Any]:
    """All ones in front: the rounding of the accumulator carries into the next power of two."""
    power = rng.integers(20, 32, count)
    acc = (1 << power) - rng.integers(1, 300, count)
    acc = np.clip(acc * rng.choice([-1, 1], count), -(2**31), 2**31 - 1)
    return acc, near_ties(rng, acc)


def extremes(rng: Rng, count: int) -> tuple[Any, Any]:
    accs = [
        -(2**31),
        1 - 2**31,
        2**31 - 1,
        2**31 - 64,
        2**31 - 65,
        2**24,
        2**24 + 1,
        2**24 - 1,
        0,
        1,
        -1,
        255,
    ]
    scales = [0x00800000, 0x00800001, 0x7F7FFFFF, 0x7F7FFFFE, 0, 0x80000000, 1, 0x007FFFFF, 0x80800000]
    scales += [0x3F800000, 0x3F7FFFFF, 0x3F000000, 0x3EFFFFFF, 0x3F000001, 0xBF000000, 0x2F800000, 0x30000000]
    return rng.choice(accs, count), rng.choice(np.array(scales, np.uint32), count).view(np.float32)


def dense(rng: Rng, count: int) -> tuple[Any, Any]:
    """Every accumulator of a small range, under a few scales."""
    return np.arange(count) % 80_001 - 40_000, normals(rng, count // 80_001 + 1, -12, -4).repeat(80_001)[:count]


ORDINARY = (ordinary, any_magnitude, any_normal_scale, dense)
ADVERSARIAL = (ties_and_neighbours, exact_ties, rounded_accumulators, carried_accumulators, extremes)
CORNERS = np.array([-128, -127, -65, -1, 0, 1, 64, 126, 127])


def vectors(verilated: Verilated, kind: Callable[..., Any], rng: Rng, count: int) -> NDArray[Any]:
    x = verilated.zeros("input", count // LANES)
    acc, scale = kind(rng, x.size)
    x["acc"] = acc.reshape(x.shape)
    x["scale"] = scale.view(np.uint32).reshape(x.shape)
    # Half of the elements are not clamped, so that their rounding is seen; half take corners of the bounds.
    free = rng.random(x.shape) < 0.5
    low, high = np.sort(rng.choice(CORNERS, (2, *x.shape)), axis=0)
    x["low"] = np.where(free, -128, low)
    x["high"] = np.where(free, 127, high)
    x["zero_point"] = np.where(free, rng.choice([-128, 0], x.shape), rng.choice(CORNERS, x.shape))
    return x


def check(verilated: Verilated, x: NDArray[Any], *, seed: int, stalls: bool) -> None:
    y = verilated.run({"input": x}, {"output": len(x)}, seed=seed, stalls=stalls)["output"]
    expected = golden(x)
    if not np.array_equal(y, expected):
        wrong = np.argwhere(y != expected)
        first = tuple(wrong[0])
        pytest.fail(f"{len(wrong)} of {y.size} differ; {x[first]} gives {y[first]}, not {expected[first]}")


@pytest.mark.parametrize("kind", ADVERSARIAL + ORDINARY, ids=lambda kind: kind.__name__)
def test_ten_million_vectors_equal_numpy(requantize: Verilated, kind: Callable[..., Any]) -> None:
    rounds = 3 if kind in ADVERSARIAL else 2
    for seed in range(rounds):
        x = vectors(requantize, kind, np.random.default_rng(seed), CHUNK)
        check(requantize, x, seed=seed, stalls=seed == 0)


def test_every_corner_of_zero_point_and_bounds(requantize: Verilated) -> None:
    """All (zero point, low, high) of the corner values x products around every integer that matters."""
    zero_point, low, high = (grid.ravel() for grid in np.meshgrid(CORNERS, CORNERS, CORNERS))
    keep = low <= high
    acc = np.arange(-1100, 1101)
    shape = (keep.sum(), len(acc))
    rows = -(-shape[0] * shape[1] // LANES)
    x = requantize.zeros("input", rows)
    flat = x.reshape(-1)[: shape[0] * shape[1]].reshape(shape)
    flat["acc"] = acc
    flat["scale"] = np.float32(0.25).view(np.uint32)
    for name, values in (("zero_point", zero_point), ("low", low), ("high", high)):
        flat[name] = values[keep, None]
    check(requantize, x, seed=1, stalls=True)


def test_one_multiplier_gives_the_same_bits() -> None:
    whole = verilate(Requantize(2, split_multiplier=False))
    for seed, kind in enumerate(ADVERSARIAL):
        check(whole, vectors(whole, kind, np.random.default_rng(seed), 80_000), seed=seed, stalls=True)


def test_a_vector_a_clock_after_eleven_clocks(requantize: Verilated) -> None:
    x = vectors(requantize, ordinary, np.random.default_rng(0), 8_000)
    result = requantize.run({"input": x}, {"output": len(x)}, stalls=False)
    assert (result.latency, result.clocks) == (11, len(x) + 11)
