"""Small parts for images: a base that has all that is looked for, and wheels with a lock file of their own."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from fieldwave.images import lock
from fieldwave.package import TensorSpec, write_package

ELF_AMD64 = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00" + bytes(44)
ELF_ARM64 = ELF_AMD64.replace(b"\x3e\x00", b"\xb7\x00")
Entry = tuple[str, str, bytes]
"""A path, what it is (``file``, ``folder``, ``link``), and its content or target."""
ROOT: tuple[Entry, ...] = (
    ("./", "folder", b""),
    ("./usr/bin/python3.11", "file", ELF_AMD64),
    ("./usr/bin/python3", "link", b"python3.11"),
    ("./lib64/ld-linux-x86-64.so.2", "link", b"/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
    ("./usr/lib/x86_64-linux-gnu/libstdc++.so.6", "link", b"libstdc++.so.6.0.30"),
    ("./opt", "folder", b""),
)


def tar(entries: Iterable[Entry]) -> bytes:
    """An archive of these entries."""
    buffer = io.BytesIO()
    kinds = {"file": tarfile.REGTYPE, "folder": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, data in entries:
            member = tarfile.TarInfo(name)
            member.type = kinds[kind]
            member.linkname = data.decode() if kind == "link" else ""
            member.size = len(data) if kind == "file" else 0
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def base(path: Path, more: Iterable[Entry] = (), without: str = "") -> Path:
    """A root filesystem's archive at ``path``."""
    kept = [entry for entry in ROOT if not without or without not in entry[0]]
    path.write_bytes(tar((*kept, *more)))
    return path


def wheel(folder: Path, name: str, files: Mapping[str, bytes], *, compressed: bool = True) -> tuple[Path, str]:
    """A wheel of version 1.0, and the SHA-256 of the file."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    about = f"{name}-1.0.dist-info"
    said = {f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()}
    said[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {**files, **said, f"{about}/RECORD": b""}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for file, data in files.items():
            archive.writestr(zipfile.ZipInfo(file, (2020, 1, 1, 0, 0, 0)), data, archive.compression)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the wheels of a small runtime, which the lock files name from now on."""
    folder = tmp_path / "wheels"
    text = b"A = 1\n" * 100
    first = wheel(folder, "first", {"first/__init__.py": text, "first-1.0.dist-info/METADATA": b"Name: first\n"})[
        1
    ]
    second = wheel(folder, "second", {"second.py": b"B = 2\n"}, compressed=False)[1]
    for architecture in lock.ARCHITECTURES:
        path = tmp_path / f"runtime-{architecture}.txt"
        lines = [
            f"{name}==1.0 --hash=sha256:{digest}\n" for name, digest in (("first", first), ("second", second))
        ]
        path.write_text("# the runtime\n" + "".join(lines))
    monkeypatch.setattr(lock, "_FOLDER", tmp_path)
    return folder


def package(path: Path, model: bytes = b"model") -> Path:
    """A package that can be read; its network is none."""
    spec = TensorSpec(name="x", dtype="float32", shape=(1, 4))
    write_package(
        path, network="four", model=model, inputs=[spec], outputs=[spec.model_copy(update={"name": "y"})]
    )
    return path
