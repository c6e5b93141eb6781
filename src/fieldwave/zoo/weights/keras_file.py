"""Weights of Keras: ``.h5`` of Keras 1 to 3, ``.weights.h5`` and ``.keras`` of Keras 3; read by h5py alone.

Only arrays are read: no layer is built, so that a Lambda layer's code stays where it is, and no link or
external storage of HDF5 is followed into another file. A tensor is called ``LAYER/WEIGHT``, such as
``conv1_conv/kernel``, whichever file it comes from.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fieldwave.errors import MissingExtraError, WeightsError
from fieldwave.zoo.weights.stored import StoredTensor, TensorFile

__all__ = ["read_keras"]

_LARGEST_MEMBER = 8 * 2**30
_BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def read_keras(path: Path) -> TensorFile:
    """The weights of the layers; the optimizer's slots stay out.

    Raises:
        WeightsError: the file is damaged, or reaches into other files.
        MissingExtraError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("reading weights of Keras", "convert") from error
    try:
        path.open("rb").close()
        source: Any = path
        if zipfile.is_zipfile(path):
            source = _archived(path)
        file = h5py.File(source, "r")
        datasets = _datasets(file, h5py, path.name)
        layers = list(_by_object(datasets) if _is_by_object(datasets) else _by_layer(file, datasets))
    except OSError as error:
        if error.errno is not None and error.strerror:
            raise WeightsError(f"cannot read the weights {path}: {error.strerror}") from error
        raise WeightsError(f"{path} is damaged, or no file of Keras: get it again") from error
    except (zipfile.BadZipFile, RuntimeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path} is damaged, or no file of Keras: get it again") from error
    tensors = {
        f"{layer}/{leaf}": StoredTensor(tuple(dataset.shape), dataset.dtype.name, _loader(dataset))
        for layer, leaves, weights in layers
        for leaf, dataset in zip(leaves, weights, strict=True)
    }
    return TensorFile(path, "keras", tensors, {})


Layer = tuple[str, Sequence[str], Sequence[Any]]
"""A layer's name, its weights' names, and the datasets that hold them."""


def _archived(path: Path) -> io.BytesIO:
    """The HDF5 file inside a ``.keras`` archive."""
    with zipfile.ZipFile(path) as archive:
        if "model.weights.h5" not in archive.namelist():
            raise WeightsError(f"{path.name} is a zip, but none of Keras: it has no model.weights.h5")
        member = archive.getinfo("model.weights.h5")
        if member.file_size > min(_LARGEST_MEMBER, 100 * max(member.compress_size, 2**20)):
            raise WeightsError(
                f"{path.name} unpacks to {member.file_size} bytes, more than weights do; it was not read"
            )
        return io.BytesIO(archive.read(member))


def _datasets(file: Any, h5py: Any, origin: str) -> dict[str, Any]:
    """Every dataset by its path, links not followed."""
    found: dict[str, Any] = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise WeightsError(f"{origin}: {name!r} lies in another file, which is not read")
            found[name] = item

    file.visititems(collect)
    return found


def _is_by_object(datasets: dict[str, Any]) -> bool:
    return any("vars" in name.split("/") for name in datasets)


def _by_object(datasets: dict[str, Any]) -> Iterator[Layer]:
    """Keras 3's layout: ``layers/conv2d_1/vars/0``; the layer's own name is an attribute of ``vars``."""
    groups: dict[str, list[str]] = {}
    for name in datasets:
        folder, _, number = name.rpartition("/")
        if folder.split("/")[-1] == "vars" and number.isdecimal() and not folder.startswith("optimizer"):
            groups.setdefault(folder, []).append(name)
    for folder, names in groups.items():
        weights = [datasets[name] for name in sorted(names, key=lambda name: int(name.rpartition("/")[2]))]
        layer = weights[0].parent.attrs.get("name") or folder.split("/")[-2 if "/" in folder else 0]
        yield _text(layer), _leaves(weights), weights


def _by_layer(file: Any, datasets: dict[str, Any]) -> Iterator[Layer]:
    """The older layout: groups of layers, each with the list of its weights' names."""
    root = "model_weights/" if "model_weights" in file else ""
    for layer in map(_text, file[root or "/"].attrs["layer_names"]):
        names = [_text(name) for name in file[f"{root}{layer}"].attrs["weight_names"]]
        inner: dict[str, list[str]] = {}
        for name in names:
            # A model inside a model lists the weights of its layers: conv1_conv/kernel.
            owner = name.rpartition("/")[0]
            owner = layer if not owner or owner.endswith(f"/{layer}") else owner
            inner.setdefault(owner, []).append(name)
        for owner, members in inner.items():
            weights = [datasets[f"{root}{layer}/{name}"] for name in members]
            leaves = [name.rpartition("/")[2].removesuffix(":0") for name in members]
            known = all(leaf in (*_BATCH_NORM, "kernel", "bias") for leaf in leaves)
            yield owner, leaves if known else _leaves(weights), weights


def _leaves(weights: Sequence[Any]) -> Sequence[str]:
    """What a layer's weights are called, from their order, which has never changed."""
    if len(weights) == 4 and all(len(weight.shape) == 1 for weight in weights):
        return _BATCH_NORM
    return [*("kernel", "bias")[: len(weights)], *map(str, range(2, len(weights)))]


def _loader(dataset: Any) -> Any:
    return lambda: dataset[()]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
