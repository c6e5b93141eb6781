"""Configuring a board's FPGA with openFPGALoader, which knows the cables and the flash memories."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from fieldwave.boards.board import Board
from fieldwave.errors import DeviceError, InputError, NotFoundError

__all__ = ["program_board"]

LIMIT_SECONDS = 300
"""Writing a whole flash memory over a slow cable takes two minutes."""


def program_board(board: Board, bitstream: Path, *, flash: bool = False) -> None:
    """Configure the FPGA of ``board``.

    Args:
        flash: write it to the board's flash memory, so that it stays when the power goes.

    Raises:
        NotFoundError: there is no such file, or no openFPGALoader.
        InputError: the board is a simulation.
        DeviceError: openFPGALoader failed: no cable, no permission, another FPGA.
    """
    if not board.programmer:
        raise InputError(f"board {board.name} is {board.title}: there is nothing to configure")
    if not bitstream.is_file():
        raise NotFoundError(
            f"no bitstream {str(bitstream)!r}; build one: fieldwave bitstream build --board {board.name}"
        )
    loader = shutil.which("openFPGALoader")
    if loader is None:
        raise NotFoundError(
            "no openFPGALoader found: install it, on Debian with 'apt-get install openfpgaloader', or configure "
            f"{bitstream} with another tool"
        )
    command = [loader, "--board", board.programmer, *(["--write-flash"] if flash else []), str(bitstream)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        raise DeviceError(
            f"openFPGALoader did not end within {LIMIT_SECONDS} s; is the {board.name}'s cable in place?"
        ) from None
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines() or ["no message"]
        line = next((line for line in lines if "error" in line.lower() or "fail" in line.lower()), lines[-1])
        raise DeviceError(f"openFPGALoader ended with {done.returncode} for {board.name}: {line.strip()}")
