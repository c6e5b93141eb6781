"""From a ``PredictResponse`` to what the caller asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from fieldwave.errors import ServiceError, TensorError
from fieldwave.wire import from_tensor_proto
from fieldwave.wire.messages import PredictResponse

__all__ = ["Outputs", "Scores", "joined", "output_names", "read_scores"]

Outputs = str | Sequence[str] | None

Scores = Any  # an array, a list of arrays, or a dict of arrays: see read_scores


def joined(answers: Sequence[Scores]) -> Scores:
    """What several batches gave, as one batch would have."""
    first = answers[0]
    if isinstance(first, dict):
        return {name: np.concatenate([answer[name] for answer in answers]) for name in first}
    if isinstance(first, list):
        return [np.concatenate(arrays) for arrays in zip(*answers, strict=True)]
    return np.concatenate(answers)


def output_names(outputs: Outputs) -> tuple[str, ...]:
    """The names in ``outputs``, each once."""
    if outputs is None:
        return ()
    return (outputs,) if isinstance(outputs, str) else tuple(dict.fromkeys(outputs))


def read_scores(data: bytes, outputs: Outputs, target: str) -> Scores:
    """Read a ``PredictResponse``.

    Returns:
        The array of the output ``outputs``; a list of arrays for a list of names, in that order; and for None
        the array of the only output, or a dict of all by name where there are several.

    Raises:
        TensorError: an output is not among those that came.
        ServiceError: the response cannot be read.
    """
    try:
        received = PredictResponse.FromString(data).outputs
    except DecodeError:
        raise ServiceError(f"{target} sent an answer that is no PredictResponse") from None
    if outputs is None:
        if not received:
            raise ServiceError(f"{target} sent an answer without outputs")
        arrays = {name: _array(received[name], name, target) for name in sorted(received)}
        return arrays.popitem()[1] if len(arrays) == 1 else arrays
    for name in output_names(outputs):
        if name not in received:
            listed = ", ".join(repr(name) for name in sorted(received)) or "nothing"
            raise TensorError(f"no output {name!r} in the answer of {target}; it has {listed}")
    if isinstance(outputs, str):
        return _array(received[outputs], outputs, target)
    return [_array(received[name], name, target) for name in outputs]


def _array(proto: Message, name: str, target: str) -> NDArray[Any]:
    try:
        array = from_tensor_proto(proto)
    except TensorError as error:
        raise ServiceError(f"{target} sent an output {name!r} that cannot be read: {error}") from None
    return array if array.flags.writeable else array.copy()
