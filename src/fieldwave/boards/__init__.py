"""Boards: what is around an NPU on one that can be bought, and how its bitstream is made.

Descriptions are plain Python; what builds hardware needs the extra ``boards``.
"""

from __future__ import annotations

from fieldwave.boards.board import BOARDS, Board, Dram, board

__all__ = ["BOARDS", "Board", "Dram", "board"]
