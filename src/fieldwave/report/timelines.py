"""Timelines to draw: estimated, or measured on the gateware in simulation by its trace and counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.compiler import Compiled
from fieldwave.compiler.emit import Image
from fieldwave.compiler.estimate import Memory, estimate_image
from fieldwave.compiler.records import read_records
from fieldwave.compiler.timeline import Timeline, measured_timeline
from fieldwave.package import Package
from fieldwave.report.facts import Board

if TYPE_CHECKING:
    from fieldwave.compiler import NpuSection
    from fieldwave.devices.rtl import SimulatedCore

__all__ = ["Recorder", "estimate", "measure"]


def estimate(compiled: Compiled, board: Board) -> list[Timeline]:
    """A timeline for each NPU section, without running anything.

    Raises:
        InputError: a clock, a bandwidth or a latency that no board has.
    """
    memory = Memory(board.bandwidth / board.clock, board.latency)
    return [
        estimate_image(image.data, plan.configuration, memory, _labels(image))
        for plan, image in zip(compiled.plans, compiled.images, strict=True)
    ]


def measure(
    compiled: Compiled, package: Package, inputs: Mapping[str, NDArray[Any]], board: Board
) -> list[Timeline]:
    """Run one image on the simulated NPU.

    Args:
        compiled: the network, compiled for one NPU.
        package: where it comes from.
        inputs: the network's inputs, by name.
        board: what is behind the memory port.

    Returns:
        A timeline for each NPU section.

    Raises:
        MissingExtraError: ``fieldwave[gateware]`` is not installed.
        DeviceError: the simulation cannot be built, or the NPU stopped with an error.
    """
    from fieldwave.devices.rtl import SimulatedCore
    from fieldwave.devices.sections import Network
    from fieldwave.devices.simulator import MemoryModel, Simulation

    memory = MemoryModel(latency=board.latency, bandwidth=board.bandwidth / board.clock)
    configuration = compiled.plans[0].configuration
    with Simulation(configuration) as simulation:
        recorder = Recorder(compiled, SimulatedCore(simulation, memory))
        outputs = [spec.name for spec in package.manifest.outputs]
        Network(compiled.program, recorder, inputs=list(inputs), outputs=outputs).run(inputs)
    return recorder.timelines


@dataclass
class Recorder:
    """A core that keeps the timeline of every program it executes; they come in the order of the sections."""

    compiled: Compiled
    core: SimulatedCore
    timelines: list[Timeline] = field(default_factory=list)

    def execute(self, memory: NDArray[np.uint8], section: NpuSection | None = None) -> int:
        cycles = self.core.execute(memory, section)
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
                _labels(image),
            )
        )
        return cycles


def _labels(image: Image) -> tuple[list[str], list[str]]:
    """Of the descriptors of the compute and of the transfer queue."""
    compute, transfer = (
        [task.label for task in image.tasks if task.queue == queue] for queue in ("compute", "transfer")
    )
    return compute, transfer
