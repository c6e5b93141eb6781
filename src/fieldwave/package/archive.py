"""Writing and reading packages.

A package is read as one unit: each file must be what the manifest says, and the archive must be, to the last
bit, the one that `write_package` makes of these files. So a flipped bit anywhere is an error, in a header as well.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pydantic
import pydantic_core

from fieldwave.errors import NotFoundError, PackageError, StorageError
from fieldwave.files import write_atomically
from fieldwave.package.container import MAX_BYTES, MAX_MEMBERS, DamageError, pack, unpack
from fieldwave.package.manifest import (
    FORMAT,
    MANIFEST,
    MODEL,
    DetectionModel,
    FileDigest,
    Manifest,
    PreprocessingModel,
    Program,
    TensorSpec,
)
from fieldwave.version import __version__

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fieldwave.postprocess import Detector
    from fieldwave.preprocess import Preprocessing

__all__ = ["Package", "parse_package", "read_package", "write_package"]

MAX_MANIFEST_BYTES = 4 << 20

_REMEDY = "copy it again or convert again"


@dataclass(frozen=True)
class Package:
    """A verified package in memory. Two packages are equal when their digests are.

    Attributes:
        manifest: what the package holds.
        files: every file but the manifest, by name.
        digest: ``"sha256:"`` and the SHA-256 of the zip file's bytes.
    """

    manifest: Manifest = field(compare=False)
    files: Mapping[str, bytes] = field(compare=False, repr=False)
    digest: str

    @property
    def model(self) -> bytes:
        """``model.onnx``: the quantized network."""
        return self.files[MODEL]

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How an image becomes the network's input, or None when the network takes no images."""
        model = self.manifest.preprocessing
        return model.preprocessing() if model else None

    @property
    def detector(self) -> Detector | None:
        """How the network's outputs become objects, or None when it does not detect."""
        model = self.manifest.detection
        return model.detector() if model else None

    def image_input(self, data: bytes) -> dict[str, NDArray[np.float32]]:
        """The network's input, by tensor name, from the bytes of one JPEG or PNG.

        Raises:
            ImageError: the bytes are no image within the bounds.
            PackageError: the network takes no images.
        """
        from fieldwave.preprocess import preprocess

        spec = self.preprocessing
        if spec is None:
            raise PackageError(f"network {self.manifest.network!r} takes no images, so no image can be its input")
        return {self.manifest.inputs[0].name: preprocess(data, spec)[None]}


def write_package(
    path: str | os.PathLike[str],
    *,
    network: str,
    model: bytes,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] = (),
    detector: Detector | None = None,
    programs: Mapping[Program, bytes] = MappingProxyType({}),
    extra: Mapping[str, bytes] = MappingProxyType({}),
) -> Package:
    """Write a package: the same arguments give the same bytes, on every machine.

    Args:
        path: the zip file; it appears whole or not at all.
        network: the network's name, such as ``"resnet50"``.
        model: the bytes of ``model.onnx``.
        inputs, outputs: the tensors of ``model.onnx`` that clients see.
        preprocessing: how an image becomes the network's input.
        labels: the classes, in the order of the output's last dimension.
        detector: how the outputs become objects, where the network detects.
        programs: compiled programs by what they are for.
        extra: further files by name, such as ``report.json``.

    Raises:
        PackageError: the arguments contradict each other or exceed the bounds.
        StorageError: the file cannot be written; nothing is left behind.
    """
    compiled = {program.file: data for program, data in programs.items()}
    taken = [MANIFEST, MODEL, *(program.file for program in programs), *extra]
    for name in taken:
        if taken.count(name) > 1:
            raise PackageError(f"cannot write {os.fspath(path)}: two files are named {name!r}; rename one")
    files = {MODEL: model, **compiled, **extra}
    try:
        manifest = Manifest(
            network=network,
            version=__version__,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            preprocessing=PreprocessingModel.of(preprocessing) if preprocessing else None,
            labels=tuple(labels),
            detection=DetectionModel.of(detector) if detector else None,
            programs=tuple(sorted(programs, key=lambda program: program.file)),
            files={name: _digest(data) for name, data in files.items()},
        )
    except pydantic.ValidationError as error:
        raise PackageError(f"cannot write {os.fspath(path)}: {_first(error)}") from None
    text = manifest.to_json()
    _check_bounds(os.fspath(path), text, files)
    archive = pack({MANIFEST: text, **files})
    write_atomically(path, archive)
    return Package(manifest, MappingProxyType(files), _sha256(archive))


def read_package(path: str | os.PathLike[str]) -> Package:
    """Read and verify a package.

    Raises:
        NotFoundError: there is no such file.
        PackageError: it is damaged, unsafe, of another format, or no package at all.
        StorageError: it cannot be read.
    """
    name = os.fspath(path)
    try:
        archive = _read(path)
    except FileNotFoundError:
        raise NotFoundError(f"no package {name}; write one with: fieldwave convert --output {name}") from None
    except OSError as error:
        raise StorageError(f"cannot read {name}: {error.strerror or error}") from error
    return parse_package(archive, name)


def parse_package(archive: bytes, name: str) -> Package:
    """Verify the bytes of a package; ``name`` says in errors where they came from.

    Raises:
        PackageError: as `read_package`.
    """
    if len(archive) > MAX_BYTES:
        raise PackageError(f"{name} is larger than {MAX_BYTES} bytes, no package is; name another file")
    try:
        files = unpack(archive)
    except DamageError as error:
        raise PackageError(f"{name} is no package or damaged: {error}; {_REMEDY}") from None
    if MANIFEST not in files:
        raise PackageError(f"{name} is no package: it has no {MANIFEST}; {_REMEDY}")
    manifest = _parse_manifest(files[MANIFEST], name)
    contents = {member: data for member, data in files.items() if member != MANIFEST}
    _verify(name, manifest, contents)
    if pack(files) != archive:
        raise PackageError(f"{name} is damaged: the zip's headers are not as they were written; {_REMEDY}")
    return Package(manifest, MappingProxyType(contents), _sha256(archive))


def _read(path: str | os.PathLike[str]) -> bytes:
    # Not to wait, should it be a pipe that nobody writes to.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PackageError(f"{os.fspath(path)} is not a file; name the package's zip file")
        with open(descriptor, "rb", closefd=False) as file:
            # One byte more than allowed is enough to see that it is too large.
            return file.read(min(status.st_size, MAX_BYTES) + 1)
    finally:
        os.close(descriptor)


def _parse_manifest(text: bytes, name: str) -> Manifest:
    if len(text) > MAX_MANIFEST_BYTES:
        raise PackageError(
            f"{name} is no package: {MANIFEST} has {len(text)} bytes,"
            f" at most {MAX_MANIFEST_BYTES} are allowed; {_REMEDY}"
        )
    try:
        value: Any = pydantic_core.from_json(text)
    except ValueError as error:
        raise PackageError(f"{name} is damaged: {MANIFEST} is not JSON ({error}); {_REMEDY}") from None
    written = value.get("format") if isinstance(value, dict) else None
    if written != FORMAT:
        raise PackageError(
            f"{name} has the format {written!r}, fieldwave {__version__} reads {FORMAT!r};"
            " upgrade fieldwave or convert again"
        )
    try:
        return Manifest.model_validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        raise PackageError(f"{name} is damaged: {MANIFEST}: {_first(error)}; {_REMEDY}") from None


def _verify(name: str, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    for member, expected in manifest.files.items():
        if member not in files:
            raise PackageError(f"{name} is damaged: {member} is missing; {_REMEDY}")
        size = len(files[member])
        if size != expected.size:
            raise PackageError(
                f"{name} is damaged: {member} has {size} bytes, the manifest says {expected.size}; {_REMEDY}"
            )
        digest = hashlib.sha256(files[member]).hexdigest()
        if digest != expected.sha256:
            raise PackageError(
                f"{name} is damaged: {member} has sha256 {digest[:12]}…,"
                f" the manifest says {expected.sha256[:12]}…; {_REMEDY}"
            )
    for member in files:
        if member not in manifest.files:
            raise PackageError(f"{name} is damaged: {member} is not in the manifest; {_REMEDY}")


def _check_bounds(name: str, manifest: bytes, files: Mapping[str, bytes]) -> None:
    total = len(manifest) + sum(map(len, files.values()))
    if len(files) + 1 > MAX_MEMBERS:
        raise PackageError(f"cannot write {name}: {len(files) + 1} files, at most {MAX_MEMBERS} are allowed")
    if len(manifest) > MAX_MANIFEST_BYTES:
        raise PackageError(
            f"cannot write {name}: the manifest has {len(manifest)} bytes,"
            f" at most {MAX_MANIFEST_BYTES} are allowed"
        )
    # Room for the headers, of which each member has two.
    if total + MAX_MEMBERS * 400 > MAX_BYTES:
        raise PackageError(f"cannot write {name}: the files have {total} bytes, at most {MAX_BYTES} are allowed")


def _digest(data: bytes) -> FileDigest:
    return FileDigest(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _first(error: pydantic.ValidationError) -> str:
    """The first of pydantic's findings as one line: the field, what is wrong, and the value."""
    found = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in found["loc"])
    text = found["msg"].removeprefix("Value error, ")
    if not place:
        return text
    if found["type"] == "missing":
        return f"{place} is missing"
    value = "" if isinstance(found["input"], dict) else f" (it is {_shorten(repr(found['input']))})"
    return f"{place}: {text[:1].lower()}{text[1:]}{value}"


def _shorten(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
