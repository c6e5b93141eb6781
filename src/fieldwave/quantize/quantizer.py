"""The whole of post-training quantization, pass by pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import CalibrationError, ModelError
from fieldwave.graph import Graph
from fieldwave.quantize.calibrate import Progress, Scale, calibrate, observe
from fieldwave.quantize.correct import bias_errors
from fieldwave.quantize.emit import emit
from fieldwave.quantize.equalise import equalised, free_tensors, rescaled
from fieldwave.quantize.foreign import adopt, is_quantized
from fieldwave.quantize.options import Options
from fieldwave.quantize.plan import Plan, make_plan
from fieldwave.quantize.report import Report, compare
from fieldwave.quantize.simplify import simplified

__all__ = ["Prepared", "Quantized", "prepare", "quantize"]

_DEFAULTS = Options()


@dataclass(frozen=True)
class Prepared:
    """A float network rewritten for int8, and all that its int8 form needs beside the weights.

    `emit(graph, plan, scales)` writes that form; fine-tuning changes the constants of ``graph`` before.

    Attributes:
        graph: the float network with batch norms folded or made scale-shifts: the same function but for rounding.
        plan: what becomes integer.
        scales: of every quantized tensor.
        notes: what was changed of a network that came quantized.
    """

    graph: Graph
    plan: Plan
    scales: Mapping[str, Scale]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quantized:
    """The int8 network in QOperator form, and how it compares with the float network.

    Attributes:
        graph: what every device runs.
        report: its tensors against those of the float network.
        prepared: the float network as it was quantized, and its scales.
    """

    graph: Graph
    report: Report
    prepared: Prepared


def quantize(
    graph: Graph,
    calibration: Sequence[NDArray[np.float32]],
    *,
    evaluation: Sequence[NDArray[np.float32]] | None = None,
    labels: Sequence[int] | None = None,
    options: Options = _DEFAULTS,
    progress: Progress = lambda what, share: None,
) -> Quantized:
    """Quantize a float network to uint8 activations and int8 weights.

    Batch norms are folded; each activation gets a power-of-two scale chosen by the error it makes on the
    calibration images, and a zero point of 0 or 128; weights get one free scale for each output channel; biases
    become int32. Relus vanish into saturation.

    Args:
        graph: a float network with one input, or one that was quantized elsewhere (`is_quantized`): its scales
            are kept where numerics allow.
        calibration: inputs of the network, each [1, ...], as preprocessing makes them.
        evaluation: inputs to compare the two networks on; the calibration images where None.
        labels: the right class of each evaluation input.
        options: how scales are chosen, and what is done to the weights before.
        progress: called with what is being done and the share of it that is done, 0 to 1.

    Raises:
        CalibrationError: there are no images, or they make a tensor that is not finite.
        ModelError: the network has several inputs, nothing to quantize, or weights that int8 cannot hold.
    """
    prepared = prepare(graph, calibration, options=options, progress=progress)
    quantized = emit(prepared.graph, prepared.plan, prepared.scales)
    images = calibration if evaluation is None else evaluation
    report = compare(prepared.graph, quantized, prepared.scales, images, labels, progress, prepared.notes)
    return Quantized(quantized, report, prepared)


def prepare(
    graph: Graph,
    calibration: Sequence[NDArray[np.float32]],
    *,
    options: Options = _DEFAULTS,
    progress: Progress = lambda what, share: None,
) -> Prepared:
    """All of `quantize` but the last step, the int8 weights; arguments and errors are the same."""
    if not calibration:
        raise CalibrationError("there are no calibration images; give at least one, better 16 or more")
    if len(graph.inputs) != 1:
        names = ", ".join(repr(value.name) for value in graph.inputs)
        raise ModelError(f"the network has {len(graph.inputs)} inputs ({names}); one image input is supported")
    for node in graph.nodes:
        for name in node.inputs:
            if name in graph.constants and not np.isfinite(graph.constants[name]).all():
                raise ModelError(f"node {node.name!r} ({node.op}): weights {name!r} hold NaN or infinity")
    if is_quantized(graph):
        source, plan, scales, notes = adopt(graph, calibration, progress)
        return Prepared(source, plan, scales, notes)
    folded, shapes = simplified(graph, calibration[0])
    plan = make_plan(folded, shapes)
    if not plan.integer:
        raise ModelError(f"network {graph.name!r} holds no layer that can be quantized")
    observed = observe(folded, plan, calibration, progress)
    free: frozenset[str] = frozenset()
    if options.equalise:
        folded, observed = equalised(folded, plan, observed, shapes)
        free = frozenset(free_tensors(folded, plan, shapes))
    scales, factors = calibrate(folded, plan, observed, calibration, options, progress, free)
    each = {name: np.full(observed[name].low.size, factor) for name, factor in factors.items()}
    if each:
        folded, observed = rescaled(folded, plan, observed, shapes, each)
    if options.bias_correction:
        plan.shifts.update(bias_errors(folded, plan, scales, observed))
    return Prepared(folded, plan, scales)
