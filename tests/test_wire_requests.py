from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fieldwave.errors import TensorError
from fieldwave.wire import to_tensor_proto
from fieldwave.wire.messages import PredictRequest
from fieldwave.wire.requests import encode_request

ARRAYS = st.sampled_from(("float32", "uint8", "float16", "bool", "int64")).flatmap(
    lambda name: npst.arrays(np.dtype(name), npst.array_shapes(min_dims=0, max_dims=4, min_side=0))
)
STRINGS = npst.arrays(
    np.dtype(object), npst.array_shapes(min_dims=0, min_side=0), elements=st.binary(max_size=300)
)


@settings(deadline=None)
@given(
    inputs=st.dictionaries(st.text(st.characters(codec="utf-8")), ARRAYS | STRINGS, max_size=3),
    outputs=st.lists(st.text(st.characters(codec="utf-8")), max_size=3),
    model=st.text(st.characters(codec="utf-8"), max_size=5),
)
def test_the_message_is_the_one_that_protobuf_would_write(
    inputs: dict[str, Any], outputs: list[str], model: str
) -> None:
    expected = PredictRequest(output_filter=outputs)
    if model:
        expected.model_spec.name = model
    for name, array in inputs.items():
        expected.inputs[name].CopyFrom(to_tensor_proto(array, content=array.dtype != object))
    assert PredictRequest.FromString(encode_request(inputs, outputs, model)) == expected


def test_a_transposed_array_is_sent_by_value() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    sent = PredictRequest.FromString(encode_request({"x": array}))
    assert sent.inputs["x"].tensor_content == np.ascontiguousarray(array).tobytes()


def test_an_array_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(TensorError, match="an array of dtype <U1 cannot be sent"):
        encode_request({"x": np.array(["a"])})
