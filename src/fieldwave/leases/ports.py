"""The serial ports on which a board may hang."""

from __future__ import annotations

from pathlib import Path

__all__ = ["serial_ports"]


def serial_ports(system: Path = Path("/sys/class/tty")) -> tuple[str, ...]:
    """The serial ports of this machine that hang on USB, as those of FPGA boards do; nothing is opened."""
    found = (*system.glob("ttyUSB*"), *system.glob("ttyACM*"))
    return tuple(f"/dev/{one.name}" for one in sorted(found))
