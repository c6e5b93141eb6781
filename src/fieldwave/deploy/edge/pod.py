"""What podman plays on a box: the pod of the Kubernetes manifest, and the files that go with it."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

from fieldwave.deploy.edge.certificate import Certificate
from fieldwave.deploy.edge.record import Record
from fieldwave.deploy.kubernetes import EVERYTHING, ClusterSpec
from fieldwave.deploy.kubernetes.pod import pod_template
from fieldwave.images.inside import ALSO, PROBE_PORT
from fieldwave.keys import Keys

__all__ = ["box_pod", "pack"]

ALSO_VOLUME = "also"


def box_pod(record: Record, folder: str) -> dict[str, Any]:
    """The pod, from the template that a cluster would get, as podman 4.3 and later play it.

    What differs, and why: keys and certificates come from a folder of the box, so that a key is replaced without a
    restart (and podman 4.3 does not decode a Secret); the port of the probes is open on the box's loopback, where
    it is asked through ssh; there are no limits, which rootless podman refuses where systemd grants it none, on a
    machine that has nothing else to do; what only a scheduler reads is left out.

    Parameters:
        folder: of everything on the box.
    """
    tls = "tls" if record.secure else ""
    spec = ClusterSpec(
        name=record.name,
        image=f"localhost/fieldwave@sha256:{record.layout}",
        device=record.device,
        npus=0,
        keys=record.secure,
        tls_secret=tls,
        host_port=record.port,
        http=record.http_port > 0,
        package=record.package,
        model=record.model,
        network=record.network,
    )
    template = pod_template(spec, EVERYTHING)
    pod = {key: value for key, value in template["spec"].items() if key not in _SCHEDULER}
    pod["restartPolicy"] = "Always"
    pod["volumes"] = [_volume(volume, f"{folder}/services/{record.name}") for volume in pod["volumes"]]
    [container] = pod["containers"]
    container = {key: value for key, value in container.items() if key not in _CLUSTER}
    container["image"] = record.reference
    container["imagePullPolicy"] = "Never"
    probe = {"name": "probe", "containerPort": PROBE_PORT, "hostPort": record.probe_port, "hostIP": "127.0.0.1"}
    grpc, *http = container["ports"]
    container["ports"] = [grpc, *({**port, "hostPort": record.http_port} for port in http), probe]
    if record.also:
        pod["volumes"].append(_folder(ALSO_VOLUME, f"{folder}/services/{record.name}"))
        container["volumeMounts"] = [
            *container["volumeMounts"],
            {"name": ALSO_VOLUME, "mountPath": ALSO, "readOnly": True},
        ]
        files = ":".join(f"{ALSO}/{one.file}" for one in record.also)
        container["env"] = [*container["env"], {"name": "FIELDWAVE_ALSO", "value": files}]
    pod["containers"] = [container]
    # Podman refuses annotations as long as a digest is; the record has what they say.
    metadata = {"name": record.pod, "labels": template["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}


_SCHEDULER = ("nodeSelector", "tolerations", "topologySpreadConstraints", "imagePullSecrets", "enableServiceLinks")
_CLUSTER = (
    "resources",
    "startupProbe",
    "readinessProbe",
    "livenessProbe",
    "lifecycle",
    "terminationMessagePolicy",
)


def _volume(volume: dict[str, Any], service: str) -> dict[str, Any]:
    if "secret" not in volume:
        return volume
    return _folder(volume["name"], service)


def _folder(name: str, service: str) -> dict[str, Any]:
    return {"name": name, "hostPath": {"path": f"{service}/{name}", "type": "Directory"}}


def pack(record: Record, folder: str, keys: Keys | None = None, certificate: Certificate | None = None) -> bytes:
    """The files of a service as a tar archive, the record last: with it the service is there.

    The folder that they are unpacked into is closed to all but its owner; in it they are open, since the user in
    the container is another.
    """
    content: dict[str, bytes] = {}
    if keys is not None:
        content["keys/primary"] = f"{keys.primary}\n".encode()
        content["keys/secondary"] = f"{keys.secondary}\n".encode()
    if certificate is not None:
        content["tls/tls.crt"] = certificate.certificate
        content["tls/tls.key"] = certificate.key
    content["pod.json"] = json.dumps(box_pod(record, folder), indent=2).encode() + b"\n"
    content["service.json"] = record.to_json().encode() + b"\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted({path.partition("/")[0] for path in content if "/" in path}):
            folder_entry = tarfile.TarInfo(name)
            folder_entry.type, folder_entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder_entry)
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o444
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
