from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fieldwave
from fieldwave.processes.report import listen, report


def said_by(program: str) -> tuple[str | None, bool]:
    """What is heard of a process by its end, and whether more can come."""
    with listen() as (listener, descriptor, environment):
        child = subprocess.Popen(
            [sys.executable, "-c", f"import os; from fieldwave.processes.report import report; {program}"],
            env={**environment, "PYTHONPATH": str(Path(fieldwave.__file__).parents[1])},
            pass_fds=[descriptor],
        )
    with listener.pipe:
        child.wait(20)
        listener.hear()
        return listener.error, listener.hear()


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("pass", None),
        ("report()", ""),
        ("report('the device is\\naway'); ", "the device is\naway"),
        ("report(); report('late')", "late"),
        ("report('x' * 9000)", "x" * 500),
        ("os.write(int(os.environ['FIELDWAVE_REPORT']), b'noise\\n')", None),
        ("os.write(int(os.environ['FIELDWAVE_REPORT']), b'\"half')", None),
    ],
)
def test_what_is_said_is_heard(program: str, error: str | None) -> None:
    assert said_by(program) == (error, False)


def test_hearing_does_not_wait() -> None:
    with listen() as (listener, descriptor, environment):
        assert listener.hear() and listener.error is None
        os.write(descriptor, b'"bro')
        assert listener.hear() and listener.error is None
        os.write(descriptor, b'ken"\n')
        assert listener.hear() and listener.error == "broken"
        assert environment["FIELDWAVE_REPORT"] == str(descriptor)
    assert not listener.hear()
    listener.pipe.close()


def test_nobody_need_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    report("to nobody")
    with listen() as (listener, descriptor, _):
        monkeypatch.setenv("FIELDWAVE_REPORT", str(descriptor))
        listener.pipe.close()
        report("to one that is gone")


def test_a_start_that_fails_leaves_nothing_open() -> None:
    before = os.listdir("/dev/fd")
    with pytest.raises(FileNotFoundError), listen() as (_, descriptor, environment):
        subprocess.Popen(["/nowhere/python"], env=environment, pass_fds=[descriptor])
    assert os.listdir("/dev/fd") == before
