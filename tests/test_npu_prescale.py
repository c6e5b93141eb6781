"""Scale-shift against Python's integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldwave.npu.prescale import Prescale
from tests.npu_verilate import Verilated, verilate

LANES, TILES, LOADS = 8, 16, 4
Rng = np.random.Generator


@pytest.fixture(scope="module")
def prescale() -> Verilated:
    return verilate(Prescale(LANES, TILES, LOADS))


def scale_shift(
    x: int, weight: int, bias: int, shift: int, zero_in: int, zero_point: int, low: int, high: int
) -> int:
    """numerics.md, word for word: sat(rne(((x-xz)*w + b) / 2^k) + yz)."""
    numerator = (x - zero_in) * weight + bias
    floor, remainder = divmod(numerator, 1 << shift)
    twice = 2 * remainder - (1 << shift)
    rounded = floor + (twice > 0 or (twice == 0 and floor % 2 == 1))
    return min(max(rounded + zero_point, low), high)


def parameters(rng: Rng, prescale: Verilated) -> NDArray[Any]:
    """A full table: weights of all sizes; biases that make ties, and others that saturate; any shift."""
    load = prescale.zeros("load", LANES * TILES // LOADS)
    load["channel"] = rng.permutation(len(load)) * LOADS
    records = load["records"]
    size = records.shape
    records["weight"] = np.where(rng.random(size) < 0.8, rng.integers(-128, 128, size), 0)
    records["shift"] = np.where(rng.random(size) < 0.9, rng.integers(0, 12, size), rng.integers(0, 32))
    ties = rng.integers(-200, 200, size) << records["shift"] | (1 << records["shift"]) >> 1
    ties = np.clip(ties, -(2**30), 2**30)
    records["bias"] = np.where(rng.random(size) < 0.5, ties, rng.integers(-(2**24), 2**24, size))
    return load


def work(rng: Rng, prescale: Verilated, count: int) -> NDArray[Any]:
    x = prescale.zeros("input", count)
    x["data"] = rng.integers(-128, 128, x["data"].shape)
    x["tile"] = rng.integers(0, TILES, count)
    scale = x["scale"]
    scale["enabled"] = rng.random(count) < 0.9
    scale["zero_in"] = rng.choice([-128, 0, 0, 17], count)
    scale["target"]["zero_point"] = rng.choice([-128, 0, 0, -1], count)
    free = rng.random(count) < 0.5
    low, high = np.sort(rng.integers(-128, 128, (2, count)), axis=0)
    scale["target"]["low"] = np.where(free, -128, low)
    scale["target"]["high"] = np.where(free, 127, high)
    return x


def golden(x: NDArray[Any], load: NDArray[Any]) -> NDArray[np.int8]:
    """The same in numpy, for many; ``test_golden_is_the_formula`` holds it against the formula."""
    order = np.argsort(load["channel"])
    table = {}
    for name in ("weight", "bias", "shift"):
        table[name] = load["records"][name][order].astype(np.int64).reshape(TILES, LANES)[x["tile"]]
    scale = x["scale"]
    numerator = (x["data"] - scale["zero_in"].astype(np.int64)[:, None]) * table["weight"] + table["bias"]
    floor = numerator >> table["shift"]
    twice = 2 * (numerator - (floor << table["shift"]))
    one = 1 << table["shift"]
    y = floor + ((twice > one) | ((twice == one) & (floor % 2 == 1)))
    target = {name: scale["target"][name].astype(np.int64)[:, None] for name in scale["target"].dtype.names}
    y = np.minimum(np.maximum(y + target["zero_point"], target["low"]), target["high"])
    return np.where(scale["enabled"][:, None] == 1, y, x["data"]).astype(np.int8)


def run(prescale: Verilated, load: NDArray[Any], x: NDArray[Any], **options: Any) -> Any:
    """One run to load the table, with vectors that do not matter while it loads, and then ``x``."""
    ahead = prescale.zeros("input", 40 * LOADS * len(load))
    result = prescale.run(
        {"load": load, "input": np.concatenate([ahead, x])}, {"output": len(ahead) + len(x)}, **options
    )
    return result["output"][len(ahead) :]


def test_a_million_numbers_equal_the_integers(prescale: Verilated) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        load, x = parameters(rng, prescale), work(rng, prescale, 20_000)
        assert np.array_equal(run(prescale, load, x, seed=seed), golden(x, load))


def test_golden_is_the_formula(prescale: Verilated) -> None:
    rng = np.random.default_rng(0)
    load, x = parameters(rng, prescale), work(rng, prescale, 1_000)
    x["scale"]["enabled"] = 1
    rows = {int(row["channel"]) + i: row["records"][i] for row in load for i in range(LOADS)}
    for vector, result in zip(x, golden(x, load), strict=True):
        for lane, value in enumerate(vector["data"]):
            row = rows[int(vector["tile"]) * LANES + lane]
            numbers = (int(value), *(int(row[name]) for name in ("weight", "bias", "shift")))
            layer = (vector["scale"]["zero_in"], *vector["scale"]["target"])
            assert result[lane] == scale_shift(*numbers, *map(int, layer))


def test_every_input_under_every_weight(prescale: Verilated) -> None:
    """All 65,536 products, a tie for one in 2**shift of them."""
    for first in range(-128, 128, LANES * TILES):
        load = prescale.zeros("load", LANES * TILES // LOADS)
        load["channel"] = np.arange(len(load)) * LOADS
        number = np.arange(LANES * TILES).reshape(-1, LOADS)
        load["records"]["weight"] = first + number
        load["records"]["bias"] = number - 64
        load["records"]["shift"] = 6
        x = prescale.zeros("input", 256 * TILES)
        x["tile"] = np.arange(TILES).repeat(256)
        x["data"] = np.tile(np.arange(-128, 128), TILES)[:, None]
        x["scale"] = (1, -128, (-128, -128, 127))
        assert np.array_equal(run(prescale, load, x), golden(x, load))


def test_a_vector_a_clock_after_nine_clocks(prescale: Verilated) -> None:
    x = prescale.zeros("input", 1_000)
    x["data"] = np.arange(8_000).reshape(-1, LANES)
    result = prescale.run({"load": prescale.zeros("load", 0), "input": x}, {"output": len(x)}, stalls=False)
    assert np.array_equal(result["output"], x["data"])
    assert (result.latency, result.clocks) == (9, len(x) + 9)
