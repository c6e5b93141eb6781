"""The shape of every tensor, computed where a rewrite first asks for one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.graph import Graph
from fieldwave.quantize.tensors import all_tensors

__all__ = ["Shapes"]


class Shapes:
    """Shapes of the tensors of a graph and of graphs rewritten from it, for one image.

    Args:
        image: an input of the network; it runs through the graph once, when the first shape is asked for.
    """

    def __init__(self, graph: Graph, image: NDArray[Any]) -> None:
        self._graph, self._image = graph, image
        self._known: dict[str, tuple[int, ...]] = {}
        self._added: dict[str, tuple[int, ...]] = {}

    def __getitem__(self, tensor: str) -> tuple[int, ...]:
        if tensor in self._added:
            return self._added[tensor]
        if tensor in self._graph.constants:
            return tuple(self._graph.constants[tensor].shape)
        if not self._known:
            names = list(self._graph.activations())
            (values,) = all_tensors(self._graph, names, [self._image])
            self._known = {name: tuple(np.shape(value)) for name, value in values.items()}
        return self._known[tensor]

    def add(self, tensor: str, shape: tuple[int, ...]) -> None:
        """Note the shape of a tensor that a rewrite makes."""
        self._added[tensor] = shape
