"""One wide vector for several narrow ones, and back: nothing lost, nothing moved, no clock wasted."""

from __future__ import annotations

import numpy as np
import pytest

from fieldwave.npu.regroup import Join, Split
from tests.npu_verilate import verilate

LANES = 8
X = np.random.default_rng(0).integers(0, 256, (8_000, LANES), dtype=np.uint8)


@pytest.mark.parametrize("part", [2, 8])
def test_split(part: int) -> None:
    split = verilate(Split(8, lanes=LANES, part=part))
    for stalls in (True, False):
        result = split.run({"input": X}, {"output": X.size // part}, stalls=stalls)
        assert np.array_equal(result["output"].reshape(X.shape), X)
    assert result.clocks == X.size // part


@pytest.mark.parametrize("part", [2, 4])
def test_join(part: int) -> None:
    join = verilate(Join(8, lanes=LANES, part=part))
    for stalls in (True, False):
        result = join.run({"input": X.reshape(-1, part)}, {"output": len(X)}, stalls=stalls)
        assert np.array_equal(result["output"], X)
    assert result.clocks == X.size // part + 1
