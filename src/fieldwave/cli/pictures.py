"""Small pictures in characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["bar", "side_by_side"]

_SHADES = " ░▒▓█"
_GAP = "   "


def side_by_side(images: Sequence[NDArray[np.uint8]], captions: Sequence[str]) -> list[str]:
    """Lines that show grey images [H, W] beside each other, two characters a pixel, with a caption under each."""
    import numpy as np

    steps = [np.minimum(image.astype(int) * len(_SHADES) // 256, len(_SHADES) - 1) for image in images]
    rows = ["".join(_SHADES[step] * 2 for step in row) for image in steps for row in image]
    height = len(images[0])
    lines = [_GAP.join(rows[index::height]) for index in range(height)]
    width = 2 * images[0].shape[1]
    return [*lines, _GAP.join(caption.center(width) for caption in captions).rstrip()]


def bar(share: float, width: int = 30) -> str:
    """A horizontal bar of eighths of a character, for a share of 0 to 1."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]
