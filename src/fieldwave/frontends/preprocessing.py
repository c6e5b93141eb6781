"""What is known of the pixels, from the model and from the user, as one Preprocessing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldwave.frontends.affine import Affine, plain
from fieldwave.frontends.pixels import Pixels
from fieldwave.preprocess import Order, Preprocessing, Resize

__all__ = ["Geometry", "Prepared", "prepare"]

_ORDERS: dict[tuple[int, ...], Order] = {(0,): "GRAY", (0, 1, 2): "RGB", (2, 1, 0): "BGR"}
_LARGE = 128
"""Pixels from which on a square colour image is taken for a photograph, whose centre counts."""


@dataclass(frozen=True)
class Geometry:
    """How an image of any size is brought to the network's; ``Preprocessing`` explains the fields."""

    resize: Resize
    shortest_side: int = 256


@dataclass(frozen=True)
class Prepared:
    """What comes of it.

    Attributes:
        spec: None where nothing is known of the pixels' values.
        base: from pixels, in the order R, G, B, to the input of the model as the framework exported it.
        gain: what the network's first layer must multiply each channel by; None for nothing.
        notes: for the user.
    """

    spec: Preprocessing | None
    base: Affine
    gain: NDArray[np.float32] | None
    notes: tuple[str, ...]


def prepare(
    front: Affine, found: Affine | None, geometry: Geometry | None, pixels: Pixels, size: tuple[int, int]
) -> Prepared:
    """Put together what the user says, what the framework's part found in front of the model, and what is in it.

    Args:
        front: from the model's input to its first layer.
        found: from pixels, in the order R, G, B, to the model's input, where the framework's part found it.
        geometry: the same for the resize.
        pixels: what the user says; it has the last word.
        size: height and width of the network's input.
    """
    channels = len(set(front.source))
    notes: list[str] = []
    if pixels.normalises or found is None:
        base = pixels.affine(channels)
        inside = max(abs(gain) for gain in front.gain)
        if not pixels.normalises and inside > 1:
            notes.append("the model normalises pixels from 0 to 1 itself: they are divided by 255 first")
            unit = (1 / 255,) * channels
            base = Affine(tuple(range(channels)), unit, (0.0,) * channels).after(base)
    else:
        base = found
    total = front.after(base)
    order = _ORDERS.get(total.source)
    known = pixels.normalises or found is not None or not front.is_identity
    if not known or order is None:
        notes.append(
            "the model does not say how pixels become its input: pass the mean and the scale or std "
            "(--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225, or --mean 0 --scale 1), "
            "or clients send the tensor itself"
        )
        return Prepared(None, base, None, tuple(notes))
    scale, gain = _scale(total)
    mean = [0.0] * channels
    for channel, value in zip(total.source, total.mean, strict=True):
        mean[channel] = value
    chosen = _geometry(pixels, geometry, size, channels, notes)
    spec = Preprocessing(
        height=size[0],
        width=size[1],
        order=order,
        resize=chosen.resize,
        shortest_side=chosen.shortest_side,
        mean=tuple(mean),
        scale=scale,
    )
    if not front.is_identity:
        notes.append("the normalisation inside the model was moved into the preprocessing")
    if gain is not None:
        notes.append("the gain of each channel went into the weights of the first convolution")
    return Prepared(spec, base, gain, tuple(notes))


def _scale(total: Affine) -> tuple[float, NDArray[np.float32] | None]:
    """One scale for all channels, and what is left for each of them.

    Where the channels differ, the first layer takes the rest, and the scale is free: the brightest pixel becomes
    the largest value that int8 holds at a power-of-two step.
    """
    gains = total.gain
    if max(gains) - min(gains) <= 1e-6 * max(abs(gain) for gain in gains):
        return plain(gains[0]), None
    farthest = max(max(abs(0 - mean), abs(255 - mean)) for mean in total.mean)
    exponent = round(np.log2(farthest * float(np.mean(np.abs(gains))) / 127))
    scale = float(np.float32(127 / farthest * 2.0**exponent))
    return scale, (np.asarray(gains, np.float64) / scale).astype(np.float32)


def _geometry(
    pixels: Pixels, found: Geometry | None, size: tuple[int, int], channels: int, notes: list[str]
) -> Geometry:
    if found is None:
        photograph = channels == 3 and min(size) >= _LARGE
        side = round(max(size) * 256 / 224)
        found = Geometry("crop", side) if photograph else Geometry("stretch")
        if pixels.resize is None:
            how = f"cropped from a shortest side of {side} pixels" if photograph else "stretched"
            notes.append(f"images are {how} to {size[1]} x {size[0]} (--resize says otherwise)")
        elif pixels.resize == "crop":
            found = Geometry("crop", side)
    return Geometry(pixels.resize or found.resize, pixels.shortest_side or found.shortest_side)
