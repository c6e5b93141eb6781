"""Loop nests: the tokens and the places against plain Python loops, under random stalls."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")

from fieldwave.npu import Configuration
from fieldwave.npu.address import AddressGenerator
from fieldwave.npu.isa import Opcode
from fieldwave.npu.walk import Walk
from tests.npu_assembler import Program, Tensor, output_size
from tests.npu_bench import pulse, set_record, simulate, take

SQUARE = Configuration(8, 8, (4096, 4096), 4096, 8, 8, block_pixels=16)
NARROW = Configuration(16, 8, (4096, 4096), 4096, 8, 8, block_pixels=16)


def descriptor(configuration: Configuration, rng: random.Random, opcode: Opcode) -> dict[str, int]:
    """A layer of random shape."""
    while True:
        height, width = rng.randint(1, 7), rng.randint(1, 7)
        rows, columns = rng.randint(1, 3), rng.randint(1, 3)
        stride, dilation = (rng.randint(1, 3), rng.randint(1, 3)), (rng.randint(1, 2), rng.randint(1, 2))
        pads = [rng.randint(0, 2) for _ in range(4)]
        out_height = output_size(height, rows, stride[0], dilation[0], pads[0], pads[2])
        out_width = output_size(width, columns, stride[1], dilation[1], pads[1], pads[3])
        if out_height > 0 and out_width > 0:
            break
    x = Tensor(0, rng.randint(0, 50), height, width, rng.randint(1, 40))
    y = Tensor(1, rng.randint(0, 50), out_height, out_width, rng.randint(1, 40))
    words = x.words_per_pixel(configuration)
    geometry: dict[str, Any] = {"stride": stride, "dilation": dilation, "pad": (pads[0], pads[1])}
    values = Program(configuration)._window(opcode, x, y, rows, columns, pad_value=0, **geometry)
    if opcode == Opcode.CONV:
        return values | {"input_tiles": words, "steps": rows * columns * words}
    return values | {"input_tiles": 1, "steps": rows * columns, "input_tile_step": 1}


def tokens(configuration: Configuration, d: dict[str, int]) -> list[dict[str, int]]:
    """The loop nest of docs/npu.md, with multiplications."""
    found = []
    for tile in range(d["tiles"]):
        word_of_tile = tile // configuration.slices * d.get("input_tile_step", 0)
        for block in range(d["blocks"]):
            pixels = d["last_pixels"] if block == d["blocks"] - 1 else d["block_pixels"]
            taps = [(ky, kx, word) for ky in range(d["kernel_height"]) for kx in range(d["kernel_width"])
                    for word in range(d["input_tiles"])]  # fmt: skip
            for step, (ky, kx, word) in enumerate(taps):
                for pixel in range(pixels):
                    oy, ox = divmod(block * d["block_pixels"] + pixel, d["output_width"])
                    y = oy * d["stride_y"] + ky * d["dilation_y"] + d["start_y"]
                    x = ox * d["stride_x"] + kx * d["dilation_x"] + d["start_x"]
                    address = d["input_base"] + oy * d["input_y_step"] + ox * d["input_x_step"]
                    address += ky * d["tap_y_step"] + kx * d["tap_x_step"] + word + word_of_tile
                    found.append({
                        "address": address % (1 << 24),
                        "padding": int(not (0 <= y < d["input_height"] and 0 <= x < d["input_width"])),
                        "pixel": pixel, "slice": tile % configuration.slices, "channel_word": word + word_of_tile,
                        "swap": int(pixel == 0), "first": int(step == 0), "last": int(step == len(taps) - 1),
                        "tile_end": int((step, pixel, block) == (len(taps) - 1, pixels - 1, d["blocks"] - 1)),
                    })  # fmt: skip
    return found


@pytest.mark.parametrize("opcode", [Opcode.CONV, Opcode.MAX])
@pytest.mark.parametrize("configuration", [SQUARE, NARROW], ids=["square", "narrow"])
@pytest.mark.parametrize("seed", range(4))
def test_tokens(configuration: Configuration, opcode: Opcode, seed: int) -> None:
    rng = random.Random(seed)
    component = AddressGenerator(configuration)
    layers = [descriptor(configuration, rng, opcode) for _ in range(2)]

    async def bench(ctx: Any) -> None:
        for layer in layers:
            set_record(ctx, component.compute, layer)
            await pulse(ctx, component.start)
            for expected in tokens(configuration, layer)[:3000]:
                token = await take(ctx, component.tokens, rng, ready=0.9)
                place = token.lanes[0]
                found = {"address": place.address, "padding": place.padding, "tile_end": place.tile_end}
                shared = {name: token[name] for name in expected if name not in found}
                assert found | shared == expected and place.present
            if len(tokens(configuration, layer)) > 3000:
                return
            assert not ctx.get(component.busy)

    simulate(component, bench)


@pytest.mark.parametrize("configuration", [SQUARE, NARROW], ids=["square", "narrow"])
def test_places(configuration: Configuration) -> None:
    rng = random.Random(1)
    component = Walk(configuration)
    tiles, height, width, base, x_step, y_step, tile_step = 5, 3, 4, 100, 7, 40, 300

    async def bench(ctx: Any) -> None:
        set_record(ctx, component.compute, {"tiles": tiles, "output_height": height, "output_width": width})
        for name, value in (("base", base), ("x_step", x_step), ("y_step", y_step), ("tile_step", tile_step)):
            ctx.set(getattr(component, name), value)
        await pulse(ctx, component.start)
        for tile in range(tiles):
            for y in range(height):
                for x in range(width):
                    place = await take(ctx, component.places, rng)
                    word = tile // configuration.slices
                    assert place.address == base + word * tile_step + y * y_step + x * x_step
                    assert place.slice == tile % configuration.slices
                    assert place.last == ((tile, y, x) == (tiles - 1, height - 1, width - 1))
        assert not ctx.get(component.places.valid)

    simulate(component, bench)
