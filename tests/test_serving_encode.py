from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fieldwave.serving.assemble import Prediction
from fieldwave.serving.encode import EVERY_NAME_BYTES, encode
from fieldwave.serving.signature import Signature
from fieldwave.wire import from_tensor_proto
from fieldwave.wire.messages import PredictResponse
from tests.served import FEATURES, SCORES, package

SIGNATURE = Signature.of(package(SCORES, FEATURES))
RESULTS = {
    SCORES.name: np.arange(10, dtype=np.float32)[np.newaxis],
    FEATURES.name: np.ones((1, 200, 100), np.float32),
}


def answer(prediction: Prediction, **options: Any) -> Any:
    return PredictResponse.FromString(encode(RESULTS, prediction, SIGNATURE, **options))


def test_a_small_output_is_sent_under_every_name_and_a_large_one_under_its_own() -> None:
    assert RESULTS[SCORES.name].nbytes <= EVERY_NAME_BYTES < RESULTS[FEATURES.name].nbytes
    outputs = answer(Prediction({})).outputs
    assert set(outputs) == {*SCORES.names(), "features:0"}
    assert set(SCORES.names()) == {"classifier/Softmax:0", "output_alias", "classifier/Softmax"}
    for name in SCORES.names():
        assert np.array_equal(from_tensor_proto(outputs[name]), RESULTS[SCORES.name])


def test_a_large_output_is_sent_under_its_alias_too_to_a_client_that_uses_aliases() -> None:
    assert set(answer(Prediction({}, by_alias=True)).outputs) == {*SCORES.names(), "features:0", "features_alias"}


def test_a_client_that_knows_one_name_gets_each_output_once() -> None:
    assert set(answer(Prediction({}), once=True).outputs) == {"classifier/Softmax:0", "features:0"}


@pytest.mark.parametrize("once", [False, True])
def test_a_filter_is_honoured_by_the_names_that_it_uses(once: bool) -> None:
    outputs = answer(Prediction({}, outputs=("features", "output_alias")), once=once).outputs
    assert set(outputs) == {"features", "output_alias"}
    assert np.array_equal(from_tensor_proto(outputs["features"]), RESULTS[FEATURES.name])


def test_values_are_packed_floats_and_never_raw_bytes() -> None:
    # Clients in the field read float_val alone.
    for proto in answer(Prediction({})).outputs.values():
        assert proto.dtype == 1
        assert not proto.tensor_content
        assert len(proto.float_val) in (10, 20000)
    packed = b"\x2a\x28" + RESULTS[SCORES.name].tobytes()
    assert packed in encode(RESULTS, Prediction({}, outputs=("output_alias",)), SIGNATURE)


def test_the_answer_names_model_version_and_signature() -> None:
    spec = answer(Prediction({})).model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("affine", 1, "serving_default")
