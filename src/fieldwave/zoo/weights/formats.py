"""Which kind of file it is, and who reads it."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from fieldwave.errors import WeightsError
from fieldwave.zoo.weights.keras_file import read_keras
from fieldwave.zoo.weights.onnx_file import read_onnx
from fieldwave.zoo.weights.safetensors_file import read_safetensors
from fieldwave.zoo.weights.stored import TensorFile
from fieldwave.zoo.weights.tensorflow_checkpoint import find_checkpoint, read_checkpoint, read_savedmodel
from fieldwave.zoo.weights.torch_file import read_torch

__all__ = ["KINDS", "is_weights_file", "open_tensors"]

KINDS = ".safetensors, .pth, .pt, .ckpt, .h5, .keras, .onnx, or the folder of a SavedModel"
"""For messages: what can be read."""

_READERS: dict[str, Callable[[Path], TensorFile]] = {
    ".safetensors": read_safetensors,
    ".pth": read_torch,
    ".pt": read_torch,
    ".h5": read_keras,
    ".hdf5": read_keras,
    ".keras": read_keras,
    ".onnx": read_onnx,
}
_TABLE_MAGIC = bytes.fromhex(
    "57fb808b247547db"
)  # the last bytes of LevelDB's tables, TensorFlow's checkpoints among them


def is_weights_file(source: str) -> bool:
    """Whether the text means a file or folder, there or not."""
    path = Path(source)
    return path.suffix in (*_READERS, ".ckpt", ".index") or path.exists() or find_checkpoint(path) is not None


def open_tensors(path: str | PathLike[str]) -> TensorFile:
    """The tensors of a file, unread, whatever wrote it.

    The name's ending says the kind; where it does not (``.ckpt``, ``.bin``), the file's first bytes do.

    Raises:
        WeightsError: there is no such file, it is damaged, or of a kind that is not read.
        MissingExtraError: what reads it is not installed.
    """
    path = Path(path)
    if path.suffix in _READERS and not path.is_dir():
        return _READERS[path.suffix](path)
    if (path / "variables").is_dir() or (path / "saved_model.pb").is_file():
        return read_savedmodel(path)
    checkpoint = find_checkpoint(path)
    if checkpoint is not None:
        return read_checkpoint(checkpoint)
    return _sniffed(path)(path)


def _sniffed(path: Path) -> Callable[[Path], TensorFile]:
    try:
        with path.open("rb") as file:
            first = file.read(16)
            file.seek(max(file.seek(0, 2) - 8, 0))
            last = file.read(8)
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path}: {error.strerror}") from error
    if first.startswith(b"\x89HDF\r\n\x1a\n"):
        return read_keras
    if first.startswith((b"PK\x03\x04", b"\x80")):
        return read_torch
    if first[8:9] == b"{":
        return read_safetensors
    if last == _TABLE_MAGIC:
        return read_checkpoint
    raise WeightsError(f"{path} is of no kind that holds weights: give a {KINDS}")
