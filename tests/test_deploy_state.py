from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from fieldwave.deploy.state import Change, ReplicaStatus, ServiceFolder, Spec, Status, now
from fieldwave.errors import StorageError

SPEC = Spec(
    name="rn50",
    network="resnet50",
    device="cpu",
    host="127.0.0.1",
    port=50123,
    package="sha256:00",
    created="2025-01-02T03:04:05Z",
    command=["python", "-m", "x"],
)
REPLICA = ReplicaStatus(50123, "Healthy", pid=8, restarts=1, started=SPEC.created, last_exit="SIGKILL")
STATUS = Status(supervisor=7, replicas=[REPLICA, ReplicaStatus(50124)], change="ab12")


@pytest.fixture
def folder(tmp_path: Path) -> ServiceFolder:
    (tmp_path / "rn50").mkdir()
    return ServiceFolder(tmp_path / "rn50")


def test_what_is_written_is_read(folder: ServiceFolder) -> None:
    folder.write_spec(SPEC)
    folder.write_status(STATUS)
    assert folder.read_spec() == SPEC
    assert folder.read_status() == STATUS
    assert sorted(file.name for file in folder.path.iterdir()) == ["service.json", "status.json"]


def test_what_is_not_there_yet_is_none(folder: ServiceFolder) -> None:
    assert folder.read_status() is None
    with pytest.raises(FileNotFoundError):
        folder.read_spec()


def test_a_newer_version_may_have_written_more(folder: ServiceFolder) -> None:
    status = dataclasses.asdict(STATUS) | {"colour": 3}
    (folder.path / "status.json").write_text(json.dumps(status))
    assert folder.read_status() == STATUS


@pytest.mark.parametrize(
    "change",
    [
        {"port": "50123"},
        {"command": "python"},
        {"command": [1]},
        {"name": None},
    ],
)
def test_a_field_of_another_type_is_damage(folder: ServiceFolder, change: dict[str, object]) -> None:
    file = folder.path / "service.json"
    file.write_text(json.dumps(dataclasses.asdict(SPEC) | change))
    with pytest.raises(StorageError) as caught:
        folder.read_spec()
    assert str(caught.value) == (
        f"{file} is damaged; delete the service and deploy it again: fieldwave services delete rn50"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"5",
        b"{}",
        b"\xff",
        b'{"supervisor": 7, "replicas": [{"port": 1, "life": "Fine"}]}',
        b'{"supervisor": 7, "replicas": [5]}',
    ],
)
def test_what_is_no_status_is_damage(folder: ServiceFolder, content: bytes) -> None:
    (folder.path / "status.json").write_bytes(content)
    with pytest.raises(StorageError, match=r"status\.json is damaged; "):
        folder.read_status()


def test_a_change_is_written_beside_what_is(folder: ServiceFolder) -> None:
    folder.write_spec(SPEC)
    change, wanted = Change("ab12", "changes to 2 replicas", 5.0), dataclasses.replace(SPEC, replicas=2)
    folder.change.mkdir()
    folder.write_change(folder.change, change, wanted)
    assert folder.read_change() == (change, wanted)
    assert folder.read_spec() == SPEC


def test_the_time_is_utc_to_the_second() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", now())
