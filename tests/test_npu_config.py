"""Configurations: what follows from the parameters, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from fieldwave.errors import InputError, NotFoundError
from fieldwave.npu import CONFIGURATIONS, configuration

SIM16 = CONFIGURATIONS["sim16"]


def test_derived_sizes() -> None:
    assert SIM16.multipliers == 256
    assert SIM16.bank_words == (65536, 65536)
    assert (SIM16.tile_beats, SIM16.parameter_beats, SIM16.record_beats) == (16, 12, 8)
    zcu104 = configuration("zcu104")
    assert (zcu104.slices, zcu104.tile_beats, zcu104.parameter_beats) == (2, 32, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_lanes": 12}, "input_lanes must be a power of two, not 12"),
        ({"output_lanes": 32}, "output_lanes must not exceed input_lanes, but 32 > 16"),
        ({"requantizer_lanes": 32}, "requantizer_lanes must not exceed output_lanes, but 32 > 16"),
        ({"pixel_lanes": 3}, "pixel_lanes must be 1, 2 or 4, not 3"),
        ({"port_bytes": 2}, "port_bytes must be 4 to 512, one AXI4 data bus or up to four side by side, not 2"),
        ({"port_bytes": 128}, "port_bytes must be at most a quarter of a weight tile, but 128 > 16 x 16 / 4"),
        ({"block_pixels": 4}, "block_pixels must be at least 8, not 4"),
        ({"bank_bytes": (1024, 1000)}, "bank_bytes must be whole words of 16 bytes, not 1000"),
        ({"ring_bytes": 3 << 16}, "ring_bytes must be a power of two and at least 1024, not 196608"),
        ({"ring_bytes": 512}, "ring_bytes must be a power of two and at least 1024, not 512"),
    ],
)
def test_impossible_parameters_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        replace(SIM16, **changes)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_the_fingerprint_changes_with_every_parameter() -> None:
    variants = [
        SIM16, replace(SIM16, output_lanes=8), replace(SIM16, bank_bytes=(1 << 20, 1 << 19)),
        replace(SIM16, ring_bytes=1 << 17), replace(SIM16, port_bytes=32), replace(SIM16, requantizer_lanes=8),
        replace(SIM16, block_pixels=64),
    ]  # fmt: skip
    assert len({variant.fingerprint for variant in variants}) == len(variants)
    assert SIM16.fingerprint == replace(SIM16).fingerprint < 1 << 64


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(NotFoundError) as error:
        configuration("huge")
    assert str(error.value) == f"no NPU configuration 'huge'; there are {', '.join(CONFIGURATIONS)}"


def test_the_contract_needs_no_gateware_packages() -> None:
    """Compiler and runtime use it where Amaranth is not installed."""
    program = (
        "import sys; sys.modules['amaranth'] = None\n"
        "import fieldwave.npu, fieldwave.npu.isa as isa\n"
        "print(isa.disassemble(isa.COMPUTE.encode({'opcode': 1})))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "['END']\n"
