"""Byte code in images, so that a service need not compile 500 modules each time it starts.

Python looks for it below ``PYTHONPYCACHEPREFIX`` (`sys.pycache_prefix`). It is of the kind that is not checked
against its source (PEP 552, unchecked hash), since nothing in an image ever changes. Equal sources give equal
bytes: marshal's version 2 writes no references, which depend on what else a process has loaded.
"""

from __future__ import annotations

import functools
import importlib.util
import marshal
import platform
import struct
import sys
import tarfile
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from fieldwave.images.base import Base
from fieldwave.images.lock import PYTHON
from fieldwave.images.wheel import WheelFile
from fieldwave.store import Manifest, Store

__all__ = ["MODULES", "compiler", "content", "file_name", "library_folder", "pyc", "standard_library"]

_UNCHECKED = 0b01
_MARSHAL = 2
_TAG = f"cpython-{PYTHON.replace('.', '')}"
MODULES = Path(__file__).parent / "service-modules.txt"
"""The modules of the wheels and of the standard library that a service imports: those that get byte code, besides
Fieldwave's own. Another one is compiled when it is imported, which costs time and nothing else."""


def compiler() -> str:
    """The version of the Python that runs here if its byte code is that of images; else empty."""
    same = platform.python_implementation() == "CPython" and sys.version_info.releaselevel == "final"
    return platform.python_version() if same and "{}.{}".format(*sys.version_info) == PYTHON else ""


@functools.lru_cache(maxsize=2048)
def pyc(name: str, source: bytes) -> bytes | None:
    """The byte code of a module, as a ``.pyc`` file has it; None for what is no module, or not one of `MODULES`.

    Parameters:
        name: of the file, below the folder that Python imports from.
    """
    if not name.endswith(".py") or not (name.startswith("fieldwave/") or name in _modules()):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of code that is not ours
            # Where it lies is set when it is loaded.
            code = compile(source, "", "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError):
        return None
    head = importlib.util.MAGIC_NUMBER + struct.pack("<L", _UNCHECKED) + importlib.util.source_hash(source)
    return head + marshal.dumps(code, _MARSHAL)


def file_name(place: str) -> str:
    """The byte code's file below the prefix, from the path of the source in the image, without a leading slash."""
    folder, _, module = place.rpartition("/")
    return f"{folder}/{module.removesuffix('.py')}.{_TAG}.pyc"


def content(file: WheelFile) -> bytes:
    """The bytes of a file of a wheel."""
    return zlib.decompress(file.data, wbits=-15, bufsize=max(file.size, 1)) if file.deflated else file.data


def library_folder(base: Base) -> str:
    """Where the base's Python has its modules, without a leading slash."""
    return f"{base.python.rpartition('/bin/')[0].strip('/')}/lib/python{PYTHON}/"


def standard_library(store: Store, base: Base, manifest: Manifest) -> dict[str, bytes]:
    """The sources of those `MODULES` that are the base's own, by their paths below `library_folder`."""
    top = library_folder(base)
    found: dict[str, bytes] = {}
    for layer in manifest.layers:
        stream = cast("IO[bytes]", _Pieces(store.read(base.repository, layer)))
        with tarfile.open(fileobj=stream, mode="r|*") as archive:
            for member in archive:
                name = member.name.removeprefix("./").lstrip("/")
                folder, _, last = name.rpartition("/")
                if last.startswith(".wh."):  # what the layers below have of it is gone
                    gone = f"{folder}/" if last == ".wh..wh..opq" else f"{folder}/{last.removeprefix('.wh.')}/"
                    found = {path: data for path, data in found.items() if not f"{top}{path}/".startswith(gone)}
                elif member.isreg() and name.startswith(top) and name.removeprefix(top) in _modules():
                    file = archive.extractfile(member)
                    found[name.removeprefix(top)] = file.read() if file is not None else b""
    return dict(sorted(found.items()))


@functools.cache
def _modules() -> frozenset[str]:
    return frozenset(MODULES.read_text().split())


class _Pieces:
    """A stream of pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def read(self, size: int) -> bytes:
        while len(self._left) < size and (piece := next(self._pieces, b"")):
            self._left += piece
        data, self._left = self._left[:size], self._left[size:]
        return data
