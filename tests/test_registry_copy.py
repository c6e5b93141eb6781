"""A version goes from store to store, with what is said of it and what belongs to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldwave.errors import ConflictError, NotFoundError
from fieldwave.registry import RegisteredModel, Registry
from fieldwave.store import LayoutStore

LOG = "application/vnd.fieldwave.log.v1"


@pytest.fixture
def here(tmp_path: Path) -> Registry:
    return Registry(LayoutStore(tmp_path / "here"))


@pytest.fixture
def target(tmp_path: Path) -> LayoutStore:
    return LayoutStore(tmp_path / "there")


@pytest.fixture
def model(here: Registry, tmp_path: Path) -> RegisteredModel:
    """Version 2 of digits, converted from version 1 of raw."""
    (tmp_path / "digits.onnx").write_bytes(b"a network")
    raw = here.register(tmp_path / "digits.onnx", "raw")
    here.register(tmp_path / "digits.onnx", "digits")
    second = here.register(tmp_path / "digits.onnx", "digits", tags={"stage": "test"}, source=raw)
    here.attach(second, LOG, b"converted", "text/plain")
    here.alias(second, "production")
    return here.update(second, add_tags={"stage": "done"}, add_properties={"top1": "0.9"})


def test_a_copy_has_the_number_the_notes_and_the_logs(
    here: Registry, model: RegisteredModel, target: LayoutStore, tmp_path: Path
) -> None:
    copied = here.copy(model, target)
    there = Registry(target)
    assert there.find() == [copied]
    assert (copied.id, copied.digest, copied.source) == ("digits:2", model.digest, model.source)
    assert (copied.tags, copied.properties, copied.aliases) == ({"stage": "done"}, {"top1": "0.9"}, ())
    assert there.attachments(copied, LOG) == [b"converted"]
    assert there.download(copied, tmp_path / "out")[0].read_bytes() == b"a network"
    assert here.copy(model, target) == copied
    assert there.register(tmp_path / "digits.onnx", "digits").version == 3


def test_what_is_said_there_stays(here: Registry, model: RegisteredModel, target: LayoutStore) -> None:
    there = Registry(target)
    there.update(here.copy(model, target), add_tags={"stage": "ours"})
    assert here.copy(model, target).tags == {"stage": "ours"}


def test_a_log_that_came_later_follows(here: Registry, model: RegisteredModel, target: LayoutStore) -> None:
    here.copy(model, target)
    here.attach(model, LOG, b"more", "text/plain")
    assert Registry(target).attachments(here.copy(model, target), LOG) == [b"converted", b"more"]


def test_a_number_that_another_has_is_not_taken(
    here: Registry, model: RegisteredModel, target: LayoutStore, tmp_path: Path
) -> None:
    there = Registry(target)
    for _ in range(2):
        other = there.register(tmp_path / "digits.onnx", "digits")
    with pytest.raises(ConflictError) as error:
        here.copy(model, target)
    assert str(error.value) == (
        f"digits:2 is another model in {target.address}; copy it with --next, as the next version there"
    )
    there.delete(other)
    with pytest.raises(ConflictError, match=f"digits:2 was deleted in {target.address}; "):
        here.copy(model, target)
    copied = here.copy(model, target, renumber=True)
    assert (copied.id, copied.digest, copied.tags) == ("digits:3", model.digest, {"stage": "done"})
    assert here.copy(model, target, renumber=True) == copied


def test_what_a_model_was_converted_from_is_found_while_it_is_there(
    here: Registry, model: RegisteredModel
) -> None:
    raw = here.source(model)
    assert raw.id == "raw:1"
    with pytest.raises(NotFoundError) as error:
        here.source(raw)
    assert str(error.value) == "model raw:1 was not converted from a registered model"
    here.delete(raw)
    with pytest.raises(NotFoundError) as error:
        here.source(model)
    assert str(error.value) == "model digits:2 was converted from raw:1, which was deleted since"
