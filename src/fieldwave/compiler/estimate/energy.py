"""What a program moves and multiplies, and what that costs: a proxy of energy, to compare by.

The prices are those of a 45 nm chip at 0.9 V (M. Horowitz, "Computing's energy problem (and what we can do about
it)", ISSCC 2014, figure 1.1.9): an 8-bit product 0.2 pJ and a 32-bit addition 0.1 pJ; 64 bits from a memory of
32 KB 20 pJ, from one of 1 MB 100 pJ, from DRAM 1.3 nJ. An FPGA takes several times as much for logic, and what it
takes at rest on top. So these are no watts: they say which of two configurations moves less, and where bytes go.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldwave.compiler.records import Records, pixels_of, stream_beats, transfer_bytes, vectors_of
from fieldwave.npu import Configuration
from fieldwave.npu.isa import Opcode

__all__ = ["Energy", "energy_of"]

MULTIPLY_ADD = 0.3
"""Picojoules of one product and its addition."""
ON_CHIP_BYTE = 100 / 8
"""Of a byte of activation memory or ring."""
ACCUMULATOR_BYTE = 20 / 8
"""Of a byte of the accumulators' memory."""
DRAM_BYTE = 1300 / 8


@dataclass(frozen=True)
class Energy:
    """Of one image, on the NPU.

    Attributes:
        products: multiplications that the array makes, those with zeros that fill its lanes included.
        activation_bytes: read from and written to the banks.
        ring_bytes: written to and read from the weight ring.
        accumulator_bytes: read from and written to the accumulators.
        memory_bytes: through the memory port.
    """

    products: int
    activation_bytes: int
    ring_bytes: int
    accumulator_bytes: int
    memory_bytes: int

    @property
    def microjoules(self) -> float:
        """All of it at the prices above."""
        on_chip = (self.activation_bytes + self.ring_bytes) * ON_CHIP_BYTE
        accumulators = self.accumulator_bytes * ACCUMULATOR_BYTE
        return (self.products * MULTIPLY_ADD + on_chip + accumulators + self.memory_bytes * DRAM_BYTE) / 1e6

    def __add__(self, other: Energy) -> Energy:
        return Energy(
            self.products + other.products,
            self.activation_bytes + other.activation_bytes,
            self.ring_bytes + other.ring_bytes,
            self.accumulator_bytes + other.accumulator_bytes,
            self.memory_bytes + other.memory_bytes,
        )


def energy_of(records: Records, configuration: Configuration) -> Energy:
    """What a program's descriptors add up to."""
    products = activations = ring = accumulators = memory = 0
    for one in records.compute:
        vectors = vectors_of(one) * configuration.pixel_lanes
        results = one["tiles"] * pixels_of(one) * configuration.pixel_lanes * configuration.output_lanes
        if one["opcode"] == Opcode.CONV:
            products += vectors * configuration.input_lanes * configuration.output_lanes
        activations += vectors * configuration.input_lanes + results * (1 + one["residual"])
        accumulators += 2 * 4 * vectors * configuration.output_lanes
        beats = stream_beats(one, configuration)
        ring += 2 * beats * configuration.port_bytes
        if one["opcode"] == Opcode.CONV and not one["repeat"]:  # read again for every further block
            again = one["tiles"] * one["steps"] * (one["blocks"] - 1) * configuration.tile_beats
            ring += again * configuration.port_bytes
        memory += beats * configuration.port_bytes
    for one in records.transfer:
        moved = transfer_bytes(one, configuration)
        activations += moved
        memory += moved
    return Energy(products, activations, ring, accumulators, memory)
