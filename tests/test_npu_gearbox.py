"""One wide vector for several narrow ones, and back: nothing lost, nothing moved, no clock wasted."""

from __future__ import annotations

import numpy as np
import pytest

from fieldwave.npu.gearbox import Narrow, Widen
from tests.npu_verilate import verilate

LANES = 8
X = np.random.default_rng(0).integers(0, 256, (8_000, LANES), dtype=np.uint8)


@pytest.mark.parametrize("parts", [1, 4])
def test_narrow(parts: int) -> None:
    narrow = verilate(Narrow(8, LANES, parts, 16))
    x = narrow.zeros("input", len(X))
    x["data"] = X
    x["common"] = np.arange(len(X))
    for stalls in (True, False):
        result = narrow.run({"input": x}, {"output": parts * len(X)}, stalls=stalls)
        assert np.array_equal(result["output"]["data"].reshape(X.shape), X)
        assert np.array_equal(result["output"]["common"], np.arange(len(X)).repeat(parts))
    assert (result.latency, result.clocks) == (1, parts * len(X) + 1)


@pytest.mark.parametrize("parts", [1, 4])
def test_widen(parts: int) -> None:
    widen = verilate(Widen(8, LANES, parts))
    for stalls in (True, False):
        result = widen.run({"input": X.reshape(-1, LANES // parts)}, {"output": len(X)}, stalls=stalls)
        assert np.array_equal(result["output"], X)
    assert (result.latency, result.clocks) == (parts, parts * len(X) + 1)
