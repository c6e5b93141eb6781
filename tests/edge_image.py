"""A small container image in an OCI archive, for what a box does with images whatever is in them.

Its program is catatonit, which podman needs anyway: it waits for ever, ends when asked to, and answers nobody.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

CATATONIT = shutil.which("catatonit", path="/usr/libexec/podman:/usr/libexec/catatonit:/usr/bin:/bin")
MISSING = "catatonit is not installed: apt-get install catatonit"


def write_archive(
    path: Path,
    *,
    entrypoint: tuple[str, ...] = ("/catatonit", "-P"),
    machine: str = "amd64",
    notes: dict[str, str] | None = None,
    padding: bytes = b"",
    broken: str = "",
) -> Path:
    """An archive with one image; ``padding`` is a file in it, ``broken`` names a part that is left out."""
    assert CATATONIT is not None
    layer = _layer({"catatonit": Path(CATATONIT).read_bytes(), "padding": padding})
    config = _json(
        {
            "architecture": machine,
            "os": "linux",
            "config": {"Entrypoint": list(entrypoint), "User": "1000"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    )
    packed = gzip.compress(layer, 1, mtime=0)
    said = {"dev.fieldwave.package": f"sha256:{'1' * 64}", "dev.fieldwave.network": "tiny"}
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", packed)],
            "annotations": said if notes is None else notes,
        }
    )
    entry = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    parts = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "manifests": [entry]}),
        **{f"blobs/sha256/{hashlib.sha256(part).hexdigest()}": part for part in (manifest, config, packed)},
    }
    leave = {"config": _name(config), "layer": _name(packed), "index": "index.json"}.get(broken)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in parts.items():
            if name != leave:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


def _layer(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _name(part: bytes) -> str:
    return f"blobs/sha256/{hashlib.sha256(part).hexdigest()}"


def _descriptor(kind: str, part: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(part).hexdigest()}", "size": len(part)}
