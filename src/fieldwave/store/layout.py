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
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fieldwave.errors import NotFoundError, StorageError
from fieldwave.files import write_atomically
from fieldwave.store.blobs import Blobs
from fieldwave.store.content import (
    IMAGE_INDEX,
    IMAGE_MANIFEST,
    Descriptor,
    Manifest,
    check_digest,
    check_repository,
    check_tag,
    to_json,
)
from fieldwave.store.index import entry_of, has_tag, reachable, repository_of, tagged, with_entry
from fieldwave.store.parse import Raw, parse_index, parse_manifest, read_raw
from fieldwave.store.protocol import NOTHING, Artifact, Layer, NextTag, Store, Stored, Tagged

__all__ = ["LayoutStore"]

_LAYOUT = to_json({"imageLayoutVersion": "1.0.0"})


class LayoutStore:
    """A :class:`fieldwave.store.Store` in a folder, which is made at the first push.

    Any number of processes may use it at once, on a local file system.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._blobs = Blobs(self.folder)

    @property
    def address(self) -> str:
        return str(self.folder)

    def push(self, repository: str, artifact: Artifact, tag: str | NextTag | None = None) -> Tagged:
        def put() -> tuple[Descriptor, Descriptor | None]:
            manifest = Manifest(
                artifact_type=artifact.artifact_type,
                config=self._blobs.put(artifact.config or NOTHING),
                layers=tuple(self._blobs.put(layer) for layer in artifact.layers or (NOTHING,)),
                annotations=artifact.annotations,
                subject=artifact.subject,
            )
            self._blobs.put(Layer(IMAGE_MANIFEST, manifest.to_json()))
            return manifest.descriptor(), manifest.subject

        return self._add(repository, put, tag)

    def receive(
        self, source: Store, place: str, reference: str, repository: str, tag: str | NextTag | None = None
    ) -> Tagged:
        def put(reference: str) -> Raw:
            raw = source.raw(place, reference)
            for child in raw.manifests:
                put(child.digest)
            for blob in raw.blobs:
                self._blobs.put(Layer(blob.media_type, Stored(place, blob, source)))
            self._blobs.put(Layer(raw.descriptor.media_type, raw.data))
            return raw

        def put_all() -> tuple[Descriptor, Descriptor | None]:
            raw = put(reference)
            return raw.descriptor, raw.subject

        return self._add(repository, put_all, tag)

    def _add(
        self,
        repository: str,
        put: Callable[[], tuple[Descriptor, Descriptor | None]],
        tag: str | NextTag | None,
    ) -> Tagged:
        """Store content by ``put``, which returns the manifest and its subject, and name it."""
        check_repository(repository)
        if isinstance(tag, str):
            check_tag(tag)
        self._create()
        with self._lock(exclusive=False):
            descriptor, subject = put()
            # The lock is not let go in between: a collection would take what the index does not name yet.
            with self._index_lock():
                index = self._index()
                if callable(tag):
                    tag = check_tag(tag([entry.tag for entry in tagged(index, repository)]))
                if tag is not None or subject is not None:
                    self._write_index(with_entry(index, entry_of(repository, tag, descriptor)))
        return Tagged(repository, tag or "", descriptor)

    def repositories(self) -> list[str]:
        return sorted({entry.repository for entry in self.tagged()})

    def tagged(self, repository: str | None = None) -> list[Tagged]:
        if repository is not None:
            check_repository(repository)
        return sorted(tagged(self._index(), repository), key=lambda entry: (entry.repository, entry.tag))

    def manifest(self, repository: str, reference: str) -> tuple[Descriptor, Manifest]:
        descriptor = self._find(repository, reference)
        data = self._bytes(descriptor, repository)
        manifest = parse_manifest(data, f"{repository}@{descriptor.digest}")
        return manifest.descriptor() if manifest.to_json() == data else descriptor, manifest

    def raw(self, repository: str, reference: str) -> Raw:
        descriptor = self._find(repository, reference)
        return read_raw(self._bytes(descriptor, repository), f"{repository}@{descriptor.digest}")

    def read(self, repository: str, descriptor: Descriptor) -> Iterator[bytes]:
        return self._blobs.read(descriptor.digest, repository)

    def referrers(self, repository: str, digest: str, artifact_type: str = "") -> list[Descriptor]:
        check_digest(digest)
        found: dict[str, Descriptor] = {}
        for entry in self._index():
            if repository_of(entry) == repository and artifact_type in ("", entry.artifact_type):
                with contextlib.suppress(NotFoundError):  # collected since the index was read
                    raw = self.raw(repository, entry.digest)
                    if raw.subject and raw.subject.digest == digest:
                        found[entry.digest] = raw.descriptor
        return list(found.values())

    def tag(self, repository: str, reference: str, tag: str) -> Tagged:
        check_tag(tag)
        raw = self.raw(repository, reference)
        with self._lock(exclusive=False), self._index_lock():
            if not self._blobs.path(raw.descriptor.digest).exists():
                raise self._missing(repository, raw.descriptor.digest)
            self._write_index(with_entry(self._index(), entry_of(repository, tag, raw.descriptor)))
        return Tagged(repository, tag, raw.descriptor)

    def untag(self, repository: str, tag: str) -> None:
        check_repository(repository)
        with self._lock(exclusive=False), self._index_lock():
            index = self._index()
            kept = [entry for entry in index if not has_tag(entry, repository, tag)]
            if len(kept) == len(index):
                raise self._missing(repository, tag)
            self._write_index(kept)

    def collect_garbage(self) -> int:
        """Delete all content that no tag leads to, and return how many bytes that were.

        What a tag names is kept with its parts; what refers to something kept, such as its log, is kept too.
        What killed writers left half-written goes as well: no writer is at work meanwhile.
        """
        with self._lock(exclusive=True):
            index = self._index()
            kept, entries = reachable(index, lambda entry: self._bytes(entry, repository_of(entry)))
            if len(entries) < len(index):
                self._write_index(entries)
            freed = 0
            half = [*self.folder.glob(".index.json.*"), *self.folder.glob(".oci-layout.*")]
            for path in sorted([*self._blobs.folder.glob("*"), *half]):
                if f"sha256:{path.name}" not in kept:
                    freed += self._delete(path)
        return freed

    def _delete(self, path: Path) -> int:
        try:
            size = path.stat().st_size
            path.unlink()
        except OSError as error:
            raise StorageError(f"cannot delete {path}: {error.strerror or error}") from error
        return size

    def _bytes(self, entry: Descriptor, repository: str) -> bytes:
        return b"".join(self._blobs.read(entry.digest, repository))

    def _find(self, repository: str, reference: str) -> Descriptor:
        check_repository(repository)
        if reference.startswith("sha256:"):
            path = self._blobs.path(reference)
            if not path.is_file():
                raise self._missing(repository, reference)
            return Descriptor(IMAGE_MANIFEST, reference, path.stat().st_size)
        for entry in self._index():
            if has_tag(entry, repository, reference):
                return entry
        raise self._missing(repository, reference)

    def _missing(self, repository: str, reference: str) -> NotFoundError:
        mark = "@" if reference.startswith("sha256:") else ":"
        return NotFoundError(f"{self.address} has no {repository}{mark}{reference}")

    def _create(self) -> None:
        try:
            self._blobs.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make the store {self.address}: {error.strerror or error}") from error
        if not (self.folder / "oci-layout").exists():
            with self._lock(exclusive=False):
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
        with contextlib.ExitStack() as stack:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, kind)
            except FileNotFoundError:
                raise NotFoundError(f"there is no store at {self.address}; register something first") from None
            except OSError as error:
                raise StorageError(f"cannot lock {path}: {error.strerror or error}") from error
            yield

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
