"""Compiles this folder's .proto files into descriptors, ``.pb``: ``make wire``, after a change to one of them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

from fieldwave.errors import MissingExtraError
from fieldwave.files import write_atomically

__all__ = ["DESCRIPTORS", "FOLDER", "compile_descriptors"]

FOLDER = Path(__file__).parent
DESCRIPTORS = {
    "messages.pb": ("tensor.proto", "prediction.proto", "model_status.proto", "inference.proto", "health.proto"),
    "kubelet.pb": ("device_plugin.proto", "pod_resources.proto"),
}
"""The files of descriptors, and what each is compiled from."""
_SOURCE_ROOT = FOLDER.parent.parent


def compile_descriptors(name: str) -> bytes:
    """A serialized ``FileDescriptorSet``: what belongs into the file ``name`` of :data:`DESCRIPTORS`.

    Google's own files (``any.proto``, ``wrappers.proto``) are not in it: every protobuf runtime brings its
    own, and so the bytes depend on our files alone.

    Raises:
        MissingExtraError: grpcio-tools, which brings the compiler, is not installed.
        RuntimeError: the compiler refused a file; it has printed why.
    """
    found = importlib.util.find_spec("grpc_tools")
    if found is None or found.origin is None:
        raise MissingExtraError("compiling the .proto files", "test")
    google = Path(found.origin).parent / "_proto"
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / name
        # In a process of its own: beside TensorFlow, which has a protobuf of its own, the compiler crashes.
        status = subprocess.run(
            [
                sys.executable,
                "-m",
                "grpc_tools.protoc",
                f"--proto_path={_SOURCE_ROOT}",
                f"--proto_path={google}",
                f"--descriptor_set_out={output}",
                *(str(FOLDER / proto) for proto in DESCRIPTORS[name]),
            ],
            check=False,
        ).returncode
        if status != 0:
            raise RuntimeError(f"protoc ended with status {status}; it has printed why")
        return output.read_bytes()


if __name__ == "__main__":
    for descriptors in DESCRIPTORS:
        write_atomically(FOLDER / descriptors, compile_descriptors(descriptors))
        sys.stdout.write(f"wrote {FOLDER / descriptors}\n")
