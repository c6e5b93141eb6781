"""kubectl and Fieldwave see the same services: whoever prefers manifests in Git loses nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fieldwave.compute import Compute
from fieldwave.deploy.kubernetes import ClusterSpec, make_manifest, to_yaml
from fieldwave.deploy.kubernetes.rollout import Patience
from fieldwave.deploy.kubernetes.target import KubernetesTarget
from fieldwave.errors import NotFoundError
from fieldwave.keys import Keys
from fieldwave.workspace import Workspace
from tests.cluster import Cluster, serving

KUBECTL = shutil.which("kubectl")
IMAGE = "registry.example/digits@sha256:" + "1" * 64

pytestmark = pytest.mark.skipif(
    KUBECTL is None, reason="kubectl is not installed: apt-get install kubernetes-client"
)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[str]:
    with serving(Cluster(), tmp_path) as path:
        yield str(path)


@pytest.fixture
def kubectl(kubeconfig: str, tmp_path: Path) -> Callable[..., str]:
    def run(*arguments: str) -> str:
        folder = f"{tmp_path}/cache"
        command = [f"{KUBECTL}", "--kubeconfig", kubeconfig, "--namespace=vision", "--cache-dir", folder]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_a_manifest_that_kubectl_applies_is_a_service(
    kubeconfig: str, kubectl: Callable[..., str], tmp_path: Path
) -> None:
    keys, spec = Keys.generate(), ClusterSpec("digits", IMAGE, namespace="vision", replicas=2, tls_secret="tls")
    (tmp_path / "digits.yaml").write_text(to_yaml(make_manifest(spec, keys=keys).objects))
    kubectl("apply", "--server-side", "--validate=false", "-f", f"{tmp_path}/digits.yaml")
    compute = Compute("lab", "kubernetes", kubeconfig=kubeconfig, namespace="vision")
    target = KubernetesTarget(compute, Workspace(tmp_path))
    target._patience = Patience(poll=0.005)
    service = target.get("digits").wait(5)
    assert (service.image, service.replicas.ready, target.keys("digits")) == (IMAGE, 2, keys)

    target.scale("digits", 3)
    deployment = json.loads(kubectl("get", "deployment", "digits", "-o", "json"))
    assert deployment["spec"]["replicas"] == deployment["status"]["readyReplicas"] == 3
    pods = kubectl("get", "pods", "-l", "app.kubernetes.io/instance=digits", "-o", "name").split()
    assert len(pods) == 3

    kubectl("delete", "--wait=false", "-f", f"{tmp_path}/digits.yaml")
    with pytest.raises(NotFoundError):
        target.get("digits")
