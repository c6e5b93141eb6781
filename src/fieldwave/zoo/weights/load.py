"""Where a network's weights come from: a seed, a safetensors file, or the file that the zoo ships."""

from __future__ import annotations

import re
from importlib.resources import as_file, files
from pathlib import Path

from fieldwave.errors import WeightsError
from fieldwave.zoo.initialise import random_weights
from fieldwave.zoo.network import Network
from fieldwave.zoo.weights.check import Weights, check_shapes
from fieldwave.zoo.weights.safetensors_file import read_safetensors

__all__ = ["load_weights"]


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


def _seed(source: str) -> int:
    text = source.removeprefix("random:")
    if not re.fullmatch("[0-9]{1,20}", text) or int(text) >= 2**64:
        raise WeightsError(f"{source!r} has no seed: write a whole number from 0 to 2**64 - 1, as in 'random:0'")
    return int(text)


def _read(network: Network, path: Path) -> Weights:
    file = read_safetensors(path)
    # Names, shapes and types stand in the header: a wrong file, however large, is refused unread.
    check_shapes(network, {name: stored.shape for name, stored in file.tensors.items()}, file.origin)
    for name in network.weight_shapes:
        if file.tensors[name].dtype != "float32":
            kind = file.tensors[name].dtype
            raise WeightsError(f"{path.name}: {name!r} is {kind}, must be float32; convert it")
    return {name: file.read(name) for name in network.weight_shapes}
