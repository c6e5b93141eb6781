from __future__ import annotations

import numpy as np
import pytest

from fieldwave.cli.pictures import bar, side_by_side


def test_pictures_stand_side_by_side_over_their_captions() -> None:
    first = np.array([[0, 52, 255], [102, 153, 204]], np.uint8)
    second = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    assert side_by_side([first, second], ["7", "six"]) == [
        "  ░░██" + "   " + "██    ",
        "░░▒▒▓▓" + "   " + "    ██",
        "  7   " + "   " + " six",
    ]


@pytest.mark.parametrize(("value", "shade"), [(0, " "), (51, " "), (52, "░"), (103, "▒"), (154, "▓"), (205, "█")])
def test_each_fifth_of_the_range_has_a_shade(value: int, shade: str) -> None:
    assert side_by_side([np.full((1, 1), value, np.uint8)], [""]) == [shade * 2, ""]


@pytest.mark.parametrize(
    ("share", "drawn"),
    [
        (-1.0, ""),
        (0.0, ""),
        (1 / 32, "▏"),
        (0.25, "█"),
        (0.375, "█▌"),
        (31 / 32, "███▉"),
        (1.0, "████"),
        (2.0, "████"),
    ],
)
def test_a_bar_is_drawn_in_eighths(share: float, drawn: str) -> None:
    assert bar(share, width=4) == drawn
