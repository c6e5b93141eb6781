"""The look-up tables, all entries in all lanes."""

from __future__ import annotations

import numpy as np
import pytest

from fieldwave.npu.lookup import Lookup
from tests.npu_verilate import Verilated, verilate

LANES = 4


@pytest.fixture(scope="module")
def lookup() -> Verilated:
    return verilate(Lookup(LANES))


def test_every_entry_in_every_lane(lookup: Verilated) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        table = rng.integers(-128, 128, 256, dtype=np.int8)
        load = lookup.zeros("load", 256)
        load["address"] = rng.permutation(256)
        load["value"] = table[load["address"]]
        x = lookup.zeros("input", 60_000)
        x["data"] = np.arange(-128, 128).repeat(LANES).reshape(-1, LANES)[rng.integers(0, 256, len(x))]
        x["data"][256:512] = rng.integers(-128, 128, (256, LANES))
        x["enabled"][30_000:] = rng.random(30_000) < 0.8  # the first vectors pass while the table is loaded
        y = lookup.run({"input": x, "load": load}, {"output": len(x)}, seed=seed)["output"]
        expected = np.where(x["enabled"][:, None] == 1, table[x["data"].view(np.uint8)], x["data"])
        assert np.array_equal(y, expected)


def test_a_vector_a_clock_after_three_clocks(lookup: Verilated) -> None:
    x = lookup.zeros("input", 1_000)
    x["data"] = np.arange(4_000).reshape(-1, LANES)
    result = lookup.run({"input": x, "load": lookup.zeros("load", 0)}, {"output": len(x)}, stalls=False)
    assert np.array_equal(result["output"], x["data"])
    assert (result.latency, result.clocks) == (3, len(x) + 3)
