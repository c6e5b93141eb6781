"""The fake-quantized network: the int8 network as a torch module whose weights can be trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import ModelError
from fieldwave.graph import Graph, Node
from fieldwave.model import FloatModel
from fieldwave.quantize import Prepared, Quantized, compare, emit
from fieldwave.quantize.plan import is_scale_shift
from fieldwave.training.framework import torch
from fieldwave.training.operators import OPERATORS
from fieldwave.training.rounding import stands_for

__all__ = ["FakeQuantized"]


@dataclass(frozen=True)
class _Operands:
    """Where things stand among the inputs of an operator with weights."""

    bias: int | None
    input_step: int = 1
    weights: int = 3
    step: int = 4


_OPERANDS = {"QGemm": _Operands(6), "QLinearConv": _Operands(8), "QLinearMatMul": _Operands(None)}
_LEARNING = ("Conv", "Gemm", "MatMul")


class FakeQuantized(torch.nn.Module):
    """A network that computes in float what its int8 form computes in integers, and learns through the rounding.

    In eval mode every quantized tensor holds exactly the bytes that `quantized().graph` has on every device: sums
    of products run in float64, requantization in float32 (docs/numerics.md). In train mode the sums are float32,
    and gradients pass the rounding straight through (Jacob et al. 2018, arXiv:1712.05877, section 3), but not
    what clips. Activation scales stay those of the calibration; the scale of each channel's weights follows the
    weights, as `quantize` chooses it.

    Weights and biases are float32 parameters, called after the constants of the prepared float graph (a dot in the
    name becomes a slash); batch norms are folded into them. Batch norms that no layer precedes are scale-shifts,
    whose gains are few integers: they stay as they are. Freeze layers with ``requires_grad_(False)``.

    Args:
        model: the float network.
        prepared: its graph rewritten for int8, with plan and scales.
        images: what to compare the float and the int8 network on, each [1, ...].

    Raises:
        ModelError: the network holds an operator that cannot be trained through; the message names the node.
    """

    def __init__(self, model: FloatModel, prepared: Prepared, images: Sequence[NDArray[np.float32]]) -> None:
        super().__init__()
        self._model, self._prepared, self._images = model, prepared, images
        first = emit(prepared.graph, prepared.plan, prepared.scales)
        for node in first.nodes:
            if node.op not in OPERATORS:
                raise ModelError(
                    f"node {node.name!r}: {node.op} has no form that can be trained; cut the network before it"
                )
        made = {node.name for node in first.nodes if node.op in _OPERANDS}
        self._sources = {
            node.name: node
            for node in prepared.graph.nodes
            if node.name in made and node.op in _LEARNING and not is_scale_shift(node, prepared.graph)
        }
        self._keys: dict[str, str] = {}
        for node in self._sources.values():
            for name in node.inputs[1:3]:
                if name and name not in self._keys:
                    self._keys[name] = name.replace(".", "/")
                    constant = torch.from_numpy(prepared.graph.constants[name].copy())
                    self.register_parameter(self._keys[name], torch.nn.Parameter(constant))

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """The network's outputs for float32 images [N, height, width, channels]; a tuple where it has several."""
        outputs = self.tensors(images, [value.name for value in self._model.graph.outputs])
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """What the Softmax at the end reads, for losses that contain one; where there is none, the output."""
        name = self._model.graph.outputs[0].name
        last = self._prepared.graph.producers().get(name)
        return self.tensors(images, [last.inputs[0] if last is not None and last.op == "Softmax" else name])[0]

    def tensors(self, images: torch.Tensor, names: Sequence[str]) -> list[torch.Tensor]:
        """Named tensors of the quantized graph (`quantized().graph`): floats, or bytes as float32."""
        graph = self._emitted()
        wide = torch.float32 if self.training else torch.float64
        values: dict[str, Any] = {graph.inputs[0].name: images}
        missing = set(names) - set(values)
        for node in graph.nodes:
            inputs = [None if not name else values.get(name, graph.constants.get(name)) for name in node.inputs]
            if node.op in _OPERANDS:
                inputs = self._weighted(node, inputs, wide)
            values[node.output] = OPERATORS[node.op](node, inputs, wide)
            missing.discard(node.output)
            if not missing:
                break
        return [values[name] for name in names]

    def float_model(self) -> FloatModel:
        """The float network with the weights as they are now, batch norms folded."""
        return replace(self._model, graph=self._float_graph())

    def quantized(
        self,
        evaluation: Sequence[NDArray[np.float32]] | None = None,
        labels: Sequence[int] | None = None,
    ) -> Quantized:
        """The int8 network with the weights as they are now, and how it compares with the float one.

        Args:
            evaluation: inputs to compare the two on, each [1, ...]; the calibration images where None.
            labels: the right class of each evaluation input.
        """
        graph, source, prepared = self._emitted(), self._float_graph(), self._prepared
        images = self._images if evaluation is None else evaluation
        report = compare(source, graph, prepared.scales, images, labels, lambda what, share: None, prepared.notes)
        return Quantized(graph, report, replace(prepared, graph=source))

    def _float_graph(self) -> Graph:
        return replace(self._prepared.graph, constants={**self._prepared.graph.constants, **self._arrays()})

    def _arrays(self) -> Mapping[str, NDArray[np.float32]]:
        arrays = {}
        for name, key in self._keys.items():
            arrays[name] = self.get_parameter(key).detach().cpu().numpy().copy()
            if not np.isfinite(arrays[name]).all():
                raise ModelError(f"weights {name!r} became NaN or infinite in training; lower the learning rate")
        return arrays

    def _emitted(self) -> Graph:
        return emit(self._float_graph(), self._prepared.plan, self._prepared.scales)

    def _weighted(self, node: Node, inputs: list[Any], wide: torch.dtype) -> list[Any]:
        """The inputs with int8 weights and int32 bias as tensors that pass gradients on to the parameters."""
        operands, source = _OPERANDS[node.op], self._sources.get(node.name)
        inputs = [*inputs, None] if len(inputs) == operands.bias else list(inputs)
        weights, step = inputs[operands.weights], inputs[operands.step].astype(np.float64)
        axis = 0 if node.op == "QLinearConv" or node.attributes.get("transB", 0) else 1
        spread = [-1 if index == axis else 1 for index in range(weights.ndim)]
        real = self._parameter(source, 1)
        if real is not None and source is not None:
            if source.op == "Gemm" and source.attributes.get("transB", 0) != node.attributes.get("transB", 0):
                real = real.T
            real = real.to(wide) / torch.from_numpy(step.reshape(spread)).to(real.device, wide)
        inputs[operands.weights] = stands_for(weights, real, wide)
        bias = inputs[operands.bias] if operands.bias is not None else None
        if bias is not None and operands.bias is not None:
            real = self._parameter(source, 2)
            if real is not None:
                real = real.to(wide).flatten().expand(bias.shape)
                real = real / torch.from_numpy(step * float(inputs[operands.input_step])).to(real.device, wide)
            inputs[operands.bias] = stands_for(bias, real, wide)
        return inputs

    def _parameter(self, source: Node | None, index: int) -> torch.Tensor | None:
        if source is None or len(source.inputs) <= index or not source.inputs[index]:
            return None
        return self.get_parameter(self._keys[source.inputs[index]])
