"""The rtl device: the gateware itself, in a cycle-exact simulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldwave.compiler import NpuSection
from fieldwave.devices.npu import DONE, KEEP, START, NpuDevice, describe_error
from fieldwave.devices.simulator import MemoryModel, Simulation
from fieldwave.errors import DeviceError
from fieldwave.npu import Configuration, configuration
from fieldwave.npu.isa import Register

__all__ = ["RtlDevice", "SimulatedCore"]

WATCHDOG = 2_000_000_000
"""Cycles after which a core is taken for hung: ten seconds at 200 MHz."""


@dataclass
class SimulatedCore:
    """Executes program images on a simulation.

    Attributes:
        simulation: the core.
        memory: how the memory behind it behaves.
        watchdog: cycles after which a program is given up.
        counters: of the last program, by name.
        beats: words that have been read from the memory and written to it, of all programs.
    """

    simulation: Simulation
    memory: MemoryModel
    watchdog: int = WATCHDOG
    counters: dict[str, int] | None = None
    beats: tuple[int, int] = (0, 0)

    def execute(self, memory: NDArray[np.uint8], section: NpuSection | None = None) -> int:
        """Run one program; see `Core.execute`. After an error the core is reset and works again.

        The program that ran last is started with KEEP: a stream that fits the weight ring is not read again.
        """
        core, base = self.simulation, self.memory.base
        again = core.memory is memory
        core.attach(memory, self.memory)
        if not again or core.read(Register.PROGRAM_LOW) | core.read(Register.PROGRAM_HIGH) << 32 != base:
            core.write(Register.PROGRAM_LOW, base & 0xFFFFFFFF)
            core.write(Register.PROGRAM_HIGH, base >> 32)
        core.write(Register.CONTROL, START | KEEP if again else START)
        if not core.run(self.watchdog):
            core.reset()
            raise DeviceError(
                f"the NPU did not finish within {self.watchdog} cycles and was reset; is the memory answering?"
            )
        if not core.read(Register.STATUS) & DONE:
            text = describe_error(core.read(Register.ERROR), core.read(Register.ERROR_ADDRESS))
            core.reset()
            raise DeviceError(text)
        self.counters = core.counters()
        read, written = self.beats
        self.beats = read + self.counters["read_beats"], written + self.counters["write_beats"]
        return self.counters["cycles"]

    def close(self) -> None:
        """Free the simulation."""
        self.simulation.close()


class RtlDevice(NpuDevice):
    """Runs packages on the simulated NPU.

    `open` builds the simulator where it is not in the cache, and raises MissingExtraError where the extra
    ``gateware`` is not installed.

    Args:
        npu: the configuration, or its name.
        memory: how the memory behind the NPU behaves.
        watchdog: cycles after which a run is given up.
    """

    name = "rtl"

    def __init__(
        self,
        *,
        npu: str | Configuration = "sim16",
        memory: MemoryModel | None = None,
        watchdog: int = WATCHDOG,
    ) -> None:
        super().__init__(
            configuration(npu) if isinstance(npu, str) else npu, npu if isinstance(npu, str) else None
        )
        self._memory = memory or MemoryModel()
        self._watchdog = watchdog

    def _power_up(self) -> SimulatedCore:
        return SimulatedCore(Simulation(self.configuration), self._memory, self._watchdog)
