"""A file appears whole or not at all, whatever interrupts the writing."""

from __future__ import annotations

import os
import stat
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


def test_a_secret_is_never_readable_for_others_and_other_files_are_as_the_umask_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode)))
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "secret", b"x", mode=0o600)
        write_atomically(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert modes[::2] == [0o600, 0o644]
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("secret", "file")] == [0o600, 0o644]
