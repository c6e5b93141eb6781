"""The very manifest of a cluster, played by podman: a real prediction, with keys and TLS."""

from __future__ import annotations

import base64
import io
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fieldwave import zoo
from fieldwave.client import PredictionClient
from fieldwave.deploy.kubernetes import EVERYTHING, ClusterSpec, make_manifest, to_yaml
from fieldwave.errors import ServiceError
from fieldwave.keys import Keys
from tests import certificates, kubernetes_schemas
from tests.containers import Podman
from tests.oci_registry import free_port

pytestmark = pytest.mark.slow

HEALTH = """
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
with grpc.insecure_channel("127.0.0.1:50052") as channel:
    print(health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5).status)
"""


def fill(podman: Podman, volume: str, files: Mapping[str, bytes], folder: Path) -> None:
    """Put files into a volume, as the user of the container may read them."""
    archive = folder / f"{volume}.tar"
    with tarfile.open(archive, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uid, member.gid = len(data), 0o440, 1000, 1000
            tar.addfile(member, io.BytesIO(data))
    podman("volume", "import", volume, str(archive))


def test_podman_plays_the_manifest(podman: Podman, digits_image: str, tmp_path: Path) -> None:
    keys, authority = Keys.generate(), certificates.Authority()
    pair = authority.server()
    tls = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.certificate}
    port = free_port()
    spec = ClusterSpec(
        "digits",
        digits_image,
        tls_secret="digits-tls",
        host_port=port,
        host_address="127.0.0.1",
        memory="512Mi",
        package="sha256:" + "ab" * 32,
        model="digits:3@sha256:" + "cd" * 32,
        network="digits",
    )
    objects = [*make_manifest(spec, EVERYTHING, keys).objects, tls_secret(tls)]
    assert [kubernetes_schemas.errors(one, "1.37") for one in objects] == [[]] * len(objects)
    manifest = tmp_path / "digits.yaml"
    manifest.write_text(to_yaml(objects))
    start = time.monotonic()
    podman("play", "kube", str(manifest))
    # podman 4.3 hands out a Secret as base64 (later ones decode it): what the files are to hold is put there, and
    # the server, which refuses what it finds, is started again by its restart policy.
    fill(podman, "digits-keys", as_files(keys), tmp_path)
    fill(podman, "digits-tls", tls, tmp_path)

    def answers(key: str) -> list[int]:
        with PredictionClient(
            f"localhost:{port}", use_ssl=True, access_token=key, root_certificates=authority.certificate
        ) as client:
            client.wait_until_ready(60)
            return [int(client.score_image(zoo.digit_png(one)).argmax()) for one in images]

    images, labels = zoo.digits_images().heldout_images[:5], list(zoo.digits_images().heldout_labels[:5])
    assert answers(keys.primary) == labels
    print(f"\npodman play kube to the fifth answer: {time.monotonic() - start:.1f} s")
    assert answers(keys.secondary) == labels

    container = podman("ps", "--quiet", "--filter", "name=server")
    seen = podman.inspect(container)
    assert (seen["Config"]["User"], seen["HostConfig"]["ReadonlyRootfs"]) == ("1000:1000", True)
    assert seen["EffectiveCaps"] in (None, [])
    ports = seen["HostConfig"]["PortBindings"] or podman.inspect(seen["Pod"])["InfraConfig"]["PortBindings"]
    assert ports == {"50051/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
    # What the kubelet would do: ask the probes' port, which is neither encrypted nor locked, and say farewell.
    assert podman("exec", container, "python3", "-c", HEALTH) == "1"
    farewell = objects[4]["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    podman("exec", container, *farewell)

    changed = keys.regenerated("primary")
    fill(podman, "digits-keys", as_files(changed), tmp_path)
    assert answers(changed.primary) == labels
    assert answers(keys.secondary) == labels
    with pytest.raises(ServiceError, match="key"):
        answers(keys.primary)
    podman("play", "kube", "--down", str(manifest))
    assert podman("ps", "--quiet", "--all", "--filter", "name=server") == ""


def as_files(keys: Keys) -> dict[str, bytes]:
    return {"primary": keys.primary.encode(), "secondary": keys.secondary.encode()}


def tls_secret(files: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "digits-tls"},
        "type": "kubernetes.io/tls",
        "data": {name: base64.b64encode(data).decode() for name, data in files.items()},
    }
