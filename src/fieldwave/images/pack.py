"""A package on top of a runtime: the last layer, and the manifest of the whole."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fieldwave.errors import ArtifactError, InputError, NotFoundError, StorageError
from fieldwave.images.base import CONFIG, Base
from fieldwave.images.image import manifest_annotations
from fieldwave.images.inside import PACKAGE
from fieldwave.images.layer import LAYER, LayerWriter, WrittenLayer
from fieldwave.images.runtime import EPOCH, Runtime
from fieldwave.package import parse_package
from fieldwave.registry import RegisteredModel
from fieldwave.registry.tags import repository
from fieldwave.store import Descriptor, Layer, Manifest, Store, Stored
from fieldwave.store.content import digest_of, to_json
from fieldwave.version import __version__

__all__ = ["Archive", "PackedImage", "open_package", "packed", "packed_image", "unpacked"]


@dataclass(frozen=True)
class Archive:
    """A package that was verified: its bytes, their digest, its network, and the registered model if it is one."""

    data: bytes
    digest: str
    network: str
    model: str


@dataclass(frozen=True)
class PackedImage:
    """An image that is ready to be pushed, and the descriptor that its manifest will have."""

    layers: tuple[Layer, ...]
    config: bytes
    annotations: Mapping[str, str]
    descriptor: Descriptor


def open_package(store: Store, source: str | os.PathLike[str] | RegisteredModel) -> Archive:
    """Read and verify a package, from a file or from the models of the store.

    Raises:
        NotFoundError: it is not there.
        InputError: the model is no package.
        PackageError: it is damaged.
        StorageError: it cannot be read.
    """
    if isinstance(source, RegisteredModel):
        if source.kind != "package":
            raise InputError(
                f"model {source.id} is of the kind {source.kind!r}, and an image is made of a package; convert it "
                f"first: fieldwave convert {source.id} --register"
            )
        place = repository(source.name)
        _, manifest = store.manifest(place, source.digest)
        data, name = b"".join(store.read(place, manifest.layers[0])), f"model {source.id}"
        model = f"{source.id}@{source.digest}"
    else:
        data, name, model = _read(Path(source)), os.fspath(source), ""
    package = parse_package(data, name)
    return Archive(data, package.digest, package.manifest.network, model)


@contextlib.contextmanager
def packed(archive: Archive, base: Base) -> Iterator[WrittenLayer]:
    """The layer that holds the package, in a file for as long as the context is open."""
    with tempfile.TemporaryDirectory() as scratch, LayerWriter(Path(scratch) / "package") as layer:
        layer.file(f"{base.root}/{PACKAGE}", archive.data)
        yield layer.finish()


def packed_image(
    below: Runtime, base: Base, archive: Archive, layer: WrittenLayer, labels: Mapping[str, str]
) -> PackedImage:
    """The whole image: what its manifest and configuration say follows from what it is made of, nothing else."""
    size = below.size + layer.size
    platform = f"linux/{base.architecture}"
    origin = (base.reference, base.origin)
    said = manifest_annotations(archive.digest, archive.network, size, platform, origin, __version__, labels)
    rootfs = below.config["rootfs"]
    config = {
        **below.config,
        "config": {**below.config["config"], "Labels": said},
        "rootfs": {**rootfs, "diff_ids": [*rootfs["diff_ids"], layer.diff_id]},
        "history": [*below.config["history"], {"created": EPOCH, "created_by": f"package {archive.digest}"}],
    }
    text = to_json(config)
    manifest = Manifest(
        config=Descriptor(CONFIG, digest_of(text), len(text)),
        layers=(*below.descriptors, Descriptor(LAYER, layer.digest, layer.size)),
        annotations=said,
    )
    held = (Layer(each.media_type, Stored(below.repository, each)) for each in below.descriptors)
    return PackedImage((*held, Layer(LAYER, layer.path)), text, said, manifest.descriptor())


def unpacked(layer: bytes, digest: str, name: str) -> bytes:
    """The package out of an image's last layer.

    Raises:
        ArtifactError: it is not there, or another one.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(layer), mode="r:gz") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.name.endswith(PACKAGE) else None
                data = content.read() if content else b""
                if f"sha256:{hashlib.sha256(data).hexdigest()}" == digest:
                    return data
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ArtifactError(f"the last layer of image {name} is damaged: {error}") from None
    raise ArtifactError(f"the last layer of image {name} does not hold its package {digest[:19]}…")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"no package {path}; write one with: fieldwave convert --output {path}") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
