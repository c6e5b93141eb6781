"""The weight stream: order, handshake, reuse of the ring; against the order that docs/npu.md gives."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")

from fieldwave.npu import Configuration
from fieldwave.npu.isa import Opcode
from fieldwave.npu.weights import WeightStream, weight_latency
from tests.npu_bench import pulse, set_record, simulate

SMALL = Configuration(8, 8, (4096, 4096), 1024, 16, 8, block_pixels=16)
SCALING = Configuration(8, 8, (4096, 4096), 1024, 16, 8, block_pixels=16, prescale_words=4)


def memory(component: WeightStream, rng: random.Random) -> Any:
    """Beats whose content is their number, after a random wait."""

    async def bench(ctx: Any) -> None:
        pending: list[int] = []
        while True:
            ctx.set(component.bursts.ready, rng.random() < 0.5)
            send = bool(pending) and rng.random() < 0.8
            ctx.set(component.beat_valid, send)
            if send:
                ctx.set(component.beat, pending.pop(0))
            _, _, asked, burst = await ctx.tick().sample(
                component.bursts.valid & component.bursts.ready, component.bursts.payload
            )
            if asked:
                first = burst.offset // SMALL.port_bytes
                pending += range(first, first + burst.beats)

    return bench


@pytest.mark.parametrize("configuration", [SMALL, SCALING], ids=["plain", "scaling"])
@pytest.mark.parametrize("seed", range(4))
def test_tiles_come_in_the_order_of_use(configuration: Configuration, seed: int) -> None:
    rng = random.Random(seed)
    component = WeightStream(configuration)
    start = 5  # beats before the stream
    parameters, tile = configuration.parameter_beats, configuration.tile_beats
    layers = []
    for _ in range(3):
        repeat = rng.random() < 0.4
        steps = rng.randint(1, 20 if repeat else 10)
        layers.append({
            "opcode": Opcode.CONV if rng.random() < 0.8 else Opcode.SUM, "tiles": rng.randint(1, 3),
            "blocks": rng.randint(1, 3), "steps": steps, "repeat": int(repeat),
        })  # fmt: skip
    place = start
    expected: list[tuple[list[list[int]], list[list[int]]]] = []
    for layer in layers:
        tiles: list[list[int]] = []
        parameter_blocks: list[list[int]] = []
        for _ in range(layer["tiles"]):
            parameter_blocks.append(list(range(place, place + parameters)))
            place += parameters
            if layer["opcode"] == Opcode.SUM:
                continue
            size = layer["steps"] * tile
            for _ in range(layer["blocks"]):
                tiles += [list(range(place + s * tile, place + (s + 1) * tile)) for s in range(layer["steps"])]
                if layer["repeat"]:
                    place += size
            if not layer["repeat"]:
                place += size
        expected.append((tiles, parameter_blocks))

    async def bench(ctx: Any) -> None:
        ctx.set(component.stream_offset, start * configuration.port_bytes)
        ctx.set(component.stream_beats, place - start)
        await pulse(ctx, component.stream_start)
        for layer, (tiles, parameter_blocks) in zip(layers, expected, strict=True):
            set_record(ctx, component.compute, layer)
            await pulse(ctx, component.start)
            shadow = [0] * tile
            seen_tiles: list[list[int]] = []
            seen_parameters: list[list[int]] = []
            late: list[int] = []  # cycles until the array swaps: one more than the weights' way
            delay = weight_latency(configuration) + 1
            for _ in range(20_000):
                if late and late[0] == 0:
                    late.pop(0)
                    seen_tiles.append(list(shadow))
                late = [cycles - 1 for cycles in late]
                if ctx.get(component.load):
                    shadow[ctx.get(component.load_index)] = ctx.get(component.load_beat)
                take = ctx.get(component.tile_ready) and rng.random() < 0.6
                ctx.set(component.tile_take, take)
                if take:
                    late.append(delay - 1)
                ready = rng.random() < 0.2
                ctx.set(component.parameters.ready, ready)
                if ready and ctx.get(component.parameters.valid):
                    value = ctx.get(component.parameters.payload.as_value())
                    beats = [value >> i * configuration.port_bits & (1 << 32) - 1 for i in range(parameters)]
                    seen_parameters.append(beats)
                await ctx.tick()
                if len(seen_tiles) == len(tiles) and len(seen_parameters) == len(parameter_blocks) and not late:
                    break
            ctx.set(component.tile_take, 0)
            ctx.set(component.parameters.ready, 0)
            assert seen_tiles == tiles
            assert seen_parameters == parameter_blocks
            assert not ctx.get(component.busy)
        assert not ctx.get(component.overflow)

    simulate(component, bench, background=(memory(component, rng),))


def test_a_tile_takes_no_more_cycles_than_it_has_beats() -> None:
    rng = random.Random(0)
    component = WeightStream(SMALL)
    layer = {"opcode": Opcode.CONV, "tiles": 1, "blocks": 4, "steps": 8}

    async def bench(ctx: Any) -> None:
        ctx.set(component.stream_beats, SMALL.parameter_beats + 8 * SMALL.tile_beats)
        await pulse(ctx, component.stream_start)
        for _ in range(200):
            await ctx.tick()
        set_record(ctx, component.compute, layer)
        await pulse(ctx, component.start)
        takes = []
        for cycle in range(300):
            take = ctx.get(component.tile_ready)
            ctx.set(component.tile_take, take)
            if take:
                takes.append(cycle)
            await ctx.tick()
        assert len(takes) == 32
        assert {later - earlier for earlier, later in pairwise(takes)} == {SMALL.tile_beats}

    simulate(component, bench, background=(memory(component, rng),))


def test_weights_that_exceed_the_ring_are_reported() -> None:
    rng = random.Random(0)
    component = WeightStream(SMALL)
    steps = SMALL.ring_beats // SMALL.tile_beats + 1

    async def bench(ctx: Any) -> None:
        ctx.set(component.stream_beats, SMALL.parameter_beats + steps * SMALL.tile_beats)
        await pulse(ctx, component.stream_start)
        set_record(ctx, component.compute, {"opcode": Opcode.CONV, "tiles": 1, "blocks": 2, "steps": steps})
        await pulse(ctx, component.start)
        for _ in range(1000):
            ctx.set(component.tile_take, ctx.get(component.tile_ready))
            await ctx.tick()
        assert ctx.get(component.overflow)

    simulate(component, bench, background=(memory(component, rng),))
