"""A network: its layers in order, its input and outputs, and what surrounds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from types import MappingProxyType
from typing import Literal

from fieldwave.errors import ModelError
from fieldwave.postprocess import Detector, ssd300_vgg
from fieldwave.preprocess import Preprocessing
from fieldwave.zoo.layers import Layer, Shape

__all__ = ["Network", "Task", "Tensor"]

Task = Literal["classification", "detection"]
"""``classification``: one output, a score for each class. ``detection``: class logits [grid, grid, anchors,
classes] of every feature map, then as many boxes [grid, grid, anchors, 4], class 0 being the background."""


@dataclass(frozen=True)
class Tensor:
    """A tensor that clients see: float32, [batch, \\*shape], by its graph name or by any of the aliases."""

    name: str
    aliases: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True)
class Network:
    """A network as the zoo describes it, once for all frameworks.

    ``features`` names the tensor at which the featurizer ends and the default classifier begins; it is empty
    where there is no classifier, the outputs being the featurizer's own. ``layers`` stand in an order in which
    they can run. ``variant`` says whose network is meant where several go by one name. The order of ``outputs``
    is a promise. Everything is checked at construction.

    Raises:
        ModelError: a layer reads a tensor that no layer before it writes, two share a name, the shapes do not
            match, or an output does not have the shape that it is said to have.
    """

    name: str
    input: Tensor
    outputs: tuple[Tensor, ...]
    layers: tuple[Layer, ...]
    features: str
    preprocessing: Preprocessing
    labels: tuple[str, ...] = ()
    variant: str = "slim"
    task: Task = "classification"

    def __post_init__(self) -> None:
        spec = self.preprocessing
        if self.input.shape != (spec.height, spec.width, spec.channels):
            raise ModelError(
                f"network {self.name!r}: the input is {self.input.shape}, "
                f"its preprocessing makes {(spec.height, spec.width, spec.channels)}"
            )
        shapes = self.shapes
        for output in self.outputs:
            if output.name not in shapes:
                raise ModelError(f"network {self.name!r}: no layer writes the output {output.name!r}")
            if shapes[output.name] != output.shape:
                raise ModelError(
                    f"network {self.name!r}: the output {output.name!r} is {shapes[output.name]}, "
                    f"not {output.shape}"
                )
        if self.features and self.features not in shapes:
            raise ModelError(f"network {self.name!r}: no layer writes the features {self.features!r}")
        _ = self.weight_shapes

    def __getstate__(self) -> dict[str, object]:
        """What a copy needs: not what is cached, which no pickle takes."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Shape of every tensor of one image, by tensor name; the input's first."""
        shapes = {self.input.name: self.input.shape}
        for layer in self.layers:
            for tensor in layer.inputs:
                if tensor not in shapes:
                    raise ModelError(f"layer {layer.name!r}: no layer before it writes its input {tensor!r}")
            if layer.output in shapes:
                raise ModelError(f"layer {layer.name!r}: the tensor {layer.output!r} exists already")
            shapes[layer.output] = layer.shape(*(shapes[tensor] for tensor in layer.inputs))
        return MappingProxyType(shapes)

    @cached_property
    def weight_shapes(self) -> Mapping[str, Shape]:
        """Shape of every weight, by weight name, in the order in which the layers use them."""
        shapes: dict[str, Shape] = {}
        for layer in self.layers:
            for name, shape in layer.weight_shapes(*self.input_shapes(layer)).items():
                if name in shapes:
                    raise ModelError(f"layer {layer.name!r}: another layer has the weight {name!r} already")
                shapes[name] = shape
        return MappingProxyType(shapes)

    @cached_property
    def featurizer(self) -> tuple[Layer, ...]:
        """The layers that make the features, in order; all of them where there is no classifier."""
        wanted = {self.features} if self.features else {output.name for output in self.outputs}
        layers: list[Layer] = []
        for layer in reversed(self.layers):
            if layer.output in wanted:
                wanted.update(layer.inputs)
                layers.append(layer)
        return tuple(reversed(layers))

    @cached_property
    def classifier(self) -> tuple[Layer, ...]:
        """The layers behind the features."""
        before = {layer.name for layer in self.featurizer}
        return tuple(layer for layer in self.layers if layer.name not in before)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one image, padding counted."""
        return sum(layer.macs(*self.input_shapes(layer)) for layer in self.layers)

    @property
    def detector(self) -> Detector | None:
        """How the outputs become objects; None where the task is another one."""
        if self.task != "detection":
            return None
        names, count = [tensor.name for tensor in self.outputs], len(self.outputs) // 2
        return ssd300_vgg(names[:count], names[count:])

    def input_shapes(self, layer: Layer) -> tuple[Shape, ...]:
        """Shapes of the tensors that ``layer``, one of the network's own, reads."""
        return tuple(self.shapes[tensor] for tensor in layer.inputs)
