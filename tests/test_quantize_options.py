"""How scales are chosen, what is done to weights before, and what calibration images must be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fieldwave.errors import CalibrationError
from fieldwave.graph import Graph, to_onnx
from fieldwave.quantize import Options, prepare, quantize
from tests.float_networks import Floats, assert_exact, run


def chain(seed: int) -> tuple[Floats, Graph]:
    """Layers between which channels can be scaled: Relu, pool, a flattened map, depthwise and grouped layers."""
    b = Floats(seed, size=12)
    y = b.op("MaxPool", b.relu(b.conv("x", 3, 16)), kernel_shape=[2, 2], strides=[2, 2])
    y = b.relu(b.conv(b.relu(b.conv(y, 16, 16, group=16)), 16, 12, group=2))
    y = b.op("Flatten", b.op("AveragePool", y, kernel_shape=[3, 3], strides=[3, 3]), axis=1)
    y = b.relu(b.op("Gemm", y, b.constant(b.rng.normal(size=(48, 20)) / 7), b.constant(b.rng.normal(size=20))))
    y = b.op("Gemm", y, b.constant(b.rng.normal(size=(10, 20))), b.constant(b.rng.normal(size=10)), transB=1)
    return b, b.graph(y)


def uneven(graph: Graph, seed: int) -> Graph:
    """The same function with channels of very different sizes between the first two layers."""
    factors = np.exp(np.random.default_rng(seed).normal(0, 2, 16))
    names = [node.inputs for node in graph.nodes if node.op == "Conv"]
    (_, first, bias), (_, second, _) = names[:2]
    constants = dict(graph.constants)
    constants[first] = (constants[first] * factors.reshape(-1, 1, 1, 1)).astype(np.float32)
    constants[bias] = (constants[bias] * factors).astype(np.float32)
    constants[second] = (constants[second] / factors.reshape(-1, 1, 1, 1)).astype(np.float32)
    return replace(graph, constants=constants)


@pytest.mark.parametrize(
    "options",
    [
        Options("error"), Options("minmax"), Options("percentile"), Options("percentile", 99.0),
        Options(equalise=True), Options("error", equalise=True), Options("percentile", equalise=True),
        Options(bias_correction=False),
    ],
)  # fmt: skip
def test_every_option_is_exact_and_close_to_float(options: Options) -> None:
    b, graph = chain(1)
    images = b.images()
    made = quantize(graph, images, options=options)
    assert_exact(made.graph, images[:2])
    assert made.report.layers[-1].snr > (12 if options.percentile < 99.5 else 22)
    twice = quantize(graph, images, options=options)
    assert to_onnx(made.graph).SerializeToString() == to_onnx(twice.graph).SerializeToString()


def test_minmax_clips_nothing_and_percentile_no_more_than_allowed() -> None:
    b, graph = chain(2)
    images = b.images()
    every = quantize(graph, images, options=Options("minmax")).report.layers
    some = quantize(graph, images, options=Options("percentile", 95.0)).report.layers
    assert all(layer.clipped == 0 and 0.49 < layer.used <= 1.01 for layer in every)
    assert 0 < max(layer.clipped for layer in some) <= 0.101
    assert all(one.exponent >= other.exponent for one, other in zip(every, some, strict=True))


def test_equalising_leaves_the_function_alone() -> None:
    b, graph = chain(3)
    uneven_graph, images = uneven(graph, 3), b.images()
    equal = prepare(uneven_graph, images, options=Options(equalise=True)).graph
    output = graph.outputs[0].name
    for image in images:
        before, after = run(uneven_graph, image)[output], run(equal, image)[output]
        assert np.abs(before - after).max() < 1e-5 * np.abs(before).max()


def test_equalising_uneven_channels() -> None:
    b, graph = chain(4)
    uneven_graph, images = uneven(graph, 4), b.images()
    plain, equal = (
        quantize(uneven_graph, images, options=Options(equalise=flag)).report for flag in (False, True)
    )
    assert equal.layers[-1].snr > plain.layers[-1].snr + 3
    spread = {layer.tensor: layer.spread for layer in plain.layers}
    assert all(layer.spread < max(spread[layer.tensor], 8) for layer in equal.layers)


def test_bias_correction_centres_the_error() -> None:
    """Weights that all round in one direction shift every output; the bias takes that back."""
    b = Floats(5)
    weights = np.full((4, 3, 3, 3), 0.6 / 127)
    weights[:, 0, 0, 0] = 1
    y = b.op("Conv", "x", b.constant(weights), b.constant(np.zeros(4)))
    images = [image + 3 for image in b.images()]
    shifts = []
    for flag in (False, True):
        made = quantize(b.graph(y), images, options=Options(bias_correction=flag))
        shifts.append(np.mean([run(made.graph, image)[y] - run(b.graph(y), image)[y] for image in images]))
    assert abs(shifts[1]) < 0.1 * abs(shifts[0])


def test_unknown_methods_and_percentiles() -> None:
    with pytest.raises(CalibrationError) as caught:
        Options("entropy")  # type: ignore[arg-type]
    assert str(caught.value) == ("there is no calibration method 'entropy'; there are minmax, percentile, error")
    with pytest.raises(CalibrationError) as caught:
        Options(percentile=0.999)
    assert str(caught.value) == "percentile is 0.999; it must be above 50 and at most 100"


def test_images_of_one_colour() -> None:
    b, graph = chain(6)
    colour = np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1)
    images = [np.broadcast_to(colour * gain, (1, 3, 12, 12)) for gain in (1, -4)]
    with pytest.raises(CalibrationError) as caught:
        quantize(graph, images)
    assert str(caught.value) == (
        "input 'x': every calibration image is of one colour throughout, which tells no scale; give 16 or more "
        "like those that the service will see"
    )
    assert quantize(graph, [*images, b.images(1)[0]]).report.images == 3


def test_the_report_says_why() -> None:
    b, graph = chain(7)
    images = b.images()
    clipped = quantize(graph, images, options=Options("percentile", 90.0)).report
    assert any(
        "of its values are clipped: calibrate by minmax, or with more images" in layer.reason
        for layer in clipped.layers
    )
    uneven_report = quantize(uneven(graph, 7), images).report
    assert any(layer.reason.endswith("times the median one: try equalisation") for layer in uneven_report.layers)
    fine = quantize(graph, images).report
    lines = fine.table().splitlines()
    assert lines[0].split() == ["dB", "alone", "clipped", "used", "spread", "scale", "operator,", "tensor"]
    assert len(lines) == len(fine.layers) + 1 and lines[1].endswith("input x")
    last = fine.layers[-1]
    assert last.operator == "Gemm" and last.rounding >= last.snr
