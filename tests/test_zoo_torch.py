"""The zoo's networks as PyTorch modules: the numbers of the ONNX graph, and parameters that train."""

from __future__ import annotations

import copy
import sys

import numpy as np
import onnxruntime
import pytest

from fieldwave import zoo
from fieldwave.errors import MissingExtraError, ModelError, WeightsError
from fieldwave.zoo.layers import AveragePool, BatchNorm, Conv, MaxPool
from tests.small_zoo import NAMES, VARIANTS, small
from tests.test_zoo_emission import CASES, IMAGES, Case, compare, of_layers, whole_numbers

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'fieldwave[torch]'")

Array = np.ndarray


def made(network: zoo.Network) -> tuple[dict[str, Array], Array]:
    """Random weights that no calibration made plausible, and images."""
    rng = np.random.default_rng(0)
    weights = {
        name: (
            rng.uniform(0.5, 1.5, shape)
            if shape == shape[-1:]
            else rng.normal(0, np.prod(shape[:-1]) ** -0.5, shape)
        ).astype(np.float32)
        for name, shape in network.weight_shapes.items()
    }
    images = rng.normal(0, 1, (2, *network.input.shape)).astype(np.float32)
    return weights, images


def from_onnx(network: zoo.Network, weights: dict[str, Array], images: Array) -> list[Array]:
    session = onnxruntime.InferenceSession(
        zoo.to_onnx(network, weights).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {network.input.name: images})


def assert_close(ours: Array, reference: Array, tolerance: float = 2e-5) -> None:
    """To the rounding of float32 over a few hundred layers; ``tolerance`` is a share of the largest value."""
    assert ours.shape == reference.shape
    assert ours.dtype == np.float32
    assert np.abs(ours - reference).max() <= tolerance * np.abs(reference).max()


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_the_module_computes_what_the_onnx_graph_computes(name: str, variant: str) -> None:
    network = small(name, variant)
    weights, images = made(network)
    module = zoo.to_torch(network, weights)
    assert not module.training
    with torch.no_grad():
        outputs = module(torch.from_numpy(images))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    expected = from_onnx(network, weights, images)
    assert len(outputs) == len(network.outputs)
    for ours, reference, output in zip(outputs, expected, network.outputs, strict=True):
        assert tuple(ours.shape) == (2, *output.shape)
        assert_close(ours.numpy(), reference)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_layer_computes_its_definition(case: Case) -> None:
    network = of_layers(case.layers)
    images, weights = whole_numbers(network)
    with torch.no_grad():
        output = zoo.to_torch(network, weights)(torch.from_numpy(images))
    compare(output.numpy(), case, images, weights, tolerance=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_come_back_as_they_went_in(name: str) -> None:
    network = small(name)
    weights, _ = made(network)
    module = zoo.to_torch(network, weights)
    back = zoo.weights_of(module)
    zoo.check_weights(network, back)
    assert list(back) == list(network.weight_shapes)
    for key, array in weights.items():
        np.testing.assert_array_equal(back[key], array)
    module.load_state_dict(copy.deepcopy(module).state_dict())
    with torch.no_grad():
        next(module.parameters()).zero_()
    first = next(iter(back))
    assert not np.array_equal(zoo.weights_of(module)[first], back[first])


def test_the_state_is_readable() -> None:
    network = small("resnet50")
    module = zoo.to_torch(network, made(network)[0])
    state = module.state_dict()
    assert list(state)[:6] == [
        "featurizer.resnet_v1_50/conv1.weight",
        "featurizer.resnet_v1_50/conv1/BatchNorm.weight",
        "featurizer.resnet_v1_50/conv1/BatchNorm.bias",
        "featurizer.resnet_v1_50/conv1/BatchNorm.running_mean",
        "featurizer.resnet_v1_50/conv1/BatchNorm.running_var",
        "featurizer.resnet_v1_50/conv1/BatchNorm.num_batches_tracked",
    ]
    assert list(state)[-2:] == [
        "classifier.resnet_v1_50/logits.weight",
        "classifier.resnet_v1_50/logits.bias",
    ]
    assert state["featurizer.resnet_v1_50/conv1.weight"].shape == (8, 3, 7, 7)


def test_features() -> None:
    network = small("vgg16")
    weights, images = made(network)
    module = zoo.to_torch(network, weights)
    with torch.no_grad():
        features = module.features(torch.from_numpy(images))
    assert features.shape == (2, 1, 1, 32)
    assert set(module.classifier) == {"vgg_16/fc8"}
    logits = features.numpy()[:, 0, 0] @ weights["vgg_16/fc8/weights"][0, 0] + weights["vgg_16/fc8/biases"]
    assert_close(logits, from_onnx(network, weights, images)[0])


def test_a_detector_has_no_features() -> None:
    network = small("ssd_vgg")
    weights, images = made(network)
    with pytest.raises(ModelError) as error:
        zoo.to_torch(network, weights).features(torch.from_numpy(images))
    assert str(error.value) == "network 'ssd_vgg' has no features: its outputs are the featurizer's own"


def test_all_parameters_train_and_batch_norm_follows_its_mode() -> None:
    network = small("densenet121")
    weights, images = made(network)
    module = zoo.to_torch(network, weights)
    module.train()
    module(torch.from_numpy(images))[:, 0].sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert len(list(module.parameters())) == sum("/moving_" not in name for name in network.weight_shapes)
    trained = zoo.weights_of(module)
    moved = {name for name in trained if not np.array_equal(trained[name], weights[name])}
    assert moved == {name for name in trained if "/moving_" in name}


def test_odd_windows() -> None:
    """Average pooling with padding that is not the same on all sides, grouped and padded convolutions."""
    network = of_layers(
        (
            Conv("c", (IMAGES.name,), kernel=3, stride=2, channels=6, groups=3, padding="same", weights="c/w"),
            BatchNorm("n", ("c:0",), scope="n"),
            MaxPool("m", ("n:0",), kernel=2, stride=1, padding=(1, 0, 1, 1)),
            AveragePool("last", ("m:0",), kernel=3, stride=2, padding=(0, 1, 1, 0)),
        )
    )
    weights, images = made(network)
    with torch.no_grad():
        output = zoo.to_torch(network, weights)(torch.from_numpy(images)).numpy()
    assert_close(output, from_onnx(network, weights, images)[0])


def test_wrong_weights_are_refused() -> None:
    with pytest.raises(WeightsError):
        zoo.to_torch(small("vgg16"), {})


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    network = zoo.network("digits")
    weights = zoo.load_weights(network, "")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError) as error:
        zoo.to_torch(network, weights)
    assert str(error.value) == "making a PyTorch module needs the extra 'torch': pip install 'fieldwave[torch]'"


def test_the_logits_are_what_the_softmax_reads() -> None:
    network = small("resnet50", "slim")
    weights, images = made(network)
    module = zoo.to_torch(network, weights)
    with torch.no_grad():
        logits, outputs = module.logits(torch.from_numpy(images)), module(torch.from_numpy(images))
    assert torch.equal(torch.softmax(logits, 1), outputs)
