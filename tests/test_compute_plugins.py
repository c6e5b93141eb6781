"""Programs that a kubeconfig file names for a token, as clouds have them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldwave.compute import Compute
from fieldwave.deploy.kubernetes.objects import Objects
from fieldwave.errors import HostError
from tests.cluster import Cluster, serving

PLUGIN = """
import json, os
asked = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
print(json.dumps({"apiVersion": asked["apiVersion"], "kind": asked["kind"],
                  "status": {"token": f"for-{asked['apiVersion'].rpartition('/')[2]}"}}))
"""


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def kubeconfig(cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    with serving(cluster, tmp_path) as path:
        yield path


def objects(kubeconfig: Path, plugin: dict[str, Any]) -> Objects:
    config = json.loads(kubeconfig.read_text())
    config["users"][0]["user"] = {"exec": plugin}
    kubeconfig.write_text(json.dumps(config))
    return Objects(Compute("lab", "kubernetes", kubeconfig=str(kubeconfig), namespace="vision"))


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_plugin_gives_the_token(cluster: Cluster, kubeconfig: Path, tmp_path: Path, version: str) -> None:
    script = tmp_path / "plugin.py"
    script.write_text(PLUGIN)
    api = f"client.authentication.k8s.io/{version}"
    plugin = {"apiVersion": api, "command": sys.executable, "args": [str(script)]}
    assert objects(kubeconfig, plugin).deployments() == []
    assert cluster.authorizations == {f"Bearer for-{version}"}


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("no-such-program", [], "No such file or directory: 'no-such-program'"),
        (sys.executable, ["-c", "raise SystemExit('log in first')"], "returned 1: log in first"),
    ],
)
def test_a_plugin_that_fails_is_told_in_one_line(
    kubeconfig: Path, command: str, arguments: list[str], message: str
) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": command, "args": arguments}
    with pytest.raises(HostError) as caught:
        objects(kubeconfig, plugin).deployments()
    assert str(caught.value).startswith("cluster lab cannot be asked: ")
    assert str(caught.value).endswith(message)
