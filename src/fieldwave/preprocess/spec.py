"""What a network expects of its input image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from fieldwave.errors import InputError
from fieldwave.preprocess.limits import MAX_IMAGE_PIXELS

__all__ = ["Decode", "Order", "Preprocessing", "Resize", "channels"]

Order = Literal["RGB", "BGR", "GRAY"]
Resize = Literal["crop", "stretch"]
Decode = Literal["full", "scaled"]


@dataclass(frozen=True)
class Preprocessing:
    """How an image of any size becomes the input of one network.

    The image is resized with TensorFlow 1's legacy bilinear kernel, the mean is subtracted, the channels are
    put in order, and the result is multiplied by the scale.

    Attributes:
        height, width: of the network's input, in pixels.
        order: the channel order of the network's input; GRAY has one channel.
        resize: ``crop`` brings the shortest side to ``shortest_side``, keeping the proportions, and takes the
            centre; ``stretch`` resizes to ``height`` x ``width`` at once.
        shortest_side: in pixels, for ``crop``; larger where the resized image would not cover the crop.
        mean: subtracted, in the range of the pixels (0 to 255), always in the order R, G, B; one value for
            GRAY.
        scale: multiplied after the mean is subtracted.
        decode: ``full`` decodes every pixel; ``scaled`` decodes a JPEG to a half, a quarter or an eighth of its
            size where what is left is still as large as what the resize makes of it, which is faster and gives
            other pixels: each is the mean of those that it stands for, where the resize alone would skip some.

    Raises:
        InputError: a value that no image can be brought to.
    """

    height: int
    width: int
    order: Order = "RGB"
    resize: Resize = "crop"
    shortest_side: int = 256
    mean: tuple[float, ...] = (123.68, 116.779, 103.939)
    scale: float = 1.0
    decode: Decode = "full"

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or self.height * self.width > MAX_IMAGE_PIXELS:
            raise InputError(
                f"the network's input is {self.width} x {self.height} pixels, "
                f"expected at least 1 x 1 and at most {MAX_IMAGE_PIXELS} pixels"
            )
        if self.resize not in get_args(Resize):
            raise InputError(f"the resize is {self.resize!r}, expected 'crop' or 'stretch'")
        if self.decode not in get_args(Decode):
            raise InputError(f"the decoding is {self.decode!r}, expected 'full' or 'scaled'")
        if self.shortest_side < 1:
            raise InputError(f"the shortest side is {self.shortest_side} pixels, expected at least 1")
        object.__setattr__(self, "mean", tuple(self.mean))  # of a list as well
        if len(self.mean) != self.channels:
            raise InputError(
                f"the mean has {len(self.mean)} values, the order {self.order} takes {self.channels}: "
                "one per channel"
            )
        if not all(math.isfinite(value) for value in (*self.mean, self.scale)):
            raise InputError(f"the mean {self.mean} and the scale {self.scale} must be finite numbers")

    @property
    def channels(self) -> int:
        """Channels of the network's input: 3, or 1 for GRAY."""
        return channels(self.order)


def channels(order: Order) -> int:
    """Channels of an image in this order: 3, or 1 for GRAY.

    Raises:
        InputError: no such order.
    """
    if order not in get_args(Order):
        raise InputError(f"the channel order is {order!r}, expected 'RGB', 'BGR' or 'GRAY'")
    return 1 if order == "GRAY" else 3
