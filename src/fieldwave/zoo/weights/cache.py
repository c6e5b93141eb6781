"""Published weights into the cache: downloaded once, checked, and then found by name."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fieldwave.errors import NotFoundError, StorageError, WeightsError
from fieldwave.zoo.weights.download import download
from fieldwave.zoo.weights.publishers import PublishedSet, published

__all__ = ["Pulled", "cache_folder", "cached", "pull"]

MIRROR_VARIABLE = "FIELDWAVE_WEIGHTS_MIRROR"

_CHUNK = 2**20
_LARGEST_MEMBER = 4 * 2**30


@dataclass(frozen=True)
class Pulled:
    """A set that is in the cache.

    Attributes:
        path: of the file.
        sha256: of its bytes, computed here, for you to write down.
        fresh: whether it was fetched now, or lay there.
    """

    path: Path
    sha256: str
    fresh: bool


def cache_folder() -> Path:
    """Where pulled weights are kept: ``$XDG_CACHE_HOME/fieldwave/weights``, by default under ``~/.cache``."""
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (configured if configured.is_absolute() else Path.home() / ".cache") / "fieldwave" / "weights"


def cached(name: str) -> Path | None:
    """The file of a published set, or None if it was not pulled.

    Raises:
        NotFoundError: no such set.
    """
    path = cache_folder() / published(name).kept
    return path if path.is_file() else None


def pull(
    name: str,
    *,
    mirror: str = "",
    progress: Callable[[str, float], None] = lambda what, share: None,
    timeout: float = 30.0,
) -> Pulled:
    """Fetch a published set into the cache, unless it is there, and check its digest in either case.

    The file gets its name only once it is whole and checked. Who pulls the same set at the same time waits, and
    then finds it.

    Args:
        name: one of ``published_names()``.
        mirror: a folder, or an http(s) address, that holds the publisher's files under their names; the
            environment's FIELDWAVE_WEIGHTS_MIRROR if not given, the publisher's own address without either.
        progress: called with what is being done and the share of it that is done, 0 to 1.
        timeout: seconds without a byte until a connection is given up.

    Raises:
        NotFoundError: no such set, or the mirror or publisher does not have it.
        WeightsError: the file is not what the publisher published; it was removed.
        ServiceError: the server cannot be reached, answers with an error, or breaks off.
        StorageError: the cache cannot be written.
    """
    one = published(name)
    mirror = mirror or os.environ.get(MIRROR_VARIABLE, "")
    folder = cache_folder()
    target, part = folder / one.kept, folder / f".{one.file}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / f".{one.file}.lock"):
            if target.is_file():
                progress(f"checking {one.kept}", 0.0)
                # A digest of an archive says nothing of what came out of it.
                sha256 = _sha256(target) if one.member else _checked(one, target, str(target))
                return Pulled(target, sha256, fresh=False)
            origin = _fetch(one, part, mirror, lambda share: progress(f"fetching {one.file}", share), timeout)
            progress(f"checking {one.file}", 1.0)
            sha256 = _checked(one, part, origin)
            if one.member:
                part = _taken_out(one, part, origin)
                sha256 = _sha256(part)
            part.replace(target)
            _discard(folder / f".{one.file}.part")
            return Pulled(target, sha256, fresh=True)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error


def _fetch(one: PublishedSet, part: Path, mirror: str, progress: Callable[[float], None], timeout: float) -> str:
    """Bring the file into ``part``, and say from where."""
    if mirror and not mirror.startswith(("http://", "https://")):
        source = Path(mirror) / one.file
        if not source.is_file():
            raise NotFoundError(f"the mirror {mirror} has no file {one.file}: put it there, as {one.url} has it")
        with source.open("rb") as reader, part.open("wb") as writer:
            shutil.copyfileobj(reader, writer, _CHUNK)
        return str(source)
    url = f"{mirror.rstrip('/')}/{one.file}" if mirror else one.url
    advice = f"put {one.file} into a folder and give it with --mirror FOLDER, or in {MIRROR_VARIABLE}"
    download(url, part, advice=advice, progress=progress, timeout=timeout)
    return url


def _checked(one: PublishedSet, path: Path, origin: str) -> str:
    """The SHA-256 of a file that is what was published; any other is removed."""
    sha256 = hashlib.sha256()
    known = hashlib.new(one.algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
            known.update(chunk)
    if not known.hexdigest().startswith(one.digest):
        _discard(path)
        raise WeightsError(
            f"{origin} is not what {one.publisher} published, whose {one.check}: "
            f"here it is {known.hexdigest()}; the file was removed, pull it again or from elsewhere"
        )
    return sha256.hexdigest()


def _taken_out(one: PublishedSet, archive: Path, origin: str) -> Path:
    """The one file of a .tar.gz that is wanted, under a name of our own; the archive's paths are not followed."""
    taken = archive.with_name(f".{one.member}.part")
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if member.isfile() and Path(member.name).name == one.member and member.size <= _LARGEST_MEMBER:
                    reader = tar.extractfile(member)
                    with taken.open("wb") as writer:
                        shutil.copyfileobj(reader, writer, _CHUNK)  # type: ignore[arg-type]  # a file has one
                    return taken
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        _discard(taken)
        _discard(archive)
        raise WeightsError(
            f"{origin} is no whole archive; it was removed, pull it again or from elsewhere"
        ) from error
    _discard(archive)
    raise WeightsError(f"{origin} holds no file {one.member}; it was removed, pull it again or from elsewhere")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _discard(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}.json").unlink(missing_ok=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process, or thread, at a time; the kernel lets go for whoever dies."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
