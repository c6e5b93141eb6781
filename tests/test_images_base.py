from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import tarfile
from pathlib import Path

import pytest

from fieldwave.errors import ArtifactError, InputError, NotFoundError
from fieldwave.images import Images, add_base, bases, find_base
from fieldwave.images import base as base_module
from fieldwave.images.tree import Tree
from fieldwave.store import Artifact, Layer, LayoutStore
from tests import image_parts
from tests.image_parts import ELF_ARM64, ROOT, Entry, tar
from tests.image_parts import wheelhouse as wheelhouse

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    return LayoutStore(tmp_path / "store")


def tree(*layers: tuple[Entry, ...]) -> Tree:
    made = Tree()
    for layer in layers:
        made.add(io.BytesIO(tar(layer)), "a layer")
    return made


def image(store: LayoutStore, *layers: tuple[Entry, ...], name: str = "base", **more: object) -> str:
    """An image of these layers in the store, as any tool would make it; its reference for ``--base``."""
    archives = [tar(layer) for layer in layers]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/bin:/usr/bin", "SECRET=1"], "Cmd": ["bash"]},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(archive).hexdigest()}" for archive in archives],
        },
        **more,
    }
    parts = tuple(Layer(LAYER, gzip.compress(archive, mtime=0)) for archive in archives)
    store.push(name, Artifact("", parts, Layer(CONFIG, json.dumps(config).encode())), "1")
    return f"{store.folder}:{name}:1"


def test_a_whiteout_takes_away_what_is_below() -> None:
    seen = tree(
        (("etc", "folder", b""), ("etc/a", "file", b""), ("etc/b", "file", b""), ("opt/x/y", "file", b"")),
        (("etc/.wh.a", "file", b""), ("opt/.wh..wh..opq", "file", b""), ("opt/z", "file", b"")),
    )
    assert set(seen.nodes) == {"etc", "etc/b", "opt/z"}


def test_a_whiteout_spares_what_its_own_layer_adds() -> None:
    seen = tree(
        (("opt/a/b", "file", b""), ("opt/a/c", "file", b"")),
        (("opt/a/b", "file", b""), ("opt/.wh.a", "file", b"")),
    )
    assert set(seen.nodes) == {"opt/a/b"}


def test_a_file_takes_the_place_of_a_folder() -> None:
    seen = tree((("opt", "folder", b""), ("opt/a", "file", b"")), (("opt", "link", b"usr/opt"),))
    assert set(seen.nodes) == {"opt"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("bin/python", "usr/bin/python3.11"),
        ("/usr/bin/python", "usr/bin/python3.11"),
        ("up/bin/python", "usr/bin/python3.11"),
        ("usr/bin/../lib", "usr/lib"),
        ("loop", None),
        ("dangling", None),
        ("usr/bin/absent", None),
        ("../../usr/bin/python", "usr/bin/python3.11"),
    ],
)
def test_links_are_followed_as_in_a_container(path: str, found: str | None) -> None:
    seen = tree(
        (
            ("usr/bin/python3.11", "file", b""),
            ("usr/bin/python", "link", b"/etc/alternatives/python"),
            ("etc/alternatives/python", "link", b"../../usr/bin/python3.11"),
            ("bin", "link", b"usr/bin"),
            ("up", "link", b"../../../usr"),
            ("usr/lib/a", "file", b""),
            ("loop", "link", b"loop"),
            ("dangling", "link", b"absent"),
        )
    )
    assert seen.resolve(path) == found


@pytest.mark.parametrize("name", ["../etc/passwd", "a/../../b", "/../x"])
def test_an_archive_cannot_lead_out(tmp_path: Path, store: LayoutStore, name: str) -> None:
    path = image_parts.base(tmp_path / "base.tar", [(name, "file", b"")])
    with pytest.raises(InputError) as error:
        add_base(store, str(path))
    assert str(error.value) == f"{path} holds a file named {name!r}, which leads out of it"
    assert bases(store) == []


def test_a_root_filesystem_hides_nothing(tmp_path: Path, store: LayoutStore) -> None:
    path = image_parts.base(tmp_path / "base.tar", [("etc/.wh.passwd", "file", b"")])
    with pytest.raises(InputError) as error:
        add_base(store, str(path))
    assert str(error.value) == (
        f"{path} holds etc/.wh.passwd: a file of that name hides another one in an image; "
        "make the archive from a root filesystem, not from a layer"
    )


def test_a_gzipped_archive_is_the_layer_byte_for_byte(tmp_path: Path, store: LayoutStore) -> None:
    path = tmp_path / "base.tar.gz"
    path.write_bytes(gzip.compress(tar(ROOT), 1))
    base = add_base(store, str(path))
    _, manifest = store.manifest(base.repository, base.digest)
    assert [layer.digest for layer in manifest.layers] == [base.origin]
    assert base.origin == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_an_archive_of_xz_is_unpacked_and_one_of_zstd_is_not(tmp_path: Path, store: LayoutStore) -> None:
    path = tmp_path / "base.tar.xz"
    path.write_bytes(lzma.compress(tar(ROOT)))
    plain = image_parts.base(tmp_path / "base.tar")
    layers = [
        store.manifest(b.repository, b.digest)[1].layers for b in (add_base(store, str(p)) for p in (path, plain))
    ]
    assert layers[0] == layers[1]
    path = tmp_path / "base.tar.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
    with pytest.raises(InputError) as error:
        add_base(store, str(path))
    assert (
        str(error.value) == f"{path} is compressed by zstd, which cannot be read here; unpack it first (zstd -d)"
    )


@pytest.mark.parametrize("damage", ["cut", "flipped", "none at all"])
def test_a_damaged_archive_is_refused(tmp_path: Path, store: LayoutStore, damage: str) -> None:
    data = bytearray(gzip.compress(tar(ROOT)))
    data[len(data) // 2] ^= 0x55
    kinds = {"cut": gzip.compress(tar(ROOT))[:-200], "flipped": bytes(data), "none at all": b"nothing"}
    path = tmp_path / "base.tar.gz"
    path.write_bytes(kinds[damage])
    with pytest.raises(InputError, match="is no tar archive, or damaged: "):
        add_base(store, str(path))
    assert bases(store) == []


@pytest.mark.parametrize(
    ("without", "more", "lacks"),
    [
        (
            "usr/bin/python3.11",
            [("usr/bin/python3.9", "file", b"")],
            "has no /usr/bin/python3.11 or /usr/local/bin/python3.11, it has python3.9; "
            "the runtime is for Python 3.11",
        ),
        ("ld-linux", [], "lacks glibc, which the runtime needs; Debian 12's slim images have it"),
        ("libstdc++", [], "lacks libstdc++, which the runtime needs; Debian 12's slim images have it"),
        (
            "usr/bin/python3.11",
            [("usr/bin/python3.11", "file", b"#!/bin/sh\n")],
            "is no program for amd64 or arm64",
        ),
    ],
)
def test_a_base_that_lacks_something_is_refused_before_anything_is_built(
    tmp_path: Path, store: LayoutStore, without: str, more: list[Entry], lacks: str
) -> None:
    path = image_parts.base(tmp_path / "base.tar", more, without)
    with pytest.raises(InputError) as error:
        add_base(store, str(path))
    assert str(error.value).endswith(lacks)


def test_python_may_be_in_usr_local_and_for_arm(tmp_path: Path, store: LayoutStore, wheelhouse: Path) -> None:
    path = image_parts.base(
        tmp_path / "base.tar", [("./usr/local/bin/python3.11", "file", ELF_ARM64)], "usr/bin/python3.11"
    )
    base = add_base(store, str(path))
    assert (base.python, base.architecture) == ("/usr/local/bin/python3.11", "arm64")
    package = image_parts.package(tmp_path / "four.zip")
    built = Images(store).build(package, "four", base="rootfs", wheels=wheelhouse)
    assert built.platform == "linux/arm64"


def test_what_opt_leads_to_is_where_fieldwave_is_put(tmp_path: Path, store: LayoutStore, wheelhouse: Path) -> None:
    """A folder in our layer would take the place of the base's link."""
    kept = tuple(entry for entry in ROOT if entry[0] != "./opt")
    there = image(
        LayoutStore(tmp_path / "layout"), kept, (("usr/opt", "folder", b""), ("opt", "link", b"usr/opt"))
    )
    package = image_parts.package(tmp_path / "four.zip")
    built = Images(store).build(package, "four", base=there, wheels=wheelhouse)
    _, manifest = store.manifest("images/four", "1")
    names = []
    for layer in manifest.layers[2:]:
        data = b"".join(store.read("images/four", layer))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            names += archive.getnames()
    assert all(name.startswith("usr/opt/fieldwave") for name in names)
    assert Images(store).package(built) == package.read_bytes()


def test_a_base_keeps_its_layers_and_gives_up_its_command(
    tmp_path: Path, store: LayoutStore, wheelhouse: Path
) -> None:
    layout = LayoutStore(tmp_path / "layout")
    there = image(layout, ROOT, (("etc/.wh.motd", "file", b""),))
    package = image_parts.package(tmp_path / "four.zip")
    Images(store).build(package, "four", base=there, wheels=wheelhouse)
    _, manifest = store.manifest("images/four", "1")
    _, before = layout.manifest("base", "1")
    assert manifest.layers[:2] == before.layers
    config = json.loads(b"".join(store.read("images/four", manifest.config)))["config"]
    assert "PATH=/opt/fieldwave/bin:/usr/local/bin:/usr/bin" in config["Env"]
    assert not any("SECRET" in each for each in config["Env"])
    assert "Cmd" not in config


def test_a_layer_that_is_not_the_configurations_is_refused(tmp_path: Path, store: LayoutStore) -> None:
    layout = LayoutStore(tmp_path / "layout")
    there = image(layout, ROOT, rootfs={"type": "layers", "diff_ids": [f"sha256:{'0' * 64}"]})
    with pytest.raises(ArtifactError) as error:
        add_base(store, there)
    assert str(error.value) == f"layer 1 of {there} is not the one that its configuration names"


def test_a_layout_is_asked_for_by_name_and_architecture(tmp_path: Path, store: LayoutStore) -> None:
    layout = LayoutStore(tmp_path / "layout")
    image(layout, ROOT, name="one")
    image(layout, ROOT, (("etc/a", "file", b""),), name="two")
    with pytest.raises(NotFoundError) as error:
        add_base(store, str(layout.folder))
    assert str(error.value) == f"{layout.folder} does not hold one image; it holds one:1, two:1"
    assert add_base(store, f"{layout.folder}:two:1").id == "layout:1"
    with pytest.raises(NotFoundError) as error:
        add_base(store, f"{layout.folder}:three")
    assert str(error.value) == f"{layout.folder} does not hold 'three'; it holds one:1, two:1"


def test_an_index_is_searched_for_the_architecture(tmp_path: Path, store: LayoutStore) -> None:
    layout = LayoutStore(tmp_path / "layout")
    image(layout, ROOT)
    entry = layout.tagged("base")[0].descriptor.to_value()
    attestation = {
        **entry,
        "digest": f"sha256:{'1' * 64}",
        "platform": {"architecture": "unknown", "os": "unknown"},
    }
    entry["platform"] = {"architecture": "amd64", "os": "linux"}
    value = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json"}
    data = json.dumps({**value, "manifests": [attestation, entry]}).encode()
    digest = hashlib.sha256(data).hexdigest()
    (layout.folder / "blobs" / "sha256" / digest).write_bytes(data)
    top = {"mediaType": value["mediaType"], "digest": f"sha256:{digest}", "size": len(data)}
    (layout.folder / "index.json").write_text(json.dumps({**value, "manifests": [top]}))
    base = add_base(store, str(layout.folder))
    assert (base.architecture, base.origin) == ("amd64", entry["digest"])
    with pytest.raises(NotFoundError) as error:
        add_base(store, str(layout.folder), architecture="arm64")
    assert str(error.value) == f"{layout.folder} is not for linux/arm64; it is for unknown/unknown, linux/amd64"


def test_an_archive_of_a_layout_is_a_base(tmp_path: Path, store: LayoutStore, wheelhouse: Path) -> None:
    base = image_parts.base(tmp_path / "base.tar")
    built = Images(store).build(image_parts.package(tmp_path / "f.zip"), "f", base=str(base), wheels=wheelhouse)
    Images(store).export(built, tmp_path / "f.tar")
    other = LayoutStore(tmp_path / "other")
    again = add_base(other, str(tmp_path / "f.tar"), "again")
    assert (again.id, again.origin) == ("again:1", built.digest)


def test_no_base_and_no_way_to_make_one(store: LayoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(NotFoundError) as error:
        find_base(store)
    assert str(error.value) == "mmdebstrap is not installed: apt-get install mmdebstrap"
    assert base_module.DEFAULT == "debian"


def test_a_base_that_is_nowhere(store: LayoutStore) -> None:
    with pytest.raises(NotFoundError) as error:
        find_base(store, "nothing")
    assert str(error.value) == (
        f"there is no base 'nothing': no base of that name in {store.address}, no file, "
        "and no address of an image in a registry, HOST/NAME:TAG"
    )


def test_a_registry_that_is_down(store: LayoutStore) -> None:
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1"):
        find_base(store, "127.0.0.1:1/python:3.11")
