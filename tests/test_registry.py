from __future__ import annotations

import errno
import multiprocessing
import os
from pathlib import Path

import pytest

from fieldwave.conversion import Conversion
from fieldwave.errors import ArtifactError, ConflictError, InputError, NotFoundError, PackageError, StorageError
from fieldwave.registry import Registry
from fieldwave.store import Artifact, Layer, LayoutStore, RegistryStore
from tests import oci_registry

LOG = "application/vnd.fieldwave.log.v1"


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    return LayoutStore(tmp_path / "store")


@pytest.fixture
def registry(store: LayoutStore) -> Registry:
    return Registry(store)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "network.onnx"
    path.write_bytes(b"a network")
    return path


@pytest.fixture
def saved_model(tmp_path: Path) -> Path:
    folder = tmp_path / "saved"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"names")
    return folder


def test_versions_count_from_one_for_each_name(registry: Registry, file: Path) -> None:
    first = registry.register(file, "digits", tags={"a": "b"}, properties={"top1": "1"}, description="Digits.")
    second = registry.register(file, "digits")
    other = registry.register(file, "resnet50", source=second)
    assert [first.id, second.id, other.id] == ["digits:1", "digits:2", "resnet50:1"]
    assert (first.kind, first.size, first.description) == ("onnx", 9, "Digits.")
    assert (dict(first.tags), dict(first.properties)) == ({"a": "b"}, {"top1": "1"})
    assert other.source == f"digits:2@{second.digest}"
    assert registry.get("digits") == registry.get("digits:latest") == registry.get("digits:2") == second
    assert registry.get("digits:1") == first
    assert registry.find() == [first, second, other]


def test_a_package_says_what_it_holds(registry: Registry, digits: Conversion) -> None:
    from fieldwave.package import read_package

    model = registry.register(digits.path, "digits")
    assert model.kind == "package"
    assert model.facts == {"network": "digits", "package": read_package(digits.path).digest}


def test_a_damaged_package_is_not_registered(registry: Registry, digits: Conversion, tmp_path: Path) -> None:
    data = bytearray(digits.path.read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(data)
    with pytest.raises(PackageError):
        registry.register(damaged, "digits")
    assert registry.find() == []


def test_a_folder_comes_back_as_it_was(registry: Registry, saved_model: Path, tmp_path: Path) -> None:
    model = registry.register(saved_model, "digits")
    assert (model.kind, model.size) == ("saved-model", 10)
    paths = registry.download(model, tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in paths] == [
        "saved_model.pb",
        "variables/variables.index",
    ]
    assert [path.read_bytes() for path in paths] == [b"graph", b"names"]


def test_a_download_does_not_overwrite(registry: Registry, file: Path, tmp_path: Path) -> None:
    model = registry.register(file, "digits")
    place = tmp_path / "out" / "network.onnx"
    place.parent.mkdir()
    place.write_bytes(b"mine")
    with pytest.raises(ConflictError) as error:
        registry.download(model, place.parent)
    assert str(error.value) == f"{place} is there already; choose another folder, or overwrite it"
    assert place.read_bytes() == b"mine"
    registry.download(model, place.parent, overwrite=True)
    assert place.read_bytes() == b"a network"


@pytest.mark.parametrize("title", ["../evil", "/etc/evil", "a/../../evil", ""])
def test_a_file_does_not_lead_out_of_its_folder(
    registry: Registry, store: LayoutStore, file: Path, tmp_path: Path, title: str
) -> None:
    model = registry.register(file, "digits")
    annotations = store.manifest("models/digits", "1")[1].annotations
    layer = Layer("application/octet-stream", b"evil", {"org.opencontainers.image.title": title})
    store.push(
        "models/digits", Artifact("application/vnd.fieldwave.onnx.v1", (layer,), annotations=annotations), "1"
    )
    model = registry.get("digits")
    with pytest.raises(ArtifactError) as error:
        registry.download(model, tmp_path / "out")
    assert str(error.value) == f"a file of the model is named {title!r}, which leads out of {tmp_path / 'out'}"
    assert not (tmp_path / "evil").exists()


def test_a_damaged_blob_leaves_no_file(
    registry: Registry, store: LayoutStore, saved_model: Path, tmp_path: Path
) -> None:
    model = registry.register(saved_model, "digits")
    digest = store.manifest("models/digits", "1")[1].layers[1].digest
    (store.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")).write_bytes(b"Names")
    with pytest.raises(ArtifactError, match="is damaged"):
        registry.download(model, tmp_path / "out")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_a_folder_with_a_link_that_leads_out_is_refused(registry: Registry, saved_model: Path) -> None:
    link = saved_model / "secret"
    link.symlink_to("/etc/passwd")
    with pytest.raises(InputError) as error:
        registry.register(saved_model, "digits")
    assert str(error.value) == f"{link} is a link that leads out of {saved_model}; copy the file there"


def test_models_are_found_by_what_is_said_of_them(registry: Registry, file: Path) -> None:
    one = registry.register(file, "digits", tags={"team": "a", "stage": "test"})
    two = registry.register(file, "digits", tags={"team": "b"}, properties={"top1": "0.9"})
    three = registry.register(file, "resnet50", tags={"team": "a"})
    assert registry.find(tags=["team"]) == [one, two, three]
    assert registry.find(tags=["team=a"]) == [one, three]
    assert registry.find(tags=["team=a", "stage"]) == [one]
    assert registry.find("digits", properties=["top1=0.9"]) == [two]
    assert registry.find(latest=True) == [two, three]
    assert registry.find("vgg16") == []
    with pytest.raises(InputError) as error:
        registry.find(tags=["=a"])
    assert str(error.value) == "'=a' is no filter: write 'key' or 'key=value'"


def test_what_is_said_may_change_and_the_bytes_may_not(registry: Registry, store: LayoutStore, file: Path) -> None:
    model = registry.register(file, "digits", tags={"stage": "test"}, properties={"top1": "0.9"})
    registry.attach(model, LOG, b"converted", "text/plain")
    changed = registry.update(model, add_tags={"stage": "production", "team": "a"}, description="Better.")
    changed = registry.update(changed, remove_tags=["team"], add_properties={"top5": "1.0"})
    assert changed == registry.get("digits:1")
    assert dict(changed.tags) == {"stage": "production"}
    assert dict(changed.properties) == {"top1": "0.9", "top5": "1.0"}
    assert (changed.description, changed.digest) == ("Better.", model.digest)
    assert registry.attachments(changed, LOG) == [b"converted"]
    assert [entry.tag for entry in store.tagged("models/digits")] == ["1", "1.notes.2"]


def test_a_property_stays(registry: Registry, file: Path) -> None:
    model = registry.register(file, "digits", properties={"top1": "0.9"})
    with pytest.raises(ConflictError) as error:
        registry.update(model, add_properties={"top1": "1.0"})
    assert str(error.value) == (
        "model digits:1 has the property 'top1' already; properties stay, use a tag for what changes"
    )
    with pytest.raises(NotFoundError) as missing:
        registry.update(model, remove_tags=["stage"])
    assert str(missing.value) == "model digits:1 has no tag 'stage'"


def test_an_alias_moves(registry: Registry, file: Path) -> None:
    one, two = registry.register(file, "digits"), registry.register(file, "digits")
    assert registry.alias(one, "production").aliases == ("production",)
    assert registry.get("digits:production").version == 1
    registry.alias(two, "production")
    assert registry.get("digits:production").version == 2
    assert registry.get("digits:1").aliases == ()
    registry.remove_alias("digits", "production")
    with pytest.raises(NotFoundError) as error:
        registry.get("digits:production")
    assert str(error.value) == "model 'digits' has no version or alias 'production': it has 1, 2"


@pytest.mark.parametrize(
    ("alias", "said"),
    [
        ("latest", "'latest' is always the highest version: choose another alias, such as 'production'"),
        ("3", "'3' is no alias: use lower-case letters, digits and '-', beginning with a letter, at most 63"),
    ],
)
def test_an_alias_outside_the_grammar_is_refused(registry: Registry, file: Path, alias: str, said: str) -> None:
    model = registry.register(file, "digits")
    with pytest.raises(InputError) as error:
        registry.alias(model, alias)
    assert str(error.value) == said


def test_a_number_is_never_given_twice(registry: Registry, store: LayoutStore, file: Path) -> None:
    for _ in range(3):
        registry.register(file, "digits")
    registry.alias(registry.get("digits:3"), "production")
    registry.update(registry.get("digits:3"), add_tags={"a": "b"})
    registry.delete(registry.get("digits:1"))
    registry.delete(registry.get("digits:3"))
    assert [entry.tag for entry in store.tagged("models/digits")] == ["2", "3.deleted"]
    assert registry.register(file, "digits").version == 4
    for model in registry.find("digits"):
        registry.delete(model)
    assert registry.find() == []
    assert registry.register(file, "digits").version == 5


def test_what_is_used_is_not_deleted(store: LayoutStore, file: Path) -> None:
    registry = Registry(store, lambda model: ["service shop", "image shop:2"] if model.version == 1 else [])
    used, free = registry.register(file, "digits"), registry.register(file, "digits")
    with pytest.raises(ConflictError) as error:
        registry.delete(used)
    assert str(error.value) == "model digits:1 is used by service shop and image shop:2; delete that first"
    registry.delete(free)
    assert registry.find() == [used]
    with pytest.raises(NotFoundError):
        registry.delete(free)
    with pytest.raises(NotFoundError) as gone:
        registry.update(free, add_tags={"a": "b"})
    assert str(gone.value) == "model digits:2 was deleted"


def test_deleted_bytes_are_collected(registry: Registry, store: LayoutStore, file: Path) -> None:
    kept = registry.register(file, "digits")
    file.write_bytes(b"another network")
    registry.delete(registry.register(file, "digits"))
    store.collect_garbage()
    assert {path.read_bytes() for path in (store.folder / "blobs" / "sha256").iterdir()} >= {b"a network"}
    assert b"another network" not in {p.read_bytes() for p in (store.folder / "blobs" / "sha256").iterdir()}
    assert registry.get("digits") == kept


def test_an_unknown_model_is_said(registry: Registry, file: Path) -> None:
    with pytest.raises(NotFoundError) as error:
        registry.get("digits")
    assert str(error.value) == "the registry has no model 'digits': it is empty; register one first"
    registry.register(file, "resnet50")
    with pytest.raises(NotFoundError) as error:
        registry.get("digits:3")
    assert str(error.value) == "the registry has no model 'digits': it has resnet50"


@pytest.mark.parametrize("name", ["", "Digits", "../digits", "a/b", "a:b", "-a", "a" * 101])
def test_a_name_outside_the_grammar_is_refused(registry: Registry, file: Path, name: str) -> None:
    with pytest.raises(InputError) as error:
        registry.register(file, name)
    assert str(error.value) == (
        f"{name!r} is no name for a model: use lower-case letters and digits, "
        "with single '.', '_' or '-' between them, at most 100"
    )


def test_a_missing_path_is_said(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as error:
        registry.register(tmp_path / "none", "digits")
    assert str(error.value) == (
        f"there is no file or folder {tmp_path / 'none'}; name a package, an ONNX file or a folder"
    )


def test_a_full_disk_registers_nothing(
    registry: Registry, store: LayoutStore, saved_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file that is written is one place where the disk may be full."""
    first = registry.register(saved_model, "digits")
    (saved_model / "saved_model.pb").write_bytes(b"another graph")
    real, failures = os.fsync, 0
    for point in range(40):
        calls = 0

        def fsync(descriptor: int, point: int = point) -> None:
            nonlocal calls
            calls += 1
            if calls == point + 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            try:
                registry.delete(registry.register(saved_model, "digits"))
            except StorageError:
                failures += 1
        assert first in registry.find("digits")
        for model in registry.find("digits")[1:]:  # what a failed deletion left is whole, and deleted again
            assert [layer.size for layer in store.manifest("models/digits", model.digest)[1].layers] == [13, 5]
            registry.delete(model)
        assert registry.find("digits") == [first]
        store.collect_garbage()
        if calls <= point:
            break
    assert failures == 7  # the layer, the manifests of the model and of the deletion, four times the index


def _register(folder: Path, path: Path, count: int) -> None:
    registry = Registry(LayoutStore(folder))
    for _ in range(count):
        registry.register(path, "digits")


def _tag(folder: Path, key: str) -> None:
    registry = Registry(LayoutStore(folder))
    for number in range(10):
        registry.update(registry.get("digits:1"), add_tags={f"{key}{number}": "x"})


def _all(processes: list[multiprocessing.context.ForkProcess]) -> None:
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


@pytest.mark.parametrize(("writers", "each"), [(4, 8), pytest.param(16, 50, marks=pytest.mark.slow)])
def test_no_registration_is_lost(
    registry: Registry, store: LayoutStore, file: Path, writers: int, each: int
) -> None:
    context = multiprocessing.get_context("fork")
    _all([context.Process(target=_register, args=(store.folder, file, each)) for _ in range(writers)])
    models = registry.find("digits")
    assert [model.version for model in models] == list(range(1, writers * each + 1))
    assert len({model.digest for model in models}) == writers * each


def test_no_tag_is_lost(registry: Registry, store: LayoutStore, file: Path) -> None:
    registry.register(file, "digits")
    context = multiprocessing.get_context("fork")
    _all([context.Process(target=_tag, args=(store.folder, key)) for key in "abcd"])
    assert set(registry.get("digits:1").tags) == {f"{key}{number}" for key in "abcd" for number in range(10)}


@pytest.mark.skipif(oci_registry.PROGRAM is None, reason=oci_registry.MISSING)
def test_it_is_the_same_in_an_oci_registry(saved_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "registry"
    folder.mkdir()
    with oci_registry.running(folder) as address:
        registry = Registry(RegistryStore(f"{address}/team"))
        one = registry.register(saved_model, "digits", tags={"team": "a"})
        two = registry.register(saved_model, "digits", description="Second.")
        registry.alias(two, "production")
        registry.update(one, add_tags={"stage": "test"})
        registry.update(one, add_tags={"stage": "old"})
        registry.attach(two, LOG, b"converted", "text/plain")
        assert [(model.id, dict(model.tags)) for model in registry.find()] == [
            ("digits:1", {"stage": "old", "team": "a"}),
            ("digits:2", {}),
        ]
        found = registry.get("digits:production")
        assert (found.version, found.description, found.aliases) == (2, "Second.", ("production",))
        assert registry.attachments(found, LOG) == [b"converted"]
        assert [path.read_bytes() for path in registry.download(found, tmp_path / "out")] == [b"graph", b"names"]
        registry.delete(found)
        assert registry.register(saved_model, "digits").version == 3
        assert [model.version for model in registry.find()] == [1, 3]
