"""``fieldwave jobs`` and ``fieldwave convert --register``, with real jobs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import fieldwave
from fieldwave import zoo
from fieldwave.cli import app
from fieldwave.jobs import ENDED, Jobs, begin
from fieldwave.jobs.state import JobFolder
from fieldwave.workspace import Workspace
from tests import scripted_work


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return Workspace.create(tmp_path)


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def scripted(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(begin, "_COMMAND", scripted_work.SUPERVISE)
    monkeypatch.setitem(sys.modules, scripted_work.NAME, scripted_work)

    def start(behaviour: str) -> str:
        arguments = {"behaviour": behaviour}
        return begin.start(
            workspace, kind="test", work=scripted_work.NAME, arguments=arguments, about="digits:3"
        ).id

    yield start
    for job in Jobs(workspace).list():
        if job.state not in ENDED:
            Jobs(workspace).get(job.id).cancel()


def test_no_jobs_yet(workspace: Workspace) -> None:
    assert run("jobs", "list") == (
        0,
        "",
        f"no jobs in {workspace.root}\nnext: fieldwave convert MODEL --calibration FOLDER --register\n",
    )
    assert run("jobs", "list", "--json") == (0, "[]\n", "")
    assert run("jobs", "wait") == (1, "", f"error: no jobs in {workspace.root}\n")


def test_wait_show_logs_and_list(scripted: Any) -> None:
    first = scripted("succeed")
    code, out, _ = run("jobs", "wait")
    assert (code, re.sub(r"\d+ s", "N s", out)) == (0, f"{first}.result    N s\n")
    second = scripted("raise")
    failed = f"error: job {second} is Failed: the network is broken; see fieldwave jobs logs {second}\n"
    assert run("jobs", "wait", second[-5:]) == (1, "", failed)
    code, out, err = run("jobs", "wait", second, "--json")
    assert (code, json.loads(out)["error"], err) == (1, "the network is broken", failed)
    code, out, err = run("jobs", "wait", first, "--show-output")
    assert [line.split("Z ")[-1] for line in out.splitlines()[:4]] == [
        "beginning",
        "going on",
        "Succeeded",
        f"Succeeded: {first}.result",
    ]
    code, out, _ = run("jobs", "logs", first, "--lines", "1")
    assert (code, out.split("Z ")[1]) == (0, "Succeeded\n")
    assert run("jobs", "logs", first, "--follow")[1].count("\n") == 3
    code, out, _ = run("jobs", "list")
    rows = [re.sub(r"\d+ s ", "N s ", re.sub(r"[-0-9T:]+Z", "WHEN", line)) for line in out.splitlines()]
    assert [row.split() for row in rows] == [
        ["JOB", "KIND", "ABOUT", "STATE", "CREATED", "TOOK", "RESULT"],
        [first, "test", "digits:3", "Succeeded", "WHEN", "N", "s", f"{first}.result"],
        [second, "test", "digits:3", "Failed", "WHEN", "N", "s", "the", "network", "is", "broken"],
    ]
    assert [job["id"] for job in json.loads(run("jobs", "list", "--last", "1", "--json")[1])] == [second]
    assert [job["id"] for job in json.loads(run("jobs", "list", "--all", "--json")[1])] == [first, second]
    code, out, _ = run("jobs", "show", first)
    assert [line.split()[0] for line in out.splitlines()[:-1]] == [
        "id",
        "state",
        "kind",
        "about",
        "created",
        "started",
        "ended",
        "reference",
        "stages",
    ]
    assert out.splitlines()[-1].endswith(" s  going on")
    assert json.loads(run("jobs", "show", first, "--json")[1])["reference"] == f"{first}.result"


def test_what_a_model_wrote_does_not_command_the_terminal(scripted: Any) -> None:
    scripted("bell")
    for command in (["jobs", "wait", "--show-output"], ["jobs", "logs"]):
        code, out, _ = run(*command)
        assert code == 0
        assert " \\x07\\x1b[2Jgone\n" in out


def test_cancel_and_delete(scripted: Any) -> None:
    job = scripted("hang")
    while Jobs().get(job).progress != ("going on", 0.5):
        time.sleep(0.01)
    assert run("jobs", "wait", "--timeout", "0.05") == (
        1,
        "",
        f"error: job {job} is still Running after 0.05 s (going on); it goes on\n",
    )
    assert "going on 50%" in run("jobs", "list")[1]
    assert "stage      going on 50%\n" in run("jobs", "show")[1]
    assert run("jobs", "delete", job) == (
        1,
        "",
        f"error: job {job} runs; cancel it first: fieldwave jobs cancel {job}\n",
    )
    assert run("jobs", "cancel") == (0, "", f"job {job} is Cancelled\n")
    assert run("jobs", "cancel") == (1, "", f"error: job {job} is Cancelled already; there is nothing to cancel\n")
    assert run("jobs", "delete") == (
        1,
        "",
        "error: name the jobs to delete, or their age: --older-than DAYS\n",
    )
    assert run("jobs", "delete", "--older-than", "1") == (0, "", "0 jobs are deleted\n")
    assert run("jobs", "delete", job) == (0, "", f"job {job} is deleted\n")
    assert Jobs().list() == []


def photos(folder: Path) -> None:
    folder.mkdir()
    for index, pixels in enumerate(zoo.digits_images().calibration_images[:4]):
        (folder / f"{index}.png").write_bytes(zoo.digit_png(pixels))


def test_convert_and_register(workspace: Workspace, tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    code, out, err = run(
        "convert", "digits", "--calibration", "photos", "--register", "--tag", "team=a", "--quiet"
    )
    (made,) = workspace.registry.find()
    assert (code, re.sub(r"\d+ s", "N s", out), err) == (0, f"digits-int8:1  {made.digest}  N s\n", "")
    assert dict(made.tags) == {"team": "a"}
    code, out, _ = run("models", "logs", "digits-int8")
    assert (code, out.splitlines()[-1].split("Z ")[1]) == (0, f"registered digits-int8:1 {made.digest}")
    workspace.registry.register(tmp_path / "photos" / "0.png", "picture")
    message = "error: model picture:1 has no log: it was registered, not made by a job\n"
    assert run("models", "logs", "picture") == (1, "", message)
    arguments = ["--calibration", "photos", "--register", "--no-wait", "--name", "again", "--npu", "sim16"]
    code, out, err = run("convert", "digits", *arguments)
    operation = Jobs().get(out.strip())
    assert (code, err) == (0, f"next: fieldwave jobs wait {operation.id}\n")
    operation.cancel()
    spec = JobFolder(operation.folder).read_spec()
    assert (spec.arguments["name"], spec.arguments["target"]) == ("again", ["sim16"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Invalid value for '--output': say --output FILE or --register, one of them"),
        (["--output", "x.zip", "--register"], "say --output FILE or --register, one of them"),
        (["--output", "x.zip", "--tag", "a=b"], "it is for --register, not for --output FILE"),
        (["--output", "x.zip", "--no-wait"], "it is for --register, not for --output FILE"),
    ],
)
def test_one_way_or_the_other(options: list[str], message: str) -> None:
    code, out, err = run("convert", "digits", "--calibration", "photos", *options)
    assert (code, out) == (2, "")
    assert message in err


def test_a_registered_model_wants_the_registry() -> None:
    assert run("convert", "flowers:3", "--calibration", "photos", "--output", "x.zip") == (
        1,
        "",
        "error: no file 'flowers:3'; a registered model is converted with --register, not --output\n",
    )


def test_ctrl_c_ends_the_watching_and_not_the_job(scripted: Any) -> None:
    job = scripted("lines")
    source = str(Path(fieldwave.__file__).parents[1])
    watching = subprocess.Popen(
        [sys.executable, "-m", "fieldwave", "jobs", "wait", "--show-output"],
        env={**os.environ, "PYTHONPATH": source},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    while not watching.stdout.readline().endswith("line 0\n"):
        pass
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=30)
    assert (watching.returncode, err) == (
        130,
        f"job {job} goes on; fieldwave jobs cancel {job} ends it\nnext: fieldwave jobs wait {job}\n",
    )
    for number in range(3):
        Path(f"go{number}").touch()
    assert Jobs().get(job).wait_for_completion()
