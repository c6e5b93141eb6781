"""The files of a wheel, as they lie in it (PEP 427)."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fieldwave.errors import InputError, StorageError

__all__ = ["WheelFile", "wheel_files"]

_LOCAL_BYTES = 30
_STORED, _DEFLATED = 0, 8
_LARGEST = 1 << 31


@dataclass(frozen=True)
class WheelFile:
    """One file: its path below the folder that Python imports from, its bytes as they are in the wheel.

    Attributes:
        path: with slashes, such as ``numpy/__init__.py``.
        data: the deflate stream; the bytes themselves where ``deflated`` is False.
        crc: CRC-32 of the content.
        size: of the content, in bytes.
        deflated: whether ``data`` is compressed.
    """

    path: str
    data: bytes
    crc: int
    size: int
    deflated: bool


def wheel_files(path: Path) -> Iterator[WheelFile]:
    """The files that an installation of this wheel puts where Python imports from, by path.

    Scripts, headers and data beside the packages are left out: an image has its own command.

    Raises:
        InputError: it is no wheel, or holds a name that leads elsewhere.
        StorageError: it cannot be read.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = [(_place(member.filename, path), member) for member in archive.infolist()]
            for place, member in sorted(members, key=lambda pair: pair[0]):
                if not place or member.is_dir():
                    continue
                if member.compress_type not in (_STORED, _DEFLATED) or member.file_size > _LARGEST:
                    raise InputError(f"{path} holds {member.filename} in a way that no wheel does")
                file.seek(member.header_offset)
                header = file.read(_LOCAL_BYTES)
                if len(header) < _LOCAL_BYTES or header[:4] != b"PK\3\4":
                    raise InputError(f"{path} is damaged: {member.filename} is not where its directory says")
                file.seek(sum(struct.unpack("<HH", header[26:])), 1)
                data = file.read(member.compress_size)
                yield WheelFile(place, data, member.CRC, member.file_size, member.compress_type == _DEFLATED)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is no wheel: {error}") from None


def _place(name: str, wheel: Path) -> str:
    """Where a member is installed; empty for what is not."""
    parts = name.rstrip("/").split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in name or "\0" in name:
        raise InputError(f"{wheel} holds a file named {name!r}, which leads out of its folder")
    if not parts[0].endswith(".data"):
        return "/".join(parts)
    return "/".join(parts[2:]) if len(parts) > 2 and parts[1] in ("purelib", "platlib") else ""
