"""The whole compiler, pass by pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fieldwave.compiler.concat import copy_shared_parts
from fieldwave.compiler.emit import Image, emit
from fieldwave.compiler.fold import fold_first_layers, folded_map
from fieldwave.compiler.fuse import fuse
from fieldwave.compiler.host import host_section
from fieldwave.compiler.layout import lay_out
from fieldwave.compiler.lower import Lowering, lower
from fieldwave.compiler.macs import macs_by_node
from fieldwave.compiler.memory_search import plan_memory
from fieldwave.compiler.operations import Operation, count_macs
from fieldwave.compiler.order import in_order
from fieldwave.compiler.partition import Section, partition
from fieldwave.compiler.pooled import fuse_pools
from fieldwave.compiler.program import HostSection, NpuSection, Program
from fieldwave.compiler.resolve import resolve
from fieldwave.compiler.scale_shift import fuse_scale_shifts
from fieldwave.compiler.schedule import Plan
from fieldwave.compiler.shapes import tensor_types
from fieldwave.compiler.tile import tile
from fieldwave.errors import ModelError
from fieldwave.graph import Graph
from fieldwave.npu import CONFIGURATIONS, Configuration

__all__ = ["Compiled", "compile_network"]


@dataclass(frozen=True)
class Compiled:
    """A program with all that the passes decided on the way.

    Attributes:
        program: what `write_program` writes.
        lowering: the NPU form of each node, or why it has none.
        sections: which nodes run where.
        plans, images: of each NPU section, in order.
        macs: multiply-accumulates of the ONNX nodes that have any, by name.
    """

    program: Program
    lowering: Lowering
    sections: tuple[Section, ...]
    plans: tuple[Plan, ...]
    images: tuple[Image, ...]
    macs: Mapping[str, int]


def compile_network(graph: Graph, configuration: Configuration, *, trace: bool = False) -> Compiled:
    """Compile a quantized network, as `fieldwave.quantize` writes it, for an NPU.

    Args:
        trace: store every tensor that is materialised, not only the outputs; for comparisons.

    Raises:
        ModelError: a tensor does not fit the activation memory, or ONNX Runtime does not run the network.
    """
    types = tensor_types(graph)
    lowering = lower(graph, types, configuration)
    sections = partition(graph, lowering.steps)
    parts: list[HostSection | NpuSection] = []
    plans, images = [], []
    for section in sections:
        if section.side == "host":
            parts.append(host_section(graph, section, types))
            continue
        plans.append(plan_section(section, lowering, configuration, trace=trace))
        image = emit(plans[-1])
        images.append(image)
        macs = sum(
            count_macs(operation, plans[-1].layouts[operation.output].map) for operation in plans[-1].operations
        )
        parts.append(NpuSection(image.inputs, image.outputs, macs, image.arena_bytes, image.data))
    name = next((name for name, known in CONFIGURATIONS.items() if known == configuration), "custom")
    refusals = tuple(lowering.refusals.items())
    program = Program(configuration.fingerprint, name, graph.name, tuple(parts), refusals)
    return Compiled(program, lowering, sections, tuple(plans), tuple(images), macs_by_node(graph, types))


def plan_section(section: Section, lowering: Lowering, configuration: Configuration, *, trace: bool) -> Plan:
    """All decisions about one NPU section.

    A row of a fused pool's windows takes more of the input than a row of results: where that does not fit, pools
    are operations of their own. With pixel lanes they always are, since a window's pixels are not all of one lane.
    """
    refused: ModelError | None = None
    for pools in (True, False) if configuration.pixel_lanes == 1 else (False,):
        try:
            return _planned(section, lowering, configuration, trace=trace, pools=pools)
        except ModelError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def _planned(
    section: Section, lowering: Lowering, configuration: Configuration, *, trace: bool, pools: bool
) -> Plan:
    steps, aliases = resolve([lowering.steps[node.name] for node in section.nodes])
    real = {name: aliases.get(name, name) for name in section.outputs}
    kept, inputs = frozenset(real.values()), tuple(dict.fromkeys(section.inputs))
    steps = fuse(steps, kept)
    if pools:
        steps = fuse_pools(steps, kept, lowering.maps)
    steps, folds = fold_first_layers(steps, inputs, kept, lowering.maps, configuration)
    steps = copy_shared_parts(steps)
    folded = {name: folded_map(lowering.maps[name], fold) for name, fold in folds.items()}
    maps = {**lowering.maps, **folded}
    layouts = lay_out(steps, inputs, maps, configuration)
    steps = fuse_scale_shifts(steps, kept, maps, layouts, configuration)
    steps = in_order(steps, layouts, kept)
    layouts = lay_out(steps, inputs, maps, configuration)
    operations = tuple(step for step in steps if isinstance(step, Operation))
    if trace:
        names = [name for node in section.nodes for name in node.outputs]
        real = {name: aliases.get(name, name) for name in names}
    outputs = {name: tensor for name, tensor in real.items() if tensor in layouts and tensor not in folds}
    memory = plan_memory(steps, layouts, configuration, inputs, outputs.values())
    return Plan(
        configuration=configuration,
        operations=operations,
        layouts=layouts,
        memory=memory,
        tilings=tuple(
            tuple(tile(operation, strip, layouts, configuration) for strip in strips)
            for operation, strips in zip(operations, memory.strips, strict=True)
        ),
        inputs={name: name for name in inputs},
        outputs=outputs,
        maps=lowering.maps,
        folds=folds,
    )
