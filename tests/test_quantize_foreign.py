"""Networks that ONNX Runtime's own quantizer quantized: taken over, to the bit where their scales allow."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from fieldwave import zoo
from fieldwave.errors import ModelError
from fieldwave.graph import Graph, Node, Value, from_onnx, to_onnx
from fieldwave.preprocess import normalise
from fieldwave.quantize import from_quantized, is_quantized, quantize
from tests.float_networks import Floats, assert_exact, run


class Images(CalibrationDataReader):
    def __init__(self, images: list[NDArray[np.float32]], name: str) -> None:
        self.name = name
        self.images: Iterator[NDArray[np.float32]] = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        image = next(self.images, None)
        return None if image is None else {self.name: image}


def residual(seed: int) -> tuple[Floats, Graph]:
    b = Floats(seed, size=12)
    y = b.relu(b.conv("x", 3, 16, strides=[2, 2]))
    y = b.relu(b.op("Add", b.conv(b.relu(b.conv(y, 16, 16)), 16, 16), y))
    y = b.op("Concat", y, b.op("MaxPool", y, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), axis=1)
    y = b.op("Flatten", b.op("GlobalAveragePool", b.conv(y, 32, 24, 1)), axis=1)
    weights = b.constant(b.rng.normal(size=(24, 10)))
    logits = b.op("Gemm", y, weights, b.constant(b.rng.normal(size=10)))
    graph = b.graph(logits)
    values = (Value(logits, "float32", (None, 10)),)
    return b, Graph(graph.name, graph.inputs, values, graph.nodes, graph.constants)


def theirs(graph: Graph, images: list[NDArray[np.float32]], **options: Any) -> onnx.ModelProto:
    """As ONNX Runtime quantizes it."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(to_onnx(graph), str(source))
        quantize_static(str(source), str(target), Images(images, graph.inputs[0].name), **options)
        return onnx.load(str(target))


def answers(model: Any, images: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {session.get_inputs()[0].name: image})[0] for image in images])


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(
    ("activations", "weights", "symmetric"),
    [
        (QuantType.QUInt8, QuantType.QInt8, False),
        (QuantType.QInt8, QuantType.QInt8, True),
        (QuantType.QUInt8, QuantType.QUInt8, False),
    ],
)
@pytest.mark.parametrize("calibrated", [False, True])
def test_what_onnxruntime_quantized(
    form: Any, per_channel: bool, activations: Any, weights: Any, symmetric: bool, calibrated: bool
) -> None:
    if per_channel and weights == QuantType.QUInt8:
        pytest.skip("a form that nobody uses")
    b, source = residual(3)
    images = b.images(16)
    model = theirs(
        source, images[:8], quant_format=form, per_channel=per_channel, activation_type=activations,
        weight_type=weights, extra_options={"ActivationSymmetric": symmetric},
    )  # fmt: skip
    graph = from_onnx(model)
    assert is_quantized(graph) and not is_quantized(source)
    ours, notes = from_quantized(graph, images[:8] if calibrated else None)
    assert_exact(ours, images[:2])
    assert {node.op for node in ours.nodes} <= {
        "QuantizeLinear", "QLinearConv", "Clip", "QLinearAdd", "MaxPool", "Concat", "QLinearGlobalAveragePool",
        "Flatten", "QGemm", "DequantizeLinear",
    }  # fmt: skip
    real, before, after = (answers(form, images) for form in (to_onnx(source), model, to_onnx(ours)))
    assert np.square(after - real).mean() < 4 * np.square(before - real).mean()
    assert notes and all(note.startswith("tensor '") for note in notes)


@pytest.mark.parametrize(("activations", "symmetric"), [(QuantType.QUInt8, False), (QuantType.QInt8, True)])
def test_a_trained_network_keeps_its_answers(activations: Any, symmetric: bool) -> None:
    network, digits = zoo.network("digits"), zoo.digits_images()
    source = zoo.float_model(network, zoo.load_weights(network, "")).graph
    seen, unseen = (
        [normalise(pixels[None, ..., None], network.preprocessing) for pixels in part]
        for part in (digits.calibration_images[:20], digits.heldout_images)
    )
    model = theirs(
        source,
        seen,
        activation_type=activations,
        per_channel=True,
        extra_options={"ActivationSymmetric": symmetric},
    )
    for calibration in (None, seen):
        ours, _ = from_quantized(from_onnx(model), calibration)
        before, after = (answers(form, unseen).argmax(1) for form in (model, to_onnx(ours)))
        assert np.count_nonzero(before != after) <= 1
        assert np.count_nonzero(after != digits.heldout_labels) <= 1


def test_our_own_form_stays_as_it_is() -> None:
    """All its scales are admissible: every byte is the same."""
    b, source = residual(4)
    images = b.images()
    ours = quantize(source, images).graph
    again, notes = from_quantized(ours)
    assert notes == ()
    for image in images:
        before, after = run(ours, image), run(again, image)
        for name, value in before.items():
            if name in after:
                np.testing.assert_array_equal(after[name], value, err_msg=name)
    assert source.outputs[0].name in before and [node.op for node in again.nodes] == [
        node.op for node in ours.nodes
    ]


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_free_scales_between_convolutions_are_kept_to_the_bit(form: Any) -> None:
    """Symmetric scales that are no powers of two: convolutions alone read them, and numerics allow that."""
    b = Floats(5)
    y = b.relu(b.conv(b.op("MaxPool", b.relu(b.conv("x", 3, 12)), kernel_shape=[2, 2]), 12, 8))
    y = b.conv(y, 8, 6, 1)
    source = b.graph(y)
    images = b.images()
    typed = Graph(
        source.name, source.inputs, (Value(y, "float32", (None, 6, 5, 5)),), source.nodes, source.constants
    )
    model = theirs(
        typed, images, quant_format=form, per_channel=True, activation_type=QuantType.QInt8,
        extra_options={"ActivationSymmetric": True},
    )  # fmt: skip
    ours, notes = from_quantized(from_onnx(model))
    assert notes == ()
    np.testing.assert_array_equal(answers(to_onnx(ours), images), answers(model, images))


def test_the_notes_name_what_changed() -> None:
    b, source = residual(6)
    images = b.images()
    model = theirs(source, images, activation_type=QuantType.QUInt8)
    quantized = quantize(from_onnx(model), images)
    assert quantized.report.notes == from_quantized(from_onnx(model), images)[1]
    note = next(note for note in quantized.report.notes if note.startswith("tensor 'x'"))
    words = note.split()
    assert words[:3] == ["tensor", "'x':", "scale"] and words[-3:] == ["times", "as", "large"]
    assert "became 0.0625 with 128" in note
    assert min(layer.snr for layer in quantized.report.layers) > 15


def test_fake_quantization_of_weights() -> None:
    """tf2onnx writes TensorFlow's fake quantization as a pair of nodes around the float weights."""
    b = Floats(7)
    step, zero = b.constant(0.05), b.constant(128, np.uint8)
    steps, zeros = b.constant(b.rng.uniform(0.01, 0.02, 8)), b.constant(np.zeros(8), np.int8)
    x = b.op("DequantizeLinear", b.op("QuantizeLinear", "x", step, zero), step, zero)
    weights = b.constant(np.round(b.rng.normal(size=(8, 3, 3, 3)), 2))
    whole = b.op("QuantizeLinear", weights, steps, zeros, axis=0)
    y = b.op("Conv", x, b.op("DequantizeLinear", whole, steps, zeros, axis=0), pads=[1, 1, 1, 1])
    y = b.op("DequantizeLinear", b.op("QuantizeLinear", y, step, zero), step, zero)
    images = b.images()
    ours, notes = from_quantized(b.graph(y))
    assert [node.op for node in ours.nodes] == [
        "QuantizeLinear",
        "QLinearConv",
        "DequantizeLinear",
    ] and notes == ()
    # Sums in float32 and in integers may round apart by one step, hardly ever.
    before, after = run(b.graph(y), images[0])[y], run(ours, images[0])[y]
    assert np.mean(before != after) < 0.01 and np.abs(before - after).max() < 0.051


def test_dynamic_quantization_is_refused() -> None:
    node = Node("DynamicQuantizeLinear", "dynamic", ("x",), ("y", "s", "z"))
    graph = Graph("d", (Value("x", "float32", (1, 4)),), (Value("y", "uint8", (1, 4)),), (node,), {})
    with pytest.raises(ModelError) as caught:
        from_quantized(graph)
    assert str(caught.value) == (
        "node 'dynamic': DynamicQuantizeLinear quantizes without fixed scales; quantize statically, or give the "
        "float network"
    )


def test_an_input_without_sizes_needs_images() -> None:
    b, source = residual(8)
    graph = from_onnx(theirs(source, b.images(), activation_type=QuantType.QUInt8))
    free = Graph(
        graph.name, (Value("x", "float32", (None, 3, None, None)),), graph.outputs, graph.nodes, graph.constants
    )
    with pytest.raises(ModelError) as caught:
        from_quantized(free)
    assert str(caught.value) == (
        "input 'x' has shape [None, 3, None, None]; give the sizes, or calibration images"
    )
