"""What every store does, a folder as well as a registry."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fieldwave.errors import InputError, NotFoundError
from fieldwave.store import Artifact, Descriptor, Layer, LayoutStore, RegistryStore, Store, Stored
from tests import oci_registry

PACKAGE = "application/vnd.fieldwave.package.v1"
LOG = "application/vnd.fieldwave.log.v1"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if oci_registry.PROGRAM is None:
        pytest.skip(oci_registry.MISSING)
    with oci_registry.running(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(params=["folder", "registry"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of its own for each test."""
    if request.param == "folder":
        return LayoutStore(tmp_path / "store")
    return RegistryStore(f"{request.getfixturevalue('registry')}/t{abs(hash(tmp_path))}")


def artifact(data: bytes | Path, **annotations: str) -> Artifact:
    return Artifact(PACKAGE, (Layer("application/zip", data),), annotations=annotations)


def content(store: Store, repository: str, reference: str) -> bytes:
    _, manifest = store.manifest(repository, reference)
    return b"".join(store.read(repository, manifest.layers[0]))


def count_up(tags: Sequence[str]) -> str:
    return str(max(map(int, tags), default=0) + 1)


def test_what_is_pushed_is_read_back(store: Store) -> None:
    pushed = store.push("models/digits", artifact(b"zip", title="digits"), "1")
    descriptor, manifest = store.manifest("models/digits", "1")
    assert descriptor == pushed.descriptor
    assert (manifest.artifact_type, dict(manifest.annotations)) == (PACKAGE, {"title": "digits"})
    assert (
        content(store, "models/digits", "1") == content(store, "models/digits", pushed.descriptor.digest) == b"zip"
    )
    assert store.repositories() == ["models/digits"]
    assert [(entry.tag, entry.descriptor) for entry in store.tagged("models/digits")] == [("1", descriptor)]


def test_a_file_is_stored_as_its_bytes_are(store: Store, tmp_path: Path) -> None:
    data = os.urandom(3_000_001)
    (tmp_path / "layer").write_bytes(data)
    store.push("images/digits", artifact(tmp_path / "layer"), "1")
    assert content(store, "images/digits", "1") == data
    assert (
        store.push("images/digits", artifact(data), "2").descriptor == store.tagged("images/digits")[0].descriptor
    )


def test_a_tag_moves_and_goes(store: Store) -> None:
    store.push("models/digits", artifact(b"one"), "1")
    second = store.push("models/digits", artifact(b"two"), "1")
    assert content(store, "models/digits", "1") == b"two"
    store.tag("models/digits", second.descriptor.digest, "production")
    assert [entry.tag for entry in store.tagged("models/digits")] == ["1", "production"]
    store.untag("models/digits", "1")
    assert [entry.tag for entry in store.tagged("models/digits")] == ["production"]
    with pytest.raises(NotFoundError) as error:
        store.untag("models/digits", "1")
    assert str(error.value) == f"{store.address} has no models/digits:1"


def test_what_refers_to_a_manifest_is_found(store: Store) -> None:
    model = store.push("models/digits", artifact(b"zip"), "1").descriptor
    other = store.push("models/digits", artifact(b"other"), "2").descriptor
    logs = [
        store.push("models/digits", Artifact(LOG, (Layer("text/plain", text),), subject=model)).descriptor
        for text in (b"first", b"second")
    ]
    store.push("models/digits", Artifact("application/vnd.example", (), subject=model))
    store.push("models/digits", Artifact(LOG, (Layer("text/plain", b"x"),), subject=other))
    assert store.referrers("models/digits", model.digest, LOG) == logs
    assert len(store.referrers("models/digits", model.digest)) == 3
    assert store.referrers("models/vgg", model.digest) == []


@pytest.mark.parametrize(
    "name", ["", "Digits", "../digits", "/digits", "digits/", "a//b", "a:b", "a b", "é", "a" * 201]
)
def test_a_name_outside_the_grammar_is_refused(store: Store, name: str) -> None:
    with pytest.raises(InputError) as error:
        store.push(name, artifact(b"zip"), "1")
    assert str(error.value) == (
        f"{name!r} is no name for a repository: use lower-case letters and digits, "
        "with '.', '_', '-' or '/' between them, at most 200"
    )


def test_a_tag_outside_the_grammar_is_refused(store: Store) -> None:
    with pytest.raises(InputError) as error:
        store.push("models/digits", artifact(b"zip"), "../1")
    assert str(error.value) == (
        "'../1' is no tag: use letters, digits, '_', '.' and '-', beginning with a letter, a digit or '_', "
        "at most 128"
    )


def test_an_empty_place_holds_nothing(store: Store) -> None:
    assert store.repositories() == []
    assert store.tagged() == store.tagged("models/digits") == []
    with pytest.raises(NotFoundError) as error:
        store.manifest("models/digits", "1")
    assert str(error.value) == f"{store.address} has no models/digits:1"
    with pytest.raises(NotFoundError):
        store.manifest("models/digits", f"sha256:{'0' * 64}")
    with pytest.raises(NotFoundError):
        store.untag("models/digits", "1")


def test_a_tag_that_goes_takes_no_other_with_it(store: Store) -> None:
    pushed = store.push("models/digits", artifact(b"one"), "1").descriptor
    store.tag("models/digits", "1", "production")
    store.untag("models/digits", "1")
    assert [(entry.tag, entry.descriptor) for entry in store.tagged("models/digits")] == [("production", pushed)]
    assert content(store, "models/digits", "production") == b"one"


def test_a_tag_is_chosen_by_those_that_are_there(store: Store) -> None:
    assert [store.push("models/digits", artifact(b"zip"), count_up).tag for _ in range(3)] == ["1", "2", "3"]
    assert [entry.tag for entry in store.tagged("models/digits")] == ["1", "2", "3"]
    assert store.repositories() == ["models/digits"]


def test_a_choice_that_fails_leaves_nothing(store: Store) -> None:
    def fail(tags: Sequence[str]) -> str:
        raise KeyError("changed")

    store.push("models/digits", artifact(b"one"), "1")
    with pytest.raises(KeyError):
        store.push("models/digits", artifact(b"two"), fail)
    assert [entry.tag for entry in store.tagged()] == ["1"]


def test_everything_is_listed_at_once(store: Store) -> None:
    for name in ("models/b", "models/a", "images/a"):
        store.push(name, artifact(name.encode()), "1")
    assert store.repositories() == ["images/a", "models/a", "models/b"]
    assert [(entry.repository, entry.tag) for entry in store.tagged()] == [
        ("images/a", "1"),
        ("models/a", "1"),
        ("models/b", "1"),
    ]


def test_what_is_stored_is_a_part_of_another_artifact(store: Store) -> None:
    store.push("models/digits", artifact(b"zip"), "1")
    _, manifest = store.manifest("models/digits", "1")
    held = Layer("application/zip", Stored("models/digits", manifest.layers[0]))
    store.push("images/digits", Artifact(PACKAGE, (held, Layer("text/plain", b"more"))), "1")
    assert content(store, "images/digits", "1") == b"zip"
    assert store.manifest("images/digits", "1")[1].layers[0] == manifest.layers[0]


def test_what_is_said_to_be_stored_must_be(store: Store) -> None:
    store.push("models/digits", artifact(b"zip"), "1")
    absent = Descriptor("application/zip", f"sha256:{'0' * 64}", 3)
    with pytest.raises(NotFoundError):
        store.push("images/digits", Artifact(PACKAGE, (Layer("a/b", Stored("models/digits", absent)),)), "1")
    assert store.repositories() == ["models/digits"]
