"""Published names: whole networks in their own framework against what is imported of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import safetensors.numpy

from fieldwave import zoo
from fieldwave.errors import WeightsError
from fieldwave.zoo import densenet, resnet, ssd, vgg
from fieldwave.zoo.weights import open_tensors
from fieldwave.zoo.weights.names import FAMILIES

CLASSES = tuple("abcde")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pixels(network: zoo.Network) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, *network.input.shape)).astype(np.float32)


def outputs(network: zoo.Network, weights: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """What ONNX Runtime makes of images of 0 to 255, in RGB."""
    spec = network.preprocessing
    images = images - np.array(spec.mean, np.float32)
    images = np.ascontiguousarray(images[..., ::-1] if spec.order == "BGR" else images) * np.float32(spec.scale)
    session = onnxruntime.InferenceSession(zoo.to_onnx(network, weights).SerializeToString())
    return session.run(None, {network.input.name: images})[0]


def torch_outputs(module: Any, images: np.ndarray) -> np.ndarray:
    """The same of a module that wants torchvision's normalisation."""
    import torch

    unit = torch.from_numpy(images.transpose(0, 3, 1, 2)) / 255
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (MEAN, STD))
    with torch.no_grad():
        return module((unit - mean) / std).numpy()


def small(name: str) -> tuple[zoo.Network, Any]:
    """A network of the zoo, small, in torchvision's variant, and the same in PyTorch."""
    pytest.importorskip("torch", reason="PyTorch runs the originals: pip install torch")
    from tests import torch_networks as originals

    makers: dict[str, Callable[[], tuple[zoo.Network, Any]]] = {
        "resnet50": lambda: (
            resnet.resnet50(resnet.TORCHVISION, size=64, width=8, labels=CLASSES),
            originals.ResNet(8, 5),
        ),
        "densenet121": lambda: (
            densenet.densenet121(densenet.TORCHVISION, size=64, growth=8, blocks=(2, 3, 2), labels=CLASSES),
            originals.DenseNet(8, (2, 3, 2), 5),
        ),
        "vgg16": lambda: (
            vgg.vgg16("torchvision", size=64, width=8, hidden=24, labels=CLASSES),
            originals.Vgg(64, 8, 24, 5),
        ),
    }
    network, module = makers[name]()
    return network, originals.with_random_statistics(module)


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "vgg16"])
def test_torchvision(tmp_path: Path, name: str) -> None:
    network, module = small(name)
    import torch

    torch.save(module.state_dict(), tmp_path / "w.pth")
    weights = zoo.load_weights(network, str(tmp_path / "w.pth"))
    assert all(array.flags.writeable and array.flags.aligned for array in weights.values())
    images = pixels(network)
    expected = torch_outputs(module, images)
    assert expected.std() > 0.01
    np.testing.assert_allclose(outputs(network, weights, images), expected, atol=2e-6)


def test_the_older_names_of_densenet(tmp_path: Path) -> None:
    network, module = small("densenet121")
    import re

    import torch

    state = {re.sub(r"(denselayer\d\.\w+)(\d)", r"\1.\2", name): x for name, x in module.state_dict().items()}
    assert "features.denseblock1.denselayer2.norm.1.weight" in state
    torch.save(state, tmp_path / "old.pth")
    torch.save(module.state_dict(), tmp_path / "new.pth")
    old, new = (zoo.load_weights(network, str(tmp_path / f"{age}.pth")) for age in ("old", "new"))
    assert all(np.array_equal(old[name], new[name]) for name in network.weight_shapes)


def test_timm_has_convolutions_in_vgg(tmp_path: Path) -> None:
    network, module = small("vgg16")
    state = {name: x.numpy() for name, x in module.state_dict().items()}
    renamed = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
    timm = {}
    for name, values in state.items():
        owner, _, leaf = name.rpartition(".")
        name = f"{renamed.get(owner, owner)}.{leaf}"
        if name == "pre_logits.fc1.weight":
            values = values.reshape(24, 64, 2, 2)
        if name == "pre_logits.fc2.weight":
            values = values.reshape(24, 24, 1, 1)
        timm[name] = values
    (tmp_path / "timm.safetensors").write_bytes(safetensors.numpy.save(timm))
    (tmp_path / "tv.safetensors").write_bytes(safetensors.numpy.save(state))
    ours, theirs = (zoo.load_weights(network, str(tmp_path / f"{who}.safetensors")) for who in ("timm", "tv"))
    assert all(np.array_equal(ours[name], theirs[name]) for name in network.weight_shapes)


def test_a_black_border_stays_exact_under_the_fold(tmp_path: Path) -> None:
    """Padding is zero before torchvision's normalisation and behind it, so that it may go into the kernel."""
    network, module = small("resnet50")
    import torch

    torch.save(module.state_dict(), tmp_path / "w.pth")
    kernel = zoo.load_weights(network, str(tmp_path / "w.pth"))["resnet_v1_50/conv1/weights"]
    expected = module.conv1.weight.detach().numpy().transpose(2, 3, 1, 0).astype(np.float64)
    expected /= 255 * np.array(STD)[:, np.newaxis]
    np.testing.assert_array_equal(kernel, expected.astype(np.float32))


# The head


def test_weights_of_other_classes_make_a_network_of_as_many(tmp_path: Path) -> None:
    network = zoo.network("ssd_vgg")
    rng = np.random.default_rng(0)
    names = {
        name: (shape if "conv_cls" not in name else (*shape[:-1], shape[-1] // 21 * 8))
        for name, shape in network.weight_shapes.items()
    }
    weights = {name: rng.normal(size=shape).astype(np.float16) for name, shape in names.items()}
    path = tmp_path / "ssd.safetensors"
    path.write_bytes(safetensors.numpy.save(weights))
    notes: list[str] = []
    found, loaded = zoo.load("ssd_vgg", str(path), note=notes.append)
    assert found.outputs[0].shape == (37, 37, 4, 8)
    assert found.labels == ()
    assert {name: array.shape for name, array in loaded.items()} == dict(found.weight_shapes)
    assert notes == ["ssd.safetensors is for 8 classes, not for those of ssd_vgg: they have no labels"]


def test_a_head_of_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_slim = resnet.resnet50(resnet.TORCHVISION, size=64, width=8)
    _, module = small("resnet50")
    monkeypatch.setattr(
        "fieldwave.zoo.weights.fit.network",
        lambda name, variant, labels=(): resnet.resnet50(resnet.TORCHVISION, size=64, width=8, labels=labels),
    )
    monkeypatch.setattr("fieldwave.zoo.weights.fit.names", lambda: ("resnet50",))
    import torch

    state = {name.replace("fc.", "fc.1."): x for name, x in module.state_dict().items()}
    torch.save(state, tmp_path / "mine.pth")
    notes: list[str] = []
    network, weights = zoo.load("resnet50", str(tmp_path / "mine.pth"), note=notes.append)
    assert small_slim.outputs[0].shape == (1000,)
    assert (network.outputs[0].shape, network.variant) == ((5,), "torchvision")
    assert notes == [
        "mine.pth is for 5 classes, not for those of resnet50: they have no labels",
        "mine.pth: 'fc.1.weight' is taken for 'fc.weight'",
        "mine.pth: 'fc.1.bias' is taken for 'fc.bias'",
    ]
    images = pixels(network)
    np.testing.assert_allclose(outputs(network, weights, images), torch_outputs(module, images), atol=2e-6)


# What is wrong


def state_of(name: str) -> tuple[zoo.Network, dict[str, np.ndarray]]:
    network, module = small(name)
    return network, {key: value.numpy() for key, value in module.state_dict().items()}


def complaint(path: Path, network: zoo.Network, state: dict[str, np.ndarray]) -> str:
    path.write_bytes(safetensors.numpy.save(state))
    with pytest.raises(WeightsError) as error:
        zoo.load_weights(network, str(path))
    return str(error.value)


def test_what_is_missing_or_too_much_is_listed_as_the_file_calls_it(tmp_path: Path) -> None:
    network, state = state_of("resnet50")
    path = tmp_path / "w.safetensors"
    del state["layer4.2.bn3.weight"], state["layer4.2.bn3.bias"]
    assert complaint(path, network, state) == (
        "w.safetensors is not for resnet50: it lacks 'layer4.2.bn3.weight' 256 and 1 more"
    )
    state["layer5.0.conv1.weight"] = np.zeros((1, 2, 3, 3), np.float32)
    assert complaint(path, network, state) == (
        "w.safetensors is not for resnet50: it lacks 'layer4.2.bn3.weight' 256 and 1 more; "
        "it has 'layer5.0.conv1.weight' 1x2x3x3"
    )


def test_a_wrong_shape_and_a_nan_name_the_tensor_of_the_file(tmp_path: Path) -> None:
    network, state = state_of("resnet50")
    path = tmp_path / "w.safetensors"
    kernel = state["layer1.0.conv2.weight"]
    state["layer1.0.conv2.weight"] = kernel.transpose(2, 3, 1, 0).copy()
    assert complaint(path, network, state) == (
        "w.safetensors is not for resnet50: 'layer1.0.conv2.weight' is 3x3x8x8, must be 8x8x3x3"
    )
    state["layer1.0.conv2.weight"] = kernel * np.nan
    assert complaint(path, network, state) == (
        "w.safetensors: 'layer1.0.conv2.weight' holds 576 values that are NaN or infinite"
    )


def test_weights_of_another_variant_are_not_taken_for_this_one(tmp_path: Path) -> None:
    _, state = state_of("resnet50")
    network = resnet.resnet50(resnet.SLIM, size=64, width=8, labels=CLASSES)
    assert complaint(tmp_path / "w.safetensors", network, state) == (
        "w.safetensors holds resnet50 in the variant 'torchvision', not 'slim': "
        "take zoo.network('resnet50', 'torchvision')"
    )


def test_our_own_files_say_their_variant(tmp_path: Path) -> None:
    network, state = state_of("resnet50")
    (tmp_path / "tv.safetensors").write_bytes(safetensors.numpy.save(state))
    weights = zoo.load_weights(network, str(tmp_path / "tv.safetensors"))
    zoo.save_weights(tmp_path / "own.safetensors", network, weights)
    again = zoo.load_weights(network, str(tmp_path / "own.safetensors"))
    assert all(np.array_equal(again[name], weights[name]) for name in weights)
    assert open_tensors(tmp_path / "own.safetensors").notes == {"variant": "torchvision"}
    slim = resnet.resnet50(resnet.SLIM, size=64, width=8, labels=CLASSES)
    with pytest.raises(WeightsError, match="in the variant 'torchvision', not 'slim'"):
        zoo.load_weights(slim, str(tmp_path / "own.safetensors"))


def test_our_own_onnx(tmp_path: Path) -> None:
    network = vgg.vgg16(size=32, width=8, hidden=24, labels=CLASSES)
    rng = np.random.default_rng(1)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in network.weight_shapes.items()}
    (tmp_path / "w.onnx").write_bytes(zoo.to_onnx(network, weights).SerializeToString())
    again = zoo.load_weights(network, str(tmp_path / "w.onnx"))
    assert all(np.array_equal(again[name], weights[name]) for name in weights)


def test_a_file_of_slim_names_that_does_not_say_its_variant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = vgg.vgg16(size=32, width=8, hidden=24)
    monkeypatch.setattr("fieldwave.zoo.weights.fit.network", lambda name, variant: network)
    weights = {name: np.zeros(shape, np.float32) for name, shape in network.weight_shapes.items()}
    (tmp_path / "w.safetensors").write_bytes(safetensors.numpy.save(weights))
    notes: list[str] = []
    assert zoo.load("vgg16", str(tmp_path / "w.safetensors"), note=notes.append)[0] is network
    assert notes == ["w.safetensors does not say for which variant of vgg16 it is: slim was assumed"]
    notes.clear()
    zoo.save_weights(tmp_path / "w.safetensors", network, weights)
    zoo.load("vgg16", str(tmp_path / "w.safetensors"), note=notes.append)
    assert notes == []


def test_names_as_published() -> None:
    """Some of each publisher, written down by hand."""
    expected = {
        ("torchvision", "resnet50"): {
            "conv1.weight",
            "bn1.running_mean",
            "layer1.0.downsample.0.weight",
            "layer1.0.downsample.1.running_var",
            "layer4.2.bn3.bias",
            "fc.weight",
        },
        ("torchvision", "densenet121"): {
            "features.conv0.weight",
            "features.norm0.weight",
            "features.denseblock4.denselayer16.norm2.running_mean",
            "features.denseblock1.denselayer6.conv1.weight",
            "features.transition3.conv.weight",
            "features.transition1.norm.bias",
            "features.norm5.running_var",
            "classifier.bias",
        },
        ("torchvision", "vgg16"): {
            "features.0.weight",
            "features.28.bias",
            "classifier.0.weight",
            "classifier.6.bias",
        },
        ("timm", "vgg16"): {
            "features.28.weight",
            "pre_logits.fc1.weight",
            "pre_logits.fc2.bias",
            "head.fc.weight",
        },
        ("transformers", "resnet50"): {
            "resnet.embedder.embedder.convolution.weight",
            "resnet.embedder.embedder.normalization.running_var",
            "resnet.encoder.stages.0.layers.0.shortcut.normalization.weight",
            "resnet.encoder.stages.3.layers.2.layer.2.convolution.weight",
            "classifier.1.bias",
        },
        ("keras", "resnet50"): {
            "conv1_conv/kernel",
            "conv1_conv/bias",
            "conv2_block1_0_bn/moving_variance",
            "conv5_block3_3_conv/bias",
            "predictions/kernel",
        },
        ("keras", "densenet121"): {
            "conv1_bn/gamma",
            "conv2_block1_0_bn/beta",
            "conv5_block16_2_conv/kernel",
            "pool4_bn/moving_mean",
            "pool2_conv/kernel",
            "bn/gamma",
        },
        ("keras", "vgg16"): {"block1_conv1/kernel", "block5_conv3/bias", "fc1/kernel", "predictions/bias"},
        ("slim", "resnet50"): {
            "resnet_v1_50/conv1/BatchNorm/moving_variance",
            "resnet_v1_50/block1/unit_1/bottleneck_v1/shortcut/weights",
            "resnet_v1_50/block4/unit_3/bottleneck_v1/conv3/BatchNorm/gamma",
            "resnet_v1_50/logits/biases",
        },
        ("slim", "vgg16"): {"vgg_16/conv1/conv1_1/weights", "vgg_16/fc6/weights", "vgg_16/fc8/biases"},
    }
    families = {family.name: family for family in FAMILIES}
    for (family, network), tensors in expected.items():
        rules = families[family].rules(zoo.network(network, families[family].variant))
        assert tensors <= {rule.source for rule in rules.values()}


# TensorFlow-slim and Keras, by TensorFlow itself


def test_slim_checkpoints_with_the_leavings_of_training(tmp_path: Path) -> None:
    tensorflow = pytest.importorskip("tensorflow", reason="TensorFlow writes them: pip install tensorflow-cpu")
    tf1 = tensorflow.compat.v1
    network = ssd.ssd_vgg(width=2)
    rng = np.random.default_rng(1)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in network.weight_shapes.items()}
    # Names and shapes as nets/ssd_vgg_300.py of balancap/SSD-Tensorflow makes them, width 2 for 64.
    published = {
        "ssd_300_vgg/conv1/conv1_1/weights": (3, 3, 3, 2),
        "ssd_300_vgg/conv5/conv5_3/biases": (16,),
        "ssd_300_vgg/conv6/weights": (3, 3, 16, 32),
        "ssd_300_vgg/conv7/weights": (1, 1, 32, 32),
        "ssd_300_vgg/block8/conv1x1/weights": (1, 1, 32, 8),
        "ssd_300_vgg/block11/conv3x3/biases": (8,),
        "ssd_300_vgg/block4_box/L2Normalization/gamma": (16,),
        "ssd_300_vgg/block4_box/conv_loc/weights": (3, 3, 16, 16),
        "ssd_300_vgg/block7_box/conv_cls/biases": (126,),
    }
    assert published.items() <= dict(network.weight_shapes).items()
    with tf1.Graph().as_default(), tf1.Session() as session:
        for name, values in weights.items():
            tf1.get_variable(name, initializer=values, use_resource=False)
        for extra in ("global_step", "ssd_300_vgg/conv6/weights/Adam", "beta1_power"):
            tf1.get_variable(extra, initializer=np.float32(1), use_resource=False)
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver().save(session, str(tmp_path / "ssd.ckpt"), write_meta_graph=False)
    again = zoo.load_weights(network, str(tmp_path / "ssd.ckpt"))
    assert all(np.array_equal(again[name], weights[name]) for name in weights)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("application", "name", "file"),
    [
        ("resnet.ResNet50", "resnet50", "w.h5"),
        ("resnet.ResNet50", "resnet50", "w.keras"),
        ("resnet.ResNet152", "resnet152", "w.weights.h5"),
        ("densenet.DenseNet121", "densenet121", "w.keras"),
        ("densenet.DenseNet121", "densenet121", "saved"),
        ("vgg16.VGG16", "vgg16", "w.h5"),
    ],
)
def test_keras_applications(tmp_path: Path, application: str, name: str, file: str) -> None:
    keras = pytest.importorskip("keras", reason="Keras runs the originals: pip install tensorflow-cpu")
    module, maker = application.split(".")
    applications = getattr(keras.applications, module)
    model = getattr(applications, maker)(weights=None, classes=7)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if variable.path.endswith("moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif len(variable.shape) == 1:
            variable.assign(variable + rng.normal(0, 0.1, variable.shape))
        elif variable.path == "predictions/kernel":
            variable.assign(rng.normal(0, 0.01, variable.shape))
    {"saved": model.export, "w.weights.h5": model.save_weights}.get(file, model.save)(tmp_path / file)
    network, weights = zoo.load(name, str(tmp_path / file))
    assert (network.variant, network.outputs[0].shape) == ("keras", (7,))
    images = pixels(network)
    expected = model.predict(applications.preprocess_input(images.copy()), verbose=0)
    found = outputs(network, weights, images)
    if name == "vgg16":  # whose output are the logits here
        found = np.exp(found) / np.exp(found).sum(1, keepdims=True)
    assert expected.std() > 0.003
    np.testing.assert_allclose(found, expected, atol=5e-5)
