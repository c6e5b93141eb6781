"""The fake-quantized network: the bytes of the int8 network before and after training, and what training mends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="needs PyTorch: pip install 'fieldwave[torch]'")

import torch

from fieldwave import zoo
from fieldwave.conversion import write
from fieldwave.devices import open_device
from fieldwave.errors import InputError, ModelError
from fieldwave.graph import Graph, Node, Value
from fieldwave.model import FloatModel
from fieldwave.preprocess import normalise
from fieldwave.quantize import Options, prepare, quantize
from fieldwave.quantize.calibrate import Scale
from fieldwave.quantize.tensors import all_tensors
from fieldwave.training import FakeQuantized, fake_quantized, fine_tune
from tests.float_networks import Floats
from tests.small_zoo import small

Images = NDArray[np.float32]


def digits_model() -> FloatModel:
    network = zoo.network("digits")
    return zoo.float_model(network, zoo.load_weights(network, ""))


def digits_inputs() -> tuple[Images, NDArray[np.uint8]]:
    """All 360 held-out digits as the network's inputs, and their labels."""
    images = zoo.digits_images()
    return normalise(images.heldout_images[..., None], zoo.network("digits").preprocessing), images.heldout_labels


def branching_model(seed: int = 0) -> FloatModel:
    """Depthwise and dilated convolutions, all pools, a shortcut, a concat, ReLU6, two fully connected layers."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> NDArray[np.float32]:
        return (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)

    constants: dict[str, NDArray[Any]] = {
        "w1": weights(16, 3, 3, 3), "b1": weights(16, 1).ravel(), "w2": weights(16, 1, 3, 3),
        "w3": weights(16, 16, 1, 1), "b3": weights(16, 1).ravel(), "w4": weights(8, 8, 3, 3),
        "w5": weights(12, 24), "b5": weights(12, 1).ravel(), "w6": weights(10, 12).T.copy(),
        "zero": np.asarray(0, np.float32), "six": np.asarray(6, np.float32),
    }  # fmt: skip
    pads, window = {"pads": [1, 1, 1, 1]}, {"kernel_shape": [3, 3], "strides": [2, 2]}
    nodes = (
        Node("Transpose", "nchw", ("x",), ("x_nchw",), {"perm": [0, 3, 1, 2]}),
        Node("Conv", "conv1", ("x_nchw", "w1", "b1"), ("c1",), {**pads, "strides": [2, 1]}),
        Node("Relu", "relu1", ("c1",), ("r1",)),
        Node("Conv", "depthwise", ("r1", "w2"), ("c2",), {**pads, "group": 16}),
        Node("Clip", "relu6", ("c2", "zero", "six"), ("r2",)),
        Node("Conv", "conv3", ("r2", "w3", "b3"), ("c3",)),
        Node("Add", "add", ("r1", "c3"), ("s",)),
        Node("MaxPool", "max", ("s",), ("m",), {**window, "pads": [0, 0, 1, 1]}),
        Node("AveragePool", "mean", ("s",), ("a",), {**window, **pads}),
        Node("AveragePool", "padded", ("s",), ("p",), {**window, **pads, "count_include_pad": 1}),
        Node("Add", "pools", ("a", "p"), ("ap",)),
        Node("Conv", "dilated", ("ap", "w4"), ("c4",), {"pads": [2] * 4, "dilations": [2, 2], "group": 2}),
        Node("Concat", "join", ("m", "c4"), ("j",), {"axis": 1}),
        Node("GlobalAveragePool", "gap", ("j",), ("g",)),
        Node("Flatten", "flat", ("g",), ("f",)),
        Node("Gemm", "fc5", ("f", "w5", "b5"), ("h",), {"transB": 1}),
        Node("Relu", "relu5", ("h",), ("rh",)),
        Node("MatMul", "fc6", ("rh", "w6"), ("logits",)),
        Node("Softmax", "softmax", ("logits",), ("scores",), {"axis": 1}),
    )  # fmt: skip
    constants["w4"] = weights(8, 8, 3, 3)
    image, scores = Value("x", "float32", (None, 12, 12, 3)), Value("scores", "float32", (None, 10))
    return FloatModel("branching", Graph("branching", (image,), (scores,), nodes, constants))


def photos(count: int, seed: int = 1) -> Images:
    return np.random.default_rng(seed).normal(0, 40, (count, 12, 12, 3)).astype(np.float32)


def different(module: FakeQuantized, images: Images) -> dict[str, int]:
    """How many bytes of each quantized tensor differ from those of the int8 network in ONNX Runtime."""
    graph = module.quantized(list(images[:1, None])).graph
    names = [name for name in graph.activations() if name.endswith("_quantized")]
    with torch.no_grad():
        ours = module.eval().tensors(torch.from_numpy(images), names)
    theirs = list(all_tensors(graph, names, list(images[:, None])))
    return {
        name: int((found.numpy() != np.concatenate([tensors[name] for tensors in theirs])).sum())
        for name, found in zip(names, ours, strict=True)
    }


def test_the_digits_network_keeps_every_byte_through_training() -> None:
    inputs, labels = digits_inputs()
    module = fake_quantized(digits_model(), list(inputs[:20, None]))
    before = {name: parameter.clone() for name, parameter in module.named_parameters()}
    fine_tune(module, inputs[296:], labels[296:], epochs=1, learning_rate=1e-3)
    assert all(not torch.equal(parameter, before[name]) for name, parameter in module.named_parameters())
    found = different(module, inputs[:200])
    assert len(found) == 14
    assert set(found.values()) == {0}


@pytest.mark.parametrize("seed", [0, 1])
def test_every_operator_keeps_every_byte_through_training(seed: int) -> None:
    images = photos(200)
    module = fake_quantized(branching_model(seed), list(images[:8, None]))
    assert set(different(module, images[:20]).values()) == {0}
    fine_tune(module, images[:64], np.arange(64) % 10, epochs=2, learning_rate=1e-3)
    found = different(module, images)
    assert len(found) == 17
    assert set(found.values()) == {0}


def test_dense_blocks_norms_and_tables_keep_every_byte_through_training() -> None:
    """Joined maps with scales of their own under scale-shifts, L2 normalisation, a Hard-Swish looked up."""
    b = Floats(3)
    stem = b.relu(b.conv("x", 3, 8))
    joined = b.op("Concat", stem, b.conv(stem, 8, 6), axis=1)
    y = b.conv(b.relu(b.batch_norm(joined, 14)), 14, 10, 1, bias=False)
    y = b.conv(b.op("HardSwish", y), 10, 8)
    norm = b.op("LpNormalization", y, axis=1, p=2)
    y = b.conv(b.op("Mul", norm, b.constant(np.linspace(5, 9, 8).reshape(1, 8, 1, 1))), 8, 10)
    images = np.concatenate(b.images(200))
    graph = b.graph(b.op("Flatten", b.op("GlobalAveragePool", y), axis=1))
    module = fake_quantized(FloatModel("dense", graph), list(images[:8, None]))
    before = module.quantized().graph.constants
    fine_tune(module, images[:64], np.arange(64) % 10, epochs=2, learning_rate=1e-2)
    after = module.quantized().graph.constants
    changed = {name for name in before if name.endswith("_int8") and not np.array_equal(before[name], after[name])}
    assert len(changed) == 5
    found = different(module, images)
    assert {"hardswish_7:0_quantized", "mul_10:0_quantized"} < set(found)
    assert set(found.values()) == {0}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [Options(), Options(method="error", equalise=True)], ids=["minmax", "equalised"]
)
@pytest.mark.parametrize("name", ["densenet121", "resnet50", "ssd_vgg", "vgg16"])
def test_the_zoos_networks_made_small_keep_every_byte(name: str, options: Options) -> None:
    network = small(name)
    model = zoo.float_model(network, zoo.load_weights(network, "random:0"))
    images = np.random.default_rng(0).normal(0, 50, (8, *network.input.shape)).astype(np.float32)
    module = fake_quantized(model, list(images[:4, None]), options=options).train()
    optimizer = torch.optim.SGD(module.parameters(), 1e-4)
    outputs = module(torch.from_numpy(images[:2]))
    sum(one.square().mean() for one in (outputs if isinstance(outputs, tuple) else (outputs,))).backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    optimizer.step()
    found = different(module, images)
    assert len(found) > 20
    assert set(found.values()) == {0}


def test_before_training_it_is_the_quantized_network() -> None:
    images = list(photos(8)[:, None])
    model = branching_model()
    ours, theirs = fake_quantized(model, images).quantized(), quantize(model.graph, images)
    assert ours.report == theirs.report
    assert all(np.array_equal(value, theirs.graph.constants[name]) for name, value in ours.graph.constants.items())


def test_training_mode_computes_nearly_the_same() -> None:
    images = torch.from_numpy(photos(50))
    module = fake_quantized(branching_model(), list(images[:8, None].numpy()))
    name = "logits_quantized"
    with torch.no_grad():
        exact, fast = (module.train(mode).tensors(images, [name])[0] for mode in (False, True))
    assert exact.dtype == fast.dtype == torch.float32
    assert float((exact - fast).abs().max()) <= 1
    assert float((exact != fast).float().mean()) < 0.01


def test_gradients_are_those_of_the_float_network() -> None:
    """Where nothing clips and steps are fine, the straight-through gradient is the float network's own."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 6)).astype(np.float32)
    graph = Graph(
        "line", (Value("x", "float32", (None, 6)),), (Value("y", "float32", (None, 4)),),
        (Node("Gemm", "fc", ("x", "w", "b"), ("y",), {"transB": 1}),),
        {"w": weights, "b": rng.normal(size=4).astype(np.float32)},
    )  # fmt: skip
    images = rng.normal(size=(64, 6)).astype(np.float32)
    module = fake_quantized(FloatModel("line", graph), list(2 * images[:, None])).train()
    parameters = [torch.from_numpy(graph.constants[name].copy()).requires_grad_() for name in ("w", "b")]
    aim = torch.from_numpy(rng.normal(size=(64, 4)).astype(np.float32))
    x = torch.from_numpy(images)
    (torch.nn.functional.linear(x, *parameters) * aim).sum().backward()
    (module(x) * aim).sum().backward()
    for ours, theirs in zip(module.parameters(), parameters, strict=True):
        assert ours.grad is not None and theirs.grad is not None
        assert float((ours.grad - theirs.grad).norm() / theirs.grad.norm()) < 0.02


def test_training_mends_what_coarse_scales_broke() -> None:
    """Steps 64 times too coarse leave four levels of each activation; training the weights brings it back."""
    sklearn = pytest.importorskip("sklearn.datasets", reason="needs scikit-learn")
    inputs, labels = digits_inputs()
    data = sklearn.load_digits()
    pixels = np.rint(data.images * 255 / 16).astype(np.uint8)
    known = {image.tobytes() for image in zoo.digits_images().heldout_images}
    fresh = np.array([image.tobytes() not in known for image in pixels])
    others = normalise(pixels[fresh][..., None], zoo.network("digits").preprocessing)
    model = digits_model()
    shipped = zoo.digits_images().calibration_images[:20, None, :, :, None]
    images = list(normalise(shipped, zoo.network("digits").preprocessing))
    good = prepare(model.graph, images)
    scales = {name: Scale(scale.exponent + 6, scale.zero_point) for name, scale in good.scales.items()}
    module = FakeQuantized(model, replace(good, scales=scales), images)
    evaluation = {"evaluation": list(inputs[:, None]), "labels": labels.tolist()}
    before = module.quantized(**evaluation).report
    losses = fine_tune(module, others, data.target[fresh], epochs=2, learning_rate=1e-3)
    after = module.quantized(**evaluation).report
    assert before.float_accuracy == 1.0
    assert before.int8_accuracy is not None and before.int8_accuracy < 0.75
    assert after.int8_accuracy is not None and after.int8_accuracy > 0.9
    assert losses[1] < losses[0]


def test_a_package_of_the_fine_tuned_network(tmp_path: Any) -> None:
    inputs, labels = digits_inputs()
    model = digits_model()
    module = fake_quantized(model, list(inputs[:8, None]))
    fine_tune(module, inputs[:64], labels[:64], epochs=1)
    made = write(module.quantized(), model, output=tmp_path / "tuned.zip")
    name = model.graph.outputs[0].name
    with open_device("cpu") as device, torch.no_grad():
        device.load(made.package)
        served = device.run({model.graph.inputs[0].name: inputs})[name]
        ours = module(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(served, ours, rtol=0, atol=1e-6)
    assert (served.argmax(1) == ours.argmax(1)).all()


def test_the_float_network_has_the_weights_that_were_trained() -> None:
    inputs, labels = digits_inputs()
    module = fake_quantized(digits_model(), list(inputs[:8, None]))
    fine_tune(module, inputs[:32], labels[:32], epochs=1, learning_rate=1e-3)
    graph = module.float_model().graph
    trained = dict(module.named_parameters())
    for name in ("digits/logits/biases", "digits/conv1/Conv2D/folded_weights"):
        assert np.array_equal(graph.constants[name], trained[name].detach().numpy())


def test_the_same_seed_gives_the_same_weights() -> None:
    inputs, labels = digits_inputs()
    modules = [fake_quantized(digits_model(), list(inputs[:4, None])) for _ in range(2)]
    losses = [fine_tune(module, inputs[:64], labels[:64], epochs=1, seed=3) for module in modules]
    assert losses[0] == losses[1]
    assert all(torch.equal(a, b) for a, b in zip(*(module.parameters() for module in modules), strict=True))


def test_an_operator_without_gradient() -> None:
    model = branching_model()
    nodes = (*model.graph.nodes[:-1], Node("Hardmax", "hard", ("logits",), ("scores",)))
    with pytest.raises(ModelError) as caught:
        fake_quantized(replace(model, graph=replace(model.graph, nodes=nodes)), list(photos(2)[:, None]))
    assert str(caught.value) == "node 'hard': Hardmax has no form that can be trained; cut the network before it"


def test_weights_that_ran_away() -> None:
    module = fake_quantized(branching_model(), list(photos(2)[:, None]))
    with torch.no_grad():
        module.get_parameter("w3").fill_(torch.inf)
    with pytest.raises(ModelError) as caught:
        module.quantized()
    assert str(caught.value) == "weights 'w3' became NaN or infinite in training; lower the learning rate"


def test_labels_of_another_number() -> None:
    module = fake_quantized(branching_model(), list(photos(2)[:, None]))
    with pytest.raises(InputError) as caught:
        fine_tune(module, photos(4), np.zeros(3))
    assert str(caught.value) == "4 images have 3 labels; give each image one"


def test_nothing_to_train() -> None:
    module = fake_quantized(branching_model(), list(photos(2)[:, None])).requires_grad_(False)
    with pytest.raises(InputError) as caught:
        fine_tune(module, photos(4), np.zeros(4))
    assert str(caught.value) == "no parameter of the module asks for a gradient: nothing would be trained"
