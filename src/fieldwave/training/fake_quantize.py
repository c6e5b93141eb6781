"""From a float network to the module that trains it as int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fieldwave.model import FloatModel
from fieldwave.quantize import Options, prepare
from fieldwave.training.network import FakeQuantized

__all__ = ["fake_quantized"]

_DEFAULTS = Options()


def fake_quantized(
    model: FloatModel,
    calibration: Sequence[NDArray[np.float32]],
    *,
    options: Options = _DEFAULTS,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> FakeQuantized:
    """The int8 form of a float network as a torch module, to be trained further.

    Calibrated as `fieldwave.quantize.quantize` does it: before any training, its bytes are those of that network.

    Args:
        model: a float network of the zoo or of a front end.
        calibration: inputs of the network, each [1, ...], as preprocessing makes them.
        options: how scales are chosen, and what is done to the weights before.
        progress: called with what is being done and the share of it that is done, 0 to 1.

    Raises:
        CalibrationError: there are no images, or they make a tensor that is not finite.
        ModelError: nothing to quantize, weights that int8 cannot hold, or an operator that cannot be trained.
    """
    return FakeQuantized(model, prepare(model.graph, calibration, options=options, progress=progress), calibration)
