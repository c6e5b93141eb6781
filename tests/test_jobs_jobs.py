"""The jobs of a workspace: found by a part of their name, listed fast, deleted."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import fieldwave
from fieldwave.errors import ConflictError, InputError, NotFoundError, StorageError
from fieldwave.jobs import Jobs
from fieldwave.jobs.clear import clear, is_id
from fieldwave.jobs.state import JobFolder, Spec, Status, new_id
from fieldwave.workspace import Workspace


def made(workspace: Workspace, name: str, status: Status | None = None) -> JobFolder:
    """A job's files, as its processes leave them."""
    folder = JobFolder(workspace.create_folder("jobs") / name)
    folder.path.mkdir()
    folder.lock.write_text("1\n")
    root = str(workspace.root)
    folder.write_spec(
        Spec(name, "convert", "digits:3", "fieldwave.x", {}, "2025-01-02T03:04:05Z", None, root, root)
    )
    folder.write_status(
        status or Status("Succeeded", "registering", 1.0, {"loading": 0.5}, True, result="x:1@sha")
    )
    return folder


def begun(days_ago: float, ending: str) -> str:
    return f"{datetime.now(UTC) - timedelta(days=days_ago):%Y%m%d-%H%M%S}-{ending}"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_names_are_in_the_order_of_time_and_unlike() -> None:
    names = []
    for _ in range(20):
        names.append(new_id())
        time.sleep(0.001)
    assert names == sorted(names)
    assert len(set(names)) == 20
    assert all(is_id(name) for name in names)
    for other in ("services", ".20250102-030405-8c91f.0011", "20250102-030405-8c91", "2025a102-030405-8c91f"):
        assert not is_id(other)


def test_a_job_is_found_by_a_part_of_its_name(workspace: Workspace) -> None:
    jobs = Jobs(workspace)
    with pytest.raises(NotFoundError) as caught:
        jobs.get()
    assert str(caught.value) == f"no jobs in {workspace.root}"
    assert jobs.list() == []
    for name in ("20250102-030405-8c91f", "20250103-030405-8c91f", "20250103-030406-00000"):
        made(workspace, name)
    (workspace.folder / "jobs" / ".20250104-030405-00000.aa").mkdir()
    assert jobs.get().id == "20250103-030406-00000"
    assert jobs.get("20250102").id == "20250102-030405-8c91f"
    assert jobs.get("00000").id == "20250103-030406-00000"
    assert [job.id for job in jobs.list(last=2)] == ["20250103-030405-8c91f", "20250103-030406-00000"]
    assert len(jobs.list(last=5)) == len(jobs.list()) == 3
    with pytest.raises(InputError) as several:
        jobs.get("8c91f")
    assert str(several.value) == ("2 jobs begin or end with '8c91f': 20250102-030405-8c91f, 20250103-030405-8c91f")
    for name in ("../services", "x"):
        with pytest.raises(NotFoundError) as caught:
            jobs.get(name)
        assert str(caught.value) == (
            f"no job {name!r} in {workspace.root}; the newest are "
            "20250102-030405-8c91f, 20250103-030405-8c91f, 20250103-030406-00000"
        )


def test_a_thousand_jobs_are_listed_in_a_blink(workspace: Workspace) -> None:
    first = made(workspace, "20250102-030405-00000")
    for number in range(1, 1000):
        shutil.copytree(first.path, first.path.with_name(f"20250102-030405-{number:05x}"))
    begun_at = time.process_time()
    assert len(Jobs(workspace).list()) == 1000
    assert time.process_time() - begun_at < 0.5
    begun_at = time.process_time()
    assert len(Jobs(workspace).list(last=20)) == 20
    assert time.process_time() - begun_at < 0.05


def test_a_job_that_runs_is_not_deleted(workspace: Workspace) -> None:
    folder = made(workspace, "20250102-030405-8c91f", Status("Running"))
    operation = Jobs(workspace).get()
    with folder.lock.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert operation.state == "Running"
        with pytest.raises(ConflictError) as caught:
            Jobs(workspace).delete(operation)
        assert Jobs(workspace).delete_older(0) == []
        folder.write_status(Status("Succeeded"))  # its process is just about to go
        Jobs(workspace).delete(operation)
    assert str(caught.value) == (
        "job 20250102-030405-8c91f runs; cancel it first: fieldwave jobs cancel 20250102-030405-8c91f"
    )
    assert os.listdir(workspace.folder / "jobs") == []
    with pytest.raises(NotFoundError) as gone:
        operation.snapshot()
    assert str(gone.value) == "job 20250102-030405-8c91f was deleted"


def test_jobs_of_some_age_are_deleted(workspace: Workspace) -> None:
    old, young = begun(10, "00000"), begun(5, "00000")
    made(workspace, old)
    made(workspace, young)
    assert Jobs(workspace).delete_older(20) == []
    assert Jobs(workspace).delete_older(7) == [old]
    assert [job.id for job in Jobs(workspace).list()] == [young]


def test_starting_one_clears_away_what_is_old_and_what_killed_ones_left(workspace: Workspace) -> None:
    old, young, dead, running = begun(91, "00000"), begun(89, "00000"), begun(1, "00000"), begun(1, "00001")
    made(workspace, old)
    made(workspace, young)
    for name in (dead, running):
        made(workspace, name, Status("Running")).work.mkdir()
    lock = os.open(workspace.folder / "jobs" / running / "lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    clear(workspace.folder / "jobs")
    os.close(lock)
    assert [job.id for job in Jobs(workspace).list()] == [young, *sorted((dead, running))]
    assert not (workspace.folder / "jobs" / dead / "work").exists()
    assert (workspace.folder / "jobs" / running / "work").exists()


@pytest.mark.parametrize("content", ["", "{}", '{"state": "Fine"}', '{"state": "Running", "stages": {"a": "b"}}'])
def test_a_damaged_status_is_told_of(workspace: Workspace, content: str) -> None:
    folder = made(workspace, "20250102-030405-8c91f")
    (folder.path / "status.json").write_text(content)
    now = Jobs(workspace).get().snapshot()
    assert (now.state, now.error) == (
        "Failed",
        f"{folder.path / 'status.json'} is damaged; "
        "delete the job and start it again: fieldwave jobs delete 20250102-030405-8c91f",
    )


def test_what_a_newer_version_wrote_is_left_alone(workspace: Workspace) -> None:
    folder = made(workspace, "20250102-030405-8c91f")
    status = json.loads((folder.path / "status.json").read_text())
    (folder.path / "status.json").write_text(json.dumps({**status, "machine": "x"}))
    assert Jobs(workspace).get().state == "Succeeded"


@pytest.mark.parametrize("work", ["antigravity", "fieldwave.antigravity"])
def test_a_folder_from_elsewhere_does_not_choose_what_is_imported(workspace: Workspace, work: str) -> None:
    folder = made(workspace, "20250102-030405-8c91f").path
    spec = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps({**spec, "work": work}))
    unknown = f"the job's work {work!r} is unknown to Fieldwave {fieldwave.__version__}; delete the job"
    with pytest.raises(StorageError) as caught:
        _ = Jobs(workspace).get().result
    assert str(caught.value) == unknown
    JobFolder(folder).write_status(Status("Running", committing=True))
    (now,) = Jobs(workspace).list()
    assert (now.state, now.error) == (
        "Failed",
        "its processes were killed, or the machine was restarted; start it again; "
        f"whether its result was stored cannot be told: {unknown}",
    )
