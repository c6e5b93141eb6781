"""From what is to be deployed to the image that a cluster pulls."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from fieldwave.errors import InputError
from fieldwave.registry import RegisteredModel
from fieldwave.store import RegistryStore
from fieldwave.workspace import Workspace

__all__ = ["ClusterImage", "Source", "cluster_image"]


@runtime_checkable
class BuiltImage(Protocol):
    """What of `fieldwave.images.Image` is needed here."""

    @property
    def id(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def repository(self) -> str: ...
    @property
    def package(self) -> str: ...
    @property
    def network(self) -> str: ...
    @property
    def model(self) -> str: ...
    def reference(self, registry: str = "") -> str: ...


Source = str | os.PathLike[str] | RegisteredModel | BuiltImage


@dataclass(frozen=True)
class ClusterImage:
    """An image as a cluster knows it.

    Attributes:
        reference: ``registry/repository@sha256:...``.
        package, model, network: what is in it, as `Service` has them; empty if that is not known.
        built: the image as the workspace has it, ``name:version@digest``; empty if it came from elsewhere.
    """

    reference: str
    package: str = ""
    model: str = ""
    network: str = ""
    built: str = ""


def cluster_image(source: Source, workspace: Workspace, registry: str = "") -> ClusterImage:
    """The image that ``source`` means: an image of the workspace, or a reference with a digest.

    Parameters:
        registry: ``HOST[/PREFIX]`` that the image was pushed to; not needed where the workspace's store is a
            registry, from which the cluster can pull it as it is.

    Raises:
        InputError: it is no image, or nobody knows where the cluster would find it.
    """
    if isinstance(source, str) and "@sha256:" in source:
        return ClusterImage(source)
    if isinstance(source, RegisteredModel) or not isinstance(source, BuiltImage):
        what = f"model {source.id}" if isinstance(source, RegisteredModel) else f"{os.fspath(source)!r}"
        raise InputError(
            f"a cluster runs images, and {what} is none: build one with fieldwave images build, and deploy that"
        )
    store = workspace.store
    if registry:
        reference = source.reference(registry)
    elif isinstance(store, RegistryStore):
        reference = f"{store.address}/{source.repository}@{source.digest}"
    else:
        raise InputError(
            f"the cluster cannot pull image {source.id} from this machine: push it "
            f"(fieldwave images push {source.id} REGISTRY), and say where it is (registry=REGISTRY)"
        )
    return ClusterImage(reference, source.package, source.model, source.network, f"{source.id}@{source.digest}")
