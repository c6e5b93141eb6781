"""Move factors of single channels from a tensor into the weights of the layers that read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.graph import Graph, Node
from fieldwave.quantize.shapes import Shapes

__all__ = ["Draft"]

_HOMOGENEOUS = {"AveragePool", "GlobalAveragePool", "MaxPool", "Relu"}
"""``f(a * x) = a * f(x)`` for a > 0, channel by channel."""
_FLATTENING = {"Flatten", "Reshape", "Squeeze"}


class Draft:
    """A graph whose weights are being rewritten.

    Attributes:
        graph: it, as far as it is rewritten.
    """

    def __init__(self, graph: Graph, shapes: Shapes) -> None:
        self.graph, self._shapes = graph, shapes
        self._consumers = graph.consumers()
        self._outputs = {value.name for value in graph.outputs}
        self._nodes = {node.name: node for node in graph.nodes}
        self._constants: dict[str, NDArray[Any]] = dict(graph.constants)

    def readers(self, tensor: str) -> list[tuple[Node, int]] | None:
        """The weighted layers that read a tensor, past Relus and pools, and how often each channel is repeated.

        None where a factor of a channel would reach anything else: another operator or an output.
        """
        found: list[tuple[Node, int]] = []
        if tensor in self._outputs:
            return None
        for original in self._consumers.get(tensor, []):
            node = self._nodes[original.name]
            if node.op in _HOMOGENEOUS:
                beyond = self.readers(node.output)
            elif node.op in _FLATTENING and self._flattens(node):
                inner = self.readers(node.output)
                size = int(np.prod(self._shapes[node.inputs[0]][2:]))
                beyond = None if inner is None else [(reader, count * size) for reader, count in inner]
            else:
                beyond = [(node, 1)] if self._absorbs(node, tensor) else None
            if beyond is None:
                return None
            found += beyond
        return found or None

    def multiply_inputs(self, tensor: str, factors: NDArray[np.float64]) -> bool:
        """Let every reader of a tensor see it multiplied by a factor for each channel; False where one cannot."""
        readers = self.readers(tensor)
        if readers is None:
            return False
        for node, repeated in readers:
            node = self._nodes[node.name]
            each = np.repeat(factors, repeated)
            weights = self._constants[node.inputs[1]].astype(np.float64)
            if node.op == "Conv":
                group, share = int(node.attributes.get("group", 1)), weights.shape[1]
                by_group = each.reshape(group, 1, share, 1, 1)
                weights = (weights.reshape(group, -1, *weights.shape[1:]) * by_group).reshape(weights.shape)
            elif node.op == "Gemm" and node.attributes.get("transB", 0):
                weights = weights * each
            else:
                weights = weights * each[:, None]
            self._replace(node, weights, None)
        return True

    def multiply_outputs(self, node: Node, factors: NDArray[np.float64]) -> None:
        """Multiply what a convolution or fully connected layer makes by a factor for each channel."""
        node = self._nodes[node.name]
        weights = self._constants[node.inputs[1]].astype(np.float64)
        axis = 0 if node.op == "Conv" or node.attributes.get("transB", 0) else 1
        weights = weights * factors.reshape([-1 if index == axis else 1 for index in range(weights.ndim)])
        bias = None
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = self._constants[node.inputs[2]].astype(np.float64).reshape(-1) * factors
        self._replace(node, weights, bias)

    def finished(self) -> Graph:
        """The graph with the new weights."""
        return self.graph.with_nodes([self._nodes[node.name] for node in self.graph.nodes], self._constants)

    def constants(self) -> Mapping[str, NDArray[Any]]:
        """The constants as they are now."""
        return self._constants

    def node(self, name: str) -> Node:
        """A node as it is now."""
        return self._nodes[name]

    def _replace(self, node: Node, weights: NDArray[np.float64], bias: NDArray[np.float64] | None) -> None:
        """New constants under names of the node's own: others may read the old ones."""
        inputs = list(node.inputs)
        for index, value in ((1, weights), (2, bias)):
            if value is not None:
                inputs[index] = f"{node.name}/rescaled_{'weights' if index == 1 else 'bias'}"
                self._constants[inputs[index]] = value.astype(np.float32)
        self._nodes[node.name] = Node(
            node.op, node.name, tuple(inputs), node.outputs, node.attributes, node.domain
        )

    def _absorbs(self, node: Node, tensor: str) -> bool:
        if (
            node.op not in ("Conv", "Gemm", "MatMul")
            or node.inputs[0] != tensor
            or node.attributes.get("transA", 0)
        ):
            return False
        weights = self._constants.get(node.inputs[1])
        return weights is not None and weights.ndim == (4 if node.op == "Conv" else 2)

    def _flattens(self, node: Node) -> bool:
        before, after = self._shapes[node.inputs[0]], self._shapes[node.output]
        return len(before) == 4 and len(after) == 2 and after[1] == int(np.prod(before[1:]))
