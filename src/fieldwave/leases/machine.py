"""What NPUs this machine has, and how many simulated ones may run on it.

An administrator writes it into ``/etc/fieldwave/machine.toml`` (another file: ``FIELDWAVE_MACHINE``); without the
file there are no boards, and simulations are not counted::

    rtl = 2                          # simulated NPUs that may run at a time; without it as many as one likes
    cpu = 4                          # 'cpu' devices that the device plugin advertises where there is no board

    [boards.kv260-0]                 # a board, by the name that leases, services and pods know it by
    files = ["/dev/uio4", "/dev/udmabuf0"]    # its device files: a container that is given the board gets them
    address = "192.168.1.50:1234"             # where it answers, if it hangs on a network
    numa = 0                                  # the NUMA node that it hangs on

In a container that was started with NPUs of its own, ``FIELDWAVE_NPUS`` lists them (JSON, as `Machine.given` reads
it) and the file is not looked at: whoever started the container has seen to it that nobody else has them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fieldwave.errors import InputError, StorageError

__all__ = [
    "GIVEN_VARIABLE",
    "Machine",
    "Slot",
    "machine_file",
    "parse_machine",
    "read_machine",
    "to_given",
    "undescribed_slot",
]

GIVEN_VARIABLE = "FIELDWAVE_NPUS"
_FILE_VARIABLE = "FIELDWAVE_MACHINE"
_FILE = Path("/etc/fieldwave/machine.toml")
_KINDS = ("board", "rtl", "cpu")
# Kubernetes takes device ids of at most 63 characters; the names of counted slots are kept apart from boards'.
_NAME = re.compile(r"(?!(?:rtl|cpu)-[0-9]+$)[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_MOST = 4096


@dataclass(frozen=True)
class Slot:
    """A place for one package.

    Attributes:
        name: ``kv260-0``, ``rtl-0``; one of a kind on its machine.
        kind: a real board, the simulated gateware, or a share of the processor (for the device plugin only).
        files: device files of a board.
        address: ``host:port`` of a board that hangs on a network; else empty.
        numa: the NUMA node of a board, if it is known.
    """

    name: str
    kind: Literal["board", "rtl", "cpu"]
    files: tuple[str, ...] = ()
    address: str = ""
    numa: int | None = None

    @property
    def device(self) -> str:
        """The device as a service names it: ``board:kv260-0``, ``rtl``, ``cpu``."""
        return f"board:{self.name}" if self.kind == "board" else self.kind


@dataclass(frozen=True)
class Machine:
    """The NPUs of a machine.

    Attributes:
        boards: the boards it has.
        rtl: how many simulated NPUs may run at a time; None if they are not counted.
        cpu: how many 'cpu' devices the device plugin advertises where there is no board.
        given: whether this is what a container was given, and nobody else has.
    """

    boards: tuple[Slot, ...] = ()
    rtl: int | None = None
    cpu: int = 0
    given: tuple[Slot, ...] | None = None

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All that a lease can be had of."""
        if self.given is not None:
            return self.given
        return (*self.boards, *(Slot(f"rtl-{index}", "rtl") for index in range(self.rtl or 0)))

    @property
    def advertised(self) -> tuple[Slot, ...]:
        """All that the device plugin advertises: the boards, or where there are none the 'cpu' devices allowed.

        Never both: a pod that asks for an NPU must not be given one kind here and the other there.
        """
        return self.boards or tuple(Slot(f"cpu-{index}", "cpu") for index in range(self.cpu))


def undescribed_slot(port: str) -> Slot:
    """The slot of a board that the machine's file does not name, by its serial port or its ``udp:HOST``."""
    name = re.sub("[^a-z0-9]+", "-", port.lower()).strip("-")
    files = (port,) if port.startswith("/") else ()
    return Slot(f"at-{name}"[:63].rstrip("-"), "board", files, "" if files else port.removeprefix("udp:"))


def machine_file() -> Path:
    """The file that describes this machine; it need not exist."""
    return Path(os.environ.get(_FILE_VARIABLE) or _FILE)


def read_machine(path: Path | None = None) -> Machine:
    """This machine, by its file, or by what this container was given.

    Raises:
        InputError: the file or the variable says what cannot be.
        StorageError: the file cannot be read.
    """
    given = os.environ.get(GIVEN_VARIABLE)
    if path is None and given is not None:
        return Machine(given=_given(given))
    path = path or machine_file()
    try:
        return parse_machine(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Machine()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise InputError(f"{path}: it is no text in UTF-8") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def parse_machine(text: str) -> Machine:
    """The machine that a file with this text describes. Raises InputError when it says what cannot be."""
    import tomllib  # not for those who only ask for help

    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"it is no TOML: {error}") from None
    return _machine(said)


def to_given(slots: tuple[Slot, ...]) -> str:
    """What a container that is given these slots finds in ``FIELDWAVE_NPUS``."""
    return json.dumps([dataclasses.asdict(slot) for slot in slots], separators=(",", ":"))


def _machine(said: Mapping[str, Any]) -> Machine:
    _only(said, ("rtl", "cpu", "boards"), "")
    boards = said.get("boards", {})
    if not isinstance(boards, dict):
        raise InputError(f"boards is {boards!r}, expected tables such as [boards.kv260-0]")
    return Machine(
        boards=tuple(_board(name, content) for name, content in boards.items()),
        rtl=_count(said, "rtl") if "rtl" in said else None,
        cpu=_count(said, "cpu") if "cpu" in said else 0,
    )


def _board(name: str, content: Any) -> Slot:
    if not isinstance(content, dict):
        raise InputError(f"boards.{name} is {content!r}, expected a table [boards.{name}]")
    _only(content, ("files", "address", "numa"), f"boards.{name}.")
    return _slot({"name": name, "kind": "board", **content})


def _given(text: str) -> tuple[Slot, ...]:
    try:
        slots = json.loads(text)
        if not isinstance(slots, list) or not all(isinstance(slot, dict) for slot in slots):
            raise InputError(f"{text[:100]!r} is no list of NPUs")
        return tuple(_slot(slot) for slot in slots)
    except ValueError as error:
        raise InputError(f"{GIVEN_VARIABLE} in the environment is wrong: {error}") from None


def _slot(content: Mapping[str, Any]) -> Slot:
    name, kind, files = content.get("name"), content.get("kind"), content.get("files", [])
    address, numa = content.get("address", ""), content.get("numa")
    if kind not in _KINDS:
        raise InputError(f"kind {kind!r} is none of {', '.join(_KINDS)}")
    if not isinstance(name, str) or (kind == "board" and not _NAME.fullmatch(name)):
        raise InputError(
            f"{name!r} is no name for a board: up to 63 lower-case letters, digits and '-', a letter first, "
            "no '-' last, and not rtl-N or cpu-N"
        )
    if not isinstance(files, list) or not all(isinstance(one, str) and one.startswith("/") for one in files):
        raise InputError(f"the files of {name} are {files!r}, expected a list of absolute paths")
    if not isinstance(address, str):
        raise InputError(f"the address of {name} is {address!r}, expected a text in quotes")
    if numa is not None and (type(numa) is not int or numa < 0):
        raise InputError(f"numa of {name} is {numa!r}, expected 0 or more")
    return Slot(name, kind, tuple(files), address, numa)


def _count(said: Mapping[str, Any], key: str) -> int:
    value = said[key]
    if type(value) is not int or not 0 <= value <= _MOST:
        raise InputError(f"{key} is {value!r}, expected a number from 0 to {_MOST}")
    return value


def _only(said: Mapping[str, Any], known: tuple[str, ...], prefix: str) -> None:
    for key in said:
        if key not in known:
            raise InputError(f"{prefix + key!r} is unknown; it may say {', '.join(known)}")
