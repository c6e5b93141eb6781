"""The status of an edge box: a real sshd on loopback, whose leases and NPUs are its own."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldwave.compute import Compute, Computes, Held
from fieldwave.leases import acquire
from fieldwave.workspace import Workspace
from tests import edge_box


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[edge_box.Box]:
    folder = tmp_path_factory.mktemp("box")
    seen = {"FIELDWAVE_MACHINE": f"{folder}/machine.toml", "FIELDWAVE_LEASES": f"{folder}/leases"}
    with edge_box.running(folder, environment=seen) as box:
        yield box


@pytest.fixture
def computes(box: edge_box.Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computes:
    monkeypatch.setenv("FIELDWAVE_MACHINE", str(box.folder / "machine.toml"))
    monkeypatch.setenv("FIELDWAVE_LEASES", str(box.folder / "leases"))
    (box.folder / "machine.toml").write_text('rtl = 1\n[boards.kv260-0]\nfiles = ["/dev/uio4"]\n')
    computes = Computes(Workspace(tmp_path))
    config = str(box.folder / "ssh_config")
    computes.attach(Compute("line3", "edge", destination="box", config=config, location="hall 3"))
    return computes


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed: apt-get install util-linux")
def test_npus_of_a_box_and_who_holds_them(computes: Computes) -> None:
    with acquire("board", "digits"):
        status = computes.status("line3")
    here = computes.status("local")
    assert (status.location, status.count, status.size) == ("hall 3", 1, here.size)
    assert status.npus is not None
    [held] = status.npus.held
    assert held == Held("kv260-0", "digits", 1, held.since)
    assert (status.npus.allocatable, status.npus.allocated, status.npus.free) == (2, 1, 1)
    after = computes.status("line3").npus
    assert after is not None
    assert after.held == ()


def test_a_box_with_or_without_podman(computes: Computes) -> None:
    status = computes.status("line3")
    if shutil.which("podman") is not None:
        assert (status.state, status.errors) == ("Succeeded", ())
    else:
        assert (status.state, status.errors) == (
            "Failed",
            ("box has no podman, which runs the services: apt-get install podman",),
        )


def test_a_file_on_the_box_that_says_what_cannot_be(computes: Computes, box: edge_box.Box) -> None:
    path = box.folder / "machine.toml"
    path.write_text("rtl = 'two'")
    status = computes.status("line3")
    assert f"{path} on box: rtl is 'two', expected a number from 0 to 4096" in status.errors
    path.unlink()
    status = computes.status("line3")
    assert status.npus is not None
    assert status.npus.allocatable == 0


def test_a_box_that_cannot_be_reached(computes: Computes) -> None:
    attached = computes.get("line3")
    computes.attach(dataclasses.replace(attached, name="line4", port=1))
    status = computes.status("line4")
    assert (status.state, status.npus) == ("Failed", None)
    assert status.errors == ("box: no sshd answers on port 1; is the box up, and is that its port?",)
