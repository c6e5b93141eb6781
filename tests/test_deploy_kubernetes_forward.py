"""From outside a cluster to a service in it: through the API server, or by a Gateway."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldwave.compute import Compute
from fieldwave.conversion import Conversion
from fieldwave.deploy.kubernetes import forward
from fieldwave.deploy.kubernetes.rollout import Patience
from fieldwave.deploy.kubernetes.target import KubernetesTarget
from fieldwave.errors import HostError, ServiceError
from fieldwave.images.inside import GRPC_PORT
from fieldwave.keys import write_keys
from fieldwave.serving import ServeOptions, Server
from fieldwave.workspace import Workspace
from fieldwave.zoo import digit_png, digits_images
from tests import certificates
from tests.cluster import Cluster, Fates, serving
from tests.cluster.gateway import gateway

IMAGE = "registry.example/digits@sha256:" + "1" * 64
PICTURE = digit_png(digits_images().heldout_images[0])
LABEL = int(digits_images().heldout_labels[0])


@pytest.fixture
def address() -> str:
    """One of loopback's 16 million, so that a server of this test alone can have the port that pods have."""
    return "127." + ".".join(f"{1 + secrets.randbelow(250)}" for _ in range(3))


@pytest.fixture
def cluster(address: str) -> Cluster:
    cluster = Cluster()
    assert isinstance(cluster.kubelet, Fates)
    cluster.kubelet.address = address
    return cluster


@pytest.fixture
def kubeconfig(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with serving(cluster, tmp_path) as path:
        yield str(path)


def target_of(kubeconfig: str, folder: Path, **settings: Any) -> KubernetesTarget:
    compute = Compute("lab", "kubernetes", kubeconfig=kubeconfig, namespace="vision")
    target = KubernetesTarget(compute, Workspace(folder), **settings)
    target._patience = Patience(poll=0.005)
    return target


def put_certificate(cluster: Cluster, name: str, *names: str) -> certificates.Pair:
    """A Secret as cert-manager makes them."""
    authority = certificates.Authority()
    pair = authority.server(names)
    files = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.certificate}
    data = {key: base64.b64encode(value).decode() for key, value in files.items()}
    cluster.put("Secret", {"metadata": {"name": name}, "data": data})
    return pair


def served(target: KubernetesTarget, address: str, digits: Conversion, folder: Path, **more: Any) -> Server:
    """What runs in the pods."""
    write_keys(folder / "keys", target.keys("digits"))
    options = ServeOptions(digits.path, host=address, grpc_port=GRPC_PORT, keys=folder / "keys", **more)
    return Server(options)


def test_through_the_api_server(
    cluster: Cluster, kubeconfig: str, address: str, digits: Conversion, tmp_path: Path
) -> None:
    certificate, key = put_certificate(cluster, "digits-tls", "digits.vision.svc").write(tmp_path)
    target = target_of(kubeconfig, tmp_path, tls_secret="digits-tls")
    service = target.deploy(IMAGE, "digits", replicas=2)
    with served(target, address, digits, tmp_path, tls_cert=certificate, tls_key=key):
        with service.client() as client:
            assert client.score_image(PICTURE).argmax() == LABEL
            client.close()  # the next call opens another connection, and it goes to the other pod
            assert client.score_image(PICTURE).argmax() == LABEL
        noise = np.random.default_rng(0).integers(0, 256, (1200, 1200), np.uint8)
        with service.client() as client:  # 1.4 MB in many messages
            assert client.score_image(digit_png(noise)).shape == (10,)
    forwarded = {path for method, path, query in cluster.requests if path.endswith("/portforward")}
    pods = {pod["metadata"]["name"] for pod in cluster.find("Pod")}
    assert forwarded == {f"/api/v1/namespaces/vision/pods/{name}/portforward" for name in pods}


def test_nothing_to_go_to_is_told_at_once(cluster: Cluster, kubeconfig: str, tmp_path: Path) -> None:
    target = target_of(kubeconfig, tmp_path, tls_secret="digits-tls")
    service = target.deploy(IMAGE, "digits")
    cluster.forbidden.add("pods")
    with pytest.raises(HostError, match=r"^cluster lab refused \(403 Forbidden\): pods is forbidden"):
        service.client()
    cluster.forbidden.clear()
    cluster.fate["registry.example"] = "silent"
    with pytest.raises(ServiceError) as caught:
        service.client()
    assert str(caught.value) == "no pod of service 'digits' is ready; see fieldwave services show digits"


def test_who_may_not_forward_ports_is_told_which_verbs_it_takes(
    cluster: Cluster, kubeconfig: str, tmp_path: Path
) -> None:
    service = target_of(kubeconfig, tmp_path, tls_secret="digits-tls").deploy(IMAGE, "digits")
    cluster.forbidden.add("pods/portforward")
    (pod,) = cluster.find("Pod")
    with pytest.raises(HostError) as caught:
        service.client()
    assert str(caught.value) == (
        f"cluster lab refused (403) to forward a port of pod {pod['metadata']['name']}; "
        "this user needs the verbs get and create of pods/portforward"
    )


def test_inside_a_cluster_its_names_lead_there(
    cluster: Cluster, kubeconfig: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = target_of(kubeconfig, tmp_path, tls_secret="digits-tls").deploy(IMAGE, "digits")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    known = {"digits.vision.svc": [()]}
    monkeypatch.setattr(forward.socket, "getaddrinfo", lambda host, port: known[host])
    with service.client() as client:
        assert client.connections.target == "digits.vision.svc:50051"


def test_by_a_gateway_that_ends_tls(
    cluster: Cluster, kubeconfig: str, address: str, digits: Conversion, tmp_path: Path
) -> None:
    put_certificate(cluster, "public-tls", "127.0.0.1")
    target = target_of(kubeconfig, tmp_path, gateway="vision/public")
    assert not target.deploy(IMAGE, "digits").encrypted  # the Gateway is not there yet
    with served(target, address, digits, tmp_path), gateway(cluster, "public", "vision", "public-tls") as port:
        service = target.get("digits")
        assert (service.addresses, service.encrypted) == ((f"127.0.0.1:{port}",), True)
        with service.client() as client:
            assert client.score_image(PICTURE).argmax() == LABEL
        cluster.delete("GRPCRoute", "digits", "vision")
        with service.client() as client, pytest.raises(ServiceError, match="no route matches"):
            client.score_image(PICTURE)
    assert not any(path.endswith("/portforward") for _, path, _ in cluster.requests)
