"""The one image that goes into an ONNX network: which input it is, how its axes lie, how large it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fieldwave.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

__all__ = ["ImageTensor", "fix_image"]

Layout = Literal["NHWC", "NCHW"]
_COLOURS = (1, 3)


@dataclass(frozen=True)
class ImageTensor:
    """The image input.

    Attributes:
        name: of the tensor.
        layout: ``NHWC``, channels last, or ``NCHW``, channels first.
        height, width, channels: of the image.
        batch: images at once that the model was exported for; 0 where it takes any number.
    """

    name: str
    layout: Layout
    height: int
    width: int
    channels: int
    batch: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image, in the layout of the network."""
        image = (self.height, self.width, self.channels)
        return image if self.layout == "NHWC" else (self.channels, self.height, self.width)


def fix_image(model: ModelProto, size: tuple[int, int] | None) -> ImageTensor:
    """Find the image input, and write its size into the model, in place: every dimension known but the batch.

    Args:
        model: any ONNX model.
        size: height and width, for a model that leaves them open.

    Raises:
        ModelError: there is not exactly one input, or it is no float image, or its size is open and not given.
    """
    from onnx import TensorProto

    image = _only_input(model)
    tensor = image.type.tensor_type
    dims = [dim.dim_value or None for dim in tensor.shape.dim]
    shown = f"input {image.name!r} is [{', '.join('?' if dim is None else str(dim) for dim in dims)}]"
    if len(dims) != 4:
        raise ModelError(f"{shown}; one image [N, height, width, channels] or [N, channels, ...] is supported")
    if tensor.elem_type != TensorProto.FLOAT:
        raise ModelError(
            f"input {image.name!r} is {TensorProto.DataType.Name(tensor.elem_type).lower()}, "
            "a float32 image is supported; name the tensor behind the conversion to float (--input TENSOR)"
        )
    layout = _layout(model, image.name, dims)
    batch, *rest = dims
    channels = rest.pop(0 if layout == "NCHW" else 2)
    if channels is None:
        raise ModelError(f"{shown}: the number of channels is open; export the model with it")
    height, width = _area((rest[0], rest[1]), size, shown)
    found = ImageTensor(image.name, layout, height, width, channels, batch or 0)
    for dim, value in zip(tensor.shape.dim, (None, *found.shape), strict=True):
        dim.Clear()
        if value is None:
            dim.dim_param = "N"
        else:
            dim.dim_value = value
    return found


def _only_input(model: ModelProto) -> ValueInfoProto:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [info for info in model.graph.input if info.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(repr(info.name) for info in inputs) or "none"
        raise ModelError(f"the model has {len(inputs)} inputs ({names}); one image input is supported")
    return inputs[0]


def _area(found: tuple[int | None, int | None], size: tuple[int, int] | None, shown: str) -> tuple[int, int]:
    if size is None and None in found:
        raise ModelError(f"{shown}: its height and width are open; say the image's size (--size 224)")
    for known, wanted in zip(found, size or found, strict=True):
        if known is not None and known != wanted:
            raise ModelError(f"{shown}: it cannot take images of the size {size}; leave the size out")
    height, width = size or found
    assert height is not None and width is not None
    return height, width


def _layout(model: ModelProto, name: str, dims: list[int | None]) -> Layout:
    """By the dimension that is a number of colours; by the first convolution or Transpose where that is open."""
    first, last = dims[1] in _COLOURS, dims[3] in _COLOURS
    if first != last:
        return "NCHW" if first else "NHWC"
    names = {name}
    for node in model.graph.node:
        if names & set(node.input):
            if node.op_type == "Transpose":
                return "NHWC"
            if node.op_type in ("Conv", "MaxPool", "AveragePool", "BatchNormalization", "GlobalAveragePool"):
                return "NCHW"
            names.update(node.output)
    return "NHWC" if dims[1] is None else "NCHW"
