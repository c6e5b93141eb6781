"""Files that are replaced while they are in use: every change is seen, and never half of one is taken."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from fieldwave.errors import InputError, StorageError
from fieldwave.serving.reread import Reread


def reading(path: Path, name: str = "file") -> Reread[str]:
    return Reread(name, (path,), path.read_text)


def test_what_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("one")
    os.utime(path, (0, 0))
    reads = 0

    def read() -> str:
        nonlocal reads
        reads += 1
        return path.read_text()

    again = Reread("file", (path,), read)
    for _ in range(10):
        assert not again.refresh()
    assert reads == 1


def test_a_change_within_one_tick_of_the_clock_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same size, the same inode, and mostly the same time on a file system whose clock has whole seconds."""
    real = os.stat

    def coarse(path: Path) -> SimpleNamespace:
        found = real(path)
        seconds = found.st_mtime_ns // 10**9 * 10**9
        return SimpleNamespace(
            st_mtime_ns=seconds, st_ctime_ns=seconds, st_ino=found.st_ino, st_size=found.st_size
        )

    monkeypatch.setattr("fieldwave.serving.reread.os.stat", coarse)
    path = tmp_path / "x"
    path.write_text("000")
    again = reading(path)
    for number in range(1, 300):
        with path.open("r+") as file:
            file.write(f"{number:03}")
        again.refresh()
        assert again.value == f"{number:03}"


def test_a_replaced_file_and_one_behind_a_link_are_seen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("a")
    again = reading(tmp_path / "link", "letters")
    (tmp_path / "new").symlink_to("b")
    (tmp_path / "new").replace(tmp_path / "link")
    with caplog.at_level(logging.INFO):
        assert again.refresh()
    assert again.value == "b"
    assert caplog.messages == ["the letters changed and have been read again"]


def test_files_that_change_while_they_are_read_are_read_once_more(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("old")
    two.write_text("old")
    changes = 0

    def read() -> tuple[str, str]:
        nonlocal changes
        first = one.read_text()
        if changes < 1:
            changes += 1
            one.write_text("newer")
            two.write_text("newer")
        return first, two.read_text()

    assert Reread("files", (one, two), read).value == ("newer", "newer")


def test_an_error_in_the_middle_of_a_change_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("half")

    def read() -> str:
        if path.read_text() == "half":
            path.write_text("the whole")  # its writer goes on meanwhile
            raise InputError("half")
        return path.read_text()

    assert Reread("file", (path,), read).value == "the whole"


def test_an_error_at_the_start_is_the_caller_s(tmp_path: Path) -> None:
    def read() -> str:
        raise StorageError("no")

    with pytest.raises(StorageError, match=r"^no$"):
        Reread("file", (tmp_path / "x",), read)


def test_a_file_that_is_gone_changes_nothing_but_the_log_and_is_taken_when_it_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x"
    path.write_text("one")

    def read() -> str:
        try:
            return path.read_text()
        except OSError as error:
            raise StorageError(f"gone: {error.strerror}") from error

    again = Reread("file", (path,), read)
    path.unlink()
    for _ in range(3):
        assert not again.refresh()
    assert again.value == "one"
    assert caplog.messages == [
        "the file changed and cannot be used, the old ones stay: gone: No such file or directory"
    ]
    path.write_text("two")
    assert again.refresh()
    assert again.value == "two"


def test_many_at_once_see_one_change(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("one")
    again = reading(path)
    path.write_text("two")
    seen: list[bool] = []
    threads = [threading.Thread(target=lambda: seen.append(again.refresh())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [False] * 7 + [True]
    assert again.value == "two"
