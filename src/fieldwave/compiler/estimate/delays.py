"""Cycles between two points of the hardware: the depths of its pipelines, which the gateware defines.

They are written down again because the estimator runs where the gateware's tools are not installed; a test holds
them to the gateware's own.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldwave.npu import Configuration
from fieldwave.npu.isa import Opcode

__all__ = ["Delays", "delays_of"]

READ = 3
"""From a granted request to a bank to its word."""
PRESCALE = 9
"""The scale-shift unit, where there is one."""
REQUANTIZE = 11
RESIDUAL = 8
LOOKUP = 3
DIVIDE = 23
COLUMNS = 1
"""The register before the write, where a fused pool keeps its columns."""
RING = 3
"""From the ring's address to its beat."""
QUEUE = 2
"""From a result entering the queue behind the accumulators to its leaving it."""
LEVELS_PER_REGISTER = 2
MINIMUM_STEP = 4
"""Cycles between two values of one pixel."""
OUTSTANDING = 16
"""Bursts in flight in each direction."""
STORE_QUEUE = 8
YIELDING_BURSTS = 4
"""Bursts of weights in flight while a LOAD asks for its own."""
LOAD_BURSTS = 8
"""Longest bursts that fit the queue of a LOAD."""


@dataclass(frozen=True)
class Delays:
    """The cycles of one configuration.

    Attributes:
        late: what the scale-shift unit adds to the way of a vector, and to that of a weight.
        result: from a vector's issue to the earliest cycle in which its result leaves the queue of results.
        serial: cycles in which the requantizer takes one vector of results.
        divide_serial: cycles in which the divider does.
    """

    late: int
    result: int
    serial: int
    divide_serial: int
    lookup: int

    def finish(self, opcode: int, *, residual: bool) -> int:
        """From a result's leaving its queue to its being written."""
        if opcode == Opcode.MAX:
            return 1 + self.lookup + COLUMNS
        if opcode == Opcode.AVERAGE:
            return self.divide_serial + DIVIDE + (self.divide_serial > 1) + self.lookup + COLUMNS
        joined = int(self.serial > 1)
        return self.serial + REQUANTIZE + residual * RESIDUAL + joined + self.lookup + COLUMNS

    def occupied(self, opcode: int) -> int:
        """Cycles in which a result occupies the unit behind its queue."""
        if opcode == Opcode.MAX:
            return 1
        return self.divide_serial if opcode == Opcode.AVERAGE else self.serial


def delays_of(configuration: Configuration) -> Delays:
    """The delays of ``configuration``."""
    late = PRESCALE if configuration.prescale_words else 0
    levels = configuration.input_lanes.bit_length() - 1
    array = 2 + -(-levels // LEVELS_PER_REGISTER)
    return Delays(
        late=late,
        result=READ + late + 1 + array + 1 + QUEUE,
        serial=configuration.output_lanes // configuration.requantizer_lanes,
        divide_serial=configuration.output_lanes // max(1, configuration.requantizer_lanes // 4),
        lookup=LOOKUP if configuration.lookup else 0,
    )
