"""``python -m fieldwave.boards.write BOARD NPU.json MHZ FOLDER``: a board's own Verilog and constraints.

A program of its own because LiteX changes the process's folder and its logging.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fieldwave.boards.board import board
from fieldwave.npu import configuration


def main(name: str, npu: str, megahertz: str, folder: str) -> None:
    from fieldwave.boards.ecp5 import write_sources

    write_sources(board(name), configuration(npu), float(megahertz), Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
