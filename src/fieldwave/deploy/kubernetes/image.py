"""From what is to be deployed to the image that a cluster pulls."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fieldwave.deploy.target import Source
from fieldwave.errors import InputError
from fieldwave.images import Image, Images
from fieldwave.store import RegistryStore
from fieldwave.workspace import Workspace

__all__ = ["ClusterImage", "cluster_image", "described", "reference_of"]

Progress = Callable[[str, float], None]

_REFERENCE = re.compile(r".+@sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class ClusterImage:
    """An image as a cluster knows it.

    Attributes:
        reference: ``registry/repository@sha256:...``.
        package, model, network: what is in it, as `Service` has them; empty if that is not known.
        built: the image as the workspace has it, ``name:version@digest``; empty if it came from elsewhere.
        architecture: of the processors that it runs on, such as ``amd64``; empty if that is not known.
    """

    reference: str
    package: str = ""
    model: str = ""
    network: str = ""
    built: str = ""
    architecture: str = ""


def reference_of(image: Image, workspace: Workspace, registry: str = "") -> str:
    """Where a cluster would pull an image of the workspace. Raises InputError if nobody has said."""
    if registry:
        return image.reference(registry)
    if not isinstance(workspace.store, RegistryStore):
        raise _no_registry(image)
    return Images(workspace.store).reference(image)


def cluster_image(
    source: Source,
    name: str,
    workspace: Workspace,
    registry: str = "",
    progress: Progress = lambda what, done: None,
) -> ClusterImage:
    """The image that ``source`` means, where the cluster can pull it.

    A text with a digest, ``registry.example/digits@sha256:...``, is taken as it is. Of a package an image is
    built. An image of the workspace is found in its store if that is a registry; else it is pushed.

    Parameters:
        name: of the service, and of the image that is built of a package's file.
        registry: ``HOST[/PREFIX]`` to push to.
        progress: called with what is being done, and the part of it that is done, 0 to 1.

    Raises:
        InputError: there is no registry from which the cluster could pull it.
        NotFoundError, PackageError, StorageError: as `Images.build` and `Images.push`.
    """
    if isinstance(source, str) and _REFERENCE.fullmatch(source):
        return ClusterImage(source)
    images = Images(workspace.store)
    in_registry = isinstance(workspace.store, RegistryStore)
    if not registry and not in_registry:
        raise _no_registry(source)
    image = _image(source, name, images, progress)
    if registry:
        progress(f"pushing image {image.id} to {registry}", 0.0)
    reference = images.push(image, registry) if registry else images.reference(image)
    return described(image, reference)


def described(image: Image, reference: str) -> ClusterImage:
    """An image of the workspace, under the reference by which the cluster pulls it."""
    built, architecture = f"{image.id}@{image.digest}", image.platform.rpartition("/")[2]
    return ClusterImage(reference, image.package, image.model, image.network, built, architecture)


def _image(source: Source, name: str, images: Images, progress: Progress) -> Image:
    if isinstance(source, Image):
        return source
    if isinstance(source, str | os.PathLike):
        return images.build(Path(source), name, progress=progress)
    return images.build(source, source.name, progress=progress)


def _no_registry(source: Source) -> InputError:
    return InputError(
        f"the cluster cannot pull {_words(source)} from this machine: say which registry it can pull from "
        "(registry=HOST/PREFIX), or keep the workspace's store in one (store in fieldwave.toml)"
    )


def _words(source: Source) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return f"{'image' if isinstance(source, Image) else 'model'} {source.id}"
