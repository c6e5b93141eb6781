"""The files of a model, on their way into the store and out of it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fieldwave.errors import ArtifactError, ConflictError, InputError, NotFoundError, StorageError
from fieldwave.package import read_package
from fieldwave.store import Layer, Manifest, Store

__all__ = ["TITLE", "Contents", "download", "inspect"]

TITLE = "org.opencontainers.image.title"
_OCTETS = "application/octet-stream"
_MAX_FILES = 10_000


@dataclass(frozen=True)
class Contents:
    """What a path holds: the kind of model, its files, their size in bytes, and what can be read out of them."""

    kind: str
    layers: tuple[Layer, ...]
    size: int
    facts: Mapping[str, str]


def inspect(path: str | os.PathLike[str]) -> Contents:
    """Look at a file or folder that is to be registered.

    Raises:
        NotFoundError: there is nothing at that path.
        PackageError: a .zip file is no package, or damaged.
        InputError: a folder holds no file, too many, or a link that leads out of it.
        StorageError: it cannot be read.
    """
    source = Path(path)
    try:
        if source.is_dir():
            return _folder(source)
        size = source.stat().st_size
    except FileNotFoundError:
        raise NotFoundError(
            f"there is no file or folder {source}; name a package, an ONNX file or a folder"
        ) from None
    except OSError as error:
        raise StorageError(f"cannot read {source}: {error.strerror or error}") from error
    if source.suffix == ".zip":
        package = read_package(source)
        facts = {"network": package.manifest.network, "package": package.digest}
        programs = ",".join(program.configuration for program in package.manifest.programs)
        facts |= {"npu": programs} if programs else {}
        return Contents("package", (_layer(source, source.name, "application/zip"),), size, facts)
    kind = "onnx" if source.suffix == ".onnx" else "file"
    return Contents(kind, (_layer(source, source.name),), size, {})


def download(store: Store, repository: str, manifest: Manifest, folder: Path, *, overwrite: bool) -> list[Path]:
    """Write a model's files into ``folder``, each whole or not at all, and return their paths.

    Raises:
        ConflictError: a file is there already, and ``overwrite`` is False.
        ArtifactError: a file's name would lead out of the folder, or its bytes are damaged.
        StorageError: it cannot be written.
    """
    places = [_place(layer.annotations.get(TITLE, ""), folder) for layer in manifest.layers]
    for place in places:
        if place.exists() and not overwrite:
            raise ConflictError(f"{place} is there already; choose another folder, or overwrite it")
    written = []
    try:
        for layer, place in zip(manifest.layers, places, strict=True):
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                written.append(place)
            _write(place, store.read(repository, layer))
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, StorageError):
            raise StorageError(f"cannot write to {folder}: {error.strerror or error}") from error
        raise
    return places


def _folder(source: Path) -> Contents:
    top = source.resolve()
    layers, size = [], 0
    for path in sorted(source.rglob("*")):
        if path.is_symlink() and not path.resolve().is_relative_to(top):
            raise InputError(f"{path} is a link that leads out of {source}; copy the file there")
        if path.is_file():
            layers.append(_layer(path, path.relative_to(source).as_posix()))
            size += path.stat().st_size
    if not layers:
        raise InputError(f"folder {source} holds no file; name the folder of a model")
    if len(layers) > _MAX_FILES:
        raise InputError(f"folder {source} holds {len(layers)} files, at most {_MAX_FILES} are allowed")
    kind = "saved-model" if (source / "saved_model.pb").is_file() else "folder"
    return Contents(kind, tuple(layers), size, {})


def _layer(path: Path, title: str, media_type: str = _OCTETS) -> Layer:
    return Layer(media_type, path, {TITLE: title})


def _place(title: str, folder: Path) -> Path:
    """Where a file of this name goes. The name comes from outside: it may not lead anywhere else."""
    parts = PurePosixPath(title).parts
    if not parts or title.startswith("/") or any(part in ("..", "") or "\0" in part for part in parts):
        raise ArtifactError(f"a file of the model is named {title!r}, which leads out of {folder}")
    return folder.joinpath(*parts)


def _write(place: Path, pieces: Iterator[bytes]) -> None:
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
