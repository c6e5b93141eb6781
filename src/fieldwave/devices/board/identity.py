"""What is at the end of a transport: which board, which NPU, how much memory."""

from __future__ import annotations

from dataclasses import dataclass

from fieldwave.boards import addresses
from fieldwave.devices.board.link import Link
from fieldwave.devices.board.transport import Transport
from fieldwave.errors import DeviceError
from fieldwave.npu import CONFIGURATIONS, Configuration
from fieldwave.npu.isa import MAGIC, VERSION, Register

__all__ = ["Identity", "check_magic", "configuration_of", "identify"]

_MOST_CHARACTERS = 64
_WORDS = {0x0: "only zeros", 0xFFFFFFFF: "only ones"}


@dataclass(frozen=True)
class Identity:
    """A board by its own account.

    Attributes:
        board: its name: ``ulx3s-85f``.
        fingerprint: of the NPU's configuration.
        clock: of the NPU, in hertz.
        memory_bytes: size of its memory.
    """

    board: str
    fingerprint: int
    clock: int
    memory_bytes: int


def identify(link: Link) -> Identity:
    """Read who it is.

    Raises:
        DeviceError: there is no NPU of ours, or it does not answer.
    """
    name = link.transport.name
    magic, version, low, high = (int(word) for word in link.read(addresses.NPU + Register.IDENTITY, 4))
    if magic != MAGIC:
        check_magic(link.transport)
    if version != VERSION:
        raise DeviceError(
            f"the NPU at {name} speaks version {version} of the instruction set, this driver {VERSION}; "
            "build its bitstream again"
        )
    text = bytes(int(word) & 0xFF for word in link.read(addresses.IDENTIFIER, _MOST_CHARACTERS))
    words = text.split(b"\0")[0].decode("ascii", "replace").split()
    clock, memory = (int(word) for word in link.read(addresses.CLOCK, 2))
    board = words[1] if len(words) > 1 and words[0] == "fieldwave" else "board"
    return Identity(board, high << 32 | low, clock, memory)


def check_magic(transport: Transport) -> None:
    """Raise unless an NPU answers, as far as that can be told of something that does not keep to the protocol.

    Raises:
        DeviceError: what answers, twice in the same way, is no NPU.
    """
    transport.resynchronise()
    first, second = (int(transport.read(addresses.NPU + Register.IDENTITY, 1)[0]) for _ in range(2))
    if first == second != MAGIC:
        raise DeviceError(
            f"at {transport.name} answers no NPU, but {_WORDS.get(first, f'{first:#010x}')}; "
            "load its bitstream: fieldwave bitstream program"
        )


def configuration_of(identity: Identity, name: str, given: Configuration | None = None) -> Configuration:
    """The configuration that the board has been built for.

    Args:
        name: of the port, for messages.
        given: what the caller expects; else one of those that have a name.

    Raises:
        DeviceError: it is another, or unknown.
    """
    if given is not None:
        if given.fingerprint != identity.fingerprint:
            raise DeviceError(
                f"the NPU at {name} has fingerprint {identity.fingerprint:016x}, the configuration asked for "
                f"{given.fingerprint:016x}; build the bitstream again, or ask for what the board has"
            )
        return given
    for known in CONFIGURATIONS.values():
        if known.fingerprint == identity.fingerprint:
            return known
    raise DeviceError(
        f"the NPU at {name} has fingerprint {identity.fingerprint:016x}, which no named configuration has; "
        "build its bitstream again with this version"
    )
