"""Jobs: real processes, which are killed, cancelled, waited for and left alone."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

import fieldwave
from fieldwave.errors import ConflictError, InputError, JobError, NotFoundError, StorageError
from fieldwave.jobs import ENDED, Jobs, Operation, start
from fieldwave.jobs.clear import clear
from fieldwave.jobs.state import JobFolder
from fieldwave.processes.lock import is_held
from fieldwave.workspace import Workspace
from tests import scripted_work
from tests.processes import runs

Start = Callable[..., Operation[str]]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def begin(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a job that behaves as it is told; none outlives the test."""
    monkeypatch.setattr("fieldwave.jobs.begin._COMMAND", scripted_work.SUPERVISE)
    monkeypatch.setitem(sys.modules, scripted_work.NAME, scripted_work)

    def begin(behaviour: str, timeout: float | None = None) -> Operation[str]:
        arguments = {"behaviour": behaviour}
        return start(
            workspace,
            kind="test",
            work=scripted_work.NAME,
            arguments=arguments,
            about=behaviour,
            timeout=timeout,
        )

    yield begin
    for job in Jobs(workspace).list():
        if job.state not in ENDED:
            Jobs(workspace).get(job.id).cancel()


def until(operation: Operation[str], line: str) -> None:
    """Wait until the job has written this line."""
    for said in operation.logs(follow=True):
        if said.endswith(line):
            return
    raise AssertionError(f"{line!r} never came")


def supervisor(operation: Operation[str]) -> int:
    pid = JobFolder(operation.folder).leader()
    assert pid is not None
    return pid


def gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while runs(pid):
        assert time.monotonic() < deadline, pid
        time.sleep(0.005)


def test_a_job_that_succeeds(begin: Start, workspace: Workspace) -> None:
    operation = begin("succeed")
    assert operation.wait_for_completion()
    assert operation.result == "stored"
    now = operation.snapshot()
    assert (now.state, now.kind, now.about, now.error, now.pid) == ("Succeeded", "test", "succeed", "", None)
    assert now.reference == f"{operation.id}.result"
    assert list(now.stages) == ["beginning", "going on"]
    assert now.created <= now.started <= now.ended
    assert operation.progress == ("going on", 0.5)
    assert [line.split("Z ")[1] for line in operation.logs()] == ["beginning", "going on", "Succeeded"]
    assert sorted(os.listdir(operation.folder)) == ["job.json", "job.log", "lock", "status.json"]
    assert Jobs(workspace).list() == [now]
    assert operation.wait_for_completion()  # again, and at once


CALLER = """
import os, signal, sys
from pathlib import Path
from fieldwave.jobs import begin
from fieldwave.workspace import Workspace
from tests import scripted_work

begin._COMMAND = scripted_work.SUPERVISE
workspace, arguments = Workspace(Path(sys.argv[1])), {"behaviour": sys.argv[2]}
print("ready", flush=True)
job = begin.start(workspace, kind="test", work=scripted_work.NAME, arguments=arguments)
print(job.id, flush=True)
os.kill(0, signal.SIGKILL)
"""


def caller(workspace: Workspace, behaviour: str) -> subprocess.Popen[str]:
    """A process that begins a job and is killed, at the latest when it has."""
    return subprocess.Popen(
        [sys.executable, "-c", CALLER, str(workspace.root), behaviour],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONPATH": str(Path(fieldwave.__file__).parents[1])},
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_it_outlives_a_caller_that_is_killed(workspace: Workspace, begin: Start) -> None:
    with caller(workspace, "lines") as process:
        said = process.communicate()[0].split()
    assert process.returncode == -signal.SIGKILL
    operation = Jobs(workspace).get(said[1])
    until(operation, "line 0")
    assert operation.state == "Running"
    for number in range(3):
        (workspace.root / f"go{number}").touch()
    assert operation.wait_for_completion()


def test_the_log_is_followed_live(begin: Start, workspace: Workspace) -> None:
    operation = begin("lines")
    log = operation.logs(follow=True)
    for number in range(3):
        assert next(line for line in log if "line" in line).endswith(f"line {number}")
        assert operation.state == "Running"
        (workspace.root / f"go{number}").touch()
    assert [line.split("Z ")[1] for line in log] == ["Succeeded"]


def test_two_wait_and_one_of_them_shows_the_log(
    begin: Start, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    operation = begin("lines")
    answers: list[bool] = []
    silent = threading.Thread(target=lambda: answers.append(operation.wait_for_completion()))
    silent.start()
    for number in range(3):
        (workspace.root / f"go{number}").touch()
    assert Jobs(workspace).get(operation.id).wait_for_completion(show_output=True)
    silent.join()
    assert answers == [True]
    said = [re.sub(r"^[-0-9T:]+Z ", "", line) for line in capsys.readouterr().out.splitlines()]
    assert said == [
        "beginning",
        "going on",
        "line 0",
        "line 1",
        "line 2",
        "Succeeded",
        f"Succeeded: {operation.id}.result",
    ]


def test_who_waits_no_longer_is_told_that_it_did_not_succeed_yet(
    begin: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    operation = begin("hang")
    until(operation, "hanging")
    assert not operation.wait_for_completion(timeout=0.05)
    assert not operation.wait_for_completion(show_output=True, timeout=0.05)
    assert capsys.readouterr().out.endswith("hanging\nRunning: going on\n")
    with pytest.raises(JobError) as caught:
        _ = operation.result
    assert str(caught.value) == (
        f"job {operation.id} is Running and has no result yet; wait_for_completion() waits"
    )


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ("raise", "the network is broken"),
        ("defect", "ZeroDivisionError: by zero (a defect; its log shows where)"),
        ("memory", "the machine ran out of memory"),
        ("silent", "ended without a result"),
        ("crash", "killed by SIGSEGV"),
    ],
)
def test_a_job_that_fails_says_why(begin: Start, behaviour: str, error: str) -> None:
    operation = begin(behaviour)
    assert not operation.wait_for_completion()
    assert (operation.state, operation.error) == ("Failed", error)
    with pytest.raises(JobError) as caught:
        _ = operation.result
    assert str(caught.value) == (f"job {operation.id} is Failed: {error}; see fieldwave jobs logs {operation.id}")
    assert not JobFolder(operation.folder).work.exists()
    log = list(operation.logs())
    assert log[-1].endswith(f"Z Failed: {error}")
    assert (behaviour == "defect") == any('raise ZeroDivisionError("by zero")' in line for line in log)


def test_a_killed_worker_is_seen(begin: Start) -> None:
    operation = begin("hang")
    until(operation, "hanging")
    worker = operation.snapshot().pid
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    assert not operation.wait_for_completion()
    assert operation.error == "killed by SIGKILL; if nobody did that, the machine ran out of memory"
    assert not JobFolder(operation.folder).work.exists()


def test_a_killed_supervisor_is_seen_and_takes_its_worker_along(begin: Start) -> None:
    operation = begin("stubborn")
    until(operation, "hanging")
    worker = operation.snapshot().pid
    assert worker is not None
    os.kill(supervisor(operation), signal.SIGKILL)
    gone(worker)
    assert not operation.wait_for_completion()
    error = "its processes were killed, or the machine was restarted; start it again"
    assert (operation.state, operation.error) == ("Failed", error)
    assert JobFolder(operation.folder).work.exists()
    begin("succeed").wait_for_completion()
    assert not JobFolder(operation.folder).work.exists()


def test_what_a_killed_worker_has_started_ends_too(begin: Start) -> None:
    operation = begin("parent")
    until(operation, "hanging")
    child = next(int(line.split()[-1]) for line in operation.logs() if " child " in line)
    worker = operation.snapshot().pid
    assert worker is not None
    assert runs(child)
    os.kill(worker, signal.SIGKILL)
    assert not operation.wait_for_completion()
    gone(child)


def test_two_jobs_never_have_one_name(begin: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = "20250102-030405-00000", "20250102-030405-00001"
    names = iter([first, first, second])
    monkeypatch.setattr("fieldwave.jobs.begin.new_id", lambda: next(names))
    monkeypatch.setattr("fieldwave.jobs.clear.KEEP_DAYS", 1e5)
    operations = [begin("succeed"), begin("succeed")]
    assert [operation.id for operation in operations] == [first, second]
    for operation in operations:
        assert operation.wait_for_completion()
        assert operation.result == "stored"
        assert operation.snapshot().reference == f"{operation.id}.result"


def test_a_supervisor_that_is_told_to_end_ends_the_job(begin: Start) -> None:
    operation = begin("hang")
    until(operation, "hanging")
    os.kill(supervisor(operation), signal.SIGTERM)
    assert not operation.wait_for_completion()
    assert (operation.state, operation.error) == ("Failed", "its supervisor was told to end")


@pytest.mark.parametrize("behaviour", ["hang", "stubborn"])
def test_a_cancelled_job_leaves_its_log_alone(begin: Start, workspace: Workspace, behaviour: str) -> None:
    operation = begin(behaviour)
    until(operation, "hanging")
    assert operation.cancel() == "Cancelled"
    assert not is_held(operation.folder / "lock")
    assert sorted(os.listdir(operation.folder)) == ["cancel", "job.json", "job.log", "lock", "status.json"]
    assert list(workspace.root.glob("*.result")) == []
    assert [line.split("Z ")[1] for line in operation.logs(lines=2)] == ["cancelled", "Cancelled"]
    assert not operation.wait_for_completion()
    with pytest.raises(JobError) as caught:
        _ = operation.result
    assert str(caught.value) == f"job {operation.id} is Cancelled; see fieldwave jobs logs {operation.id}"
    with pytest.raises(ConflictError) as conflict:
        operation.cancel()
    assert str(conflict.value) == f"job {operation.id} is Cancelled already; there is nothing to cancel"


def test_what_a_cancelled_job_has_started_ends_too(begin: Start) -> None:
    operation = begin("parent")
    until(operation, "hanging")
    child = next(int(line.split()[-1]) for line in operation.logs() if " child " in line)
    assert runs(child)
    operation.cancel()
    gone(child)


def test_a_supervisor_that_hangs_is_killed(begin: Start) -> None:
    operation = begin("hang")
    until(operation, "hanging")
    os.kill(supervisor(operation), signal.SIGSTOP)
    assert operation.cancel(timeout=0.1) == "Cancelled"


def test_a_job_that_takes_too_long(begin: Start) -> None:
    operation = begin("hang", timeout=0.5)
    assert not operation.wait_for_completion()
    assert (operation.state, operation.error) == ("TimedOut", "not done within 0.5 s")


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_that_is_none(begin: Start, timeout: float) -> None:
    with pytest.raises(InputError) as caught:
        begin("succeed", timeout)
    assert str(caught.value) == (f"the timeout is {timeout:g} s; give a positive number of seconds, or none")


def test_a_result_that_is_being_stored_is_not_broken_off(begin: Start, workspace: Workspace) -> None:
    operation = begin("commit", timeout=0.7)
    until(operation, "committing")
    states: list[str] = []
    canceller = threading.Thread(target=lambda: states.append(operation.cancel()))
    canceller.start()
    until(operation, "cancelled")
    (workspace.root / "go").touch()
    canceller.join()
    assert states == ["Succeeded"]
    assert operation.result == "stored"


@pytest.mark.parametrize(("behaviour", "state"), [("commit", "Failed"), ("stored", "Succeeded")])
@pytest.mark.parametrize("whom", ["worker", "supervisor"])
def test_a_kill_while_the_result_is_stored_is_settled(begin: Start, behaviour: str, state: str, whom: str) -> None:
    operation = begin(behaviour)
    until(operation, "committing" if behaviour == "commit" else "stored")
    worker = operation.snapshot().pid
    assert worker is not None
    os.kill(worker if whom == "worker" else supervisor(operation), signal.SIGKILL)
    assert operation.wait_for_completion() == (state == "Succeeded")
    assert operation.state == state
    assert bool(operation.snapshot().reference) == (state == "Succeeded")


def test_a_result_that_was_deleted(begin: Start, workspace: Workspace) -> None:
    operation = begin("succeed")
    operation.wait_for_completion()
    (workspace.root / f"{operation.id}.result").unlink()
    with pytest.raises(NotFoundError) as caught:
        _ = operation.result
    assert str(caught.value) == f"{operation.id}.result was deleted"


def test_a_workspace_that_was_moved(begin: Start, tmp_path: Path, workspace: Workspace) -> None:
    begin("succeed").wait_for_completion()
    moved = Workspace(workspace.root.rename(tmp_path.with_name(f"{tmp_path.name}-moved")))
    operation = Jobs(moved).get()
    assert operation.result == "stored"
    (moved.root / operation.snapshot().reference).unlink()
    with pytest.raises(NotFoundError):
        _ = operation.result


def test_a_flood_of_output_is_bounded_and_kept(begin: Start) -> None:
    operation = begin("flood")
    assert operation.wait_for_completion()
    assert next(line[:10] for line in operation.logs(lines=2)) == "line 29999"
    assert sum(1 for _ in operation.logs()) == 30_003


def test_the_worker_has_nothing_of_the_callers(begin: Start) -> None:
    operation = begin("environment")
    assert operation.wait_for_completion()
    said = "\n".join(operation.logs())
    # Beside the standard ones the worker has the channel and the lock, and who it starts has neither.
    assert re.search(r"cwd=/ descriptors=\[\d+, \d+\]", said)
    assert "child ['0', '1', '2', '3']" in said


def test_a_folder_that_is_removed_under_a_job_ends_it(begin: Start) -> None:
    operation = begin("hang")
    until(operation, "hanging")
    worker, looking = operation.snapshot().pid, supervisor(operation)
    assert worker is not None
    shutil.rmtree(operation.folder)
    gone(worker)
    gone(looking)
    with pytest.raises(NotFoundError) as caught:
        operation.wait_for_completion()
    assert str(caught.value) == f"job {operation.id} was deleted"


def test_a_damaged_file_is_told_of(begin: Start, workspace: Workspace) -> None:
    operation = begin("succeed")
    operation.wait_for_completion()
    (operation.folder / "job.json").write_text("{}")
    with pytest.raises(StorageError) as caught:
        operation.snapshot()
    message = (
        f"{operation.folder / 'job.json'} is damaged; "
        f"delete the job and start it again: fieldwave jobs delete {operation.id}"
    )
    assert str(caught.value) == message
    (one,) = Jobs(workspace).list()
    assert (one.id, one.state, one.error) == (operation.id, "Failed", message)
    Jobs(workspace).delete(operation)
    assert Jobs(workspace).list() == []


def test_a_supervisor_that_does_not_start(
    begin: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldwave.jobs.begin._COMMAND", [sys.executable, "-c", "raise SystemExit('no memory')"])
    with pytest.raises(JobError, match=r"^the supervisor of job '[-0-9a-f]+' did not start: no memory$"):
        begin("succeed")
    assert os.listdir(workspace.folder / "jobs") == []


@pytest.mark.slow
def test_whatever_happens_the_state_tells_whether_there_is_a_result(begin: Start, workspace: Workspace) -> None:
    """200 jobs, 8 at a time; each is hit in some way at some moment, and half of them are waited for by two."""
    random, lock = Random(5), threading.Lock()
    plans = [
        (
            hit,
            random.random() * 0.9,
            f"pauses {random.random() * 0.3} {random.random() * 0.3} {random.random() * 0.3}",
        )
        for _ in range(40)
        for hit in ("kill worker", "kill supervisor", "cancel", "end supervisor", "stop worker and cancel")
    ]
    random.shuffle(plans)
    states: Counter[tuple[str, str]] = Counter()
    failures: list[object] = []

    def one(hit: str, moment: float, behaviour: str) -> None:
        with lock:
            operation = begin(behaviour)
        waiting = threading.Thread(target=operation.wait_for_completion)
        if moment < 0.5:
            waiting.start()
        time.sleep(moment)
        worker, looking = operation.snapshot().pid, JobFolder(operation.folder).leader()
        with contextlib.suppress(ProcessLookupError, ConflictError):
            if "supervisor" in hit and looking is not None:
                os.kill(looking, signal.SIGKILL if hit.startswith("kill") else signal.SIGTERM)
            elif hit == "kill worker" and worker is not None:
                os.kill(worker, signal.SIGKILL)
            elif hit.endswith("cancel"):
                if hit.startswith("stop") and worker is not None:
                    os.kill(worker, signal.SIGSTOP)
                    threading.Timer(4, lambda: continued(worker)).start()  # it may have been storing
                operation.cancel()
        succeeded = operation.wait_for_completion()
        if moment < 0.5:
            waiting.join()
        now = operation.snapshot()
        states[hit, now.state] += 1
        stored = (workspace.root / f"{operation.id}.result").exists()
        if not (succeeded == stored == (now.state == "Succeeded") == bool(now.reference)) or now.pid is not None:
            failures.append((hit, moment, behaviour, now, stored))

    def some(which: list[tuple[str, float, str]]) -> None:
        for plan in which:
            one(*plan)

    threads = [threading.Thread(target=some, args=(plans[number::8],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sum(states.values()) == 200
    for hit in ("kill worker", "kill supervisor", "cancel", "end supervisor"):
        assert states[hit, "Succeeded"] > 0, states
    assert states["kill worker", "Failed"] > 0 < states["kill supervisor", "Failed"]
    assert states["cancel", "Cancelled"] > 0


@pytest.mark.slow
def test_a_caller_that_is_killed_while_it_begins_a_job(workspace: Workspace, begin: Start) -> None:
    random = Random(6)
    for _ in range(60):
        with caller(workspace, "succeed") as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(random.random() * 0.1)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    states = Counter[str]()
    for job in Jobs(workspace).list():
        succeeded = Jobs(workspace).get(job.id).wait_for_completion(timeout=30)
        now = Jobs(workspace).get(job.id).snapshot()
        assert succeeded == (workspace.root / f"{job.id}.result").exists(), now
        if not succeeded:
            assert now.error == "its processes were killed, or the machine was restarted; start it again"
        states[now.state] += 1
    assert states["Succeeded"] > 5 and states.total() < 60, states  # some began, some did not
    jobs = workspace.folder / "jobs"
    drafts = [entry for entry in jobs.iterdir() if entry.name.startswith(".")]
    for draft in drafts:
        os.utime(draft, (0, 0))
    clear(jobs)
    assert [entry.name for entry in jobs.iterdir() if entry.name.startswith(".")] == []


def continued(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
