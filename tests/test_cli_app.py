from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import fieldwave
from fieldwave.cli import app
from fieldwave.errors import ConflictError

HEAVY = ("grpc", "numpy", "onnx", "onnxruntime", "PIL", "fieldwave.deploy", "fieldwave.client")


def commands() -> list[list[str]]:
    """Every command and every group of commands."""
    found: list[list[str]] = [[]]
    for path in found:
        command: Any = typer.main.get_command(app)
        for name in path:
            command = command.get_command(None, name)
        if hasattr(command, "list_commands"):
            found.extend([*path, name] for name in command.list_commands(None))
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_has_a_help_with_an_example(path: list[str]) -> None:
    for flag in ("--help", "-h"):
        result = CliRunner().invoke(app, [*path, flag])
        assert result.exit_code == 0
        assert "Example" in result.stdout
        assert f"$ fieldwave {path[0] if path else ''}" in result.stdout


def test_the_road_is_in_the_list_of_commands() -> None:
    names = [path[0] for path in commands() if len(path) == 1]
    road = ["init", "convert", "jobs", "models", "services", "predict", "serve"]
    assert [name for name in names if name in road] == road
    assert [path[1] for path in commands() if path[:1] == ["services"] and path[1:]] == [
        "deploy",
        "update",
        "scale",
        "list",
        "show",
        "logs",
        "keys",
        "token",
        "delete",
        "manifest",
    ]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fieldwave", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "COLUMNS": "100", **environment},
    )


def test_the_version_is_data() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"fieldwave {fieldwave.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], (*HEAVY, "pydantic")),
        (["--version"], (*HEAVY, "pydantic")),
        (["services", "deploy", "--help"], HEAVY),  # typer itself imports pydantic for a command within a group
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str], heavy: tuple[str, ...]) -> None:
    program = f"""
import sys
from fieldwave.cli import main
sys.argv = ["fieldwave", *{arguments!r}]
try:
    main()
except SystemExit as end:
    print(end.code, sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stderr == "0 []\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["servics"], "No such command 'servics'. Did you mean 'services', 'devices', 'serve'?"),
        (["predict"], "Missing argument 'SERVICE'."),
        (["services", "logs", "rn50", "--lines", "few"], "Invalid value for '--lines'"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "100"})
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_an_error_is_one_line_and_exit_code_1(tmp_path: Any) -> None:
    done = run("services", "show", "rn50", XDG_DATA_HOME=str(tmp_path), FIELDWAVE_DEBUG="0")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"error: no service 'rn50' in {tmp_path}/fieldwave; there are none\n"


def test_a_traceback_is_for_who_asks(tmp_path: Any) -> None:
    done = run("services", "show", "rn50", XDG_DATA_HOME=str(tmp_path), FIELDWAVE_DEBUG="1")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.rstrip().endswith(
        f"fieldwave.errors.NotFoundError: no service 'rn50' in {tmp_path}/fieldwave; there are none"
    )


DEFECT = """
import sys
from fieldwave.cli import main, services
def broken(on): raise {error}
services._target = broken
sys.argv = ["fieldwave", "services", "list"]
main()
"""


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            "ZeroDivisionError('by zero')",
            1,
            "error: ZeroDivisionError: by zero (a defect; FIELDWAVE_DEBUG=1 shows where)\n",
        ),
        ("KeyboardInterrupt", 130, ""),
        ("services.typer.Exit(7)", 7, ""),
    ],
)
def test_what_goes_wrong_ends_in_an_exit_code(error: str, code: int, said: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "FIELDWAVE_DEBUG"}
    done = subprocess.run(
        [sys.executable, "-c", DEFECT.format(error=error)],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


def test_an_error_in_several_lines_becomes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from fieldwave.cli import services

    def broken(on: str) -> None:
        raise ConflictError("first\n  second")

    monkeypatch.setattr(services, "_target", broken)
    result = CliRunner().invoke(app, ["services", "list"])
    assert (result.exit_code, result.stderr) == (1, "error: first second\n")
