"""A family of names: how one publisher calls, lays out and prepares the weights of the networks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldwave.zoo.layers import Shape
from fieldwave.zoo.network import Network
from fieldwave.zoo.weights.names.layout import Layout

__all__ = ["Family", "Place", "Rule"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Rule:
    """How one weight of a network is made of a tensor of a file.

    Attributes:
        source: the tensor's name.
        shape: as the file must hold it.
        make: from the tensor's values to the weight's.
    """

    source: str
    shape: Shape
    make: Callable[[Array], Array]


@dataclass(frozen=True)
class Family:
    """The names of one publisher.

    Attributes:
        name: of the publisher.
        variant: which of the zoo's variants the weights belong to.
        layout: of kernels and dense matrices in the file.
        tensor: the file's name for a weight, given the network's name and the weight's.
        networks: those that the publisher has, by the zoo's names; any if empty.
        dense: which tensors are matrices where the network has a convolution.
        std: of each channel, by which the publisher divides images of 0 to 1; by network, empty for none.
        aliases: older names of tensors, as patterns and what stands for them today.
        ignored: tensors that are no part of the network.
    """

    name: str
    variant: str
    layout: Layout
    tensor: Callable[[str, str], str]
    networks: tuple[str, ...] = ()
    dense: re.Pattern[str] = re.compile("(?!)")
    std: Callable[[str], tuple[float, ...]] = lambda network: ()
    aliases: tuple[tuple[re.Pattern[str], str], ...] = ()
    ignored: re.Pattern[str] = re.compile("(?!)")

    def rules(self, network: Network) -> dict[str, Rule]:
        """Every weight of the network with its rule; empty if the publisher has no such network."""
        if self.networks and network.name not in self.networks:
            return {}
        first = next(name for name in network.weight_shapes if name.endswith("weights"))
        rules = {}
        for name, shape in network.weight_shapes.items():
            rule = self._plain(self.tensor(network.name, name), shape)
            std = self.std(network.name)
            if name == first and std:
                rule = _divided(rule, std)
            rules[name] = rule
        return rules

    def current(self, name: str) -> str:
        """A tensor's name as the publisher writes it today."""
        for pattern, replacement in self.aliases:
            name = pattern.sub(replacement, name)
        return name

    def _plain(self, tensor: str, shape: Shape) -> Rule:
        if len(shape) == 1:
            return Rule(tensor, shape, lambda values: values)
        stored = self.layout.matrix if self.dense.search(tensor) or len(shape) == 2 else self.layout.kernel
        return Rule(tensor, stored(shape), lambda values: self.layout.turned(values, shape))


@dataclass(frozen=True)
class Place:
    """Where a weight of the zoo stands, taken from its name.

    ``resnet_v1_50/conv1/BatchNorm/gamma``: the layer ``conv1``, its batch-norm, the weight ``gamma``.
    """

    layer: str
    norm: bool
    weight: str

    @classmethod
    def of(cls, name: str) -> Place:
        """Of a weight's name, without the network's scope."""
        path, _, weight = name.partition("/")[2].rpartition("/")
        layer = re.sub("(^|/)BatchNorm$", "", path)
        return cls(layer, layer != path, weight)


def _divided(rule: Rule, std: tuple[float, ...]) -> Rule:
    """The first convolution, over images that are not divided by 255 and the standard deviations.

    Both are linear and zero stays zero under them, so that padding is the same before and behind: exact.
    """

    def make(values: Array) -> Array:
        factors = 1 / (255 * np.asarray(std, np.float64))
        return np.asarray(rule.make(values) * factors[:, np.newaxis], np.float32)

    return Rule(rule.source, rule.shape, make)
