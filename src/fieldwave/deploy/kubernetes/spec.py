"""What a service on a cluster is to be: everything that its manifest is made from."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from fieldwave.deploy.target import check_name, check_replicas
from fieldwave.errors import InputError, StorageError

__all__ = ["NPU", "ClusterSpec", "is_pinned"]

NPU = "fieldwave.dev/npu"
"""The extended resource that Fieldwave's device plugin advertises."""

_IMAGE = re.compile(r"[a-z0-9][-a-z0-9._:/]*@sha256:[0-9a-f]{64}")
_CPUS = re.compile(r"[1-9][0-9]*m?|[0-9]+\.[0-9]+")
_MEMORY = re.compile(r"[1-9][0-9]*(Ki|Mi|Gi|Ti)?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_METRIC = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*=[1-9][0-9]*m?")
_RESOURCE = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_WITHOUT_NPU = ("cpu", "rtl")


@dataclass(frozen=True)
class ClusterSpec:
    """What a service is to be. It is kept as an annotation of its Deployment, and read from there for an update.

    Attributes:
        name: of the service and of all its objects.
        image: ``registry/repository@sha256:...``.
        namespace: empty for the one that the manifest is applied to.
        device: what computes, by name.
        npus: devices that each replica holds; None takes one, and none for ``cpu`` and ``rtl``.
        resource: the extended resource that stands for such a device.
        replicas: how many pods.
        most_replicas: a HorizontalPodAutoscaler chooses from ``replicas`` up to this; 0 for none.
        utilization: the processor's use that it aims at, in percent of what a pod may have.
        scale_on: ``METRIC=VALUE``: the autoscaler keeps this metric of the pods, on average, at the value; empty
            for the processor's use.
        http: REST and metrics as well, on a port of their own.
        cpus, memory: what each replica may use, and has for itself.
        keys: callers need a key; the Secret ``NAME-keys`` holds both.
        tls_secret: the Secret with ``tls.crt`` and ``tls.key``; empty where the connection is encrypted by
            somebody else, or by nobody.
        client_ca: callers need a certificate, too, signed by the Secret's ``ca.crt``.
        claims: keys and certificates come from PersistentVolumeClaims of the Secrets' names: with podman these
            are its volumes of these names, and 4.3 does not decode what it finds in a Secret.
        startup_seconds: how long a start may take, the programming of a device included.
        host_port: a port of the node that leads to the service; 0 for none.
        host_address: the node's address that has it; empty for all of them.
        gateway: ``namespace/name`` of the Gateway that routes to the service; empty for none.
        clients: namespaces from which it may be called besides its own and the Gateway's; ``*`` for anywhere.
        node_selector: labels of the nodes that it may run on.
        pull_secret: the Secret with the registry's credentials; empty where none are needed.
        package, model, network: what it serves: digest, ``name:version@digest``, name.
        built: the image as the workspace has it, ``name:version@digest``; empty if it came from elsewhere.
        architecture: of the image, such as ``amd64``: it runs on such nodes only; empty if it is not known.

    Raises:
        InputError: a value that no cluster would take.
    """

    name: str
    image: str
    namespace: str = ""
    device: str = "cpu"
    npus: int | None = None
    resource: str = NPU
    replicas: int = 1
    most_replicas: int = 0
    utilization: int = 70
    scale_on: str = ""
    http: bool = False
    cpus: str = "2"
    memory: str = "2Gi"
    keys: bool = True
    tls_secret: str = ""
    client_ca: bool = False
    claims: bool = False
    startup_seconds: int = 300
    host_port: int = 0
    host_address: str = ""
    gateway: str = ""
    clients: tuple[str, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    pull_secret: str = ""
    package: str = ""
    model: str = ""
    network: str = ""
    built: str = ""
    architecture: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        check_replicas(self.replicas)
        self._check(_IMAGE, "image", "an image by its digest, such as registry.example/digits@sha256:0123...")
        self._check(_CPUS, "cpus", "processors, such as 2, 0.5 or 500m")
        self._check(_MEMORY, "memory", "bytes, such as 512Mi or 2Gi")
        self._check(_RESOURCE, "resource", f"an extended resource, such as {NPU}")
        if self.namespace:
            self._check(_LABEL, "namespace", "a namespace: lower-case letters, digits and '-'")
        if self.gateway and not all(map(_LABEL.fullmatch, self.gateway.split("/", 1))):
            raise InputError(f"gateway is {self.gateway!r}, expected NAMESPACE/NAME")
        if self.most_replicas and not self.replicas < self.most_replicas:
            raise InputError(
                f"most_replicas is {self.most_replicas}; to scale by itself it must be more than {self.replicas}"
            )
        if self.most_replicas:
            check_replicas(self.most_replicas)
        if not 1 <= self.utilization <= 100:
            raise InputError(f"utilization is {self.utilization}; it must be 1 to 100 percent")
        if self.scale_on:
            self._check(
                _METRIC, "scale_on", "a metric of pods and what it may be on average, such as NAME=2 or NAME=500m"
            )
        if not 0 <= self.host_port <= 65535:
            raise InputError(f"port {self.host_port} does not exist; choose one from 1 to 65535, or 0 for none")
        if self.host_address and not self._is_address():
            raise InputError(f"host_address is {self.host_address!r}, expected an IP address of the node")
        if self.client_ca and not self.tls_secret:
            raise InputError("client_ca needs tls_secret: callers show certificates over TLS only")
        if self.startup_seconds < 1:
            raise InputError(f"startup_seconds is {self.startup_seconds}; it must be at least 1")
        if self.npus is not None and self.npus < 0:
            raise InputError(f"npus is {self.npus}; it must be at least 0")

    @property
    def held_npus(self) -> int:
        """How many devices each replica holds."""
        if self.npus is not None:
            return self.npus
        return 0 if self.device.partition(":")[0] in _WITHOUT_NPU else 1

    @property
    def insecure(self) -> bool:
        """Whether it listens without keys or without TLS."""
        return not (self.keys and self.tls_secret)

    @property
    def keys_secret(self) -> str:
        """The name of the Secret with its keys."""
        return f"{self.name}-keys"

    def to_json(self) -> str:
        """One line; what has its default is left out."""
        said = {
            key: value
            for key, value in asdict(self).items()
            if key in ("name", "image") or value != _DEFAULTS[key]
        }
        return json.dumps(said, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ClusterSpec:
        """The reverse. Keys that are not known here were written by a newer Fieldwave and are left alone.

        Raises:
            StorageError: it is none.
        """
        try:
            said: dict[str, Any] = {key: value for key, value in json.loads(text).items() if key in _NAMES}
            said["clients"] = tuple(said.get("clients", ()))
            return cls(**said)
        except (ValueError, TypeError, AttributeError) as error:
            raise StorageError(f"the description of the service is damaged: {error}") from None

    def _is_address(self) -> bool:
        try:
            ipaddress.ip_address(self.host_address)
        except ValueError:
            return False
        return True

    def _check(self, pattern: re.Pattern[str], name: str, expected: str) -> None:
        value = getattr(self, name)
        if pattern.fullmatch(value) is None:
            raise InputError(f"{name} is {value!r}, expected {expected}")


def is_pinned(image: str) -> bool:
    """Whether a reference names an image by its digest."""
    return _IMAGE.fullmatch(image) is not None


_NAMES = {one.name for one in fields(ClusterSpec)}
_DEFAULTS: dict[str, Any] = {one.name: one.default for one in fields(ClusterSpec)} | {"node_selector": {}}
