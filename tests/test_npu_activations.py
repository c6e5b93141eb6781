"""Banks, transfers and bursts against plain memories, under random stalls."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")

from fieldwave.npu import Configuration
from fieldwave.npu.activations import READ_LATENCY, Activations
from fieldwave.npu.bursts import Bursts
from fieldwave.npu.dma import Dma
from fieldwave.npu.isa import Opcode
from tests.npu_bench import fragile_slice, give, pulse, set_record, simulate, take

NARROW = Configuration(16, 8, (256, 512), 4096, 16, 8, block_pixels=16)


def test_readers_get_their_words_and_slices_are_written_alone() -> None:
    rng = random.Random(0)
    component = Activations(NARROW, readers=(0, 0), writers=2)
    contents = [[0] * 16, [0] * 32]
    answered = []

    async def bench(ctx: Any) -> None:
        for bank, depth in enumerate((16, 32)):
            for address in range(depth):
                word = rng.getrandbits(128)
                await give(ctx, component.writes[address % 2],
                           {"bank": bank, "address": address, "word": word, "mask": 3}, rng)  # fmt: skip
                half = rng.getrandbits(128)
                await give(ctx, component.writes[0],
                           {"bank": bank, "address": address, "word": half, "mask": 2}, rng)  # fmt: skip
                low = (1 << 64) - 1
                contents[bank][address] = word & low | half & ~low
        waiting: list[list[Any]] = [[], []]
        for cycle in range(400):
            for reader in range(2):
                if waiting[reader] and waiting[reader][0][0] == cycle:
                    _, bank, address = waiting[reader].pop(0)
                    answered.append(ctx.get(component.words[reader]) == contents[bank][address])
            asked = []
            for port in component.reads:
                bank = rng.randrange(2)
                request = {"bank": bank, "address": rng.randrange((16, 32)[bank])}
                ctx.set(port.payload, request)
                ctx.set(port.valid, rng.random() < 0.8)
                asked.append((bank, request["address"]))
            assert ctx.get(component.reads[0].ready), "the first reader never waits"
            for reader, port in enumerate(component.reads):
                if ctx.get(port.valid) and ctx.get(port.ready):
                    waiting[reader].append((cycle + READ_LATENCY, *asked[reader]))
            both = ctx.get(component.reads[0].valid) and ctx.get(component.reads[1].valid)
            if both:
                assert ctx.get(component.reads[1].ready) == (asked[0][0] != asked[1][0])
            await ctx.tick()
        assert not ctx.get(component.outside)

    simulate(component, bench)
    assert len(answered) > 300 and all(answered)


def test_what_is_read_while_it_is_written_may_be_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory with which `test_compiler_rtl.py` shows that no program relies on it does spoil such slices."""
    monkeypatch.setattr(Activations, "_slice", fragile_slice)
    component = Activations(NARROW, readers=(0,), writers=1)

    async def bench(ctx: Any) -> None:
        write, read = component.writes[0], component.reads[0]
        ctx.set(write.payload, {"bank": 0, "address": 5, "word": 77, "mask": 3})
        ctx.set(write.valid, 1)
        await ctx.tick()
        ctx.set(write.payload, {"bank": 0, "address": 5, "word": 78, "mask": 1})
        ctx.set(read.payload, {"bank": 0, "address": 5})
        ctx.set(read.valid, 1)
        await ctx.tick()
        ctx.set(write.valid, 0)
        await ctx.tick().repeat(READ_LATENCY - 1)
        assert ctx.get(component.words[0]) == ~77 & (1 << 64) - 1, (
            "the slice that was written is spoiled, no other"
        )
        await ctx.tick()
        assert ctx.get(component.words[0]) == 78

    simulate(component, bench)


@pytest.mark.parametrize(("port", "bank", "address"), [("reads", 0, 16), ("reads", 1, 32), ("writes", 0, 1 << 23)])
def test_an_address_outside_is_reported_and_nothing_is_written(port: str, bank: int, address: int) -> None:
    component = Activations(NARROW, readers=(0, 0), writers=2)

    async def bench(ctx: Any) -> None:
        rng = random.Random(0)
        await give(ctx, component.writes[1], {"bank": bank, "address": 0, "word": 77, "mask": 3}, rng)
        request = {"bank": bank, "address": address}
        if port == "writes":
            request |= {"word": 1, "mask": 3}
        await give(ctx, getattr(component, port)[0], request, rng)
        assert ctx.get(component.outside) and ctx.get(component.outside_transfer)
        assert ctx.get(component.outside_address) == address
        await give(ctx, component.reads[1], {"bank": bank, "address": 0}, rng)
        await ctx.tick().repeat(READ_LATENCY - 1)
        assert ctx.get(component.words[1]) == 77

    simulate(component, bench)


def test_bursts_cover_every_row_and_never_cross_a_page() -> None:
    configuration = Configuration(16, 16, (256, 256), 1 << 14, 64, 16)
    component = Bursts(configuration)
    rng = random.Random(0)

    async def bench(ctx: Any) -> None:
        for rows, row_beats, offset, step in ((1, 1, 64, 0), (3, 37, 4032, 8192), (4, 2, 0, 64), (1, 200, 640, 0)):
            for name, value in (("rows", rows), ("row_beats", row_beats), ("offset", offset), ("row_step", step)):
                ctx.set(getattr(component, name), value)
            await pulse(ctx, component.start)
            covered = []
            while ctx.get(component.busy):
                burst = await take(ctx, component.bursts, rng)
                assert 1 <= burst.beats <= configuration.burst_beats
                assert burst.offset // 4096 == (burst.offset + burst.beats * 64 - 1) // 4096
                covered += [burst.offset + 64 * beat for beat in range(burst.beats)]
            assert covered == [offset + row * step + 64 * beat for row in range(rows) for beat in range(row_beats)]

    simulate(component, bench)


@pytest.mark.parametrize("port_bytes", [8, 16, 64], ids=["two beats a word", "a beat a word", "four words a beat"])
@pytest.mark.parametrize("opcode", [Opcode.LOAD, Opcode.STORE])
def test_transfers_move_rows_and_invert_the_top_bits(port_bytes: int, opcode: Opcode) -> None:
    configuration = Configuration(16, 16, (1024, 1024), 1 << 14, port_bytes, 16)
    rng = random.Random(port_bytes)
    component = Dma(configuration)
    rows, row_words, base, row_step = 3, 7, 5, 11
    row_bytes = -(-row_words * 16 // port_bytes) * port_bytes
    memory_step = row_bytes + port_bytes
    transfer = {
        "opcode": opcode, "bank": 1, "rows": rows, "row_words": row_words, "bank_base": base,
        "bank_row_step": row_step, "memory_offset": 192, "memory_row_step": memory_step,
    }  # fmt: skip
    memory = bytearray(rng.randbytes(4096))
    bank = [rng.getrandbits(128) for _ in range(64)]
    expected_memory, expected_bank = bytearray(memory), list(bank)
    flip = int.from_bytes(bytes([0x80] * 16), "little")
    for row in range(rows):
        for word in range(row_words):
            place, address = 192 + row * memory_step + word * 16, base + row * row_step + word
            if opcode == Opcode.LOAD:
                expected_bank[address] = int.from_bytes(memory[place : place + 16], "little") ^ flip
            else:
                expected_memory[place : place + 16] = (bank[address] ^ flip).to_bytes(16, "little")

    async def load(ctx: Any) -> None:
        while True:
            burst = await take(ctx, component.load_bursts, rng)
            for beat in range(burst.beats):
                place = burst.offset + beat * port_bytes
                ctx.set(component.beat, int.from_bytes(memory[place : place + port_bytes], "little"))
                ctx.set(component.beat_valid, 1)
                await ctx.tick()
                ctx.set(component.beat_valid, 0)
                while rng.random() < 0.3:
                    await ctx.tick()

    async def store(ctx: Any) -> None:
        while True:
            burst = await take(ctx, component.store_bursts, rng)
            ctx.set(component.writing, 1)
            for beat in range(burst.beats):
                payload = await take(ctx, component.store_beat, rng)
                for byte in range(port_bytes):
                    if payload.strobe >> byte & 1:
                        memory[burst.offset + beat * port_bytes + byte] = payload.data >> 8 * byte & 0xFF
            ctx.set(component.writing, 0)

    async def write_bank(ctx: Any) -> None:
        while True:
            write = await take(ctx, component.writes[0], rng)
            assert (write.bank, write.mask) == (1, 1)
            bank[write.address] = write.word

    async def read_bank(ctx: Any) -> None:
        answers = [0, 0]
        while True:
            ready = rng.random() < 0.6
            ctx.set(component.read.ready, ready)
            asked = ctx.get(component.read.valid) and ready
            answers.append(bank[ctx.get(component.read.payload.address)] if asked else 0)
            await ctx.tick()
            ctx.set(component.word, answers[-READ_LATENCY])

    async def bench(ctx: Any) -> None:
        for _ in range(2):
            set_record(ctx, component.transfer, transfer)
            await pulse(ctx, component.start)
            for _ in range(3000):
                _, _, done = await ctx.tick().sample(component.done)
                if done:
                    break
            assert done

    simulate(component, bench, background=(load, store, write_bank, read_bank))
    assert memory == expected_memory
    assert bank == expected_bank
