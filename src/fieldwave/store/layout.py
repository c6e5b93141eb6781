"""A store in a folder: an OCI image layout (image-spec 1.1, image-layout.md).

::

    oci-layout            which format this is
    index.json            every tagged manifest, as "repository:tag", and every manifest that refers to one
    blobs/sha256/<hex>    all content, named by its digest
    .lock                 held by writers

``skopeo inspect oci:FOLDER:models/digits:3`` reads it, as podman and oras do; to copy the folder copies the store.

Writers of content share the lock, and whoever changes the index or collects garbage holds it alone; readers need
none, since blobs never change and the index is replaced in one step. So a process that is killed leaves blobs that
nothing names, which the next collection takes, and never half an artifact.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from fieldwave.errors import ArtifactError, NotFoundError, StorageError
from fieldwave.files import write_atomically
from fieldwave.store.content import (
    IMAGE_INDEX,
    IMAGE_MANIFEST,
    Descriptor,
    Manifest,
    check_digest,
    check_repository,
    check_tag,
    digest_of,
    parse_index,
    parse_manifest,
    to_json,
)
from fieldwave.store.protocol import NOTHING, Artifact, Layer, NextTag, Stored, Tagged

__all__ = ["LayoutStore"]

REF_NAME = "org.opencontainers.image.ref.name"
_REFERS = "dev.fieldwave.repository"
"""Annotation of index.json's untagged entries: the repository that a referrer lies in."""
_PIECE = 1 << 20
_LAYOUT = to_json({"imageLayoutVersion": "1.0.0"})


class LayoutStore:
    """A :class:`fieldwave.store.Store` in a folder, which is made at the first push.

    Any number of processes may use it at once, on a local file system.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    @property
    def address(self) -> str:
        return str(self.folder)

    def push(self, repository: str, artifact: Artifact, tag: str | NextTag | None = None) -> Tagged:
        check_repository(repository)
        if isinstance(tag, str):
            check_tag(tag)
        self._create()
        with self._lock(exclusive=False):
            manifest = Manifest(
                artifact_type=artifact.artifact_type,
                config=self._put(artifact.config or NOTHING),
                layers=tuple(self._put(layer) for layer in artifact.layers or (NOTHING,)),
                annotations=artifact.annotations,
                subject=artifact.subject,
            )
            descriptor = manifest.descriptor()
            self._put(Layer(IMAGE_MANIFEST, manifest.to_json()))
            # The lock is not let go in between: a collection would take what the index does not name yet.
            with self._index_lock():
                index = self._index()
                if callable(tag):
                    tag = check_tag(tag([entry.tag for entry in _tagged(index, repository)]))
                entry = _entry(repository, tag, descriptor)
                if tag is None and artifact.subject is None:
                    return Tagged(repository, "", descriptor)
                self._write_index([*(old for old in index if not _same(old, entry)), entry])
        return Tagged(repository, tag or "", descriptor)

    def repositories(self) -> list[str]:
        return sorted({entry.repository for entry in self.tagged()})

    def tagged(self, repository: str | None = None) -> list[Tagged]:
        if repository is not None:
            check_repository(repository)
        return sorted(_tagged(self._index(), repository), key=lambda entry: (entry.repository, entry.tag))

    def manifest(self, repository: str, reference: str) -> tuple[Descriptor, Manifest]:
        descriptor = self._find(repository, reference)
        data = b"".join(self.read(repository, descriptor))
        manifest = parse_manifest(data, f"{repository}@{descriptor.digest}")
        return manifest.descriptor() if manifest.to_json() == data else descriptor, manifest

    def read(self, repository: str, descriptor: Descriptor) -> Iterator[bytes]:
        path = self._blob(descriptor.digest)
        digest, size = hashlib.sha256(), 0
        try:
            with path.open("rb") as file:
                piece = file.read(_PIECE)
                while piece:
                    following = file.read(_PIECE)
                    digest.update(piece)
                    size += len(piece)
                    if not following and f"sha256:{digest.hexdigest()}" != descriptor.digest:
                        break
                    yield piece
                    piece = following
        except FileNotFoundError:
            raise NotFoundError(f"{self.address} has no blob {descriptor.digest} ({repository})") from None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
        if f"sha256:{digest.hexdigest()}" != descriptor.digest:
            raise ArtifactError(
                f"{path} is damaged: its {size} bytes are sha256:{digest.hexdigest()[:12]}…; "
                "delete the file and push again"
            )

    def referrers(self, repository: str, digest: str, artifact_type: str = "") -> list[Descriptor]:
        check_digest(digest)
        found = []
        for entry in self._index():
            if _repository(entry) != repository or (artifact_type and entry.artifact_type != artifact_type):
                continue
            _, manifest = self.manifest(repository, entry.digest)
            if manifest.subject and manifest.subject.digest == digest:
                found.append(manifest.descriptor())
        return list({descriptor.digest: descriptor for descriptor in found}.values())

    def tag(self, repository: str, reference: str, tag: str) -> Tagged:
        check_tag(tag)
        descriptor, _ = self.manifest(repository, reference)
        with self._lock(exclusive=False), self._index_lock():
            if not self._blob(descriptor.digest).exists():
                raise NotFoundError(f"{self.address} has no {repository}@{descriptor.digest}")
            entry = _entry(repository, tag, descriptor)
            self._write_index([*(old for old in self._index() if not _same(old, entry)), entry])
        return Tagged(repository, tag, descriptor)

    def untag(self, repository: str, tag: str) -> None:
        check_repository(repository)
        with self._lock(exclusive=False), self._index_lock():
            index = self._index()
            kept = [entry for entry in index if entry.annotations.get(REF_NAME) != f"{repository}:{tag}"]
            if len(kept) == len(index):
                raise self._missing(repository, tag)
            self._write_index(kept)

    def collect_garbage(self) -> int:
        """Delete all content that no tag leads to, and return how many bytes that were.

        What a tag names is kept with its parts; what refers to something kept, such as its log, is kept too.
        """
        with self._lock(exclusive=True):
            index = self._index()
            kept, entries = self._reachable(index)
            if len(entries) < len(index):
                self._write_index(entries)
            freed = 0
            for path in sorted((self.folder / "blobs" / "sha256").glob("*")):
                if path.name not in kept:
                    freed += path.stat().st_size
                    path.unlink()
        return freed

    def _reachable(self, index: Sequence[Descriptor]) -> tuple[set[str], list[Descriptor]]:
        """The blobs to keep, as hexadecimal digits, and the index's entries to keep."""
        live = {entry.digest for entry in index if REF_NAME in entry.annotations}
        others = {entry.digest: self._subject(entry) for entry in index if entry.digest not in live}
        while joined := {digest for digest, subject in others.items() if subject in live} - live:
            live |= joined
        kept: set[str] = set()
        for entry in index:
            if entry.digest in live:
                self._mark(entry, kept)
        return {digest.removeprefix("sha256:") for digest in kept}, [e for e in index if e.digest in live]

    def _subject(self, entry: Descriptor) -> str:
        manifest = parse_manifest(self._bytes(entry), entry.digest)
        return manifest.subject.digest if manifest.subject else ""

    def _mark(self, entry: Descriptor, kept: set[str]) -> None:
        """Add a manifest and all that it names; an index of manifests, as other tools write them, too."""
        if entry.digest in kept:
            return
        kept.add(entry.digest)
        if entry.media_type == IMAGE_INDEX:
            for child in parse_index(self._bytes(entry), entry.digest):
                self._mark(child, kept)
        else:
            kept.update(blob.digest for blob in parse_manifest(self._bytes(entry), entry.digest).blobs())

    def _bytes(self, entry: Descriptor) -> bytes:
        return b"".join(self.read(_repository(entry), entry))

    def _find(self, repository: str, reference: str) -> Descriptor:
        check_repository(repository)
        if reference.startswith("sha256:"):
            path = self._blob(check_digest(reference))
            if not path.is_file():
                raise self._missing(repository, reference)
            return Descriptor(IMAGE_MANIFEST, reference, path.stat().st_size)
        for entry in self._index():
            if entry.annotations.get(REF_NAME) == f"{repository}:{reference}":
                return entry
        raise self._missing(repository, reference)

    def _missing(self, repository: str, reference: str) -> NotFoundError:
        mark = "@" if reference.startswith("sha256:") else ":"
        return NotFoundError(f"{self.address} has no {repository}{mark}{reference}")

    def _blob(self, digest: str) -> Path:
        return self.folder / "blobs" / "sha256" / check_digest(digest).removeprefix("sha256:")

    def _put(self, layer: Layer) -> Descriptor:
        if isinstance(layer.data, bytes):
            digest, size = digest_of(layer.data), len(layer.data)
            if not self._has(digest, size):
                write_atomically(self._blob(digest), layer.data)
        elif isinstance(layer.data, Stored):
            digest, size = layer.data.descriptor.digest, layer.data.descriptor.size
            if not self._has(digest, size):
                raise NotFoundError(f"{self.address} has no blob {digest} ({layer.data.repository})")
        else:
            digest, size = self._put_file(layer.data)
        return Descriptor(layer.media_type, digest, size, annotations=layer.annotations)

    def _has(self, digest: str, size: int) -> bool:
        with contextlib.suppress(OSError):
            return self._blob(digest).stat().st_size == size
        return False

    def _put_file(self, source: Path) -> tuple[str, int]:
        """Copy a file in pieces, so that an image's layer never stands in memory."""
        temporary = self.folder / "blobs" / "sha256" / f".{secrets.token_hex(8)}"
        digest, size = hashlib.sha256(), 0
        try:
            with source.open("rb") as reader, temporary.open("xb") as writer:
                while piece := reader.read(_PIECE):
                    digest.update(piece)
                    size += len(piece)
                    writer.write(piece)
                writer.flush()
                os.fsync(writer.fileno())
            name = f"sha256:{digest.hexdigest()}"
            temporary.replace(self._blob(name))
        except BaseException as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            if not isinstance(error, OSError):
                raise
            raise StorageError(
                f"cannot store {source} in {self.address}: {error.strerror or error}; nothing was left behind"
            ) from error
        return name, size

    def _create(self) -> None:
        try:
            (self.folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make the store {self.address}: {error.strerror or error}") from error
        if not (self.folder / "oci-layout").exists():
            write_atomically(self.folder / "oci-layout", _LAYOUT)

    @contextlib.contextmanager
    def _lock(self, *, exclusive: bool) -> Iterator[None]:
        """Against collection: held together by all who add or name content, alone by who deletes some."""
        with self._flock(".lock", fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def _index_lock(self) -> Iterator[None]:
        with self._flock(".index.lock", fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def _flock(self, name: str, kind: int) -> Iterator[None]:
        path = self.folder / name
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            raise NotFoundError(f"there is no store at {self.address}; register something first") from None
        except OSError as error:
            raise StorageError(f"cannot lock {path}: {error.strerror or error}") from error
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)

    def _index(self) -> list[Descriptor]:
        path = self.folder / "index.json"
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
        return parse_index(data, str(path))

    def _write_index(self, entries: Sequence[Descriptor]) -> None:
        value = {
            "schemaVersion": 2,
            "mediaType": IMAGE_INDEX,
            "manifests": [entry.to_value() for entry in entries],
        }
        write_atomically(self.folder / "index.json", to_json(value))


def _entry(repository: str, tag: str | None, descriptor: Descriptor) -> Descriptor:
    own = {_REFERS: repository} if tag is None else {REF_NAME: f"{repository}:{tag}"}
    return replace(descriptor, annotations={**descriptor.annotations, **own})


def _same(old: Descriptor, new: Descriptor) -> bool:
    """Whether the new entry takes the old one's place: it has its tag, or is the same without one."""
    if REF_NAME in new.annotations:
        return old.annotations.get(REF_NAME) == new.annotations[REF_NAME]
    return old.digest == new.digest and REF_NAME not in old.annotations


def _repository(entry: Descriptor) -> str:
    name = entry.annotations.get(REF_NAME, "")
    return name.rpartition(":")[0] if name else entry.annotations.get(_REFERS, "")


def _tagged(index: Sequence[Descriptor], repository: str | None) -> list[Tagged]:
    found = []
    for entry in index:
        name, _, tag = entry.annotations.get(REF_NAME, "").rpartition(":")
        if name and repository in (name, None):
            own = {key: value for key, value in entry.annotations.items() if key != REF_NAME}
            found.append(Tagged(name, tag, replace(entry, annotations=own)))
    return found
