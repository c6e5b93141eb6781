"""How an image file becomes what a network takes, as far as the user says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from fieldwave.errors import InputError
from fieldwave.frontends.affine import Affine
from fieldwave.preprocess import Order, Resize

__all__ = ["Pixels"]


@dataclass(frozen=True)
class Pixels:
    """What the model itself does not say of its input; what is None is taken from the model, or from the defaults.

    ``y = (pixel - mean) / std``, or ``(pixel - mean) * scale``, for pixels from 0 to 255. A ``std`` of which every
    value is 1 or less says that mean and std are for pixels from 0 to 1, as PyTorch's ``Normalize`` takes them.

    Attributes:
        size: height and width, where the model leaves them open.
        order: of the channels that the model takes; GRAY has one.
        resize: ``crop`` or ``stretch``.
        shortest_side: in pixels, for ``crop``.
        mean: one value, or one for each of R, G, B.
        std: one value, or one for each of R, G, B.
        scale: one value.

    Raises:
        InputError: both a std and a scale, or a std of zero, or neither one value nor three.
    """

    size: tuple[int, int] | None = None
    order: Order | None = None
    resize: Resize | None = None
    shortest_side: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        if self.order is not None and self.order not in get_args(Order):
            raise InputError(f"the channel order is {self.order!r}, expected 'RGB', 'BGR' or 'GRAY'")
        if self.resize is not None and self.resize not in get_args(Resize):
            raise InputError(f"the resize is {self.resize!r}, expected 'crop' or 'stretch'")
        if self.std is not None and self.scale is not None:
            raise InputError("both a std and a scale are given; one of them says how pixels are scaled")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, 3):
                raise InputError(f"the {name} has {len(values)} values, expected 1, or 3 in the order R, G, B")
        if self.scale == 0 or (self.std is not None and 0 in self.std):
            raise InputError("the scale is 0 or a std is 0: every image would be the same")

    @property
    def normalises(self) -> bool:
        """Whether anything is said of the values of the pixels."""
        return not (self.mean is None and self.std is None and self.scale is None)

    def affine(self, channels: int) -> Affine:
        """From pixels in the order R, G, B to the model's input."""
        mean = self._each(self.mean, 0.0, channels)
        gain = (1.0 if self.scale is None else self.scale,) * channels
        if self.std is not None:
            std = self._each(self.std, 1.0, channels)
            unit = 255.0 if max(std) <= 1 else 1.0
            mean = tuple(unit * value for value in mean)
            gain = tuple(1 / (unit * value) for value in std)
        offset = tuple(-value * factor for value, factor in zip(mean, gain, strict=True))
        straight = Affine(tuple(range(channels)), gain, offset)
        if self.order != "BGR":
            return straight
        backwards = tuple(reversed(range(channels)))
        return Affine(backwards, (1.0,) * channels, (0.0,) * channels).after(straight)

    def _each(self, values: tuple[float, ...] | None, default: float, channels: int) -> tuple[float, ...]:
        if values is None:
            return (default,) * channels
        return values if len(values) == channels else values * channels if len(values) == 1 else values[:channels]
