"""State dicts of PyTorch: ``.pth`` and ``.pt``, without torch and without running their pickles.

Both layouts of ``torch.save``: the zip of torch 1.6 and later (``data.pkl`` describes the tensors,
``data/KEY`` holds the values of one storage, uncompressed), and the one before it (four pickles in a row,
then the storages), in which many of the published files still are.
"""

from __future__ import annotations

import io
import mmap
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from fieldwave.errors import WeightsError
from fieldwave.zoo.weights.stored import StoredTensor, TensorFile, bfloat16
from fieldwave.zoo.weights.torch_pickle import DamagedPickle, PickledTensor, Storage, interpret

__all__ = ["read_torch"]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LARGEST_PICKLE = 64 * 2**20
_MOST_DIMENSIONS = 8
# Where training scripts keep the weights among other things.
_STATE_DICTS = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights", "state_dict_ema")


def read_torch(path: Path) -> TensorFile:
    """The tensors of a state dict, or of the state dict in a training checkpoint; ``module.`` is dropped.

    Raises:
        WeightsError: the file is damaged, or holds something else than tensors, which is named and not run.
    """
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the file is empty"
        raise WeightsError(f"cannot read the weights {path}: {reason}") from error
    if content[:4] == b"PK\x03\x04":
        value, storages, order = _read_zip(path, content)
    else:
        value, storages, order = _read_legacy(content, path.name)
    values = np.frombuffer(content, np.uint8)
    tensors = {
        _without_prefix(name): _stored(name, tensor, storages, values, order, path.name)
        for name, tensor in _state_dict(value, path.name).items()
    }
    return TensorFile(path, "torch", tensors, {})


def _state_dict(value: Any, origin: str) -> dict[str, PickledTensor]:
    candidates = [value]
    if isinstance(value, dict):
        candidates += [value[key] for key in _STATE_DICTS if key in value]
    for candidate in candidates:
        if isinstance(candidate, dict):
            found = {
                name: tensor
                for name, tensor in candidate.items()
                if isinstance(name, str) and isinstance(tensor, PickledTensor)
            }
            if found:
                return found
    raise WeightsError(f"{origin} holds no state dict: save one with torch.save(model.state_dict(), path)")


def _without_prefix(name: str) -> str:
    """DataParallel's and torch.compile's wrappers put themselves in front of every name."""
    return name.removeprefix("module.").removeprefix("_orig_mod.")


Order = Literal["<", ">"]
Places = Mapping[str, tuple[int, int]]
"""Position and length of every storage, in bytes, by key."""


def _read_zip(path: Path, content: mmap.mmap) -> tuple[Any, Places, Order]:
    origin = path.name
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            pickles = [name for name in members if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise WeightsError(f"{origin} is a zip, but none of torch.save: it has no data.pkl")
            root = pickles[0].removesuffix("data.pkl")
            if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
                raise WeightsError(f"{origin} is compressed, which torch.save never does: it was not read")
            if members[pickles[0]].file_size > _LARGEST_PICKLE:
                raise WeightsError(f"{origin}: its pickle is longer than that of any state dict; it was not read")
            order = archive.read(f"{root}byteorder") if f"{root}byteorder" in members else b"little"
            value = interpret(io.BytesIO(archive.read(pickles[0])), origin)
            prefix = f"{root}data/"
            places = {
                name.removeprefix(prefix): (_start(content, member), member.file_size)
                for name, member in members.items()
                if name.startswith(prefix)
            }
    except WeightsError:
        raise
    except (zipfile.BadZipFile, DamagedPickle, EOFError, RuntimeError, ValueError, OSError) as error:
        raise WeightsError(f"{origin} is damaged, or not whole: get it again") from error
    if any(start + length > len(content) for start, length in places.values()):
        raise WeightsError(f"{origin} is damaged, or not whole: get it again")
    return value, places, ">" if order == b"big" else "<"


def _start(content: mmap.mmap, member: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: behind its local header, whose name and extra field vary."""
    header = content[member.header_offset : member.header_offset + 30]
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("no local header")
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return member.header_offset + 30 + name + extra


def _read_legacy(content: mmap.mmap, origin: str) -> tuple[Any, Places, Order]:
    try:
        if interpret(content, origin) != _LEGACY_MAGIC:
            raise DamagedPickle("not the magic number")
        interpret(content, origin)  # the version of the layout, which never changed
        system = interpret(content, origin)
        value = interpret(content, origin)
        keys = interpret(content, origin)
    except DamagedPickle as error:
        raise WeightsError(f"{origin} is damaged, or no file of torch.save: get it again") from error
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise WeightsError(f"{origin} was written on a big-endian machine: save it again on another")
    widths = {storage.key: _WIDTHS[storage.dtype] for storage in _storages(value)}
    places: dict[str, tuple[int, int]] = {}
    place = content.tell()
    for key in keys if isinstance(keys, list) else []:
        if not isinstance(key, str) or key not in widths:
            break  # of no tensor that is read, so that its length is unknown
        length = int.from_bytes(content[place : place + 8], "little") * widths[key]
        places[key] = (place + 8, length)
        place += 8 + length
        if place > len(content):
            raise WeightsError(f"{origin} is damaged, or not whole: get it again")
    return value, places, "<"


_WIDTHS = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip


def _storages(value: Any) -> list[Storage]:
    """Of every tensor in a value of dictionaries, lists and tuples, each visited once."""
    found, waiting, seen = [], [value], set()
    while waiting:
        item = waiting.pop()
        if isinstance(item, PickledTensor):
            found.append(item.storage)
        elif isinstance(item, dict | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            waiting.extend(item.values() if isinstance(item, dict) else item)
    return found


def _stored(
    name: str, tensor: PickledTensor, places: Places, content: NDArray[np.uint8], order: Order, origin: str
) -> StoredTensor:
    storage = tensor.storage
    width = _WIDTHS[storage.dtype]
    start, length = places.get(storage.key, (0, 0))
    shape, strides = tensor.shape, tensor.strides
    size = 1
    for count in shape:
        size *= count
    last = tensor.offset + sum((count - 1) * stride for count, stride in zip(shape, strides, strict=True))
    held = length // width
    # More values than the storage has would be copies of them, as `expand` makes: no weight is one.
    if len(shape) > _MOST_DIMENSIONS or (size and last >= held) or size > held:
        raise WeightsError(f"{origin} is damaged: {name!r} reaches beyond the {held} values of its storage")

    def load() -> NDArray[Any]:
        dtype = np.dtype("uint16" if storage.dtype == "bfloat16" else storage.dtype).newbyteorder(order)
        flat = content[start : start + held * width].view(dtype)[tensor.offset :]
        view = as_strided(flat, shape, tuple(stride * width for stride in strides), writeable=False)
        return bfloat16(view) if storage.dtype == "bfloat16" else view

    return StoredTensor(shape, storage.dtype, load)
