"""Networks that were quantized elsewhere: their scales are kept where numerics allow, else re-fitted.

Read are ONNX Runtime's quantizer in both its forms, QuantizeLinear and DequantizeLinear around float operators
(QDQ) and quantized operators (QOperator), and what tf2onnx makes of TensorFlow's fake quantization.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import ModelError
from fieldwave.graph import Graph
from fieldwave.quantize.calibrate import Progress, Scale, calibrate, observe
from fieldwave.quantize.emit import emit
from fieldwave.quantize.lift import Lifted, Mark, is_quantized, lift
from fieldwave.quantize.options import Options
from fieldwave.quantize.plan import Plan, make_plan
from fieldwave.quantize.simplify import simplified

__all__ = ["adopt", "from_quantized", "is_quantized"]

_EXACT = {"Add", "AveragePool", "GlobalAveragePool"}
"""Operators that are exact for scales that are powers of two only."""
_TOLERATED = 0.05
"""Share of the range that a re-fitted scale may cut off, where there are no images to measure by."""


def from_quantized(
    graph: Graph, calibration: Sequence[NDArray[np.float32]] | None = None
) -> tuple[Graph, tuple[str, ...]]:
    """The network in the form that every device runs, and one line for each tensor whose scale had to change.

    Args:
        graph: a network of which `is_quantized` is true.
        calibration: inputs by which scales are re-fitted; without them, a scale holds the range of the old one.

    Raises:
        ModelError: quantized operators that have no static scales, or another form of them.
    """
    source, plan, scales, notes = adopt(graph, calibration, lambda what, share: None)
    return emit(source, plan, scales), notes


def adopt(
    graph: Graph, calibration: Sequence[NDArray[np.float32]] | None, progress: Progress
) -> tuple[Graph, Plan, dict[str, Scale], tuple[str, ...]]:
    """The float network behind a quantized one, and the plan and scales under which `emit` quantizes it again."""
    lifted = lift(graph)
    image = calibration[0] if calibration else _blank(graph)
    source, shapes = simplified(lifted.graph, image)
    plan = make_plan(source, shapes)
    _keep_weights(source, lifted, plan)
    exact = {name for node in source.nodes if node.op in _EXACT for name in (*node.inputs, plan.result(node))}
    scales: dict[str, Scale] = {}
    refit: list[frozenset[str]] = []
    for group in sorted(set(plan.groups.values()), key=min):
        marks = {lifted.marks[name] for name in group if name in lifted.marks}
        kept = _admissible(marks, bool(group & exact))
        if kept is not None:
            scales.update(dict.fromkeys(group, kept))
        else:
            refit.append(group)
    fitted = _by_images(source, plan, refit, calibration, progress) if calibration and refit else {}
    notes = list(lifted.notes)
    for group in refit:
        marks = {lifted.marks[name] for name in group if name in lifted.marks}
        scale = fitted.get(min(group)) or _by_range(marks)
        if scale is None:
            _leave_float(source, plan, group)
            continue
        scales.update(dict.fromkeys(group, scale))
        if marks:
            name = min(name for name in group if name in lifted.marks)
            notes.append(_note(name, lifted.marks[name], scale))
    return source, plan, scales, tuple(notes)


def _blank(graph: Graph) -> NDArray[np.float32]:
    value = graph.inputs[0]
    shape = [1 if axis == 0 else size for axis, size in enumerate(value.shape)]
    if None in shape:
        raise ModelError(
            f"input {value.name!r} has shape {list(value.shape)}; give the sizes, or calibration images"
        )
    return np.zeros([size or 1 for size in shape], np.float32)


def _keep_weights(source: Graph, lifted: Lifted, plan: Plan) -> None:
    """Weights that are symmetric int8 already stay as they are, and so do biases."""
    for node in source.nodes:
        if node.name not in plan.integer or node.op not in ("Conv", "Gemm", "MatMul"):
            continue
        axis = 0 if node.op == "Conv" or node.attributes.get("transB", 0) else 1
        found = lifted.integers.get(node.inputs[1])
        if found is not None and found.symmetric(axis):
            scale = np.broadcast_to(found.scale.reshape(-1), found.values.shape[axis])
            plan.weights[node.inputs[1]] = (found.values.astype(np.int8), np.ascontiguousarray(scale, np.float32))
        bias = lifted.integers.get(node.inputs[2]) if len(node.inputs) > 2 else None
        if bias is not None:
            plan.biases[node.inputs[2]] = (bias.values, np.asarray(bias.scale, np.float32))


def _admissible(marks: set[Mark], exact: bool) -> Scale | None:
    if len(marks) != 1:
        return None
    (mark,) = marks
    fraction, exponent = math.frexp(mark.scale)
    if mark.zero_point not in (0, 128) or (exact and fraction != 0.5):
        return None
    return Scale(exponent - 1, mark.zero_point, 2 * fraction)


def _by_range(marks: set[Mark]) -> Scale | None:
    """The finest power of two that holds all but a little of the range that the old scales hold."""
    if not marks:
        return None
    low = min(-mark.zero_point * mark.scale for mark in marks)
    high = max((255 - mark.zero_point) * mark.scale for mark in marks)
    zero = 128 if low < 0 else 0
    bound = max(high / (255 - zero), -low / 128) * (1 - _TOLERATED)
    return Scale(math.ceil(math.log2(bound)), zero)


def _by_images(
    source: Graph,
    plan: Plan,
    groups: Sequence[frozenset[str]],
    images: Sequence[NDArray[np.float32]],
    progress: Progress,
) -> dict[str, Scale]:
    some = replace(plan, groups={name: group for group in groups for name in group})
    observed = observe(source, some, images, progress)
    scales, _ = calibrate(source, some, observed, images, Options(), progress)
    return {min(group): scales[min(group)] for group in groups}


def _leave_float(source: Graph, plan: Plan, group: frozenset[str]) -> None:
    """Nothing is known about these tensors: what makes or reads them is not quantized."""
    for name in group:
        del plan.groups[name]
    for node in source.nodes:
        if node.name in plan.integer and group & {*node.inputs, plan.result(node)}:
            plan.integer.discard(node.name)
            plan.activation.pop(node.name, None)


def _note(name: str, mark: Mark, scale: Scale) -> str:
    return (
        f"tensor {name!r}: scale {mark.scale:.6g} with zero point {mark.zero_point} became {scale.value:.6g} with "
        f"{scale.zero_point}, steps {scale.value / mark.scale:.2f} times as large"
    )
