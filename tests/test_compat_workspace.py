"""Workspace and models of ``azureml.core``, over a workspace in a folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fieldwave.compat.azureml.core import Model, Workspace
from fieldwave.compat.azureml.core.deployment_configuration import AksServiceDeploymentConfiguration
from fieldwave.compat.azureml.exceptions import (
    ModelNotFoundException,
    UserErrorException,
    WebserviceException,
)
from fieldwave.compat.azureml.explanation import explain_to


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture
def workspace(folder: Path) -> Workspace:
    (folder / "fieldwave.toml").write_text('name = "vision"\nlocation = "Oslo"\n')
    return Workspace.from_config()


def saved(folder: Path, text: str = "bytes") -> Path:
    path = folder / "saved"
    path.mkdir(exist_ok=True)
    (path / "saved_model.pb").write_text(text)
    return path


def test_a_workspace_is_made_where_there_is_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace.from_config()
    assert capsys.readouterr().err == f"fieldwave: a workspace is made in {folder}: fieldwave.toml\n"
    assert (workspace.name, workspace.location) == (folder.name, "local")
    assert workspace.subscription_id == "00000000-0000-0000-0000-000000000000"
    assert Workspace.from_config().native.root == folder
    assert capsys.readouterr().err == ""


def test_what_a_config_file_says(folder: Path) -> None:
    said = {"subscription_id": "s", "resource_group": "g", "workspace_name": "w"}
    (folder / ".azureml").mkdir()
    (folder / ".azureml" / "config.json").write_text(json.dumps(said))
    below = folder / "notebooks" / "deep"
    below.mkdir(parents=True)
    workspace = Workspace.from_config(below)
    assert (workspace.name, workspace.resource_group, workspace.subscription_id) == ("w", "g", "s")
    assert workspace.native.root == folder
    workspace.write_config(below)
    assert json.loads((below / ".azureml" / "config.json").read_text()) == said
    scope = "/subscriptions/s2/resourceGroups/g2/projects/MachineLearningServices/workspaces/w2"
    (folder / ".azureml" / "config.json").write_text(json.dumps({"Scope": scope}))
    assert (
        repr(Workspace.from_config()) == "Workspace.create(name='w2', subscription_id='s2', resource_group='g2')"
    )


def test_settings_that_cannot_be_read(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(UserErrorException, match=r"config\.json cannot be read as a workspace's settings: "):
        Workspace.from_config()
    with pytest.raises(UserErrorException, match=r"^there is no file or folder nowhere; name the workspace's$"):
        Workspace.from_config("nowhere")


def test_versions_tags_properties(workspace: Workspace, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = Model.register(workspace, saved(folder), "Resnet50", tags={"stage": 1}, model_framework="TensorFlow")
    assert capsys.readouterr().out == "Registering model Resnet50\n"
    second = Model.register(workspace=workspace, model_path=str(saved(folder, "b")), model_name="Resnet50")
    assert (first.id, second.id, second.name) == ("Resnet50:1", "Resnet50:2", "Resnet50")
    assert Model(workspace, "Resnet50").version == Model(workspace, id="Resnet50:2").version == 2
    assert Model(workspace, name="Resnet50", version=1).tags == {"stage": "1"}
    assert [model.id for model in Model.list(workspace, tags=[["stage", "1"]])] == ["Resnet50:1"]
    assert [model.id for model in Model.list(workspace, tags=["stage"])] == ["Resnet50:1"]
    assert [model.id for model in Model.list(workspace, model_framework="TensorFlow")] == ["Resnet50:1"]
    assert list(workspace.models) == ["Resnet50"] and workspace.models["Resnet50"].version == 2
    first.add_tags({"team": "a"})
    first.remove_tags(["stage"])
    first.add_properties({"seed": 3})
    assert (Model(workspace, id="Resnet50:1").tags, first.properties) == ({"team": "a"}, {"seed": "3"})
    assert (first.model_framework, first.unpack, first.parent_id, first.description) == (
        "TensorFlow",
        True,
        None,
        None,
    )
    assert abs(first.created_time - datetime.now(UTC)).total_seconds() < 60
    assert first.url.startswith("aml://asset/") and first.serialize()["id"] == "Resnet50:1"
    with pytest.raises(WebserviceException, match=r"has the property 'seed' already"):
        first.add_properties({"seed": 4})


def test_download_and_delete(workspace: Workspace, folder: Path) -> None:
    model = Model.register(workspace, saved(folder), "net")
    assert (Path(model.download(folder / "there")) / "").exists()
    assert (folder / "there" / "saved_model.pb").read_text() == "bytes"
    with pytest.raises(WebserviceException, match=r"is there already; choose another folder, or overwrite it$"):
        model.download(folder / "there")
    model.download(folder / "there", exist_ok=True)
    model.delete()
    with pytest.raises(ModelNotFoundException, match=r"^Model 'net' not found$"):
        Model(workspace, "net")
    with pytest.raises(ModelNotFoundException):
        model.delete()
    assert Model.register(workspace, saved(folder), "net").version == 2


def test_what_cannot_be_registered(workspace: Workspace, folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^Error, provided model path 'nowhere' cannot be found$"):
        Model.register(workspace, "nowhere", "net")
    with pytest.raises(WebserviceException, match=r"^Model name '-x' is not valid: letters, digits, "):
        Model.register(workspace, saved(folder), "-x")


def test_each_call_is_explained_once_for_its_line(workspace: Workspace, folder: Path) -> None:
    lines: list[str] = []
    explain_to(lines.append)
    try:
        for _ in range(2):
            Model.register(workspace, saved(folder), "net")
    finally:
        explain_to(None)
    place, _, native = lines[0].partition("\n")
    assert len(lines) == 1 and place.startswith("test_compat_workspace.py:")
    assert native.strip() == 'workspace.registry.register(PATH, "NAME")'


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"autoscale_enabled": False}, "Invalid configuration, autoscale disabled but num_replicas not provided."),
        (
            {"autoscale_enabled": True, "num_replicas": 2},
            "Invalid configuration, autoscale enabled and num_replicas provided.",
        ),
        (
            {"autoscale_max_replicas": 2, "cpu_cores": 0},
            "Invalid configuration, cpu_cores must be greater than zero.\n"
            "Invalid configuration, autoscale is not enabled, but autoscale_max_replicas is provided.",
        ),
        (
            {"auth_enabled": True, "token_auth_enabled": True},
            "Invalid configuration, auth_enabled and token_auth_enabled cannot both be True.",
        ),
        (
            {"namespace": "A"},
            "Invalid configuration, 'A' is no namespace: lower-case letters, digits and '-'.",
        ),
        (
            {"autoscale_enabled": True, "autoscale_min_replicas": 3, "autoscale_max_replicas": 2},
            "Invalid configuration, autoscale_min_replicas cannot be greater than autoscale_max_replicas.",
        ),
    ],
)
def test_configurations_that_contradict_themselves(options: dict[str, object], message: str) -> None:
    with pytest.raises(WebserviceException) as caught:
        AksServiceDeploymentConfiguration(**options)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_what_a_configuration_means() -> None:
    said = AksServiceDeploymentConfiguration(autoscale_enabled=False, num_replicas=3, auth_enabled=False)
    assert (said.replicas, said.secure) == (3, False)
    said = AksServiceDeploymentConfiguration(
        autoscale_enabled=True, autoscale_min_replicas=2, primary_key="secret"
    )
    assert (said.replicas, said.secure) == (2, True)
    assert "secret" not in repr(said)
