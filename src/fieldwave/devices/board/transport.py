"""What a driver needs of the way to a board: words of its bus, read and written.

UART and Etherbone are here; PCIe or a Zynq's own memory fit the same six methods. A transport may lose, double
or garble anything: `Link` finds out and repeats. It must only never wait for ever.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import DeviceError

__all__ = ["LinkFault", "Transport", "Words"]

Words = NDArray[np.uint32]


class LinkFault(DeviceError):
    """Nothing came in time, or what came cannot be; the same again may work after `Transport.resynchronise`."""


class Transport(Protocol):
    """Words on a bus, 32 bits wide, by their byte addresses.

    Attributes:
        name: for messages: ``/dev/ttyUSB0``.
        burst: words of its longest command.
        chunk: words after which the witness is looked at: few, where commands get lost as a whole.
    """

    name: str
    burst: int
    chunk: int

    def read(self, address: int, count: int) -> Words:
        """``count`` consecutive words.

        Raises:
            LinkFault: they did not come in time, or not all of them.
            DeviceLostError: the board has been unplugged, or nobody answers any more.
        """

    def write(self, address: int, words: Words) -> None:
        """Write consecutive words; they may still be on their way when it returns, and `read` comes after them.

        Raises: as `read`.
        """

    def resynchronise(self) -> None:
        """Give up what was under way, on both sides, so that the next command is understood.

        Raises:
            DeviceLostError: the board has been unplugged.
        """

    def close(self) -> None:
        """Let go of the port; a second time does nothing."""
