"""A compiled network in a few figures."""

from __future__ import annotations

from dataclasses import dataclass

from fieldwave.compiler.compiler import Compiled
from fieldwave.compiler.program import NpuSection
from fieldwave.compiler.tile import array_cycles

__all__ = ["Summary", "summarize"]


@dataclass(frozen=True)
class Summary:
    """What a program amounts to.

    Attributes:
        network: name of the ONNX graph.
        configuration: name of the NPU.
        sections: ``host`` and ``npu``, in order of execution.
        nodes, npu_nodes: ONNX nodes, and how many of them run on the NPU.
        macs, npu_macs: multiply-accumulates of the ONNX graph for one image, and those that run on the NPU.
        array_cycles: cycles that the array is busy or waits for a weight tile: no run takes fewer.
        multipliers: of the NPU.
        image_bytes: what the NPU reads: descriptors and weights.
        arena_bytes: memory of the largest section, the image, inputs, outputs and streamed tensors included.
        streamed: tensors that live in memory since they do not fit the chip.
    """

    network: str
    configuration: str
    sections: tuple[str, ...]
    nodes: int
    npu_nodes: int
    macs: int
    npu_macs: int
    array_cycles: int
    multipliers: int
    image_bytes: int
    arena_bytes: int
    streamed: tuple[str, ...]

    @property
    def npu_share(self) -> float:
        """The NPU's part of the multiply-accumulates, 0 to 1; 1 where there are none."""
        return self.npu_macs / self.macs if self.macs else 1.0

    @property
    def utilisation(self) -> float:
        """Multiply-accumulates over what the array could do in ``array_cycles``, 0 to 1: no run reaches more."""
        return self.npu_macs / (self.array_cycles * self.multipliers) if self.array_cycles else 0.0


def summarize(compiled: Compiled) -> Summary:
    """The figures of a compiled network."""
    on_npu = [node for section in compiled.sections if section.side == "npu" for node in section.nodes]
    npu = [section for section in compiled.program.sections if isinstance(section, NpuSection)]
    multipliers = [plan.configuration.multipliers for plan in compiled.plans]
    return Summary(
        network=compiled.program.network,
        configuration=compiled.program.configuration,
        sections=tuple(section.side for section in compiled.sections),
        nodes=sum(len(section.nodes) for section in compiled.sections),
        npu_nodes=len(on_npu),
        macs=sum(compiled.macs.values()),
        npu_macs=sum(compiled.macs.get(node.name, 0) for node in on_npu),
        array_cycles=sum(
            array_cycles(operation, tiling, run, plan.configuration)
            for plan in compiled.plans
            for operation, tilings in zip(plan.operations, plan.tilings, strict=True)
            for tiling in tilings
            for run in tiling.runs
        ),
        multipliers=max(multipliers, default=0),
        image_bytes=sum(len(section.image) for section in npu),
        arena_bytes=max((section.arena_bytes for section in npu), default=0),
        streamed=tuple(sorted(name for plan in compiled.plans for name in plan.memory.streamed)),
    )
