from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from fieldwave.errors import ArtifactError, NotFoundError, StorageError
from fieldwave.store import Artifact, Descriptor, Layer, LayoutStore

PACKAGE = "application/vnd.fieldwave.package.v1"
LOG = "application/vnd.fieldwave.log.v1"


def artifact(data: bytes | Path, **annotations: str) -> Artifact:
    return Artifact(PACKAGE, (Layer("application/zip", data),), annotations=annotations)


def count_up(tags: Sequence[str]) -> str:
    return str(max(map(int, tags), default=0) + 1)


def content(store: LayoutStore, repository: str, reference: str) -> bytes:
    _, manifest = store.manifest(repository, reference)
    return b"".join(store.read(repository, manifest.layers[0]))


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    return LayoutStore(tmp_path / "store")


def blob(store: LayoutStore, digest: str) -> Path:
    return store.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")


def test_a_layout_is_what_the_specification_says(store: LayoutStore) -> None:
    pushed = store.push("models/digits", artifact(b"zip"), "1")
    assert json.loads((store.folder / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((store.folder / "index.json").read_bytes())
    assert index["schemaVersion"] == 2
    assert index["manifests"] == [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": PACKAGE,
            "digest": pushed.descriptor.digest,
            "size": pushed.descriptor.size,
            "annotations": {"org.opencontainers.image.ref.name": "models/digits:1"},
        }
    ]
    manifest = json.loads(blob(store, pushed.descriptor.digest).read_bytes())
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    for part in (manifest["config"], *manifest["layers"]):
        data = blob(store, part["digest"]).read_bytes()
        assert (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data)) == (part["digest"], part["size"])


def test_garbage_is_what_no_tag_leads_to(store: LayoutStore) -> None:
    kept = store.push("models/digits", artifact(b"kept"), "1").descriptor
    log = store.push("models/digits", Artifact(LOG, (Layer("text/plain", b"log"),), subject=kept)).descriptor
    note = store.push("models/digits", Artifact(LOG, (Layer("text/plain", b"of a log"),), subject=log)).descriptor
    gone = store.push("models/digits", artifact(b"gone"), "2").descriptor
    store.push("models/digits", Artifact(LOG, (Layer("text/plain", b"gone too"),), subject=gone))
    store.untag("models/digits", "2")
    assert store.collect_garbage() > 0
    assert content(store, "models/digits", "1") == b"kept"
    assert store.referrers("models/digits", kept.digest) == [log]
    assert store.referrers("models/digits", log.digest) == [note]
    with pytest.raises(NotFoundError):
        store.manifest("models/digits", gone.digest)
    assert store.collect_garbage() == 0
    assert len(list((store.folder / "blobs" / "sha256").iterdir())) == 3 + 3 + 1


def test_an_index_of_another_tool_is_kept_whole(store: LayoutStore) -> None:
    inner = store.push("images/base", artifact(b"amd64"), "1").descriptor
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json"}
    data = json.dumps({**index, "manifests": [inner.to_value()]}).encode()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    blob(store, digest).write_bytes(data)
    entry = Descriptor("application/vnd.oci.image.index.v1+json", digest, len(data)).to_value()
    entry["annotations"] = {"org.opencontainers.image.ref.name": "v1"}
    (store.folder / "index.json").write_text(json.dumps({**index, "manifests": [entry]}))
    assert store.collect_garbage() == 0
    assert store.repositories() == []
    assert blob(store, inner.digest).exists()


@pytest.mark.parametrize("position", ["first", "last"])
def test_one_flipped_bit_is_found(store: LayoutStore, position: str) -> None:
    pushed = store.push("models/digits", artifact(os.urandom(1 << 21)), "1").descriptor
    _, manifest = store.manifest("models/digits", "1")
    path = blob(store, manifest.layers[0].digest)
    data = bytearray(path.read_bytes())
    data[0 if position == "first" else -1] ^= 1
    path.write_bytes(data)
    pieces = store.read("models/digits", manifest.layers[0])
    with pytest.raises(ArtifactError) as error:
        list(pieces)
    found = hashlib.sha256(data).hexdigest()[:12]
    assert str(error.value) == (
        f"{path} is damaged: its 2097152 bytes are sha256:{found}…; delete the file and push again"
    )
    path = blob(store, pushed.digest)
    path.write_bytes(path.read_bytes().replace(b"zip", b"zap"))
    with pytest.raises(ArtifactError, match="is damaged"):
        store.manifest("models/digits", "1")


def test_a_damaged_index_is_said(store: LayoutStore) -> None:
    store.push("models/digits", artifact(b"zip"), "1")
    path = store.folder / "index.json"
    path.write_text('{"schemaVersion": 2, "manifests": [{"mediaType": "a/b", "digest": "../../etc", "size": 1}]}')
    with pytest.raises(ArtifactError) as error:
        store.tagged("models/digits")
    assert str(error.value) == (
        f"{path} is no OCI image index: manifests.0.digest: string should match pattern '^sha256:[0-9a-f]{{64}}$'"
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("point", range(8))
def test_a_full_disk_leaves_the_old_state(store: LayoutStore, monkeypatch: pytest.MonkeyPatch, point: int) -> None:
    store.push("models/digits", artifact(b"old"), "1")
    before = files(store.folder)
    real, calls = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == point + 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    full = None
    try:
        store.push("models/digits", artifact(b"new"), "1")
    except StorageError as error:
        full = str(error)
    monkeypatch.setattr(os, "fsync", real)
    # Three files are written: the layer, the manifest, the index; each is synced, and its folder after it.
    assert calls == {0: 1, 2: 3, 4: 5}.get(point, 6)
    if full is None:
        assert content(store, "models/digits", "1") == b"new"
    else:
        assert full.endswith("No space left on device; nothing was left behind")
        assert content(store, "models/digits", "1") == b"old"
        store.collect_garbage()
        assert files(store.folder) == before
        store.push("models/digits", artifact(b"new"), "1")
        assert content(store, "models/digits", "1") == b"new"


def _register(folder: Path, writer: int, count: int) -> None:
    store = LayoutStore(folder)
    for number in range(count):
        store.push("models/digits", artifact(f"{writer}/{number}".encode()), count_up)


@pytest.mark.parametrize(("writers", "each"), [(8, 10), pytest.param(16, 50, marks=pytest.mark.slow)])
def test_no_version_is_lost_among_many_writers(store: LayoutStore, writers: int, each: int) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_register, args=(store.folder, w, each)) for w in range(writers)]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        if (store.folder / ".lock").exists():
            store.collect_garbage()
        time.sleep(0.02)
    assert [process.exitcode for process in processes] == [0] * writers
    entries = store.tagged("models/digits")
    assert sorted(int(entry.tag) for entry in entries) == list(range(1, writers * each + 1))
    assert {content(store, "models/digits", entry.tag).decode() for entry in entries} == {
        f"{writer}/{number}" for writer in range(writers) for number in range(each)
    }


def test_a_writer_that_is_killed_leaves_no_half_artifact(store: LayoutStore) -> None:
    store.push("models/digits", artifact(b"first"), "1")
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path;"
        "from tests.test_store_layout import _register; _register(Path(sys.argv[1]), 0, 100000)"
    )
    root = str(Path(__file__).resolve().parent.parent)
    for delay in (0.3, 0.31, 0.32, 0.33):
        process = subprocess.Popen([sys.executable, "-c", script, str(store.folder), root])
        deadline = time.monotonic() + 20
        before = len(store.tagged("models/digits"))
        while len(store.tagged("models/digits")) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(delay - 0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
        entries = store.tagged("models/digits")
        assert len(entries) > before
        assert [int(entry.tag) for entry in sorted(entries, key=lambda e: int(e.tag))] == list(
            range(1, len(entries) + 1)
        )
        for entry in entries:
            assert content(store, "models/digits", entry.tag)
    store.collect_garbage()
    named = {path.name for path in (store.folder / "blobs" / "sha256").iterdir()}
    assert not any(name.startswith(".") for name in named)


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed: apt-get install skopeo")
def test_skopeo_reads_the_folder(store: LayoutStore) -> None:
    pushed = store.push("models/digits", artifact(b"zip", title="digits"), "3")
    result = subprocess.run(
        ["skopeo", "inspect", "--raw", f"oci:{store.folder}:models/digits:3"], capture_output=True, check=True
    )
    assert f"sha256:{hashlib.sha256(result.stdout).hexdigest()}" == pushed.descriptor.digest
