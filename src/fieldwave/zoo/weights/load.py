"""The weights of a network, from a seed, a file of any publisher, or what the zoo ships."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib.resources import as_file, files
from pathlib import Path

from fieldwave.errors import WeightsError
from fieldwave.zoo.catalogue import network as zoo_network
from fieldwave.zoo.catalogue import variants
from fieldwave.zoo.initialise import random_weights
from fieldwave.zoo.network import Network
from fieldwave.zoo.weights.assemble import assembled
from fieldwave.zoo.weights.cache import cached
from fieldwave.zoo.weights.check import Weights, first_of
from fieldwave.zoo.weights.fit import Fit, best_fit, fit_to
from fieldwave.zoo.weights.formats import KINDS, is_weights_file, open_tensors
from fieldwave.zoo.weights.names import OWN, OWN_ONNX
from fieldwave.zoo.weights.publishers import published_names
from fieldwave.zoo.weights.stored import TensorFile

__all__ = ["find_weights", "load", "load_weights"]


def load(name: str, source: str, *, note: Callable[[str], None] = lambda text: None) -> tuple[Network, Weights]:
    """The network of that name in the variant for which the weights are, and its weights.

    Args:
        name: one of ``fieldwave.zoo.names()``.
        source: the path of a file or folder, the name of a pulled set, ``random:SEED`` with a whole number
            from 0 on, or ``""`` for the weights that the zoo ships. Whose names a file has is found out;
            weights of another number of classes give a network of as many, without labels.
        note: called with what the user should know, a line each.

    Raises:
        NotFoundError: the zoo has no such network.
        WeightsError: no such source or file, or the file is damaged or belongs to another network.
        MissingExtraError: what reads the file is not installed.
    """
    plain = zoo_network(name)
    if source.startswith("random:"):
        return plain, random_weights(plain, _seed(source))
    with _opened(plain, source) as path:
        file = open_tensors(path)
        fit = best_fit(file, name)
        if fit is None:
            raise _stranger(file, name)
        weights = assembled(file, fit)
    for line in _remarks(file, fit):
        note(line)
    return fit.network, weights


def _remarks(file: TensorFile, fit: Fit) -> Iterator[str]:
    """What was taken for granted, or could not be known."""
    name = fit.network.name
    if fit.network.labels != zoo_network(name, fit.variant).labels:
        classes = fit.network.outputs[0].shape[-1]
        yield f"{file.origin} is for {classes} classes, not for those of {name}: they have no labels"
    for standing, stored in fit.head.items():
        yield f"{file.origin}: {stored!r} is taken for {standing!r}"
    silent = file.format in ("onnx", "safetensors") and "variant" not in file.notes
    if silent and fit.family in (OWN, OWN_ONNX) and len(variants(name)) > 1:
        yield f"{file.origin} does not say for which variant of {name} it is: {fit.variant} was assumed"


def load_weights(network: Network, source: str) -> Weights:
    """The weights of ``network``, by name, in the network's order.

    ``source`` is what :func:`load` takes; here the weights must be those of exactly this network.

    Raises:
        WeightsError: no such source or file, or the file is damaged or belongs to another network.
        MissingExtraError: what reads the file is not installed.
    """
    if source.startswith("random:"):
        return random_weights(network, _seed(source))
    with _opened(network, source) as path:
        file = open_tensors(path)
        fit = fit_to(file, network)
        if fit is None:
            raise _stranger(file, network.name)
        if fit.variant != network.variant:
            raise WeightsError(
                f"{file.origin} holds {network.name} in the variant {fit.variant!r}, not {network.variant!r}: "
                f"take zoo.network({network.name!r}, {fit.variant!r})"
            )
        return assembled(file, fit)


def _stranger(file: TensorFile, name: str) -> WeightsError:
    other = best_fit(file)
    if other is not None:
        return WeightsError(f"{file.origin} is not for {name}, but for {other.network.name}")
    if not file.tensors:
        return WeightsError(f"{file.origin} is not for {name}: it holds no tensors")
    shapes = {name: stored.shape for name, stored in file.tensors.items()}
    return WeightsError(
        f"{file.origin} is not for {name}: it has {first_of(shapes, shapes)}, which no publisher of it has"
    )


def find_weights(source: str) -> Path:
    """The file that ``source`` means: its path, or the name of a set that was pulled.

    Raises:
        WeightsError: it means none, or the set was not pulled yet.
    """
    if is_weights_file(source):
        return Path(source)
    if source in published_names():
        path = cached(source)
        if path is None:
            raise WeightsError(f"the weights {source!r} are not here: fieldwave weights pull {source}")
        return path
    raise WeightsError(
        f"{source!r} is no source of weights: give a {KINDS}, or the name of a pulled set, or 'random:0'"
    )


def _opened(network: Network, source: str) -> AbstractContextManager[Path]:
    if source != "":
        return nullcontext(find_weights(source))
    shipped = files("fieldwave.zoo").joinpath(f"data/{network.name}.safetensors")
    if not shipped.is_file():
        pulled = f"pull them with 'fieldwave weights pull {network.name}', "
        raise WeightsError(
            f"{network.name} comes without weights: {pulled if network.name in published_names() else ''}"
            "give the path of a file, or 'random:0' to try it out"
        )
    return as_file(shipped)


def _seed(source: str) -> int:
    text = source.removeprefix("random:")
    if not re.fullmatch("[0-9]{1,20}", text) or int(text) >= 2**64:
        raise WeightsError(f"{source!r} has no seed: write a whole number from 0 to 2**64 - 1, as in 'random:0'")
    return int(text)
