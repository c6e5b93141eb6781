from __future__ import annotations

from pathlib import Path

import pytest

from fieldwave.errors import InputError, JobError
from fieldwave.jobs import build_image
from fieldwave.workspace import Workspace
from tests import image_parts


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace.create(tmp_path / "project")
    image_parts.package(tmp_path / "four.zip")
    image_parts.base(tmp_path / "base.tar")
    return workspace


def test_a_build_whose_wheels_are_missing_fails_and_says_so(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    model = workspace.registry.register(tmp_path / "four.zip", "four")
    operation = build_image(
        model, "four", base=str(tmp_path / "base.tar"), wheels=tmp_path / "empty", workspace=workspace
    )
    operation.wait_for_completion(timeout=60)
    now = operation.snapshot()
    assert (now.state, now.kind, now.about) == ("Failed", "image", "four:1")
    assert now.error.startswith(f"{tmp_path / 'empty'} lacks annotated-doc==")
    with pytest.raises(JobError):
        _ = operation.result
    assert workspace.images.find() == []


def test_a_model_that_is_no_package_is_refused_at_once(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"onnx")
    model = workspace.registry.register(tmp_path / "net.onnx", "net")
    with pytest.raises(InputError) as error:
        build_image(model, "net", workspace=workspace)
    assert str(error.value) == "model net:1 is of the kind 'onnx', and an image is made of a package"


@pytest.mark.slow
def test_a_build_makes_its_base_and_leaves_an_image(workspace: Workspace, tmp_path: Path) -> None:
    from tests.containers import needs_base

    needs_base()
    model = workspace.registry.register(tmp_path / "four.zip", "four")
    operation = build_image(model, "four", tags={"team": "a"}, workspace=workspace)
    operation.wait_for_completion(timeout=600)
    image = operation.result
    assert (image.id, image.tags) == ("four:1", {"job": operation.id, "team": "a"})
    assert image.model == f"four:1@{model.digest}"
