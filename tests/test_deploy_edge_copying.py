from __future__ import annotations

import random
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fieldwave.deploy.edge import copying
from fieldwave.deploy.edge.archive import Archive, read_archive
from fieldwave.deploy.edge.box import Box
from fieldwave.errors import HostError, StorageError
from fieldwave.ssh import Ssh
from tests import edge_box, edge_image

pytestmark = pytest.mark.skipif(edge_image.CATATONIT is None, reason=edge_image.MISSING)

BLOCK = copying.BLOCK


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[edge_box.Box]:
    with edge_box.running(tmp_path_factory.mktemp("box")) as there:
        yield there


@pytest.fixture
def box(there: edge_box.Box) -> Iterator[Box]:
    with Ssh(there.host) as ssh:
        yield Box(ssh)


def blobs(there: edge_box.Box) -> Path:
    return there.data / "blobs" / "sha256"


def make(path: Path, seed: int, entrypoint: tuple[str, ...] = ("/catatonit", "-P")) -> Archive:
    """An archive with a layer that does not pack well."""
    padding = random.Random(seed).randbytes(8 * BLOCK)
    return read_archive(edge_image.write_archive(path, entrypoint=entrypoint, padding=padding))


def content(archive: Archive, number: int = -1) -> bytes:
    with archive.path.open("rb") as file:
        file.seek(archive.blobs[number].offset)
        return file.read(archive.blobs[number].size)


def test_only_what_the_box_lacks_is_sent(box: Box, there: edge_box.Box, tmp_path: Path) -> None:
    archive = make(tmp_path / "a.tar", 1)
    told: list[tuple[str, float]] = []
    sent = copying.send(box, archive.path, archive.blobs, lambda what, done: told.append((what, done)))
    assert sent == archive.size
    assert told[-1] == ("copying to box", 1.0)
    for number, blob in enumerate(archive.blobs):
        assert (blobs(there) / blob.hex).read_bytes() == content(archive, number)
    # The same layer under another manifest.
    other = make(tmp_path / "b.tar", 1, ("/catatonit", "-q"))
    assert other.blobs[-1].hex == archive.blobs[-1].hex
    assert copying.send(box, other.path, other.blobs) == other.size - other.blobs[-1].size


def test_a_link_that_breaks_is_taken_up_where_it_broke(
    box: Box, there: edge_box.Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "CHUNK", 2 * BLOCK)
    archive = make(tmp_path / "a.tar", 2)
    cuts: list[float] = []

    def watch(what: str, done: float) -> None:
        if what.startswith("copying") and len(cuts) < 2 and done > 0.3 * (len(cuts) + 1):
            cuts.append(done)
            there.cut()

    box.patience = 60
    sent = copying.send(box, archive.path, archive.blobs, watch)
    assert len(cuts) == 2
    assert archive.size <= sent < archive.size + 3 * 2 * BLOCK, "what had arrived was not sent again"
    assert (blobs(there) / archive.blobs[-1].hex).read_bytes() == content(archive)


def test_a_link_that_stays_broken_is_given_up_and_a_later_call_goes_on(
    there: edge_box.Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "CHUNK", 2 * BLOCK)
    archive = make(tmp_path / "a.tar", 3)
    allowed = there.folder / "authorized_keys"
    keys = allowed.read_text()

    def break_it(what: str, done: float) -> None:
        if done > 0.5 and allowed.read_text():
            allowed.write_text("")
            there.cut()

    with Ssh(there.host) as ssh, pytest.raises(HostError) as caught:
        copying.send(Box(ssh, patience=0.5), archive.path, archive.blobs, break_it)
    assert str(caught.value).endswith("MB were sent and stay there; the same command goes on from there")
    part = blobs(there) / f"{archive.blobs[-1].hex}.part"
    begun = part.stat().st_size
    assert 0 < begun < archive.blobs[-1].size
    allowed.write_text(keys)
    with Ssh(there.host) as ssh:
        sent = copying.send(Box(ssh), archive.path, archive.blobs)
    assert sent <= archive.blobs[-1].size - begun + BLOCK
    assert not part.exists()


def test_what_is_damaged_there_is_sent_again(box: Box, there: edge_box.Box, tmp_path: Path) -> None:
    archive = make(tmp_path / "a.tar", 4)
    box.call("settle")  # nothing to do, and the folders may not be there yet
    blobs(there).mkdir(parents=True, exist_ok=True)
    first, last = archive.blobs[0].hex, archive.blobs[-1].hex
    (blobs(there) / f"{last}.part").write_bytes(bytes(archive.blobs[-1].size - 100))  # as after a loss of power
    (blobs(there) / first).write_bytes(b"not the manifest")
    copying.send(box, archive.path, archive.blobs)
    assert (blobs(there) / last).read_bytes() == content(archive)
    assert (blobs(there) / first).read_bytes() == content(archive, 0)


@pytest.mark.slow
def test_two_who_send_the_same_do_no_harm(
    there: edge_box.Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "CHUNK", 2 * BLOCK)
    archive = make(tmp_path / "a.tar", 5)
    failed: list[BaseException] = []

    def send() -> None:
        try:
            with Ssh(there.host) as ssh:
                copying.send(Box(ssh), archive.path, archive.blobs)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert (blobs(there) / archive.blobs[-1].hex).read_bytes() == content(archive)


def test_a_full_disk_is_told_and_takes_the_part_away(box: Box, tmp_path: Path) -> None:
    archive = make(tmp_path / "a.tar", 6)
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system needs root: mount -t tmpfs")
    try:
        with Ssh(replace(box.host, folder=str(small))) as ssh, pytest.raises(StorageError) as caught:
            copying.send(Box(ssh), archive.path, archive.blobs)
        assert "No space left on device" in str(caught.value)
        parts = list((small / "blobs" / "sha256").iterdir())
        assert [path.name for path in parts if path.name.startswith(archive.blobs[-1].hex)] == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
