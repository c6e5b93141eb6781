"""ONNX files: what is accepted, what is refused and why, and that the rewritten network computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fieldwave.errors import InputError, ModelError, NotFoundError
from fieldwave.frontends import Pixels, load
from fieldwave.frontends.measure import run
from fieldwave.model import FloatModel
from fieldwave.onnx_runtime import onnxruntime
from fieldwave.preprocess import Preprocessing

Dim = int | str | None


def weights(name: str, *shape: int, spread: float = 0.3) -> TensorProto:
    value = np.random.default_rng(len(name)).normal(0, spread, shape).astype(np.float32)
    return numpy_helper.from_array(value, name)


def constant(name: str, value: Any, dtype: type = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def model(
    nodes: list[onnx.NodeProto],
    initializers: list[TensorProto],
    shape: tuple[Dim, ...] = ("N", 3, 8, 8),
    opset: int = 17,
    output: str = "y",
    rank: int = 2,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None] * rank)],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def convolution(shape: tuple[Dim, ...] = ("N", 3, 8, 8), opset: int = 17) -> onnx.ModelProto:
    """Conv, Relu, a mean over the map by its axes, a Reshape to a size that is computed, a Gemm."""
    axes = {"axes": [2, 3]} if opset < 18 else {}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("ReduceMean", ["b"] if axes else ["b", "axes"], ["c"], name="mean", keepdims=1, **axes),
        helper.make_node("Shape", ["c"], ["s"], name="shape"),
        helper.make_node("Gather", ["s", "zero"], ["n"], name="batch"),
        helper.make_node("Concat", ["n", "minus"], ["t"], name="target", axis=0),
        helper.make_node("Reshape", ["c", "t"], ["d"], name="reshape"),
        helper.make_node("Gemm", ["d", "v"], ["y"], name="dense"),
    ]
    values = [
        weights("w", 4, 3, 3, 3),
        weights("v", 4, 5),
        constant("zero", [0], np.int64),
        constant("minus", [-1], np.int64),
    ]
    return model(nodes, values + ([] if axes else [constant("axes", [2, 3], np.int64)]), shape, opset)


def answers(source: onnx.ModelProto, image: np.ndarray[Any, Any]) -> Any:
    session = onnxruntime.InferenceSession(source.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": image})[0]


def saved(source: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(source, folder / "net.onnx")
    return folder / "net.onnx"


def same(loaded: FloatModel, source: onnx.ModelProto, batch: int = 2) -> None:
    """The loaded network, fed channels last, answers like the source."""
    image = np.random.default_rng(1).uniform(-1, 1, (batch, 8, 8, 3)).astype(np.float32)
    name = loaded.graph.outputs[0].name
    found = run(loaded.graph, image, [name])[name]
    np.testing.assert_allclose(found, answers(source, image.transpose(0, 3, 1, 2)), atol=1e-5)


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 21])
def test_versions_of_the_operator_set(opset: int, tmp_path: Path) -> None:
    source = convolution(opset=opset)
    loaded = load(saved(source, tmp_path))
    assert (loaded.name, loaded.graph.inputs[0].shape) == ("net", (None, 8, 8, 3))
    assert loaded.aliases == {"x": ("images",), "y": ("output_alias",)}
    assert [node.op for node in loaded.graph.nodes] == [
        "Transpose", "Conv", "Relu", "ReduceMean", "Flatten", "Gemm"
    ]  # fmt: skip
    same(loaded, source)


def test_an_operator_set_that_is_too_old() -> None:
    with pytest.raises(ModelError) as caught:
        load(convolution(opset=6))
    assert str(caught.value) == "unsupported opset 6: export the model again with opset 17"


def test_an_operator_that_opset_17_has_not() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
        helper.make_node("Gelu", ["a"], ["y"], name="act"),
    ]
    with pytest.raises(ModelError) as caught:
        load(model(nodes, [weights("w", 4, 3, 3, 3)], opset=20, rank=4))
    assert str(caught.value) == (
        "unsupported opset 20: node 'act' (Gelu) does not exist in opset 17; export the model again with opset 17"
    )


def test_an_operator_that_nobody_knows() -> None:
    nodes = [helper.make_node("Frobnicate", ["x"], ["y"], name="odd")]
    with pytest.raises(ModelError) as caught:
        load(model(nodes, []))
    assert str(caught.value) == (
        "node 'odd' (Frobnicate) is no operator of ONNX; end the network before it (--output-tensor TENSOR), "
        "or write it with other operators"
    )


def test_an_open_size_is_asked_for() -> None:
    source = convolution(("N", 3, "H", "W"))
    with pytest.raises(ModelError) as caught:
        load(source)
    assert str(caught.value) == (
        "input 'x' is [?, 3, ?, ?]: its height and width are open; say the image's size (--size 224)"
    )
    loaded = load(source, size=8)
    assert loaded.graph.inputs[0].shape == (None, 8, 8, 3)
    same(loaded, source)
    with pytest.raises(ModelError) as fixed:
        load(convolution(), size=9)
    assert str(fixed.value) == (
        "input 'x' is [?, 3, 8, 8]: it cannot take images of the size (9, 9); leave the size out"
    )


def test_a_batch_that_the_exporter_fixed() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
        helper.make_node("Reshape", ["a", "target"], ["b"], name="reshape"),
        helper.make_node("Gemm", ["b", "v"], ["y"], name="dense"),
    ]
    values = [weights("w", 4, 3, 3, 3), weights("v", 144, 5), constant("target", [1, 144], np.int64)]
    source = model(nodes, values, (1, 3, 8, 8))
    loaded = load(source)
    assert loaded.graph.outputs[0].shape == (None, 5)
    same(loaded, source, batch=1)
    rows = np.random.default_rng(2).uniform(-1, 1, (3, 8, 8, 3)).astype(np.float32)
    alone = [run(loaded.graph, row[np.newaxis], ["y"])["y"][0] for row in rows]
    np.testing.assert_allclose(run(loaded.graph, rows, ["y"])["y"], alone, atol=1e-5)


def test_channels_last_and_a_normalisation_inside() -> None:
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["a"], name="sub"),
        helper.make_node("Mul", ["a", "scale"], ["b"], name="mul"),
        helper.make_node("Transpose", ["b"], ["c"], name="nchw", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["c", "w"], ["y"], name="conv", pads=[1, 1, 1, 1]),
    ]
    mean = (123.68, 116.779, 103.939)
    values = [constant("mean", mean), constant("scale", 0.017), weights("w", 4, 3, 3, 3)]
    loaded = load(model(nodes, values, ("N", 8, 8, 3), rank=4))
    assert loaded.preprocessing == Preprocessing(height=8, width=8, resize="stretch", mean=mean, scale=0.017)
    assert [node.op for node in loaded.graph.nodes] == ["Transpose", "Conv"]
    assert loaded.notes[-1] == "the normalisation inside the model was moved into the preprocessing"


def test_a_scale_for_each_channel_goes_into_the_weights() -> None:
    nodes = [
        helper.make_node("Div", ["x", "full"], ["a"], name="unit"),
        helper.make_node("Sub", ["a", "mean"], ["b"], name="sub"),
        helper.make_node("Div", ["b", "std"], ["c"], name="div"),
        helper.make_node("Conv", ["c", "w"], ["y"], name="conv", pads=[1, 1, 1, 1]),
    ]
    values = [
        constant("full", 255.0),
        constant("mean", np.reshape([0.485, 0.456, 0.406], (1, 3, 1, 1))),
        constant("std", np.reshape([0.229, 0.224, 0.225], (1, 3, 1, 1))),
        weights("w", 4, 3, 3, 3),
    ]
    source = model(nodes, values, rank=4)
    loaded = load(source)
    spec = loaded.preprocessing
    assert spec is not None
    assert spec.mean == pytest.approx((123.675, 116.28, 103.53), rel=1e-6)
    pixels = np.random.default_rng(3).integers(0, 256, (1, 8, 8, 3)).astype(np.float32)
    inputs = ((pixels - np.asarray(spec.mean)) * spec.scale).astype(np.float32)
    assert 0.5 < np.abs((255 - np.asarray(spec.mean)) * spec.scale).max() < 2  # one power of two of int8
    found = run(loaded.graph, inputs, ["y"])["y"]
    np.testing.assert_allclose(found, answers(source, pixels.transpose(0, 3, 1, 2)), atol=1e-5)


def test_a_normalisation_of_pixels_from_0_to_1_divides_them_first() -> None:
    nodes = [
        helper.make_node("Sub", ["x", "half"], ["a"], name="sub"),
        helper.make_node("Div", ["a", "half"], ["b"], name="div"),
        helper.make_node("Conv", ["b", "w"], ["y"], name="conv"),
    ]
    loaded = load(model(nodes, [constant("half", 0.5), weights("w", 4, 3, 3, 3)], rank=4))
    assert loaded.preprocessing == Preprocessing(
        height=8, width=8, resize="stretch", mean=(127.5,) * 3, scale=1 / 127.5
    )
    assert "the model normalises pixels from 0 to 1 itself: they are divided by 255 first" in loaded.notes


def test_what_the_user_says_of_the_pixels() -> None:
    silent = load(convolution())
    assert silent.preprocessing is None
    assert silent.notes[0].startswith("the model does not say how pixels become its input: pass the mean")
    torch = Pixels(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize="crop", shortest_side=9)
    spec = load(convolution(), preprocessing=torch).preprocessing
    assert spec is not None and (spec.resize, spec.shortest_side) == ("crop", 9)
    assert spec.mean == pytest.approx((123.675, 116.28, 103.53))
    caffe = load(convolution(), preprocessing=Pixels(mean=(1.0, 2.0, 3.0), order="BGR")).preprocessing
    assert caffe == Preprocessing(height=8, width=8, order="BGR", resize="stretch", mean=(1.0, 2.0, 3.0))
    whole = Preprocessing(height=8, width=8, resize="stretch", mean=(0.0,) * 3, scale=1 / 255)
    assert load(convolution(), preprocessing=whole).preprocessing == whole


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"std": (1.0,), "scale": 2.0},
            "both a std and a scale are given; one of them says how pixels are scaled",
        ),
        ({"mean": (1.0, 2.0)}, "the mean has 2 values, expected 1, or 3 in the order R, G, B"),
        ({"scale": 0.0}, "the scale is 0 or a std is 0: every image would be the same"),
        ({"order": "rgb"}, "the channel order is 'rgb', expected 'RGB', 'BGR' or 'GRAY'"),
        ({"resize": "fit"}, "the resize is 'fit', expected 'crop' or 'stretch'"),
    ],
)
def test_pixels_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Pixels(**arguments)
    assert str(caught.value) == message


def test_several_inputs() -> None:
    source = convolution()
    source.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))
    with pytest.raises(ModelError) as caught:
        load(source)
    assert str(caught.value) == "the model has 2 inputs ('x', 'z'); one image input is supported"


def test_control_flow() -> None:
    body = helper.make_graph(
        [helper.make_node("Relu", ["a"], ["r"], name="inner")],
        "body",
        [],
        [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
        helper.make_node("ReduceMax", ["a"], ["m"], name="max", keepdims=0),
        helper.make_node("Greater", ["m", "zero"], ["c"], name="greater"),
        helper.make_node("If", ["c"], ["y"], name="choose", then_branch=body, else_branch=body),
    ]
    with pytest.raises(ModelError) as caught:
        load(model(nodes, [weights("w", 4, 3, 3, 3), constant("zero", 0.0)], rank=4))
    assert str(caught.value) == ("node 'choose' (If) holds a sub-graph; export the model without control flow")


def test_a_network_that_is_quantized_already_keeps_its_scales() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "point"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "step", "point"], ["d"], name="d"),
        helper.make_node("Conv", ["d", "w"], ["c"], name="conv"),
        helper.make_node("QuantizeLinear", ["c", "step", "point"], ["p"], name="p"),
        helper.make_node("DequantizeLinear", ["p", "step", "point"], ["y"], name="e"),
    ]
    point = constant("point", 128, np.uint8)
    graph = load(model(nodes, [constant("step", 0.1), point, weights("w", 4, 3, 3, 3)], rank=4)).graph
    assert [node.op for node in graph.nodes if node.op.endswith("Linear")] == [
        node.op_type for node in nodes[:2]
    ] * 2


def test_weights_in_another_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    source = convolution()
    onnx.save(
        source,
        path,
        save_as_external_data=True,
        location="net.data",
        size_threshold=0,
        all_tensors_to_one_file=True,
    )
    same(load(path), convolution())
    (tmp_path / "net.data").unlink()
    with pytest.raises(NotFoundError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: tensor 'w' lives in 'net.data', which is not beside it; put it there"


def test_inner_tensors_as_input_and_output(tmp_path: Path) -> None:
    loaded = load(convolution(), outputs=["c"])
    assert loaded.graph.outputs[0].shape == (None, 4, 1, 1)
    behind = load(convolution(), input="b")
    assert [node.op for node in behind.graph.nodes] == ["Transpose", "ReduceMean", "Flatten", "Gemm"]
    with pytest.raises(ModelError) as caught:
        load(convolution(), outputs=["nope"])
    assert str(caught.value) == "the model has no tensor 'nope'; its outputs are 'y'"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "net.pth",
            "PyTorch's own files are pickles or weights without a network: give the torch.nn.Module in Python, "
            "or save it with torch.export.save (.pt2) or torch.onnx.export (.onnx)",
        ),
        ("net.keras", "a Keras file: load it in Python and write a SavedModel with model.export('folder')"),
        ("net.tflite", "a TensorFlow Lite model: give the SavedModel that it was made of"),
        ("net.txt", "no kind of model that is known: a SavedModel folder, .pb, .onnx or .pt2"),
    ],
)
def test_files_of_other_kinds(name: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"bytes")
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_file_that_is_no_onnx(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"hello, I am a text")
    with pytest.raises(ModelError, match=r"net\.onnx is not an ONNX model: "):
        load(path)
    with pytest.raises(InputError) as caught:
        load(3)
    assert str(caught.value) == "a int is no model: give a path, a torch.nn.Module or a FloatModel"
