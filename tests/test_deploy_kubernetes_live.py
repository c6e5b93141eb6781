"""A service's life on a cluster that runs pods; ``make test-kubernetes`` runs this.

It is the one that FIELDWAVE_TEST_KUBECONFIG names, or else a stand-in by podman."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldwave import zoo
from fieldwave.compute import Compute
from fieldwave.conversion import Conversion
from fieldwave.deploy.kubernetes import ClusterSpec, make_manifest
from fieldwave.deploy.kubernetes.objects import Objects
from fieldwave.deploy.kubernetes.target import KubernetesTarget
from fieldwave.errors import NotFoundError, ServiceError
from fieldwave.images import Images
from fieldwave.keys import Keys
from fieldwave.workspace import Workspace
from tests import certificates, containers
from tests.cluster.real import RealCluster

pytestmark = pytest.mark.slow

NO_REGISTRY = (
    "no registry: set FIELDWAVE_TEST_REGISTRY to HOST[/PREFIX], to push to and for the cluster to pull from"
)
IMAGE = "registry.example/digits@sha256:" + "1" * 64
PREDICT = """
import base64, pathlib, sys
from fieldwave.client import PredictionClient
root = pathlib.Path("/etc/fieldwave")
with PredictionClient("localhost", 50051, use_ssl=True, root_certificates=(root / "tls/ca.crt").read_bytes(),
                      access_token=sys.argv[2]) as client:
    print(int(client.score_image(base64.b64decode(sys.argv[1])).argmax()))
"""


@pytest.fixture(scope="module")
def compute(real_cluster: RealCluster) -> Iterator[Compute]:
    """A namespace of its own."""
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import Namespace

    name = f"fieldwave-test-{secrets.token_hex(4)}"
    compute = Compute("live", "kubernetes", kubeconfig=real_cluster.kubeconfig, namespace=name)
    objects = Objects(compute)
    objects.client.create(Namespace(metadata=ObjectMeta(name=name)))
    try:
        yield compute
    finally:
        objects.client.delete(Namespace, name)


@pytest.fixture(scope="module")
def registry(real_cluster: RealCluster) -> str:
    if not real_cluster.registry:
        pytest.skip(NO_REGISTRY)
    return real_cluster.registry


@pytest.mark.parametrize("settings", [{}, {"replicas": 2, "most_replicas": 4, "client_ca": True}, {"npus": 1}])
def test_the_server_takes_every_object(compute: Compute, settings: dict[str, Any]) -> None:
    from lightkube.types import PatchType

    from fieldwave.deploy.kubernetes.kinds import kind

    objects = Objects(compute)
    spec = ClusterSpec("digits", IMAGE, namespace=compute.namespace, tls_secret="digits-tls", **settings)
    for one in make_manifest(spec, objects.offers, Keys.generate()).objects:
        objects.client.patch(
            kind(one["apiVersion"], one["kind"]),
            one["metadata"]["name"],
            one,
            patch_type=PatchType.APPLY,
            field_manager="fieldwave",
            force=True,
            dry_run=True,
        )


def test_the_life_of_a_service(compute: Compute, registry: str, digits: Conversion, tmp_path: Path) -> None:
    target, image = prepared(compute, registry, digits, tmp_path)
    service = target.deploy(image, "digits", replicas=2)
    assert (service.state, service.replicas.ready) == ("Healthy", 2)
    assert target.list() == (service,)
    assert any("serving" in line for line in target.logs("digits"))
    pods = {pod.metadata.name for pod in target._objects.pods("digits")}

    keys = target.keys("digits")
    picture = zoo.digit_png(zoo.digits_images().heldout_images[0])
    label = int(zoo.digits_images().heldout_labels[0])
    assert predicted(target, picture, keys.primary) == label
    with service.client() as client:  # from here, through the API server
        assert client.score_image(picture, timeout=30).argmax() == label
    changed = target.regenerate_key("digits", "primary")
    assert until(lambda: predicted(target, picture, changed.primary) == label)
    assert predicted(target, picture, keys.secondary) == label
    assert until(lambda: predicted(target, picture, keys.primary) is None)

    assert target.scale("digits", 3).replicas.ready == 3
    assert pods < {pod.metadata.name for pod in target._objects.pods("digits")}
    assert target.scale("digits", 1).replicas.ready == 1
    target._settings = {"cpus": "500m"}
    assert target.update("digits").state == "Healthy"
    with pytest.raises(ServiceError):
        target.update("digits", image.reference(registry).split("@")[0] + "@sha256:" + "0" * 64, timeout=120)
    assert target.get("digits").wait(timeout=120).image == f"{image.id}@{image.digest}"

    target.delete("digits", timeout=60)
    with pytest.raises(NotFoundError):
        target.get("digits")
    assert target._objects.pods("digits") == []


def prepared(compute: Compute, registry: str, digits: Conversion, folder: Path) -> tuple[KubernetesTarget, Any]:
    """The target, the certificate's Secret, and an image in the workspace."""
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import Secret

    store = containers.real_store(folder / ".fieldwave")
    image = Images(store).build(digits.path, "digits")
    target = KubernetesTarget(
        compute, Workspace(folder), registry=registry, tls_secret="digits-tls", cpus="250m", memory="512Mi"
    )
    authority = certificates.Authority()
    pair = authority.server(("localhost", f"digits.{compute.namespace}.svc"))
    files = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.certificate}
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    target._objects.client.create(Secret(metadata=ObjectMeta(name="digits-tls"), data=data))
    return target, image


def predicted(target: KubernetesTarget, picture: bytes, key: str) -> int | None:
    """What the first pod says; None if the key does not open it."""
    pod = next(one for one in target._objects.pods("digits") if one.metadata.deletionTimestamp is None)
    command = ["python3", "-c", PREDICT, base64.b64encode(picture).decode(), key]
    answer = target._objects.client.exec(
        pod.metadata.name, container="server", command=command, stdout=True, stderr=True, timeout=60
    )
    return int(answer.stdout) if answer.exit_code == 0 else None


def until(happens: Any, seconds: float = 90.0) -> bool:
    """Secrets reach pods in seconds, or within the minute where the kubelet is not told."""
    deadline = time.monotonic() + seconds
    while not happens():
        if time.monotonic() >= deadline:
            return False
        time.sleep(1)
    return True
