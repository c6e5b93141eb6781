"""The first prediction: it fills caches and finds what is broken, before any caller does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.serving.assemble import Prediction
from fieldwave.serving.caller import Caller
from fieldwave.serving.decode import decode
from fieldwave.serving.encode import encode
from fieldwave.serving.execution import Executor, Network
from fieldwave.serving.signature import Signature
from fieldwave.wire.requests import encode_request

__all__ = ["Nobody", "first_inputs", "warm_up"]


class Nobody:
    """The caller of the warm-up, who waits until ``gone`` says otherwise."""

    client = ""

    def __init__(self, gone: Callable[[], bool] = lambda: False) -> None:
        self._gone = gone

    def is_active(self) -> bool:
        return not self._gone()

    def time_remaining(self) -> float | None:
        return None


def warm_up(executor: Executor, signature: Signature, caller: Caller, network: Network | None = None) -> None:
    """One prediction on the whole way but the network."""
    prediction = _first(signature)
    encode(executor.run(prediction.inputs, caller, network=network), prediction, signature)


def first_inputs(signature: Signature) -> Mapping[str, NDArray[Any]]:
    """The tensors of that prediction: one image of zeros."""
    return _first(signature).inputs


def _first(signature: Signature) -> Prediction:
    inputs = {
        spec.name: np.zeros([size or 1 for size in spec.shape], np.dtype(spec.dtype)) for spec in signature.inputs
    }
    return decode(encode_request(inputs), signature, max_batch=1)
