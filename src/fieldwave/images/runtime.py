"""The runtime: a base with the wheels and Fieldwave itself, on which every image is one layer more.

It is kept as an image of its own, ``runtimes/ARCHITECTURE:KEY``, whose key names all that it was made from. So
the wheels are unpacked once, and a new model costs one layer; collecting garbage leaves it there.
"""

from __future__ import annotations

import hashlib
import json
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fieldwave.errors import ArtifactError, NotFoundError
from fieldwave.images import bytecode
from fieldwave.images.base import CONFIG, Base
from fieldwave.images.inside import GRPC_PORT, PACKAGE, PROBE_PORT, USER
from fieldwave.images.layer import LAYER, LayerWriter, WrittenLayer
from fieldwave.images.lock import PYTHON, lock_file
from fieldwave.images.source_files import SourceFile, digest, source_files
from fieldwave.images.wheel import wheel_files
from fieldwave.images.wheels import Progress, wheels
from fieldwave.store import Artifact, Layer, Manifest, Store, Stored
from fieldwave.store.content import to_json
from fieldwave.version import __version__

__all__ = ["EPOCH", "FORMAT", "Runtime", "runtime"]

FORMAT = 2
"""Counts up when the same inputs are to give another image."""
_LIBRARIES = "fieldwave/lib"
_PROGRAMS = "fieldwave/bin"
_BYTECODE = "fieldwave/bytecode"
_COMMAND = "#!{python}\nfrom fieldwave.cli import main\n\nmain()\n"
EPOCH = "1970-01-01T00:00:00Z"
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/tmp",
    "PYTHONPATH": f"/opt/{_LIBRARIES}",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONPYCACHEPREFIX": f"/opt/{_BYTECODE}",
    # glibc keeps freed tensors for the next request, instead of giving their pages back each time.
    "MALLOC_MMAP_THRESHOLD_": str(128 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}

Log = Callable[[str], None]
"""Takes a line of the build's log."""


class Runtime:
    """A runtime in a store: its repository there, its layers and their size in bytes, its configuration."""

    def __init__(self, repository: str, manifest: Manifest, config: dict[str, Any]) -> None:
        self.repository = repository
        self.config = config
        self.descriptors = manifest.layers
        self.size = sum(layer.size for layer in manifest.layers)


def runtime(
    store: Store,
    base: Base,
    wheelhouse: Path | None = None,
    *,
    log: Log = lambda line: None,
    progress: Progress = lambda what, share: None,
) -> Runtime:
    """The runtime on this base; it is made if the store has none yet.

    Raises:
        NotFoundError: wheels are missing, here or in the folder that was given.
        StorageError: the store cannot be written.
    """
    own = source_files()
    lock = lock_file(base.architecture).read_bytes()
    made_from = [FORMAT, base.digest, hashlib.sha256(lock).hexdigest(), digest(own), bytecode.compiler()]
    key = hashlib.sha256(to_json(made_from)).hexdigest()
    repository = f"runtimes/{base.architecture}"
    try:
        _, manifest = store.manifest(repository, key[:32])
        log(f"runtime {key[:12]} of fieldwave {__version__} on base {base.id}: there already")
    except NotFoundError:
        _make(store, base, wheelhouse, own, repository, key[:32], log, progress)
        _, manifest = store.manifest(repository, key[:32])
    config = _config(store, repository, manifest)
    return Runtime(repository, manifest, config)


def _make(
    store: Store,
    base: Base,
    wheelhouse: Path | None,
    own: Sequence[SourceFile],
    repository: str,
    tag: str,
    log: Log,
    progress: Progress,
) -> None:
    found = wheels(base.architecture, wheelhouse, progress=progress)
    _, manifest = store.manifest(base.repository, base.digest)
    config = _config(store, base.repository, manifest)
    held = [
        Layer(layer.media_type, Stored(base.repository, layer), layer.annotations) for layer in manifest.layers
    ]
    with tempfile.TemporaryDirectory() as scratch:
        progress("packing the runtime", 0.2)
        modules = _standard_library(store, base, manifest, log)
        libraries = _libraries(found, modules, base, Path(scratch) / "libraries", progress)
        log(f"layer {libraries.digest}: {len(found)} wheels, {libraries.size:,} bytes")
        fieldwave = _fieldwave(own, base, Path(scratch) / "fieldwave")
        log(f"layer {fieldwave.digest}: fieldwave {__version__}, {len(own)} files, {fieldwave.size:,} bytes")
        config = _extended(config, base, (libraries, fieldwave))
        progress("storing the runtime", 0.7)
        new = [Layer(LAYER, layer.path) for layer in (libraries, fieldwave)]
        store.push(repository, Artifact("", (*held, *new), Layer(CONFIG, to_json(config))), tag)


def _standard_library(store: Store, base: Base, manifest: Manifest, log: Log) -> Mapping[str, bytes]:
    """The modules to compile besides those of the wheels; none where this Python cannot."""
    if bytecode.compiler():
        return bytecode.standard_library(store, base, manifest)
    log(f"no byte code: images have Python {PYTHON}, this is {platform.python_version()}; services start slower")
    return {}


def _add_bytecode(layer: LayerWriter, root: str, name: str, place: str, source: bytes) -> None:
    """The byte code of the module ``name``, which is at ``/place`` in the image; nothing if there is none."""
    found = bytecode.pyc(name, source) if bytecode.compiler() else None
    if found is not None:
        target = f"{root}/{_BYTECODE}/{bytecode.file_name(place)}"
        layer.folder(target.rpartition("/")[0], above=root)
        layer.file(target, found)


def _libraries(
    found: Sequence[Path], modules: Mapping[str, bytes], base: Base, path: Path, progress: Progress
) -> WrittenLayer:
    root, top = base.root, f"{base.root}/{_LIBRARIES}"
    with LayerWriter(path) as layer:
        for name, source in modules.items():
            _add_bytecode(layer, root, name, f"{bytecode.library_folder(base)}{name}", source)
        for number, wheel in enumerate(found):
            progress("packing the runtime", 0.2 + 0.4 * number / len(found))
            for file in wheel_files(wheel):
                name = f"{top}/{file.path}"
                layer.folder(name.rpartition("/")[0], above=root)
                if file.deflated:
                    layer.deflated_file(name, file.data, file.crc, file.size)
                else:
                    layer.file(name, file.data)
                if file.path.endswith(".py"):
                    place = f"opt/{_LIBRARIES}/{file.path}"
                    _add_bytecode(layer, root, file.path, place, bytecode.content(file))
        return layer.finish()


def _fieldwave(own: Sequence[SourceFile], base: Base, path: Path) -> WrittenLayer:
    with LayerWriter(path) as layer:
        for name, data in own:
            place = f"{base.root}/{_LIBRARIES}/{name}"
            layer.folder(place.rpartition("/")[0], above=f"{base.root}/{_LIBRARIES}")
            layer.file(place, data)
            _add_bytecode(layer, base.root, name, f"opt/{_LIBRARIES}/{name}", data)
        layer.folder(f"{base.root}/{_PROGRAMS}", above=f"{base.root}/fieldwave")
        layer.file(f"{base.root}/{_PROGRAMS}/fieldwave", _COMMAND.format(python=base.python).encode(), 0o755)
        layer.link(f"{base.root}/{_PROGRAMS}/python3", base.python)
        return layer.finish()


def _extended(config: dict[str, Any], base: Base, layers: Sequence[WrittenLayer]) -> dict[str, Any]:
    """The configuration of the base's image, for the runtime."""
    before = config.get("config") or {}
    environment = dict(pair.partition("=")[::2] for pair in before.get("Env") or [])
    environment = {**_ENVIRONMENT, **{k: v for k, v in environment.items() if k in ("PATH", "SSL_CERT_FILE")}}
    environment["PATH"] = f"/opt/{_PROGRAMS}:{environment['PATH']}"
    settings = {
        "User": str(USER),
        "Env": [f"{key}={value}" for key, value in sorted(environment.items())],
        "Entrypoint": [base.python, "-m", "fieldwave", "serve", f"/opt/{PACKAGE}", "--host", "0.0.0.0"],
        "ExposedPorts": {f"{GRPC_PORT}/tcp": {}, f"{PROBE_PORT}/tcp": {}},
        "WorkingDir": "/",
        "StopSignal": "SIGTERM",
    }
    history = config.get("history") or [{"created_by": "base"} for _ in config["rootfs"]["diff_ids"]]
    made = [{"created": EPOCH, "created_by": f"fieldwave {what}"} for what in ("libraries", __version__)]
    return {
        "created": EPOCH,
        "architecture": base.architecture,
        "os": "linux",
        **({"variant": config["variant"]} if config.get("variant") else {}),
        "config": settings,
        "rootfs": {
            "type": "layers",
            "diff_ids": [*config["rootfs"]["diff_ids"], *(layer.diff_id for layer in layers)],
        },
        "history": [*history, *made],
    }


def _config(store: Store, repository: str, manifest: Manifest) -> dict[str, Any]:
    value = json.loads(b"".join(store.read(repository, manifest.config)))
    if not isinstance(value, dict) or len(value.get("rootfs", {}).get("diff_ids", [])) != len(manifest.layers):
        raise ArtifactError(f"the configuration {manifest.config.digest} in {repository} is of another image")
    return value
