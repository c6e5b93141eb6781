"""The canonical zip: for given files there is exactly one archive, and only that one is accepted.

Members are stored, not compressed: int8 weights hardly compress, deflate's output depends on zlib's version,
and what is not compressed cannot be a decompression bomb. Timestamp (1980-01-01), permissions (0644), versions,
order and places are fixed. Every unzip tool opens it.

Field layout: PKWARE's APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from fieldwave.package.manifest import MANIFEST, check_file_name

__all__ = ["MAX_BYTES", "MAX_MEMBERS", "DamageError", "pack", "unpack"]

MAX_BYTES = 1 << 30
MAX_MEMBERS = 64

# signature, version needed, flags, method, time, date, crc32, compressed size, size,
# name length, extra length
_LOCAL = struct.Struct("<4s5H3I2H")
# signature, made by, needed, flags, method, time, date, crc32, compressed size, size,
# name length, extra length, comment length, disk, internal attributes, external attributes, offset
_CENTRAL = struct.Struct("<4s6H3I5H2I")
# signature, disk, disk of directory, members on disk, members, directory's size, directory's offset,
# comment length
_END = struct.Struct("<4s4H2IH")

_VERSION = 20
_MADE_BY_UNIX = 3 << 8 | _VERSION
_DATE = 0 << 9 | 1 << 5 | 1
_MODE = 0o100644 << 16
_SYMLINK, _TYPE_BITS, _DOS_FOLDER = 0o120000, 0o170000, 0x10


class DamageError(ValueError):
    """The bytes are no canonical zip; the message says what is wrong, without the archive's name."""


class _Member(NamedTuple):
    name: str
    flags: int
    method: int
    size: int
    attributes: int
    offset: int


def pack(files: Mapping[str, bytes]) -> bytes:
    """The archive of ``files``: ``manifest.json`` first, the others by name."""
    parts: list[bytes] = []
    directory: list[bytes] = []
    offset = 0
    for name in sorted(files, key=lambda name: (name != MANIFEST, name)):
        data, text = files[name], name.encode("ascii")
        common = (_VERSION, 0, 0, 0, _DATE, zlib.crc32(data), len(data), len(data), len(text), 0)
        local = _LOCAL.pack(b"PK\3\4", *common) + text
        directory.append(_CENTRAL.pack(b"PK\1\2", _MADE_BY_UNIX, *common, 0, 0, 0, _MODE, offset) + text)
        parts += (local, data)
        offset += len(local) + len(data)
    size = sum(map(len, directory))
    end = _END.pack(b"PK\5\6", 0, 0, len(directory), len(directory), size, offset, 0)
    return b"".join((*parts, *directory, end))


def unpack(archive: bytes) -> dict[str, bytes]:
    """The files of an archive that `pack` made.

    Members follow each other without overlap, so the memory needed is bounded by the archive's own size.
    Whether the archive is canonical to the last bit is for the caller to see, by packing the files again, so
    that it can say first which file is damaged.

    Raises:
        DamageError: not a zip, cut short, or with a member that a package never has.
    """
    files: dict[str, bytes] = {}
    offset = 0
    for member in _members(archive):
        _check(member, files)
        start = offset + _LOCAL.size + len(member.name)
        if member.offset != offset or start + member.size > len(archive):
            raise DamageError(f"{member.name} is not where the zip directory says")
        offset = start + member.size
        files[member.name] = archive[start:offset]
    return files


def _members(archive: bytes) -> list[_Member]:
    if not archive.startswith(b"PK"):
        raise DamageError("it is not a zip file")
    end = len(archive) - _END.size
    if end < 0 or archive[end : end + 4] != b"PK\5\6":
        raise DamageError("the zip directory at its end is missing, the file is cut short")
    _, _, _, _, count, size, offset, _ = _END.unpack_from(archive, end)
    if count > MAX_MEMBERS:
        raise DamageError(f"it has {count} members, at most {MAX_MEMBERS} are allowed")
    if offset + size != end:
        raise DamageError("the zip directory is not where the end of the file says")
    members = []
    for _ in range(count):
        if offset + _CENTRAL.size > end:
            raise DamageError("the zip directory is cut short")
        fields = _CENTRAL.unpack_from(archive, offset)
        if fields[0] != b"PK\1\2":
            raise DamageError("the zip directory holds something else than members")
        offset += _CENTRAL.size
        name = archive[offset : offset + fields[10]].decode("utf-8", "backslashreplace")
        offset += sum(fields[10:13])
        members.append(_Member(name, fields[3], fields[4], fields[9], fields[15], fields[16]))
    return members


def _check(member: _Member, seen: Mapping[str, bytes]) -> None:
    try:
        name = check_file_name(member.name)
    except ValueError as error:
        raise DamageError(f"member {error}") from None
    if name in seen:
        raise DamageError(f"it has two members named {name}")
    if member.attributes & _DOS_FOLDER or member.attributes >> 16 & _TYPE_BITS == 0o040000:
        raise DamageError(f"{name} is a folder")
    if member.attributes >> 16 & _TYPE_BITS == _SYMLINK:
        raise DamageError(f"{name} is a symbolic link")
    if member.flags & 1:
        raise DamageError(f"{name} is encrypted")
    if member.method != 0:
        raise DamageError(f"{name} is compressed (method {member.method}), a package stores its files as they are")
