"""A whole compiled network: how long its NPU sections take, what they move, and what is left to the host."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from fieldwave.compiler.compiler import Compiled
from fieldwave.compiler.estimate.energy import Energy, energy_of
from fieldwave.compiler.estimate.estimate import estimate_image
from fieldwave.compiler.estimate.port import Memory
from fieldwave.compiler.program import NpuSection
from fieldwave.compiler.records import read_records
from fieldwave.compiler.timeline import Timeline
from fieldwave.npu import Configuration

__all__ = ["NetworkEstimate", "estimate_network"]


@dataclass(frozen=True)
class NetworkEstimate:
    """One image of one network on one NPU.

    Attributes:
        network, configuration: what, and on what.
        memory: what is behind the memory port.
        timelines: of the NPU's sections, in order; of a first run, to which the weight ring is empty.
        later: of a run after another one of the same network, where the ring still holds all its weights.
        host_sections: how many sections run on the host; their time depends on it and is not in here.
        macs, npu_macs: multiply-accumulates of the network, and those on the NPU.
        energy: of the NPU.
    """

    network: str
    configuration: Configuration
    memory: Memory
    timelines: tuple[Timeline, ...]
    host_sections: int
    macs: int
    npu_macs: int
    energy: Energy
    later: tuple[Timeline, ...] = ()

    @property
    def later_cycles(self) -> int:
        """Of all NPU sections in every run but the first."""
        return sum(timeline.cycles for timeline in self.later or self.timelines)

    @property
    def cycles(self) -> int:
        """Of all NPU sections."""
        return sum(timeline.cycles for timeline in self.timelines)

    @property
    def utilisation(self) -> float:
        """The NPU's multiply-accumulates over what its multipliers could do in this time, 0 to 1."""
        return self.npu_macs / (self.cycles * self.configuration.multipliers) if self.cycles else 0.0

    @property
    def bytes_read(self) -> int:
        return sum(timeline.bytes_read for timeline in self.timelines)

    @property
    def bytes_written(self) -> int:
        return sum(timeline.bytes_written for timeline in self.timelines)

    @property
    def waits(self) -> dict[str, int]:
        """Cycles of compute descriptors without a vector, by cause (`timeline.CAUSES`)."""
        causes = {cause for timeline in self.timelines for cause in timeline.waits}
        return {cause: sum(one.waits.get(cause, 0) for one in self.timelines) for cause in sorted(causes)}

    def seconds(self, megahertz: float) -> float:
        """Of the NPU's sections at that clock."""
        return self.cycles / (megahertz * 1e6)


def estimate_network(
    compiled: Compiled, configuration: Configuration, memory: Memory | None = None
) -> NetworkEstimate:
    """Estimate every NPU section of a compiled network; see `estimate_image`."""
    memory = memory or Memory()
    timelines, later, energy = [], [], Energy(0, 0, 0, 0, 0)
    for image in compiled.images:
        labels = tuple([task.label for task in image.tasks if task.queue == queue] for queue in QUEUES)
        estimated = partial(estimate_image, image.data, configuration, memory, (labels[0], labels[1]))
        records = read_records(image.data, configuration)
        timelines.append(estimated())
        if len(compiled.images) == 1 and records.is_resident(configuration):  # sections would evict one another
            later.append(estimated(kept=True))
        energy += energy_of(records, configuration)
    sections = compiled.program.sections
    on_npu = {node.name for section in compiled.sections if section.side == "npu" for node in section.nodes}
    return NetworkEstimate(
        network=compiled.program.network,
        configuration=configuration,
        memory=memory,
        timelines=tuple(timelines),
        host_sections=sum(not isinstance(section, NpuSection) for section in sections),
        macs=sum(compiled.macs.values()),
        npu_macs=sum(count for name, count in compiled.macs.items() if name in on_npu),
        energy=energy,
        later=tuple(later),
    )


QUEUES = ("compute", "transfer")
