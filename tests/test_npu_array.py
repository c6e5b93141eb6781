"""The multipliers against numpy, and the sums of blocks."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")

from amaranth.hdl import Fragment

from fieldwave.npu import Configuration
from fieldwave.npu.accumulators import MINIMUM_STEP, Accumulators
from fieldwave.npu.array import MultiplierArray
from fieldwave.npu.packed import Products
from tests.npu_bench import simulate

SMALL = Configuration(8, 4, (4096, 4096), 4096, 8, 4, block_pixels=8)


@pytest.mark.parametrize("products", [Products.PLAIN, Products.PACKED])
def test_dot_products_with_weights_swapped_under_way(products: Products) -> None:
    """Vectors flow without a gap while the next tile is loaded; extremes included. Packed products are the same
    bits in the same cycles."""
    rng = np.random.default_rng(0)
    component = MultiplierArray(SMALL)
    tiles = rng.integers(-128, 128, (6, 4, 8), dtype=np.int8)
    tiles[0], tiles[1] = -128, 127
    steps = [int(n) for n in rng.integers(SMALL.tile_beats, 9, 6)]
    vectors = [rng.integers(-128, 128, (steps[i], 8), dtype=np.int8) for i in range(6)]
    vectors[0][:], vectors[1][:] = -128, -128
    expected = [v.astype(int) @ t.astype(int).T for t, v in zip(tiles, vectors, strict=True)]
    results: list[list[int]] = []

    async def drive(ctx: Any) -> None:
        async def load(tile: int, beat: int) -> None:
            ctx.set(component.load, 1)
            ctx.set(component.load_index, beat)
            ctx.set(component.load_beat, int.from_bytes(tiles[tile].tobytes()[8 * beat : 8 * beat + 8], "little"))

        for beat in range(SMALL.tile_beats):
            await load(0, beat)
            await ctx.tick()
        for tile in range(6):
            for index, vector in enumerate(vectors[tile]):
                ctx.set(component.vectors[0], [int(x) for x in vector])
                ctx.set(component.swap, index == 0)
                ctx.set(component.load, 0)
                if index < SMALL.tile_beats and tile < 5:
                    await load(tile + 1, index)  # also in the very cycle of the swap
                await ctx.tick()
        for _ in range(component.latency):
            await ctx.tick()

    async def collect(ctx: Any) -> None:
        for _ in range(SMALL.tile_beats + component.latency):
            await ctx.tick()
        for _ in range(sum(steps)):
            results.append([ctx.get(component.dots[0][lane]) for lane in range(4)])
            await ctx.tick()

    simulate(Fragment.get(component, SimpleNamespace(products=products)), drive, collect)
    assert results == np.concatenate(expected).tolist()


@pytest.mark.parametrize("maximum", [False, True])
def test_blocks_of_every_size_accumulate(maximum: bool) -> None:
    """Steps of at least MINIMUM_STEP cycles back to back; the next block follows the last without a gap."""
    rng = random.Random(int(maximum))
    latency = 4
    component = Accumulators(SMALL, value_latency=latency)
    schedule: list[dict[str, Any]] = []
    expected: list[tuple[list[int], int, int]] = []
    for block in range(12):
        pixels, steps = rng.randint(1, 8), rng.randint(1, 4)
        values = [
            [[rng.randint(-(2**18), 2**18 - 1) for _ in range(4)] for _ in range(pixels)] for _ in range(steps)
        ]
        padding = [[rng.random() < 0.3 for _ in range(pixels)] for _ in range(steps)]
        for step in range(steps):
            for pixel in range(pixels):
                schedule.append({
                    "valid": 1, "pixel": pixel, "first": step == 0, "last": step == steps - 1,
                    "padding": padding[step][pixel], "tile_end": block % 3 == 0 and pixel == pixels - 1,
                    "values": values[step][pixel],
                })  # fmt: skip
            schedule += [{"valid": 0}] * max(0, MINIMUM_STEP - pixels)
        for pixel in range(pixels):
            lanes = [[values[step][pixel][lane] for step in range(steps)] for lane in range(4)]
            taps = sum(not padding[step][pixel] for step in range(steps))
            reduced = [max(lane) if maximum else sum(lane) for lane in lanes]
            expected.append((reduced, taps, int(block % 3 == 0 and pixel == pixels - 1)))
    results = []

    async def drive(ctx: Any) -> None:
        ctx.set(component.maximum, maximum)
        for cycle in range(len(schedule) + latency + 4):
            entry = schedule[cycle] if cycle < len(schedule) else {"valid": 0}
            for name in ("valid", "pixel", "first", "last", "padding", "tile_end"):
                ctx.set(getattr(component, name), int(entry.get(name, 0)))
            arriving = schedule[cycle - latency] if latency <= cycle < len(schedule) + latency else {}
            ctx.set(component.values, arriving.get("values", [0, 0, 0, 0]))
            if ctx.get(component.result_valid):
                result = component.result
                lanes = [ctx.get(result.lanes[lane]) for lane in range(4)]
                results.append((lanes, ctx.get(result.taps), ctx.get(result.tile_end)))
            await ctx.tick()

    simulate(component, drive)
    assert results == expected
