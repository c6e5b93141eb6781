"""Descriptions of boards."""

from __future__ import annotations

import pytest

from fieldwave.boards import BOARDS, board
from fieldwave.errors import NotFoundError
from fieldwave.npu.parts import part
from fieldwave.npu.resources import fits


def test_a_board_by_its_name() -> None:
    assert board("ulx3s-85f").part == "LFE5U-85F-6BG381C"


def test_an_unknown_board_is_told_with_the_names() -> None:
    with pytest.raises(NotFoundError) as told:
        board("ulx4s")
    assert str(told.value) == "no board 'ulx4s'; there are ulx3s-85f, ecpix5-85f, sim"


@pytest.mark.parametrize("name", BOARDS)
def test_the_npu_of_a_board_fits_its_part(name: str) -> None:
    one = board(name)
    assert one.name == name
    assert not one.part or fits(one.configuration, part("ecp5-85f"))
