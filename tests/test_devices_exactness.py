import logging
import sys
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from fieldwave import golden
from fieldwave.devices import exactness as module
from fieldwave.devices.exactness import Exactness, exactness, find_exactness
from fieldwave.devices.selftest import differing_operators, selftest_graph, selftest_inputs, stored_selftest
from fieldwave.errors import MissingExtraError
from fieldwave.graph import to_onnx

WEIGHTED = ("QGemm", "QLinearConv", "QLinearMatMul")


def operators(model: bytes) -> set[str]:
    return {node.op_type for node in onnx.load_model_from_string(model).graph.node}


def has_int8_weights(model: bytes) -> bool:
    tensors = onnx.load_model_from_string(model).graph.initializer
    return any(tensor.data_type == onnx.TensorProto.INT8 for tensor in tensors)


def without_vnni(model: bytes) -> tuple[str, ...]:
    """A processor on which every kernel for int8 weights is wrong."""
    return WEIGHTED if has_int8_weights(model) else ()


def with_away_from_zero(model: bytes) -> tuple[str, ...]:
    """A processor on which two kernels round half away from zero."""
    return tuple(sorted(operators(model) & {"QLinearAdd", "QLinearGlobalAveragePool"}))


@pytest.fixture
def fresh() -> Iterator[None]:
    """The processor's check forgotten, before and after."""
    exactness.cache_clear()
    yield
    exactness.cache_clear()


def test_this_processor_is_exact() -> None:
    found = exactness()
    assert found.exact
    assert found.differing == ()
    assert found.path in ("int8 weights", "uint8 weights (no VNNI)")


def test_the_stored_selftest_is_what_the_graph_says() -> None:
    built = onnx.load_model_from_string(to_onnx(selftest_graph()).SerializeToString())
    assert onnx.load_model_from_string(stored_selftest()) == built, "run: python -m fieldwave.devices.selftest"


def test_an_exact_processor_runs_the_model_as_stored() -> None:
    found = find_exactness(lambda model: ())
    assert (found.path, found.exact) == ("int8 weights", True)
    assert found.rewritten(b"model") == b"model"


def test_without_vnni_the_weights_become_uint8() -> None:
    found = find_exactness(without_vnni)
    assert (found.path, found.exact, found.differing) == ("uint8 weights (no VNNI)", True, ())
    model = found.rewritten(stored_selftest())
    assert not has_int8_weights(model)
    assert differing_operators(model) == ()


def test_where_kernels_round_half_away_from_zero_they_become_float() -> None:
    found = find_exactness(with_away_from_zero)
    assert (found.path, found.exact) == ("int8 weights, float additions, float averages", True)
    model = found.rewritten(stored_selftest())
    assert not operators(model) & {"QLinearAdd", "QLinearGlobalAveragePool"}
    assert differing_operators(model) == ()


def test_both_at_once() -> None:
    found = find_exactness(lambda model: without_vnni(model) + with_away_from_zero(model))
    assert (found.path, found.exact) == ("uint8 weights (no VNNI), float additions, float averages", True)


def test_what_no_rewrite_mends_is_told() -> None:
    found = find_exactness(lambda model: ("QLinearAveragePool",))
    assert found == Exactness("int8 weights", (), ("QLinearAveragePool",))
    assert not found.exact


def test_a_rewrite_that_does_not_help_is_told() -> None:
    found = find_exactness(lambda model: ("QLinearConv",))
    assert (found.path, found.differing) == ("uint8 weights (no VNNI)", ("QLinearConv",))


@pytest.mark.usefixtures("fresh")
def test_a_processor_that_is_not_exact_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "differing_operators", lambda model: ("QuantizeLinear",))
    with caplog.at_level(logging.WARNING):
        assert not exactness().exact
        assert not exactness().exact
    assert [record.getMessage() for record in caplog.records] == [
        "on this processor ONNX Runtime computes QuantizeLinear with other bits than the other devices, also "
        "after rewriting (path: int8 weights); outputs can differ from them in the last bit"
    ]


def test_rewriting_needs_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError) as error:
        find_exactness(without_vnni)
    assert str(error.value) == (
        "exact int8 on this processor needs the extra 'convert': pip install 'fieldwave[convert]'"
    )


def expected() -> dict[str, NDArray[np.uint8]]:
    return golden.run(selftest_graph(), selftest_inputs())


def test_the_selftest_sees_int16_saturation() -> None:
    """As vpmaddubsw has it: neighbouring products are added in int16."""
    tensors, constants = expected(), selftest_graph().constants
    x = tensors["maps"][0].reshape(32, -1).astype(np.int32)
    w = constants["reduced_weights"].reshape(48, 32).astype(np.int32)
    pairs = (w[:, :, None] * x[None]).reshape(48, 16, 2, -1).sum(2)
    assert np.any(pairs > 32767)
    assert np.any(pairs < -32768)
    sums = np.clip(pairs, -32768, 32767).sum(1) - 128 * w.sum(1)[:, None] + constants["reduced_bias"][:, None]
    factor = golden.multiplier(constants["half"], constants["reduced_scales"], constants["half"])
    saturated = golden.requantize(sums.astype(np.float64), factor[:, None], 128).reshape(48, 8, 8)
    assert np.mean(saturated != tensors["reduced"][0]) > 0.1


def away(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Round half away from zero, saturate."""
    return np.clip(np.copysign(np.floor(np.abs(values) + 0.5), values) + 128, 0, 255).astype(np.uint8)


def test_the_selftest_sees_rounding_half_away_from_zero() -> None:
    tensors = {name: value.astype(np.float64) for name, value in expected().items()}
    total = away(tensors["maps"] - 128 + (tensors["grouped"] - 128) / 2)
    assert np.count_nonzero(total != tensors["total"]) > 10
    windows = averages = 0
    for name in ("reduced", "spread", "deep", "total"):
        maps, quadrants = tensors[name] - 128, tensors[f"{name}_quadrants"]
        window = away(maps.reshape(1, -1, 2, 4, 2, 4).mean((3, 5)))
        average = away((quadrants - 128).mean((2, 3), keepdims=True))
        windows += np.count_nonzero(window != quadrants)
        averages += np.count_nonzero(average != tensors[f"{name}_centre"])
    assert windows > 10
    assert averages > 10
