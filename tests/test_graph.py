"""ONNX in and out of the plain graph, and what is no model."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from fieldwave.errors import ModelError
from fieldwave.graph import from_onnx, to_onnx


def model() -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 2]) for name in ("x", "y")]
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    return helper.make_model(helper.make_graph([node], "one", value[:1], value[1:], [weight]))


def test_a_graph_comes_back_as_it_was() -> None:
    graph = from_onnx(model())
    assert [node.name for node in graph.nodes] == ["product"]
    assert graph.inputs[0].shape == (None, 2)
    again = from_onnx(to_onnx(graph).SerializeToString())
    assert again.nodes == graph.nodes and again.inputs == graph.inputs and again.outputs == graph.outputs
    np.testing.assert_array_equal(again.constants["w"], graph.constants["w"])


def test_no_bytes() -> None:
    with pytest.raises(ModelError) as caught:
        from_onnx(b"")
    assert str(caught.value) == "not an ONNX model: there are no bytes"


def test_weights_in_another_file_are_refused() -> None:
    """Nothing is read but the model itself, whatever path it names."""
    outside = model()
    tensor = outside.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret.bin")
    with pytest.raises(ModelError) as caught:
        from_onnx(outside.SerializeToString())
    assert str(caught.value) == "tensor 'w' lives in another file; save the model with all its weights"
