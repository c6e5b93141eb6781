"""drawing.py: boxes and labels that can be read, on whatever picture."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fieldwave.errors import TensorError
from fieldwave.postprocess import Box, Detection, draw
from fieldwave.postprocess.drawing import colour_of


def picture(grey: int, height: int = 120, width: int = 160) -> NDArray[np.uint8]:
    return np.full((height, width, 3), grey, np.uint8)


def object_at(*edges: float, label: str = "cat", index: int = 8, score: float = 0.9) -> Detection:
    return Detection(label, index, score, Box(*edges))


def luminance(colour: NDArray[np.floating] | tuple[float, ...]) -> float:
    """Relative luminance, WCAG 2.1."""
    share = np.asarray(colour, float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_letters_stand_out_from_every_label_s_colour() -> None:
    ink = luminance((16, 16, 20))
    assert min(contrast(luminance(colour_of(index)), ink) for index in range(200)) > 7


def test_neighbouring_classes_have_colours_apart() -> None:
    colours = [np.array(colour_of(index)) for index in range(30)]
    assert min(np.abs(one - other).max() for one, other in pairwise(colours)) > 60


@pytest.mark.parametrize("grey", [0, 64, 128, 192, 255])
def test_a_box_stands_out_from_every_grey(grey: int) -> None:
    drawn = draw(picture(grey), [object_at(0.3, 0.3, 0.9, 0.7)])
    across = [luminance(pixel) for pixel in drawn[80, 40:56]]  # over the left edge, at column 48
    assert contrast(max(across), min(across)) > 3


def test_the_box_is_where_it_should_be_and_nowhere_else() -> None:
    drawn = draw(picture(128), [object_at(0.5, 0.5, 0.75, 0.75)])
    changed = np.argwhere((drawn != 128).any(axis=2))
    assert changed[:, 0].max() in range(89, 94) and changed[:, 1].max() in range(119, 124)
    assert (drawn[66:84, 86:114] == 128).all()  # nothing on the object itself
    assert tuple(drawn[75, 80]) == tuple(round(value) for value in colour_of(8))


def test_the_picture_handed_in_stays_as_it_is() -> None:
    pixels = picture(128)
    assert not np.array_equal(draw(pixels, [object_at(0, 0, 1, 1)]), pixels)
    assert (pixels == 128).all()
    assert np.array_equal(draw(pixels, []), pixels)


def test_the_likeliest_is_on_top() -> None:
    first, second = object_at(0.5, 0.2, 0.9, 0.8, index=1), object_at(0.5, 0.2, 0.9, 0.8, index=2)
    assert tuple(draw(picture(0), [first, second])[80, 32]) == tuple(round(value) for value in colour_of(1))


def test_each_box_has_the_colour_of_its_class() -> None:
    found = [object_at(0.5, 0.1, 0.9, 0.4, index=1), object_at(0.5, 0.6, 0.9, 0.9, index=2)]
    drawn = draw(picture(0), found)
    for index, column in ((1, 16), (2, 96)):
        assert tuple(drawn[80, column]) == tuple(round(value) for value in colour_of(index))


def test_each_label_stands_on_its_own_box() -> None:
    short = object_at(0.5, 0.05, 0.9, 0.25, label="i", index=1)
    long = object_at(0.5, 0.4, 0.9, 0.6, label="wwwww", index=2)
    alone = [draw(picture(128), [one]) for one in (short, long)]
    both = draw(picture(128), [short, long])
    assert np.array_equal(both[:, :58], alone[0][:, :58])
    assert np.array_equal(both[:, 58:], alone[1][:, 58:])


def test_labels_keep_off_each_other() -> None:
    alone = [(draw(picture(0), [object_at(0.4, 0.2, 0.8, 0.9, index=i)]) != 0).any(axis=2) for i in (1, 2)]
    assert np.array_equal(*alone)
    both = draw(picture(0), [object_at(0.4, 0.2, 0.8, 0.9, index=i) for i in (1, 2)])
    assert ((both != 0).any(axis=2) & ~alone[0]).sum() > 100


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=4),
    st.sampled_from(["", "x", "a long label\nof two lines", "größer", "猫", "w" * 300]),
)
def test_whatever_is_drawn_fits(
    height: int, width: int, boxes: list[tuple[float, float, float, float]], label: str
) -> None:
    found = [
        object_at(min(a, c), min(b, d), max(a, c), max(b, d), label=label, index=n)
        for n, (a, b, c, d) in enumerate(boxes)
    ]
    drawn = draw(picture(200, height, width), found)
    assert drawn.shape == (height, width, 3) and drawn.dtype == np.uint8


@pytest.mark.parametrize(
    ("pixels", "shown"),
    [
        (np.zeros((4, 4), np.uint8), "uint8 [4, 4]"),
        (np.zeros((4, 4, 3), np.float32), "float32 [4, 4, 3]"),
        (np.zeros((0, 4, 3), np.uint8), "uint8 [0, 4, 3]"),
    ],
)
def test_what_is_no_picture(pixels: NDArray[np.uint8], shown: str) -> None:
    with pytest.raises(TensorError) as caught:
        draw(pixels, [])
    assert str(caught.value) == f"the picture is {shown}, expected uint8 [height, width, 3]"
