"""What a stack of layers looks like from inside a container: which paths are there, and where links lead.

Layers are read as the OCI image specification 1.1 (layer.md) says: a file ``.wh.NAME`` takes away what layers
below have at ``NAME``, and ``.wh..wh..opq`` all that they have in its folder.
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from fieldwave.errors import InputError

__all__ = ["Node", "Tree"]

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_LINKS = 40
"""As many links are followed as Linux follows (path_resolution(7))."""
_MAX_MEMBERS = 1_000_000
_PROGRAM = re.compile(r"python3\.\d+")
_HEAD_BYTES = 20


@dataclass(frozen=True)
class Node:
    """What is at a path: ``folder``, ``file``, ``link`` with its target, or ``device``; Python's first bytes."""

    kind: str
    target: str = ""
    head: bytes = b""


@dataclass
class Tree:
    """The paths that the layers added so far make, without a slash at either end."""

    nodes: dict[str, Node] = field(default_factory=dict)

    def add(self, archive: IO[bytes], place: str, *, first: bool = False) -> None:
        """Put a layer on top: an uncompressed tar archive.

        Parameters:
            archive: read from here to its end, never backwards.
            place: where it comes from, for errors.
            first: it is the root filesystem itself, so there is nothing that a whiteout could take away.

        Raises:
            InputError: it is no tar archive, or holds a path that leads out of it.
        """
        added: dict[str, Node] = {}
        gone: list[tuple[str, bool]] = []
        try:
            with tarfile.open(fileobj=archive, mode="r|") as members:
                for number, member in enumerate(members):
                    if number == _MAX_MEMBERS:
                        raise InputError(f"{place} holds more than {_MAX_MEMBERS} files")
                    path = _path(member.name, place)
                    folder, name = posixpath.split(path)
                    if not name.startswith(_WHITEOUT):
                        added.pop(path, None)  # to be after what was before it
                        added[path] = _node(member, members)
                    elif first:
                        raise InputError(
                            f"{place} holds {path}: a file of that name hides another one in an image; "
                            "make the archive from a root filesystem, not from a layer"
                        )
                    else:
                        opaque = name == _OPAQUE
                        gone.append((folder, True) if opaque else (f"{folder}/{name[4:]}".lstrip("/"), False))
        except (tarfile.TarError, EOFError) as error:
            raise InputError(f"{place} is no tar archive, or damaged: {error}") from None
        for path, inside in gone:
            self._remove(path, inside=inside)
        for path, node in added.items():
            if path and node.kind != "folder":
                self._remove(path, inside=False)
            self.nodes[path] = node

    def resolve(self, path: str) -> str | None:
        """Where a path leads when all links are followed; None if nothing is there."""
        todo, done, links = path.strip("/").split("/"), "", 0
        while todo:
            part = todo.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                done = posixpath.dirname(done)
                continue
            here = f"{done}/{part}".lstrip("/")
            node = self.nodes.get(here) or (Node("folder") if self._holds(here) else None)
            if node is None:
                return None
            if node.kind != "link":
                done = here
                continue
            links += 1
            if links > _LINKS:
                return None
            if node.target.startswith("/"):
                done = ""
            todo = [*node.target.split("/"), *todo]
        return done

    def find(self, pattern: re.Pattern[str]) -> Iterator[str]:
        """The paths that match as a whole."""
        return (path for path in self.nodes if pattern.fullmatch(path))

    def _holds(self, folder: str) -> bool:
        return any(path.startswith(f"{folder}/") for path in self.nodes)

    def _remove(self, path: str, *, inside: bool) -> None:
        start = f"{path}/" if path else ""
        if not inside:
            self.nodes.pop(path, None)
            if not start:
                return
        for each in [each for each in self.nodes if each.startswith(start) and each]:
            del self.nodes[each]


def _path(name: str, place: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise InputError(f"{place} holds a file named {name!r}, which leads out of it")
    return "/".join(parts)


def _node(member: tarfile.TarInfo, members: tarfile.TarFile) -> Node:
    if member.isdir():
        return Node("folder")
    if member.issym():
        return Node("link", member.linkname)
    if member.islnk():
        return Node("file")
    if not member.isfile():
        return Node("device")
    if not _PROGRAM.fullmatch(posixpath.basename(member.name)):
        return Node("file")
    content = members.extractfile(member)
    return Node("file", head=content.read(_HEAD_BYTES) if content else b"")
