"""Batch normalisation that no convolution precedes (DenseNet) happens on the way from memory to the array.

A scale-shift is a depthwise convolution with one tap whose scales are powers of two. Where its result goes into
operations only, each of them reads the tensor before it and scales the vectors itself; the scaled tensor is never
made. What pads a window is a value after the scaling, so it stays the one that it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fieldwave.compiler.layout import Layout
from fieldwave.compiler.operations import FeatureMap, Join, Operation, Prescale
from fieldwave.golden import Window
from fieldwave.npu import Configuration
from fieldwave.npu.isa import Opcode

__all__ = ["fuse_scale_shifts"]

MOST_SHIFT = 31
MOST_SUM = 1 << 24
"""Sums below this are float32 numbers, so that ONNX Runtime rounds once, as the unit does."""
MOST_PRODUCT = 255 * 128


def fuse_scale_shifts(
    steps: Sequence[Operation | Join],
    kept: Collection[str],
    maps: Mapping[str, FeatureMap],
    layouts: Mapping[str, Layout],
    configuration: Configuration,
) -> tuple[Operation | Join, ...]:
    """Let the readers of a scale-shift scale what it reads.

    Args:
        kept: tensors that must exist afterwards.
        maps: sizes of the tensors.
        layouts: of all tensors of ``steps``; the unit holds constants for ``prescale_words`` of a pixel's words.
    """
    readers: dict[str, list[Operation | Join]] = {}
    for step in steps:
        for name in step.reads if isinstance(step, Operation) else step.inputs:
            readers.setdefault(name, []).append(step)
    found: dict[str, tuple[Operation, Prescale]] = {}
    result: list[Operation | Join] = []
    for step in steps:
        prescale = _prescale(step, maps) if isinstance(step, Operation) else None
        if prescale is not None and isinstance(step, Operation) and step.output not in kept:
            fits = layouts[step.input].words <= configuration.prescale_words
            if fits and all(_scales(reader, step.output) for reader in readers.get(step.output, ())):
                found[step.output] = step, prescale
                continue
        result.append(step)
    return tuple(_reading(result, found))


def _reading(
    steps: Sequence[Operation | Join], found: Mapping[str, tuple[Operation, Prescale]]
) -> Iterator[Operation | Join]:
    """The steps, with the scale-shifts in the operations that read them; the first of these counts its work."""
    counted = set()
    for step in steps:
        if isinstance(step, Operation) and step.input in found:
            scaling, prescale = found[step.input]
            if step.input in counted:
                prescale = replace(prescale, macs=0)
            counted.add(step.input)
            step = replace(step, nodes=scaling.nodes + step.nodes, input=scaling.input, prescale=prescale)
        yield step


def _scales(reader: Operation | Join, name: str) -> bool:
    """Whether a reader can scale its input itself."""
    if not isinstance(reader, Operation) or reader.prescale is not None:
        return False
    return reader.input == name and (reader.residual is None or reader.residual.tensor != name)


def _prescale(step: Operation, maps: Mapping[str, FeatureMap]) -> Prescale | None:
    """The constants of an operation that is a scale-shift of integers, or None."""
    weights, requantize = step.weights, step.requantize
    if step.opcode != Opcode.CONV or weights is None or requantize is None or step.window != Window((1, 1)):
        return None
    if any(other is not None for other in (step.residual, step.table, step.prescale, step.pool)):
        return None
    if weights.shape[1] != 1 or step.group != len(weights):
        return None
    fractions, exponents = np.frexp(requantize.scale)
    shifts = 1 - exponents.astype(np.int64)
    exact = np.all(fractions == 0.5) and np.all((shifts >= 0) & (shifts <= MOST_SHIFT))
    if not exact or np.any(np.abs(requantize.bias) >= MOST_SUM - MOST_PRODUCT):
        return None
    return Prescale(
        step.input_zero, weights.reshape(-1), requantize.bias, shifts, requantize.zero, requantize.low,
        requantize.high, macs=weights.size * maps[step.output].pixels if not step.identity else 0,
    )  # fmt: skip
