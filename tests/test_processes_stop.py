from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fieldwave.deploy.state import ServiceFolder, Status
from fieldwave.errors import ServiceError
from fieldwave.processes.lock import take
from fieldwave.processes.stop import stop


def test_a_process_that_only_has_the_number_is_left_alone(tmp_path: Path) -> None:
    folder = ServiceFolder(tmp_path)
    lock = take(folder.lock)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        folder.write_status(Status(supervisor=innocent.pid))
        with pytest.raises(ServiceError) as caught:
            stop(folder, timeout=5)
        assert innocent.poll() is None
        innocent.kill()
    os.close(lock)
    name = tmp_path.name
    assert str(caught.value) == f"service {name!r} is run by another machine or container; delete it there"


def test_what_does_not_run_is_stopped_at_once(tmp_path: Path) -> None:
    folder = ServiceFolder(tmp_path)
    stop(folder, timeout=0)
    os.close(take(folder.lock))
    folder.write_status(Status(supervisor=os.getpid()))
    stop(folder, timeout=0)


def test_a_holder_that_never_says_who_it_is_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldwave.processes.stop._KILL_SECONDS", 0.0)
    folder = ServiceFolder(tmp_path)
    lock = take(folder.lock)
    with pytest.raises(ServiceError) as caught:
        stop(folder, timeout=0)
    os.close(lock)
    assert str(caught.value) == (
        f"service {tmp_path.name!r} does not end (supervisor: process unknown); try again in a moment"
    )
