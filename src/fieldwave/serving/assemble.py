"""From named tensors, however they travelled, to what the device takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import ImageError, InputError, TensorError
from fieldwave.preprocess import Preprocessing, check_total_pixels, normalise, preprocess
from fieldwave.serving.accepted import Accepted
from fieldwave.serving.signature import Signature, quoted

__all__ = ["Prediction", "assemble"]


@dataclass(frozen=True)
class Prediction:
    """One decoded request.

    Attributes:
        inputs: what the device takes, by the graph's tensor names; the first dimension is the batch.
        outputs: the names that the client asked for; empty for all.
        by_alias: whether the client called an input by an alias instead of its name in the graph.
    """

    inputs: Mapping[str, NDArray[Any]]
    outputs: tuple[str, ...] = ()
    by_alias: bool = False

    @property
    def images(self) -> int:
        """How many images it is for."""
        return max((len(array) for array in self.inputs.values() if array.ndim), default=1)


def assemble(
    tensors: Iterable[tuple[str, Callable[[], NDArray[Any]]]],
    outputs: Sequence[str],
    signature: Signature,
    *,
    max_batch: int,
    go_on: Callable[[], None] = lambda: None,
) -> Prediction:
    """Check what a client sent by name, and make of each input what the device takes.

    An image network's input may come as image files (string [N]), pixels (uint8 [N, height, width, channels], in
    R, G, B order), or as the network's own tensor (float32 of that shape).

    Parameters:
        tensors: each name that the client sent, and what reads its tensor; it is read when all names are right.
        outputs: the names of the outputs that the client asked for; none for all.
        max_batch: the most images in one input.
        go_on: called before each image is decoded; what it raises ends the work.

    Raises:
        TensorError: a tensor's name, dtype, shape or size is wrong, or an input is missing.
        ImageError: one of the image files cannot be decoded.
    """
    for place, name in enumerate(outputs):
        signature.output(name)
        if name in outputs[:place]:
            raise TensorError(f"output {quoted(name)} is asked for twice; name it once")
    given: dict[str, tuple[str, Callable[[], NDArray[Any]]]] = {}
    for name, read in tensors:
        spec = signature.input(name)
        if spec.name in given:
            first, second = sorted((given[spec.name][0], name))
            raise TensorError(f"{quoted(first)} and {quoted(second)} are names of one input; send one of them")
        given[spec.name] = (name, read)
    missing = [spec for spec in signature.inputs if spec.name not in given]
    if missing:
        raise TensorError(f"input {missing[0].name!r} is missing; {signature.inputs_text()}")
    inputs = {
        spec.name: _input(*given[spec.name], signature.accepted(spec), max_batch, go_on)
        for spec in signature.inputs
    }
    if len(inputs) > 1:
        _check_batches(inputs, signature)
    names = (name for name, _ in given.values())
    return Prediction(inputs, tuple(outputs), by_alias=not signature.aliases.isdisjoint(names))


def _input(
    name: str,
    read: Callable[[], NDArray[Any]],
    accepted: Accepted,
    max_batch: int,
    go_on: Callable[[], None],
) -> NDArray[Any]:
    try:
        array = read()
        accepted.check(array, max_batch)
        if accepted.images is not None and array.dtype != np.float32:
            if array.dtype == object:
                return _decode_images(array, accepted.images, go_on)
            return normalise(array, accepted.images)
    except InputError as error:
        raise type(error)(f"input {quoted(name)}: {error}") from None
    # A value that stands for the whole tensor becomes one only here, after its shape has been checked.
    # A tensor in the request's bytes begins wherever the names before it ended, but processors and drivers may
    # insist on a multiple of its item's size; the copy takes 10 us for 600 kB, and most requests need it.
    return np.require(array, requirements=("C", "A"))


def _decode_images(files: NDArray[Any], images: Preprocessing, go_on: Callable[[], None]) -> NDArray[np.float32]:
    go_on()
    if len(files) == 1:
        return preprocess(files[0], images)[np.newaxis]
    check_total_pixels(files)
    batch = np.empty((len(files), images.height, images.width, images.channels), np.float32)
    for index, data in enumerate(files):
        go_on()
        try:
            batch[index] = preprocess(data, images)
        except ImageError as error:
            raise ImageError(f"image {index + 1} of {len(files)}: {error}") from None
    return batch


def _check_batches(inputs: Mapping[str, NDArray[Any]], signature: Signature) -> None:
    batches = {spec.name: len(inputs[spec.name]) for spec in signature.inputs if signature.accepted(spec).batched}
    if len(set(batches.values())) > 1:
        listed = ", ".join(f"{size} in {name!r}" for name, size in batches.items())
        raise TensorError(f"the inputs have batches of different sizes: {listed}; send equal ones")
