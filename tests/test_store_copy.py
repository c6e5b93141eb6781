"""From one store to another: folder or registry, in each direction."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fieldwave.errors import ArtifactError, NotFoundError
from fieldwave.store import Artifact, Descriptor, Layer, LayoutStore, RegistryStore, Store, copy
from tests import oci_registry

PACKAGE = "application/vnd.fieldwave.package.v1"
LOG = "application/vnd.fieldwave.log.v1"
BIG = bytes(range(256)) * 10_000


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if oci_registry.PROGRAM is None:
        pytest.skip(oci_registry.MISSING)
    with oci_registry.running(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Store]:
    """Makes an empty store of that kind."""
    count = 0

    def make(kind: str) -> Store:
        nonlocal count
        count += 1
        if kind == "folder":
            return LayoutStore(tmp_path / f"store{count}")
        return RegistryStore(f"{request.getfixturevalue('registry')}/t{abs(hash(tmp_path))}-{count}")

    return make


def fill(store: Store) -> Descriptor:
    """A model with a log, and a note that belongs to the log."""
    artifact = Artifact(PACKAGE, (Layer("application/zip", b"zip"), Layer("text/plain", BIG)))
    model = store.push("models/digits", artifact, "3").descriptor
    log = store.push("models/digits", Artifact(LOG, (Layer("text/plain", b"log"),), subject=model)).descriptor
    store.push("models/digits", Artifact(LOG, (Layer("text/plain", b"of the log"),), subject=log))
    store.push("models/digits", Artifact(LOG, (Layer("text/plain", b"more"),), subject=model))
    return model


def blob(store: LayoutStore, digest: str) -> Path:
    return store.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")


def holds_all(store: Store, repository: str, model: Descriptor) -> None:
    descriptor, manifest = store.manifest(repository, "3")
    assert descriptor == model
    assert [b"".join(store.read(repository, layer)) for layer in manifest.layers] == [b"zip", BIG]
    texts = {}
    for log in store.referrers(repository, model.digest, LOG):
        layer = store.manifest(repository, log.digest)[1].layers[0]
        texts[b"".join(store.read(repository, layer))] = len(store.referrers(repository, log.digest))
    assert texts == {b"log": 1, b"more": 0}


@pytest.mark.parametrize("target", ["folder", "registry"])
@pytest.mark.parametrize("source", ["folder", "registry"])
def test_a_model_goes_with_what_refers_to_it(new: Callable[[str], Store], source: str, target: str) -> None:
    here, there = new(source), new(target)
    model = fill(here)
    tagged = copy(here, "models/digits", "3", there, tag="3")
    assert (tagged.repository, tagged.tag, tagged.descriptor) == ("models/digits", "3", model)
    holds_all(there, "models/digits", model)
    assert copy(here, "models/digits", model.digest, there, tag="3") == tagged
    assert len(there.referrers("models/digits", model.digest)) == 2
    assert [entry.tag for entry in there.tagged()] == ["3"]


def test_there_and_back_over_a_folder(new: Callable[[str], Store], tmp_path: Path) -> None:
    """As to a site without a net: out of one registry, on a disk, into another."""
    office, disk, site = new("registry"), new("folder"), new("registry")
    model = fill(office)
    copy(office, "models/digits", "3", disk, tag="3")
    assert isinstance(disk, LayoutStore)
    shutil.copytree(disk.folder, tmp_path / "carried")
    copy(LayoutStore(tmp_path / "carried"), "models/digits", "3", site, to="models/digits-2", tag="3")
    holds_all(site, "models/digits-2", model)


@pytest.mark.parametrize("target", ["folder", "registry"])
def test_only_what_is_not_there_is_read(new: Callable[[str], Store], target: str) -> None:
    here, there = new("folder"), new(target)
    assert isinstance(here, LayoutStore)
    model = fill(here)
    there.push("models/digits", Artifact(PACKAGE, (Layer("text/plain", BIG),)), "1")
    blob(here, f"sha256:{hashlib.sha256(BIG).hexdigest()}").unlink()
    copy(here, "models/digits", "3", there, tag="3")
    holds_all(there, "models/digits", model)


@pytest.mark.parametrize("target", ["folder", "registry"])
def test_nothing_is_tagged_if_a_bit_is_flipped(new: Callable[[str], Store], target: str) -> None:
    here, there = new("folder"), new(target)
    assert isinstance(here, LayoutStore)
    fill(here)
    path = blob(here, f"sha256:{hashlib.sha256(BIG).hexdigest()}")
    path.write_bytes(BIG[:-1] + b"\0")
    with pytest.raises(ArtifactError, match="is damaged: its 2560000 bytes are sha256:"):
        copy(here, "models/digits", "3", there, tag="3")
    assert there.tagged() == []
    path.write_bytes(BIG)
    copy(here, "models/digits", "3", there, tag="3")
    assert [entry.tag for entry in there.tagged()] == ["3"]


def test_what_is_not_there_is_said(new: Callable[[str], Store]) -> None:
    here, there = new("folder"), new("folder")
    with pytest.raises(NotFoundError) as error:
        copy(here, "models/digits", "3", there, tag="3")
    assert str(error.value) == f"{here.address} has no models/digits:3"


@pytest.mark.parametrize("target", ["folder", "registry"])
@pytest.mark.parametrize("docker", [False, True])
def test_an_index_goes_with_its_manifests_byte_for_byte(
    new: Callable[[str], Store], tmp_path: Path, target: str, docker: bool
) -> None:
    """As other tools make it: with spaces, other keys, and Docker's media types."""
    kinds = ("oci.image.index.v1", "oci.image.manifest.v1", "oci.image.config.v1")
    if docker:
        listed, single = "docker.distribution.manifest.list.v2", "docker.distribution.manifest.v2"
        kinds = (listed, single, "docker.container.image.v1")
    index_type, manifest_type, config_type = (f"application/vnd.{kind}+json" for kind in kinds)
    layout = LayoutStore(tmp_path / "foreign")
    layout.push("images/base", Artifact(PACKAGE), "other")

    def put(media_type: str, data: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        blob(layout, digest).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    children = []
    for arch in ("amd64", "arm64"):
        config = put(config_type, json.dumps({"architecture": arch}).encode())
        layer = put("application/vnd.oci.image.layer.v1.tar", arch.encode())
        value = {"schemaVersion": 2, "mediaType": manifest_type, "layers": [layer], "config": config, "x": 1}
        children.append({**put(manifest_type, json.dumps(value, indent=3).encode()), "platform": {"os": "linux"}})
    data = json.dumps({"schemaVersion": 2, "mediaType": index_type, "manifests": children}, indent=2).encode()
    top = put(index_type, data)
    index = json.loads((layout.folder / "index.json").read_bytes())
    index["manifests"].append({**top, "annotations": {"org.opencontainers.image.ref.name": "images/base:1"}})
    (layout.folder / "index.json").write_text(json.dumps(index))
    layout.collect_garbage()

    there = new(target)
    assert copy(layout, "images/base", "1", there, tag="1").descriptor.digest == top["digest"]
    raw = there.raw("images/base", "1")
    assert (raw.data, raw.descriptor.media_type) == (data, index_type)
    for child, arch in zip(raw.manifests, (b"amd64", b"arm64"), strict=True):
        blobs = there.raw("images/base", child.digest).blobs
        assert b"".join(there.read("images/base", blobs[1])) == arch
    if isinstance(there, LayoutStore):
        there.untag("images/base", "1")
        assert there.collect_garbage() > 0
        assert not list((there.folder / "blobs" / "sha256").iterdir())


def test_a_manifest_that_is_an_index_too_is_refused(tmp_path: Path) -> None:
    store = LayoutStore(tmp_path / "store")
    digest = store.push("a", Artifact(PACKAGE), "1").descriptor.digest
    value = json.loads(blob(store, digest).read_bytes())
    data = json.dumps({**value, "manifests": []}).encode()
    both = f"sha256:{hashlib.sha256(data).hexdigest()}"
    blob(store, both).write_bytes(data)
    with pytest.raises(ArtifactError) as error:
        copy(store, "a", both, LayoutStore(tmp_path / "other"))
    assert str(error.value) == f"a@{both} is both a manifest and an index"


def test_a_collection_during_the_copy_takes_nothing_of_it(tmp_path: Path) -> None:
    here, there = LayoutStore(tmp_path / "here"), LayoutStore(tmp_path / "there")
    model = fill(here)
    there.push("models/digits", Artifact(PACKAGE), "1")
    done = threading.Event()

    def collect() -> None:
        while not done.is_set():
            there.collect_garbage()

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for _ in range(20):
            copy(here, "models/digits", "3", there, tag="3")
            holds_all(there, "models/digits", model)
            there.untag("models/digits", "3")
            there.collect_garbage()
    finally:
        done.set()
        collector.join()


def test_all_who_attach_at_once_are_listed(new: Callable[[str], Store]) -> None:
    """Debian's registry keeps no list of referrers: writers keep it, one after the other."""
    store = new("registry")
    model = store.push("models/digits", Artifact(PACKAGE), "1").descriptor

    def attach(number: int) -> None:
        artifact = Artifact(LOG, (Layer("text/plain", str(number).encode()),), subject=model)
        RegistryStore(store.address).push("models/digits", artifact)

    threads = [threading.Thread(target=attach, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.referrers("models/digits", model.digest)) == 5


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed: apt-get install skopeo")
def test_skopeo_reads_what_was_copied(new: Callable[[str], Store]) -> None:
    here, there = new("registry"), new("folder")
    model = fill(here)
    copy(here, "models/digits", "3", there, tag="3")
    command = ["skopeo", "inspect", "--raw", f"oci:{there.address}:models/digits:3"]
    result = subprocess.run(command, capture_output=True, check=True)
    assert f"sha256:{hashlib.sha256(result.stdout).hexdigest()}" == model.digest
