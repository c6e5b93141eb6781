"""Base images in a store: what every image stands on.

A base is a root filesystem with glibc, libstdc++ and Python 3.11; it needs no shell. It is kept as an image
under ``bases/NAME``, with integer versions, its layers byte for byte as they came::

    bases/debian:1      made by ``fieldwave images base``
    bases/registry:1    fetched from a registry when an image was built on it
"""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldwave.errors import ArtifactError, InputError, NotFoundError, StorageError
from fieldwave.images.debian import SUITE, make_debian
from fieldwave.images.flatten import Flattened, read_layer, read_root_filesystem
from fieldwave.images.lock import ARCHITECTURES, PYTHON
from fieldwave.images.source import LayoutSource, RegistrySource, Source, choose, unpack_archive
from fieldwave.images.tree import Tree
from fieldwave.images.wheels import Progress
from fieldwave.registry.tags import next_version
from fieldwave.store import Artifact, Descriptor, Layer, Store
from fieldwave.store.body import digest_of_file
from fieldwave.store.content import check_repository, to_json

__all__ = ["CONFIG", "DEFAULT", "Base", "add_base", "bases", "find_base", "make_base"]

DEFAULT = "debian"
"""The base that images stand on unless another is named: what ``fieldwave images base`` makes."""
CONFIG = "application/vnd.oci.image.config.v1+json"
_PREFIX = "dev.fieldwave."
_REPOSITORY = "bases/"
_ROOTFS = "rootfs"
_PYTHONS = (f"usr/local/bin/python{PYTHON}", f"usr/bin/python{PYTHON}")
_LIBRARY = re.compile(r"(usr/)?lib(32|64)?/(.*/)?libstdc\+\+\.so\.6")
_LOADER = re.compile(r"(usr/)?lib(64)?/(.*/)?ld-linux[^/]*\.so\.[12]")
_MACHINES = {0x3E: "amd64", 0xB7: "arm64"}
"""e_machine of an ELF file."""
_MEDIA_TYPES = {
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
}
_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_HOST = re.compile(r"(localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|[A-Za-z0-9.-]+:\d+|\[[0-9a-fA-F:]+\](:\d+)?)/.+")


@dataclass(frozen=True)
class Base:
    """A base image in a store.

    Attributes:
        name, version: it is ``bases/NAME:VERSION`` there.
        digest: of its manifest in the store.
        architecture: as OCI names it: ``amd64``, ``arm64``.
        python: the interpreter's path inside.
        root: the folder below which Fieldwave is put, ``opt`` or where that leads.
        origin: what it was made from, by digest: an image elsewhere, or the archive of a root filesystem.
        reference: what the image elsewhere is called, if it came from a registry; else empty.
        size: of its layers, in bytes.
    """

    name: str
    version: int
    digest: str
    architecture: str
    python: str
    root: str
    origin: str
    reference: str
    size: int

    @property
    def id(self) -> str:
        """``name:version``."""
        return f"{self.name}:{self.version}"

    @property
    def repository(self) -> str:
        """Where it is kept."""
        return f"{_REPOSITORY}{self.name}"


def bases(store: Store, name: str = "") -> list[Base]:
    """The bases of a store, or those of one name, by name and version."""
    entries = store.tagged(f"{_REPOSITORY}{name}" if name else None)
    found = [
        _read(entry.repository, int(entry.tag), entry.descriptor)
        for entry in entries
        if entry.repository.startswith(_REPOSITORY) and entry.tag.isdecimal()
    ]
    return sorted(found, key=lambda base: (base.name, base.version))


def find_base(
    store: Store, what: str = "", *, architecture: str = "amd64", progress: Progress = lambda what, share: None
) -> Base:
    """The base of that name, path or address; one from elsewhere is put into the store first.

    Parameters:
        what: ``NAME[:VERSION]`` in the store, the path of a root filesystem's archive, of an OCI layout
            (``FOLDER[:REFERENCE]``) or of an archive of one, or ``HOST/NAME[:TAG|@DIGEST]`` in a registry; empty
            for :data:`DEFAULT`, which is made if the store has none.
        architecture: which one to take of an image that is there for several.

    Raises:
        NotFoundError: there is no such base.
        InputError: it is nothing that images can stand on; the message says what it lacks.
        ArtifactError: it is damaged.
        StorageError: it cannot be read, or the store cannot be written.
    """
    name, _, version = (what or DEFAULT).partition(":")
    named = bases(store, name) if _NAME.fullmatch(name) else []
    named = [base for base in named if version in ("", str(base.version))]
    there = [base for base in named if base.architecture == architecture] or (named if what else [])
    if there:
        return there[-1]
    if not what:
        return make_base(store, architecture=architecture, progress=progress)
    return add_base(store, what, architecture=architecture, progress=progress)


def make_base(
    store: Store,
    name: str = DEFAULT,
    *,
    architecture: str = "amd64",
    suite: str = SUITE,
    mirror: str = "",
    progress: Progress = lambda what, share: None,
) -> Base:
    """Make a base of Debian's packages (:func:`fieldwave.images.debian.make_debian`) and put it into the store.

    Raises:
        NotFoundError: mmdebstrap is not installed, or could not get the packages.
        StorageError: the store cannot be written.
    """
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "debian.tar.gz"
        make_debian(archive, architecture=architecture, suite=suite, mirror=mirror, progress=progress)
        return add_base(store, str(archive), name, architecture=architecture, progress=progress)


def add_base(
    store: Store,
    what: str,
    name: str = "",
    *,
    architecture: str = "amd64",
    progress: Progress = lambda what, share: None,
) -> Base:
    """Put a base from elsewhere into the store; what was put there before is found again. As :func:`find_base`."""
    layout = _layout(what)
    with tempfile.TemporaryDirectory() as scratch:
        if layout is not None:
            source: Source = layout
        elif Path(what).is_file():
            digest, _ = digest_of_file(Path(what))
            there = _known(store, name or _ROOTFS, digest, None)
            if there is not None:
                return there
            flat = read_root_filesystem(Path(what), Path(scratch), progress)
            if flat is not None:
                return _put(store, name or _ROOTFS, [flat], None, digest, "", progress)
            unpack_archive(Path(what), Path(scratch) / "layout")
            source = LayoutSource(Path(scratch) / "layout")
            source.name = what
        elif _HOST.fullmatch(what.removeprefix("oci://")):
            source = RegistrySource(what.removeprefix("oci://"))
        else:
            raise NotFoundError(
                f"there is no base {what!r}: no base of that name in {store.address}, no file, "
                "and no address of an image in a registry, HOST/NAME:TAG"
            )
        return _fetch(store, source, name, architecture, Path(scratch), progress)


def _fetch(store: Store, source: Source, name: str, architecture: str, scratch: Path, progress: Progress) -> Base:
    digest, manifest = choose(source, architecture)
    registry = isinstance(source, RegistrySource)
    kept = name or ("registry" if registry else "layout")
    there = _known(store, kept, digest, architecture)
    if there is not None:
        return there
    config: dict[str, Any] = json.loads(b"".join(source.get(manifest.config)))
    expected = config.get("rootfs", {}).get("diff_ids", [])
    if len(expected) != len(manifest.layers):
        raise ArtifactError(f"{source.name} has {len(manifest.layers)} layers, its configuration {len(expected)}")
    flats = []
    tree = Tree()
    for number, (layer, diff_id) in enumerate(zip(manifest.layers, expected, strict=True)):
        progress(f"fetching {source.name}", number / len(expected))
        if layer.media_type not in _MEDIA_TYPES:
            raise InputError(f"{source.name} has a layer of {layer.media_type}; only tar and gzip can be read")
        path = scratch / f"layer-{number}"
        try:
            with path.open("wb") as file:
                file.writelines(source.get(layer))
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
        flat = read_layer(path, layer.media_type, tree, f"layer {number + 1} of {source.name}")
        if flat.diff_id != diff_id:
            raise ArtifactError(f"layer {number + 1} of {source.name} is not the one that its configuration names")
        flats.append(flat)
    return _put(store, kept, flats, config, digest, source.name if registry else "", progress)


def _put(
    store: Store,
    name: str,
    flats: list[Flattened],
    config: dict[str, Any] | None,
    origin: str,
    reference: str,
    progress: Progress,
) -> Base:
    tree = flats[-1].tree
    place = reference or f"the base {origin[:19]}…"
    python = _python(tree, place)
    machine = _machine(tree, python, place)
    if config is None:
        config = {"architecture": machine, "os": "linux", "config": {}}
        config["rootfs"] = {"type": "layers", "diff_ids": [flat.diff_id for flat in flats]}
        config["history"] = [{"created_by": "root filesystem"} for _ in flats]
    elif config.get("architecture") != machine:
        raise InputError(f"{place} says it is for {config.get('architecture')}, but its Python is for {machine}")
    for pattern, lacks in ((_LOADER, "glibc"), (_LIBRARY, "libstdc++")):
        if not any(tree.find(pattern)):
            raise InputError(f"{place} lacks {lacks}, which the runtime needs; Debian 12's slim images have it")
    said = {
        "architecture": machine,
        "python": f"/{python}",
        "root": tree.resolve("opt") or "opt",
        "origin": origin,
    }
    said |= {"reference": reference} if reference else {}
    said["size"] = str(sum(flat.size for flat in flats))
    artifact = Artifact(
        "",
        tuple(Layer(flat.media_type, flat.path) for flat in flats),
        Layer(CONFIG, to_json(config)),
        {f"{_PREFIX}{key}": value for key, value in said.items()},
    )
    progress("storing the base", 0.9)
    pushed = store.push(check_repository(f"{_REPOSITORY}{name}"), artifact, next_version)
    return _read(pushed.repository, int(pushed.tag), pushed.descriptor)


def _layout(what: str) -> LayoutSource | None:
    """``FOLDER`` or ``FOLDER:REFERENCE``, where there is such a folder; either may have colons in it."""
    for at in (len(what), *(at for at, letter in enumerate(what) if letter == ":")):
        if what[:at] and Path(what[:at]).is_dir():
            return LayoutSource(Path(what[:at]), what[at + 1 :])
    return None


def _known(store: Store, name: str, origin: str, architecture: str | None) -> Base | None:
    """The base that was made of this before, under the same name."""
    same = [base for base in bases(store, name) if base.origin == origin]
    same = [base for base in same if architecture in (None, base.architecture)]
    return same[-1] if same else None


def _python(tree: Tree, place: str) -> str:
    for path in _PYTHONS:
        found = tree.resolve(path)
        if found is not None and tree.nodes[found].kind == "file":
            return path
    others = sorted({path.rpartition("/")[2] for path in tree.find(re.compile(r"usr/(local/)?bin/python3\.\d+"))})
    raise InputError(
        f"{place} has no /usr/bin/python{PYTHON} or /usr/local/bin/python{PYTHON}"
        f"{f', it has {chr(44).join(others)}' if others else ''}; the runtime is for Python {PYTHON}"
    )


def _machine(tree: Tree, python: str, place: str) -> str:
    head = tree.nodes[tree.resolve(python) or python].head
    machine = int.from_bytes(head[18:20], "little") if head.startswith(b"\x7fELF") else -1
    if machine not in _MACHINES:
        raise InputError(f"/{python} of {place} is no program for {' or '.join(ARCHITECTURES)}")
    return _MACHINES[machine]


def _read(repository: str, version: int, descriptor: Descriptor) -> Base:
    said = {key.removeprefix(_PREFIX): value for key, value in descriptor.annotations.items()}
    try:
        return Base(
            name=repository.removeprefix(_REPOSITORY),
            version=version,
            digest=descriptor.digest,
            **{key: said[key] for key in ("architecture", "python", "root", "origin")},
            reference=said.get("reference", ""),
            size=int(said["size"]),
        )
    except (KeyError, ValueError) as error:
        raise ArtifactError(f"{repository}:{version} ({descriptor.digest}) is no base image: {error}") from None
