from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from fieldwave.cli import output


@pytest.fixture(autouse=True)
def talkative() -> None:
    output.set_quiet(False)


def test_data_and_notes_go_different_ways(capsys: pytest.CaptureFixture[str]) -> None:
    output.data("42")
    output.note("it was asked")
    output.hint("fieldwave services list")
    output.error("no such\nthing")
    assert capsys.readouterr() == (
        "42\n",
        "it was asked\nnext: fieldwave services list\nerror: no such thing\n",
    )


def test_quiet_leaves_data_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    output.set_quiet(True)
    output.data("42")
    output.note("it was asked")
    output.error("no such thing")
    with output.progress() as progress:
        progress("working", 0.5)
    assert capsys.readouterr() == ("42\n", "error: no such thing\n")
    output.set_quiet(False)


def test_a_table_is_as_wide_as_it_must_be(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["NAME", "PORT"], [["rn50", "50051"], ["a-long-name", "1"]])
    assert capsys.readouterr().out == "NAME         PORT\nrn50         50051\na-long-name  1\n"


def test_json_keeps_what_people_write(capsys: pytest.CaptureFixture[str]) -> None:
    output.to_json({"label": "Löwe"})
    assert capsys.readouterr().out == '{\n  "label": "Löwe"\n}\n'


def test_progress_says_nothing_about_what_is_quick(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress() as progress, output.waiting("waiting"):
        progress("working", 0.5)
    assert capsys.readouterr().err == ""


def test_progress_is_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_PATIENCE_SECONDS", 0.0)
    with output.progress() as progress:
        progress("calibrating", 0.25)
        progress("writing", 1.0)
    assert capsys.readouterr().err == "calibrating: 25%\nwriting: 100%\n"


def on_terminal(program: str, **environment: str) -> str:
    """What a program writes to a terminal on its stderr; its stdout is one too."""
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-c", program],
            stdout=theirs,
            stderr=theirs,
            timeout=30,
            env={"TERM": "xterm", "COLUMNS": "80", **os.environ, **environment},
            check=True,
        )
        return os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_progress_is_a_bar_on_a_terminal() -> None:
    seen = on_terminal(
        "from fieldwave.cli import output\n"
        "output._BLINK_SECONDS = 0\n"
        "with output.progress() as progress:\n"
        "    progress('calibrating', 0.25)\n"
        "    progress('writing', 1.0)\n"
    )
    assert "writing" in seen
    assert "100%" in seen


def test_colour_is_for_terminals_that_want_it() -> None:
    program = "from fieldwave.cli import output; output.error('no such thing')"
    environment = {"NO_COLOR": ""}
    assert on_terminal(program, **environment) == "\x1b[31m\x1b[1merror:\x1b[0m no such thing\r\n"
    assert on_terminal(program, NO_COLOR="1") == "error: no such thing\r\n"
