"""A compute target as it was described: where it is, and how it is reached."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from fieldwave.errors import InputError

__all__ = ["LOCAL", "RESOURCE", "Compute", "Kind", "check_compute_name"]

Kind = Literal["local", "kubernetes", "edge"]

LOCAL = "local"
"""The name of this machine, which is always there."""
RESOURCE = "fieldwave.dev/npu"
"""The extended resource that the device plugin advertises."""

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,30}[a-z0-9])")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
_LABEL_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_RESOURCE = re.compile(f"{_DNS}/{_LABEL_NAME}")
_LABEL_KEY = re.compile(f"({_DNS}/)?{_LABEL_NAME}")
_LABEL_VALUE = re.compile(f"({_LABEL_NAME})?")
_OWN = {"kubernetes": ("context", "kubeconfig", "node_selector"), "edge": ("destination", "identity", "config")}


@dataclass(frozen=True)
class Compute:
    """A place for services.

    Attributes:
        name: 2 to 32 lower-case letters, digits and ``-``, a letter first.
        kind: ``local``, ``kubernetes`` or ``edge``.
        location: where it is, for people; empty if nobody said.
        created: when it was described here, ISO 8601 in UTC; empty for ``local``.
        owned: whether `Computes.create` made it, and `Computes.delete` may unmake it.
        context: of the kubeconfig file; empty for its current one.
        kubeconfig: path of that file; empty for the first of ``$KUBECONFIG`` that has the context, else
            ``~/.kube/config``.
        namespace: of the services.
        node_selector: labels of the nodes that may run them.
        resource: the extended resource that stands for an NPU.
        destination: of an edge box: what ssh is told, ``[user@]host``.
        port: of its sshd; 0 for ssh's own choice.
        identity, config: files that ssh is given: a private key, an ssh_config; empty for its own choice.
        folder: where Fieldwave keeps its things on the box; empty for the default.

    Raises:
        InputError: a value that cannot be, or one that the kind does not have.
    """

    name: str
    kind: Kind
    location: str = ""
    created: str = ""
    owned: bool = False
    context: str = ""
    kubeconfig: str = ""
    namespace: str = "default"
    node_selector: dict[str, str] = field(default_factory=dict)
    resource: str = RESOURCE
    destination: str = ""
    port: int = 0
    identity: str = ""
    config: str = ""
    folder: str = ""

    def __post_init__(self) -> None:
        check_compute_name(self.name)
        if self.kind not in get_args(Kind):
            raise InputError(f"kind {self.kind!r} of compute target {self.name} is none of {_kinds()}")
        if (self.kind == "local") != (self.name == LOCAL):
            raise InputError(
                f"compute target {self.name!r} cannot be of kind {self.kind}: 'local' is this machine"
            )
        for kind, attributes in _OWN.items():
            for attribute in attributes:
                if getattr(self, attribute) and kind != self.kind:
                    raise InputError(f"{attribute} is for kind {kind}, and {self.name} is of kind {self.kind}")
        if self.kind == "edge" and not self.destination:
            raise InputError(f"edge box {self.name} needs a destination, [user@]host, as ssh takes it")
        self._check_cluster()

    def _check_cluster(self) -> None:
        if not _NAMESPACE.fullmatch(self.namespace):
            raise InputError(f"{self.namespace!r} is no namespace: up to 63 lower-case letters, digits and '-'")
        if not _RESOURCE.fullmatch(self.resource):
            raise InputError(f"{self.resource!r} is no extended resource, expected one such as {RESOURCE}")
        for key, value in self.node_selector.items():
            if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
                raise InputError(f"'{key}={value}' is no label of a node, expected one such as accelerator=u250")


def check_compute_name(name: str) -> None:
    """Raises InputError when a compute target may not be called so."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no name for a compute target: 2 to 32 lower-case letters, digits and '-', "
            "a letter first and no '-' last"
        )


def _kinds() -> str:
    return ", ".join(get_args(Kind))
