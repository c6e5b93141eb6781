"""The images of one store: build, find, export, push and delete."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from fieldwave.errors import ConflictError, InputError, NotFoundError
from fieldwave.images.base import CONFIG, find_base
from fieldwave.images.export import export
from fieldwave.images.image import BUILD, Image, build_annotations, build_tag, check_labels, check_name, read_image
from fieldwave.images.pack import open_package, packed, packed_image, unpacked
from fieldwave.images.runtime import runtime
from fieldwave.images.transfer import transfer
from fieldwave.images.wheels import Progress
from fieldwave.registry import RegisteredModel
from fieldwave.registry.model import Notes, check_notes
from fieldwave.registry.tags import next_version, numbers
from fieldwave.store import Artifact, Descriptor, Layer, RegistryStore, Store, Tagged

__all__ = ["Images"]

_DELETED = "application/vnd.fieldwave.deleted.v1"
_PREFIX = "images/"

Users = Callable[[Image], Sequence[str]]
"""From an image to those who use it, each in words, such as "service digits"."""


class Images:
    """The images of one store.

    Parameters:
        store: where they are kept, as ``images/NAME`` with integer tags.
        users: asked before a deletion; who is named there prevents it.
    """

    def __init__(self, store: Store, users: Users = lambda image: ()) -> None:
        self._store = store
        self._users = users

    def build(
        self,
        package: str | os.PathLike[str] | RegisteredModel,
        name: str,
        *,
        base: str = "",
        tags: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        architecture: str = "amd64",
        wheels: str | os.PathLike[str] | None = None,
        log: Callable[[str], None] = lambda line: None,
        progress: Progress = lambda what, share: None,
    ) -> Image:
        """Build an image that serves a package; no daemon, no root, nothing runs.

        Equal package, base, fieldwave and labels give equal bytes. Built again, the version that is there is
        returned, with the new tags added to its own.

        Parameters:
            package: the file, or a registered model of that kind.
            name: what to call it.
            base: as :func:`fieldwave.images.find_base` takes it; the store's ``debian`` if not given.
            tags: what people say of it; they are not in its bytes.
            labels: written into it, for all who inspect it.
            architecture: of a base that is there for several.
            wheels: a folder with the runtime's wheels, for a site without a network.
            log: called with each line of the build's log as it is written.

        Raises:
            InputError: a name or label outside the grammar, a model that is no package, an unusable base.
            PackageError: the package is damaged.
            NotFoundError: there is no such package, base or wheel.
            StorageError: the store cannot be written; no version was added.
        """
        place = f"{_PREFIX}{check_name(name)}"
        check_notes(Notes(dict(tags or {})))
        check_labels(labels or {})
        lines: list[str] = []

        def say(line: str) -> None:
            lines.append(f"{_now()} {line}")
            log(line)

        progress("reading the package", 0.0)
        archive = open_package(self._store, package)
        say(f"package {archive.digest}: network {archive.network}, {len(archive.data):,} bytes")
        found = find_base(self._store, base, architecture=architecture, progress=progress)
        say(f"base {found.id} {found.digest}: {found.architecture}, Python {found.python}")
        below = runtime(self._store, found, Path(wheels) if wheels else None, log=say, progress=progress)
        progress("packing the image", 0.8)
        with packed(archive, found) as layer:
            say(f"layer {layer.digest}: the package, {layer.size:,} bytes")
            image = packed_image(below, found, archive, layer, dict(labels or {}))
            say(f"image {image.descriptor.digest}")
            there = self._same(place, image.descriptor.digest)
            # First what is said of the image, then its version: so there is never one of which nothing is said.
            self._describe(place, image.descriptor, there, archive.model, dict(tags or {}), lines)
            if there is not None:
                return self.get(there.id)
            progress("storing the image", 0.9)
            artifact = Artifact("", image.layers, Layer(CONFIG, image.config), image.annotations)
            tagged = self._store.push(place, artifact, next_version)
        return self.get(f"{name}:{tagged.tag}")

    def get(self, reference: str) -> Image:
        """The image ``name`` (its latest version) or ``name:3``.

        Raises:
            NotFoundError: there is none; the message names what there is.
        """
        name, _, wanted = reference.partition(":")
        versions = _images(self._store.tagged(f"{_PREFIX}{check_name(name)}"))
        if not versions:
            known = sorted({image.name for image in self.find()})
            others = f"there are {', '.join(known[:10])}" if known else "build one first"
            raise NotFoundError(f"there is no image {name!r}: {others}")
        if wanted in ("", "latest"):
            return versions[-1]
        for image in versions:
            if wanted in (str(image.version), image.digest):
                return image
        there = ", ".join(str(image.version) for image in versions[-10:])
        raise NotFoundError(f"image {name!r} has no version {wanted!r}: it has {there}")

    def find(self, name: str | None = None, *, tags: Iterable[str] = (), latest: bool = False) -> list[Image]:
        """The images that fit all filters, by name and version.

        Parameters:
            name: of the image; all where None.
            tags: ``key`` or ``key=value``, each of which must hold.
            latest: only the highest version of each.
        """
        found = _images(self._store.tagged(f"{_PREFIX}{check_name(name)}" if name is not None else None))
        if latest:
            found = list({image.name: image for image in found}.values())
        return [image for image in found if all(_fits(image, text) for text in tags)]

    def package(self, image: Image) -> bytes:
        """The bytes of the package that an image serves: what its last layer holds.

        Raises:
            NotFoundError: the image was deleted.
            ArtifactError: the store's bytes are damaged.
        """
        _, manifest = self._store.manifest(image.repository, image.digest)
        data = b"".join(self._store.read(image.repository, manifest.layers[-1]))
        return unpacked(data, image.package, image.id)

    def log(self, image: Image) -> list[str]:
        """The lines of an image's latest build.

        Raises:
            NotFoundError: it was copied here without its log.
        """
        try:
            _, manifest = self._store.manifest(image.repository, build_tag(image.digest))
        except NotFoundError:
            raise NotFoundError(f"image {image.id} has no build log in {self._store.address}") from None
        return b"".join(self._store.read(image.repository, manifest.layers[0])).decode().splitlines()

    def export(self, image: Image, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write an image to one file that podman, docker, containerd and skopeo load.

        Raises:
            ConflictError: there is a file already, and ``overwrite`` is False.
            StorageError: it cannot be written; nothing is left behind.
        """
        export(self._store, image, Path(path), overwrite=overwrite)

    def push(self, image: Image, registry: str) -> str:
        """Push an image with its build log to a registry, and return the reference by which it is pulled.

        Parameters:
            registry: ``HOST[/PREFIX]``; the image is ``PREFIX/NAME:VERSION`` there.

        Raises:
            ConflictError: the registry has another image of that name and version.
            InputError: the registry does not let us in.
            StorageError: it cannot be reached, or fails.
        """
        target = RegistryStore(registry)
        transfer(self._store, image, target, image.name, str(image.version))
        return image.reference(target.address)

    def copy(self, image: Image, target: Store) -> Image:
        """Copy an image with its build log to another store, as that one's next version of the name.

        What it has already is returned as it is there.

        Raises:
            StorageError: the other store cannot be written.
        """
        there = Images(target)
        same = there._same(image.repository, image.digest)
        tag = str(same.version) if same else transfer(self._store, image, target, image.repository, next_version)
        return there.get(f"{image.name}:{tag}")

    def reference(self, image: Image) -> str:
        """Where others find this very image, if the store is a registry; else its name in an exported archive."""
        if isinstance(self._store, RegistryStore):
            return f"{self._store.address}/{image.repository}@{image.digest}"
        return image.reference()

    def delete(self, image: Image) -> None:
        """Delete a version; its number is never given again.

        Raises:
            ConflictError: something uses it; the message names all who do.
            NotFoundError: it is deleted already.
        """
        users = list(self._users(image))
        if users:
            raise ConflictError(f"image {image.id} is used by {' and '.join(users)}; delete that first")
        place = image.repository
        self.get(image.id)
        self._store.push(place, Artifact(_DELETED), f"{image.version}.deleted")
        self._store.untag(place, str(image.version))
        entries = self._store.tagged(place)
        if image.digest not in {entry.descriptor.digest for entry in entries}:
            self._forget(place, build_tag(image.digest))
        tags = [entry.tag for entry in entries]
        for tag in tags:  # only the highest number that was ever given need be remembered
            if tag.endswith(".deleted") and int(tag.removesuffix(".deleted")) < max(numbers(tags)):
                self._forget(place, tag)

    def _describe(
        self,
        place: str,
        descriptor: Descriptor,
        there: Image | None,
        model: str,
        tags: Mapping[str, str],
        lines: Sequence[str],
    ) -> None:
        """Store the log of a build with what is said about the image, beside it."""
        said = build_annotations(
            created=(there.created if there else "") or _now(),
            model=model or (there.model if there else ""),
            tags={**(there.tags if there else {}), **tags},
        )
        text = Layer("text/plain", "".join(f"{line}\n" for line in lines).encode())
        self._store.push(place, Artifact(BUILD, (text,), None, said, descriptor), build_tag(descriptor.digest))

    def _same(self, place: str, digest: str) -> Image | None:
        return next((image for image in _images(self._store.tagged(place)) if image.digest == digest), None)

    def _forget(self, place: str, tag: str) -> None:
        with contextlib.suppress(NotFoundError):  # somebody else was faster
            self._store.untag(place, tag)


def _images(entries: Sequence[Tagged]) -> list[Image]:
    """The versions among the tags of one or of all repositories, by name and version."""
    builds = {(entry.repository, entry.tag): entry.descriptor.annotations for entry in entries}
    found = []
    for entry in entries:
        if entry.tag.isdecimal() and entry.repository.startswith(_PREFIX):
            said = builds.get((entry.repository, build_tag(entry.descriptor.digest)), {})
            name = entry.repository.removeprefix(_PREFIX)
            found.append(read_image(name, int(entry.tag), entry.descriptor, said))
    return sorted(found, key=lambda image: (image.name, image.version))


def _fits(image: Image, text: str) -> bool:
    key, equals, value = text.partition("=")
    if not key:
        raise InputError(f"{text!r} is no filter: write 'key' or 'key=value'")
    return key in image.tags and (not equals or image.tags[key] == value)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
