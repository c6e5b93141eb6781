"""A simulated board: the whole system of a real one in a process of its own, behind a pseudo-terminal.

What goes through the terminal is what goes through a serial cable: the protocol of LiteX's bridge, which the
board's own gateware speaks. Needs the extra ``boards``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fieldwave.boards
from fieldwave.devices import simulator
from fieldwave.devices.board.transport import Words
from fieldwave.devices.board.uart import UartTransport
from fieldwave.devices.simulator.build import PACKAGES, build_key, compile_model, kept, versions_of
from fieldwave.errors import DeviceError
from fieldwave.npu import Configuration, configuration

__all__ = ["SimulatedBoard", "build_board"]

HARNESS = Path(simulator.__file__).with_name("board.cpp")
_TOOLS = ("migen", "litex", "litedram", "liteeth", *PACKAGES)
_SOURCES = ("addresses.py", "busregister.py", "simulation.py", "soc.py", "startup.py", "witness.py")
_GIVE_UP_SECONDS = 0.4
_PATIENCE_SECONDS = 20.0
"""Without a byte: a simulation, and its build's neighbours, may be slow."""


class SimulatedBoard:
    """A `Transport` to a board that is simulated for it alone, and gone with it.

    Args:
        npu: the configuration's name.

    Raises:
        MissingExtraError: the extra ``boards`` is not installed.
        DeviceError: it cannot be built; see `build_board`.
    """

    name = "sim"
    burst, chunk = UartTransport.burst, UartTransport.chunk

    def __init__(
        self, npu: str = "tiny", *, progress: Callable[[str, float], None] = lambda what, fraction: None
    ) -> None:
        program = build_board(configuration(npu), progress=progress)
        board, host = os.openpty()
        try:
            # Opened by name, as a cable's end is.
            self._uart = UartTransport(
                os.ttyname(host), patience=_PATIENCE_SECONDS, give_up=_GIVE_UP_SECONDS, simulated=True
            )
            self._process = subprocess.Popen(
                [str(program), str(board)], pass_fds=(board,), stdin=subprocess.DEVNULL
            )
        finally:
            os.close(board)
            os.close(host)

    def read(self, address: int, count: int) -> Words:
        """See `Transport.read`."""
        return self._uart.read(address, count)

    def write(self, address: int, words: Words) -> None:
        """See `Transport.write`."""
        self._uart.write(address, words)

    def resynchronise(self) -> None:
        """See `Transport.resynchronise`."""
        self._uart.resynchronise()

    def close(self) -> None:
        """Close the line, and end the simulation."""
        self._uart.close()
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)


def build_board(
    npu: Configuration, *, progress: Callable[[str, float], None] = lambda what, fraction: None
) -> Path:
    """The program of a simulated board, from the cache or built now.

    Raises:
        MissingExtraError: the extra ``boards`` is not installed.
        DeviceError: no C++ compiler, no folder to keep it in, or a tool failed; the message holds its last line.
    """
    versions = versions_of(_TOOLS, "simulating a board", "boards")
    digest = hashlib.sha256(build_key(npu, versions).encode())
    for source in (*(Path(fieldwave.boards.__file__).with_name(name) for name in _SOURCES), HARNESS):
        digest.update(source.read_bytes())

    def build(scratch: Path) -> Path:
        from fieldwave.npu.emit import emit_verilog

        progress("writing Verilog", 0.0)
        (scratch / "npu.v").write_text(emit_verilog(npu))
        _write_verilog(npu, scratch)
        return compile_model(scratch, "board", ["board.v", "npu.v"], HARNESS, [], progress, shared=False)

    return kept(f"{digest.hexdigest()[:32]}.board", build)


def _write_verilog(npu: Configuration, folder: Path) -> None:
    """In a process of its own, because LiteX changes a process's folder, logging and warnings."""
    (folder / "npu.json").write_text(json.dumps(dataclasses.asdict(npu)))
    command = [sys.executable, "-m", "fieldwave.boards.simulation", "npu.json", "."]
    environment = {**os.environ, "PYTHONPATH": str(Path(fieldwave.boards.__file__).parents[2])}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DeviceError(f"LiteX failed while building the simulated board: {last}")
