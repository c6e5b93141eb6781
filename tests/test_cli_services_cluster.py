"""The commands of services, on a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldwave.cli import app
from fieldwave.deploy.kubernetes import target
from fieldwave.deploy.kubernetes.rollout import Patience
from tests.cluster import Cluster, serving

IMAGE = "registry.example/digits@sha256:" + "1" * 64
OTHER = "registry.example/digits@sha256:" + "2" * 64
runner = CliRunner()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(target, "Patience", lambda: Patience(poll=0.01))
    cluster = Cluster(npus=1)
    with serving(cluster, tmp_path) as path:
        assert runner.invoke(app, ["init"]).exit_code == 0
        attached = ("compute", "attach", "lab", "--kubeconfig", str(path))
        result = runner.invoke(app, [*attached, "--namespace", "vision"])
        assert result.exit_code == 0, result.stderr
        yield cluster


def services(*arguments: str) -> str:
    result = runner.invoke(app, ["services", *arguments, "--on", "lab"])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_a_service_on_a_cluster_by_commands(cluster: Cluster) -> None:
    deploy = ["services", "deploy", "--image", IMAGE, "--set", "tls_secret=digits-tls", "--replicas", "2"]
    deployed = runner.invoke(app, [*deploy, "--on", "lab"])
    assert deployed.stdout == "digits is Healthy on digits.vision.svc:50051, 2/2 replicas\n"
    assert (
        "that is its name inside the cluster; from here fieldwave predict goes through the API server, "
        "as does kubectl port-forward deployment/digits 50051\n" in deployed.stderr
    )
    assert services("list").splitlines()[1].startswith("digits  Healthy")
    facts = json.loads(services("show", "digits", "--json"))
    assert (facts["state"], facts["image"]) == ("Healthy", IMAGE)
    for pod in cluster.find("Pod"):
        cluster.log[pod["metadata"]["name"]] = ["2026-01-01T00:00:00Z serving digits"]
    assert services("logs", "digits").count("serving digits") == 2
    services("scale", "digits", "1")
    services("update", "digits", "--image", OTHER)
    assert json.loads(services("show", "digits", "--json"))["image"] == OTHER
    services("update", "digits", "--set", "cpus=4")
    container = cluster.find("Deployment", "digits")["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["cpu"] == "4"
    before = services("keys", "digits")
    assert services("keys", "digits", "--regenerate", "primary") != before
    services("delete", "digits")
    assert cluster.find("Deployment") == []


def test_what_holds_the_npu_is_named(cluster: Cluster) -> None:
    services("deploy", "--image", IMAGE, "--name", "alpha", "--device", "board", "--open")
    result = runner.invoke(
        app,
        ["services", "deploy", "--image", IMAGE, "--name", "beta", "--device", "board", "--open", "--on", "lab"],
    )
    assert result.exit_code == 1
    assert result.stderr == (
        "error: service 'beta' needs 1 NPU: 1 NPU, held by service alpha; "
        "scale or delete a service, or wait for it: --when-busy wait\n"
    )
