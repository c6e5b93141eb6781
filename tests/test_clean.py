"""A service goes with all that it came from, and with nothing that something else needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldwave.clean import clean, plan
from fieldwave.cli import app
from fieldwave.deploy import LocalTarget
from fieldwave.errors import InputError, NotFoundError
from fieldwave.registry import RegisteredModel
from fieldwave.store import Artifact, LayoutStore
from fieldwave.workspace import Workspace
from tests import faults, image_parts
from tests.image_parts import wheelhouse as wheelhouse
from tests.test_deploy_local import running


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    workspace = Workspace.create(tmp_path / "project")
    monkeypatch.chdir(workspace.root)
    return workspace


@pytest.fixture
def target(workspace: Workspace) -> Iterator[LocalTarget]:
    target = running(workspace.root, "serving")
    yield target
    for service in target.list():
        target.delete(service.name, timeout=1)


@pytest.fixture
def model(workspace: Workspace, tmp_path: Path) -> RegisteredModel:
    """A package that was made of another model."""
    (tmp_path / "raw.onnx").write_bytes(b"a network" * 20_000)
    raw = workspace.registry.register(tmp_path / "raw.onnx", "raw")
    return workspace.registry.register(image_parts.package(tmp_path / "four.zip"), "four", source=raw)


def build(workspace: Workspace, model: RegisteredModel, tmp_path: Path, wheels: Path) -> None:
    base = str(image_parts.base(tmp_path / "base.tar"))
    workspace.images.build(model, "four", base=base, wheels=wheels)


def run(*arguments: str, given: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments), input=given)
    return result.exit_code, result.stdout, result.stderr


def blobs(workspace: Workspace) -> int:
    store = workspace.store
    assert isinstance(store, LayoutStore)
    return len(list((store.folder / "blobs" / "sha256").iterdir()))


def test_a_service_goes_with_its_model_and_what_that_was_made_of(
    workspace: Workspace, target: LocalTarget, model: RegisteredModel
) -> None:
    target.deploy(model, "digits")
    found = plan(workspace, "digits")
    assert [each.id for each in found.models] == ["four:1", "raw:1"]
    assert (found.image, found.kept) == (None, ())
    said: list[str] = []
    freed = clean(workspace, found, said.append)
    assert said == ["service digits is deleted", "model four:1 is deleted", "model raw:1 is deleted"]
    assert freed > 180_000
    assert (target.list(), workspace.registry.find()) == ((), [])
    with pytest.raises(NotFoundError) as error:
        plan(workspace, "digits")
    assert str(error.value) == f"no service 'digits' in {workspace.root}; there are none"


def test_the_image_goes_too(
    workspace: Workspace, target: LocalTarget, model: RegisteredModel, tmp_path: Path, wheelhouse: Path
) -> None:
    build(workspace, model, tmp_path, wheelhouse)
    target.deploy(workspace.images.get("four"), "digits")
    code, out, err = run("clean", "--service", "digits", given="y\n")
    assert code == 0
    assert out.endswith(" MB freed\n")
    assert err.replace("]: ", "]:").splitlines() == [
        "goes   service digits",
        "goes   image four:1",
        "goes   model four:1",
        "goes   model raw:1",
        "Delete all of that? [y/N]:service digits is deleted",
        "image four:1 is deleted",
        "model four:1 is deleted",
        "model raw:1 is deleted",
    ]
    assert (target.list(), workspace.images.find(), workspace.registry.find()) == ((), [], [])


def test_what_another_needs_stays(
    workspace: Workspace, target: LocalTarget, model: RegisteredModel, tmp_path: Path, wheelhouse: Path
) -> None:
    build(workspace, model, tmp_path, wheelhouse)
    image = workspace.images.get("four")
    target.deploy(image, "first")
    target.deploy(image, "second")
    found = plan(workspace, "first")
    assert (found.image, found.models) == (None, ())
    assert found.kept == (
        "image four:1, needed by service 'second'",
        "model four:1, needed by image four:1",
    )
    clean(workspace, found)
    assert [service.name for service in target.list()] == ["second"]
    assert workspace.images.package(image) == (tmp_path / "four.zip").read_bytes()


def test_what_another_model_was_made_of_stays(
    workspace: Workspace, target: LocalTarget, model: RegisteredModel, tmp_path: Path
) -> None:
    raw = workspace.registry.source(model)
    workspace.registry.register(tmp_path / "raw.onnx", "other", source=raw)
    target.deploy(model, "digits")
    code, out, err = run("clean", "--service", "digits", "--yes", "--json")
    value = json.loads(out)
    assert (code, value["deleted"], value["freed"] > 0) == (0, ["service digits", "model four:1"], True)
    assert "stays  model raw:1, needed by model other:1\n" in err
    assert [each.id for each in workspace.registry.find()] == ["other:1", "raw:1"]


def test_who_says_no_loses_nothing(workspace: Workspace, target: LocalTarget, model: RegisteredModel) -> None:
    target.deploy(model, "digits")
    assert run("clean", "--service", "digits", given="n\n")[0] == 1
    assert [service.name for service in target.list()] == ["digits"]
    assert len(workspace.registry.find()) == 2


@pytest.mark.parametrize("every", [60, pytest.param(3, marks=pytest.mark.slow)])
def test_it_goes_on_where_it_was_killed(
    every: int, workspace: Workspace, target: LocalTarget, model: RegisteredModel, tmp_path: Path
) -> None:
    def act() -> None:
        clean(workspace, plan(workspace, "digits"))

    target.deploy(model, "digits")
    points = faults.run(act, tmp_path).points
    for at in range(every // 2, len(points), every):
        for each in workspace.registry.find():
            workspace.registry.delete(each)
        raw = workspace.registry.register(tmp_path / "raw.onnx", "raw")
        target.deploy(workspace.registry.register(tmp_path / "four.zip", "four", source=raw), "digits")
        assert faults.run(act, tmp_path, at, "kill").end == "killed"
        try:
            act()
        except NotFoundError:  # it had all but ended
            assert workspace.registry.find() == []
        assert (target.list(), workspace.registry.find()) == ((), [])


def test_what_nothing_leads_to_is_freed(workspace: Workspace, model: RegisteredModel) -> None:
    workspace.store.push("models/four", Artifact("application/vnd.example"))
    before = blobs(workspace)
    assert run("clean") == (0, "0.0 MB freed\n", "")
    assert blobs(workspace) == before - 1
    assert run("clean", "--json")[1] == '{\n  "deleted": [],\n  "freed": 0\n}\n'


def test_an_empty_workspace_has_nothing_to_free(workspace: Workspace) -> None:
    assert run("clean") == (0, "0.0 MB freed\n", "")


def test_a_name_that_no_service_can_have(workspace: Workspace) -> None:
    with pytest.raises(InputError, match=r"'\.\./x' is no name for a service: "):
        plan(workspace, "../x")
