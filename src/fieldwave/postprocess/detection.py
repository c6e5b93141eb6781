"""What a detection network finds: objects, and where they are."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Box", "Detection"]


@dataclass(frozen=True)
class Box:
    """A rectangle, its edges as fractions of the image: 0 is the top or the left, 1 the bottom or the right."""

    ymin: float
    xmin: float
    ymax: float
    xmax: float

    def pixels(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom edge in an image of that size, in pixels."""
        return self.xmin * width, self.ymin * height, self.xmax * width, self.ymax * height


@dataclass(frozen=True)
class Detection:
    """One object.

    Attributes:
        label: the name of its class; the class's index as text where the network has no labels.
        index: of the class, counting from 0, the background included.
        score: the probability that the network gives the class at this place, 0 to 1.
        box: where it is.
    """

    label: str
    index: int
    score: float
    box: Box
