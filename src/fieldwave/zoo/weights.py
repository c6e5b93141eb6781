"""Where a network's weights come from: a seed, a safetensors file, or the file that the zoo ships."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from importlib.resources import as_file, files
from os import PathLike
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import MissingExtraError, WeightsError
from fieldwave.files import write_atomically
from fieldwave.zoo.initialise import random_weights
from fieldwave.zoo.layers import Shape
from fieldwave.zoo.network import Network

__all__ = ["check_weights", "load_weights", "save_weights"]

Weights = dict[str, NDArray[np.float32]]


def load_weights(network: Network, source: str) -> Weights:
    """The weights of ``network``, by name, in the network's order.

    ``source`` is ``random:SEED`` with a whole number from 0 on, the path of a ``.safetensors`` file that
    holds exactly the network's weights (:func:`save_weights` writes one), or ``""`` for those that the zoo
    ships.

    Raises:
        WeightsError: no such source or file, or the file is damaged or belongs to another network.
        MissingExtraError: safetensors is not installed.
    """
    if source.startswith("random:"):
        return random_weights(network, _seed(source))
    if source == "":
        shipped = files("fieldwave.zoo").joinpath(f"data/{network.name}.safetensors")
        if not shipped.is_file():
            raise WeightsError(
                f"{network.name} comes without weights: give the path of a .safetensors file, "
                "or 'random:0' to try it out"
            )
        with as_file(shipped) as path:
            return _read(network, path)
    if not source.endswith(".safetensors"):
        raise WeightsError(
            f"{source!r} is no source of weights: give the path of a .safetensors file, or 'random:0'"
        )
    return _read(network, Path(source))


def save_weights(path: str | PathLike[str], network: Network, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Write a ``.safetensors`` file that :func:`load_weights` reads; the same weights give the same bytes.

    Raises:
        WeightsError: they are not those of ``network``.
        StorageError: the file cannot be written.
        MissingExtraError: safetensors is not installed.
    """
    check_weights(network, weights)
    arrays = {name: np.ascontiguousarray(weights[name]) for name in network.weight_shapes}
    write_atomically(path, _safetensors("safetensors.numpy").save(arrays))


def check_weights(
    network: Network, weights: Mapping[str, NDArray[np.float32]], origin: str = "the set of weights"
) -> None:
    """Raise WeightsError unless these are exactly the network's, by name and shape, float32 and finite.

    ``origin`` says in the message where they come from.
    """
    _check_shapes(network, {name: array.shape for name, array in weights.items()}, origin)
    for name in network.weight_shapes:
        array = weights[name]
        if array.dtype != np.float32:
            raise WeightsError(f"{origin}: {name!r} is {array.dtype}, must be float32; convert it")
        finite = np.isfinite(array)
        if not finite.all():
            raise WeightsError(
                f"{origin}: {name!r} holds {array.size - int(finite.sum())} values that are NaN or infinite"
            )


def _seed(source: str) -> int:
    text = source.removeprefix("random:")
    if not re.fullmatch("[0-9]{1,20}", text) or int(text) >= 2**64:
        raise WeightsError(f"{source!r} has no seed: write a whole number from 0 to 2**64 - 1, as in 'random:0'")
    return int(text)


def _read(network: Network, path: Path) -> Weights:
    module = _safetensors("safetensors")
    try:
        path.open("rb").close()
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path}: {error.strerror}") from error
    try:
        with module.safe_open(path, framework="numpy") as file:
            # Names, shapes and types stand in the header: a wrong file, however large, is refused unread.
            tensors = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: tuple(tensor.get_shape()) for name, tensor in tensors.items()}
            _check_shapes(network, shapes, path.name)
            for name in network.weight_shapes:
                if tensors[name].get_dtype() != "F32":
                    kind = tensors[name].get_dtype()
                    raise WeightsError(f"{path.name}: {name!r} is {kind}, must be F32; convert it to float32")
            arrays = {name: file.get_tensor(name) for name in network.weight_shapes}
    except module.SafetensorError as error:
        raise WeightsError(f"{path} is damaged, or no .safetensors file: get it again") from error
    check_weights(network, arrays, path.name)
    return arrays


def _check_shapes(network: Network, shapes: Mapping[str, Shape], origin: str) -> None:
    expected = network.weight_shapes
    missing = [name for name in expected if name not in shapes]
    unexpected = sorted(name for name in shapes if name not in expected)
    if missing or unexpected:
        complaints = []
        if missing:
            complaints.append(f"it lacks {_first(missing, expected)}")
        if unexpected:
            complaints.append(f"it has {_first(unexpected, shapes)}")
        raise WeightsError(f"{origin} is not for {network.name}: {'; '.join(complaints)}")
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise WeightsError(
                f"{origin} is not for {network.name}: {name!r} is {_text(shapes[name])}, must be {_text(shape)}"
            )


def _safetensors(module: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError("reading and writing weights", "convert") from error


def _first(names: list[str], shapes: Mapping[str, Shape]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]!r} {_text(shapes[names[0]])}{more}"


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"
