from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from fieldwave.cli import app
from fieldwave.compute import Compute, Computes
from fieldwave.deploy.kubernetes.target import KubernetesTarget
from fieldwave.images import Images, add_base
from fieldwave.workspace import Workspace
from tests import kubernetes_schemas
from tests.cluster import Cluster, serving
from tests.image_parts import base, package, wheelhouse

__all__ = ["wheelhouse"]

IMAGE = "registry.example/digits@sha256:" + "1" * 64
runner = CliRunner()


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    return Workspace.create(tmp_path)


def fails(*arguments: str) -> str:
    result = runner.invoke(app, ["services", "manifest", *arguments])
    assert result.exit_code == 1
    return result.stderr


def documents(*arguments: str) -> dict[str, Any]:
    result = runner.invoke(app, ["services", "manifest", *arguments])
    assert result.exit_code == 0, result.stderr
    return {one["kind"]: one for one in yaml.safe_load_all(result.stdout)}


def test_a_manifest_is_printed_and_can_be_applied() -> None:
    arguments = [
        "digits",
        "--image",
        IMAGE,
        "--replicas",
        "2",
        "--set",
        "tls_secret=certs",
        "--set",
        "cpus=4",
    ]
    result = runner.invoke(app, ["services", "manifest", *arguments])
    assert result.exit_code == 0
    objects = list(yaml.safe_load_all(result.stdout))
    assert [one["kind"] for one in objects] == ["Service", "NetworkPolicy", "PodDisruptionBudget", "Deployment"]
    assert [kubernetes_schemas.errors(one, "1.37") for one in objects] == [[]] * 4
    assert objects[-1]["spec"]["replicas"] == 2
    assert result.stderr.splitlines() == [
        "the keys are not in it: fieldwave keys create FOLDER, and kubectl create secret generic digits-keys "
        "--from-file=FOLDER",
        "next: kubectl apply --server-side -f FILE",
    ]
    listed = json.loads(runner.invoke(app, ["services", "manifest", *arguments, "--json"]).stdout)
    assert (listed["kind"], len(listed["items"])) == ("List", 4)


def test_keys_are_in_it_only_when_asked_for(tmp_path: Path) -> None:
    assert runner.invoke(app, ["keys", "create", str(tmp_path / "keys")]).exit_code == 0
    found = documents("digits", "--image", IMAGE, "--set", "tls_secret=t", "--keys", str(tmp_path / "keys"))
    assert set(found["Secret"]["data"]) == {"primary", "secondary"}
    assert "Secret" not in documents("digits", "--image", IMAGE, "--open")


def test_an_image_of_the_workspace_needs_a_registry(
    workspace: Workspace, tmp_path: Path, wheelhouse: Path
) -> None:
    add_base(workspace.store, str(base(tmp_path / "base.tar")), "debian")
    image = Images(workspace.store).build(package(tmp_path / "four.zip"), "digits", wheels=wheelhouse)
    assert "say which registry it can pull from" in fails("digits", "--image", "digits", "--open")
    found = documents("digits", "--image", "digits:1", "--open", "--set", "registry=registry.example/team")
    container = found["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"registry.example/team/digits@{image.digest}"
    assert found["Deployment"]["metadata"]["annotations"]["fieldwave.dev/package"] == image.package


def test_what_a_server_does_not_know_is_left_out() -> None:
    result = runner.invoke(
        app, ["services", "manifest", "digits", "--image", IMAGE, "--open", "--kubernetes", "1.22"]
    )
    assert result.exit_code == 0
    assert "tcpSocket" in result.stdout
    assert "the cluster has no probes by gRPC: a pod counts as ready when its port is open" in result.stderr


def test_what_runs_on_a_cluster_is_printed(workspace: Workspace, tmp_path: Path) -> None:
    with serving(Cluster(), tmp_path) as path:
        compute = Compute("lab", "kubernetes", kubeconfig=str(path), namespace="vision")
        Computes(workspace).attach(compute)
        KubernetesTarget(compute, workspace, tls_secret="t", cpus="3").deploy(IMAGE, "digits")
        found = documents("digits", "--on", "lab", "--set", "memory=1Gi")
        other = documents("other", "--on", "lab", "--image", IMAGE, "--open")
    assert other["Service"]["metadata"]["namespace"] == "vision"
    container = found["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["resources"]["limits"]) == (IMAGE, {"cpu": "3", "memory": "1Gi"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digits",), "error: name an image (--image), or the cluster on which the service runs (--on)\n"),
        (
            ("digits", "--image", IMAGE, "--set", "cpus"),
            "error: 'cpus' is no setting of a cluster: ",
        ),
        (("digits", "--image", IMAGE, "--set", "npus=one"), "error: npus is 'one', expected a whole number\n"),
        (
            ("digits", "--image", IMAGE, "--set", "client_ca=1"),
            "error: client_ca is '1', expected true or false\n",
        ),
        (("digits", "--image", IMAGE), "error: service 'digits' would take keys in the open: "),
        (
            ("digits", "--on", "local"),
            "error: compute target 'local' is of kind local; manifests are for clusters\n",
        ),
    ],
)
def test_errors_are_one_line(arguments: tuple[str, ...], message: str) -> None:
    assert fails(*arguments).startswith(message)
