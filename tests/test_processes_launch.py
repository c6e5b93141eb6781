from __future__ import annotations

import os
from pathlib import Path

import pytest

from fieldwave.errors import ServiceError, StorageError
from fieldwave.processes import ProcessFolder
from fieldwave.processes.launch import launch


def test_a_program_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(ServiceError) as caught:
        launch([str(tmp_path / "nothing")], ProcessFolder(tmp_path), [])
    name = tmp_path.name
    assert str(caught.value) == f"the supervisor of process {name!r} did not start: No such file or directory"


def test_the_last_thing_it_said_is_why_it_did_not_start(tmp_path: Path) -> None:
    with pytest.raises(ServiceError) as caught:
        launch(["sh", "-c", "echo noise; echo no room; exit 3"], ProcessFolder(tmp_path), [])
    assert str(caught.value) == f"the supervisor of process {tmp_path.name!r} did not start: no room"
    with pytest.raises(StorageError) as no_log:
        launch(["true"], ProcessFolder(tmp_path / "gone"), [])
    assert str(no_log.value) == f"cannot write {tmp_path / 'gone' / 'process.log'}: No such file or directory"


def test_it_has_the_folder_and_nothing_of_the_callers(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    script = 'echo "$0 $PWD $PYTHONUNBUFFERED"; ls /proc/$$/fd; true'
    launch(["sh", "-c", script], ProcessFolder(tmp_path), [writing])
    os.close(reading)
    os.close(writing)
    first, *descriptors = ProcessFolder(tmp_path).log.read_text().splitlines()
    assert first == f"{tmp_path} / 1"
    assert sorted(map(int, descriptors)) == [0, 1, 2, writing]
