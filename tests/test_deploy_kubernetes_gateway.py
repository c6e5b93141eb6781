"""Real pods behind a Gateway: services share a port; one grows and changes under load without a failed call."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldwave import zoo
from fieldwave.client import PredictionClient
from fieldwave.compute import Compute
from fieldwave.conversion import Conversion
from fieldwave.deploy.kubernetes.target import KubernetesTarget
from fieldwave.images import Image, Images
from fieldwave.workspace import Workspace
from tests import certificates, containers
from tests.cluster.gateway import gateway
from tests.cluster.real import RealCluster

pytestmark = pytest.mark.slow

PICTURES = [zoo.digit_png(one) for one in zoo.digits_images().heldout_images[:20]]
LABELS = list(zoo.digits_images().heldout_labels[:20])


@pytest.fixture
def public(real_cluster: RealCluster) -> Iterator[bytes]:
    """A Gateway of the namespace ``vision``, and the authority that its clients trust."""
    cluster = real_cluster.cluster
    if cluster is None:
        pytest.skip("the Gateway of this test is the stand-in's")
    authority = certificates.Authority()
    pair = authority.server(("127.0.0.1",))
    files = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.certificate}
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    with cluster.lock:
        cluster.put("Secret", {"metadata": {"name": "public-tls"}, "data": data})
    with gateway(cluster, "public", "vision", "public-tls"):
        yield authority.certificate


@pytest.fixture
def image(digits: Conversion, tmp_path: Path) -> Image:
    return Images(containers.real_store(tmp_path / ".fieldwave")).build(digits.path, "digits")


def test_services_share_a_port_and_grow(
    real_cluster: RealCluster, public: bytes, image: Image, tmp_path: Path
) -> None:
    compute = Compute("lab", "kubernetes", kubeconfig=real_cluster.kubeconfig, namespace="vision")
    common = {"registry": real_cluster.registry, "gateway": "vision/public", "memory": "512Mi"}
    small = KubernetesTarget(compute, Workspace(tmp_path), cpus="250m", http=True, **common)
    growing = KubernetesTarget(
        compute, Workspace(tmp_path), cpus="250m", most_replicas=2, utilization=20, **common
    )
    first, second = small.deploy(image, "first"), growing.deploy(image, "second")
    assert first.addresses == second.addresses
    assert public.decode() == first.certificate
    # Each has keys of its own: a call that came to the other one would be refused.
    with first.client() as client:
        assert [client.score_image(one).argmax() for one in PICTURES] == LABELS

    said = over_http(real_cluster, "first", "/v2/models/first", small.keys("first").primary)
    assert json.loads(said)["name"] == "first"

    ended, answers, failures = threading.Event(), [0], list[Exception]()

    def load() -> None:
        with second.client() as client:
            while not ended.is_set():
                try:
                    assert client.score_image(PICTURES[0]).argmax() == LABELS[0]
                    answers[0] += 1
                except Exception as error:
                    failures.append(error)
                    return

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    start = time.monotonic()
    try:
        while growing.get("second").replicas.ready < 2 and time.monotonic() < start + 90:
            time.sleep(0.5)
        grown = time.monotonic() - start
        assert growing.get("second").replicas.ready == 2
        before = alive(growing, "second")
        growing._settings = {"cpus": "300m"}
        assert growing.update("second").replicas.ready == 2
        assert before.isdisjoint(alive(growing, "second"))
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert failures == []
    print(f"\ngrew after {grown:.1f} s of load; {answers[0]} answers, none failed")
    for target, name in ((small, "first"), (growing, "second")):
        target.delete(name)
    with pytest.raises(Exception, match="no route matches"), client_of(first.addresses[0], public) as client:
        client.score_image(PICTURES[0])


def over_http(real_cluster: RealCluster, service: str, path: str, key: str) -> str:
    """What a pod of the service answers, asked as another pod would ask it."""
    assert real_cluster.cluster is not None
    pods = real_cluster.cluster.find("Pod")
    pod = next(one for one in pods if one["metadata"]["labels"]["app.kubernetes.io/instance"] == service)
    request = urllib.request.Request(
        f"http://{pod['status']['podIP']}:8080{path}", headers={"Authorization": f"Bearer {key}"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return str(answer.read().decode())


def alive(target: KubernetesTarget, name: str) -> set[str]:
    """The pods of a service, but for those that go."""
    pods = target._objects.pods(name)
    return {pod.metadata.name for pod in pods if pod.metadata.deletionTimestamp is None}


def client_of(address: str, trusted: bytes) -> PredictionClient:
    return PredictionClient(address, use_ssl=True, root_certificates=trusted, service_name="first")
