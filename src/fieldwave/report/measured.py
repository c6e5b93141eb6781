"""Timelines of a real run: the gateware in simulation, with its trace and counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.compiler import Compiled
from fieldwave.compiler.records import read_records
from fieldwave.compiler.timeline import Timeline, measured_timeline
from fieldwave.package import Package

if TYPE_CHECKING:
    from fieldwave.devices.rtl import SimulatedCore
    from fieldwave.devices.simulator import MemoryModel

__all__ = ["measure"]


def measure(
    compiled: Compiled, package: Package, inputs: Mapping[str, NDArray[Any]], memory: MemoryModel
) -> tuple[list[Timeline], dict[str, NDArray[Any]]]:
    """Run one image on the simulated NPU.

    Args:
        compiled: the network, compiled for one NPU.
        package: where it comes from.
        inputs: the network's inputs, by name.
        memory: how the memory behind the NPU behaves.

    Returns:
        A timeline for each NPU section, and every tensor that a section leaves.

    Raises:
        MissingExtraError: ``fieldwave[gateware]`` is not installed.
        DeviceError: the simulation cannot be built, or the NPU stopped with an error.
    """
    from fieldwave.devices.rtl import SimulatedCore
    from fieldwave.devices.sections import Network
    from fieldwave.devices.simulator import Simulation

    configuration = compiled.plans[0].configuration
    with Simulation(configuration) as simulation:
        recorder = _Recorder(compiled, SimulatedCore(simulation, memory))
        outputs = [spec.name for spec in package.manifest.outputs]
        tensors, _ = Network(compiled.program, recorder, inputs=list(inputs), outputs=outputs).run(inputs)
    return recorder.timelines, tensors


@dataclass
class _Recorder:
    """A core that keeps the timeline of every program it executes; they come in the order of the sections."""

    compiled: Compiled
    core: SimulatedCore
    timelines: list[Timeline] = field(default_factory=list)

    def execute(self, memory: NDArray[np.uint8]) -> int:
        cycles = self.core.execute(memory)
        image = self.compiled.images[len(self.timelines)]
        simulation, configuration = self.core.simulation, self.core.simulation.configuration
        records = read_records(image.data, configuration)
        assert self.core.counters is not None
        self.timelines.append(
            measured_timeline(
                records,
                configuration,
                (simulation.trace(0, len(records.compute)), simulation.trace(1, len(records.transfer))),
                self.core.counters,
                (
                    [task.label for task in image.tasks if task.queue == "compute"],
                    [task.label for task in image.tasks if task.queue == "transfer"],
                ),
            )
        )
        return cycles
