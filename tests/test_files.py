"""A file appears whole or not at all, whatever interrupts the writing."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldwave.errors import StorageError
from fieldwave.files import write_atomically


def test_the_new_bytes_replace_the_old(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder(tmp_path: Path) -> None:
    path = tmp_path / "none" / "x"
    with pytest.raises(StorageError) as caught:
        write_atomically(path, b"data")
    assert str(caught.value) == f"cannot write {path}: No such file or directory; nothing was left behind"


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "x"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
