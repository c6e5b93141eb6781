"""The five networks against what others publish: the retired service's tensors, their publishers' counts."""

from __future__ import annotations

from math import prod

import pytest

from fieldwave import zoo
from fieldwave.errors import NotFoundError
from fieldwave.zoo.layers import AveragePool, BatchNorm, Conv, L2Normalize, MaxPool

FEATURES = {
    "densenet121": ("densenet121/final_block/global_avg_pool/Mean:0", (1, 1, 1024)),
    "resnet152": ("resnet_v1_152/pool5:0", (1, 1, 2048)),
    "resnet50": ("resnet_v1_50/pool5:0", (1, 1, 2048)),
    "vgg16": ("vgg_16/fc7/Relu:0", (1, 1, 4096)),
}
OUTPUTS = {
    "densenet121": "densenet121/predictions/Softmax:0",
    "resnet152": "resnet_v1_152/predictions/Softmax:0",
    "resnet50": "resnet_v1_50/predictions/Softmax:0",
    "vgg16": "vgg_16/fc8/squeezed:0",
}
GRIDS = ((4, 37, 4), (7, 19, 6), (8, 10, 6), (9, 5, 6), (10, 3, 4), (11, 1, 4))


def test_names_and_variants() -> None:
    assert zoo.names() == ("densenet121", "digits", "resnet152", "resnet50", "ssd_vgg", "vgg16")
    assert {name: zoo.variants(name) for name in zoo.names()} == {
        "densenet121": ("slim", "torchvision", "keras"),
        "digits": ("slim",),
        "resnet152": ("slim", "torchvision", "keras"),
        "resnet50": ("slim", "torchvision", "keras"),
        "ssd_vgg": ("slim",),
        "vgg16": ("slim", "torchvision", "keras"),
    }
    for name in zoo.names():
        for variant in zoo.variants(name):
            network = zoo.network(name, variant)
            assert (network.name, network.variant) == (name, variant)
    assert zoo.network("vgg16") is zoo.network("vgg16")


def test_unknown_names() -> None:
    with pytest.raises(NotFoundError) as error:
        zoo.network("alexnet")
    assert str(error.value) == (
        "the zoo has no network 'alexnet': it has densenet121, digits, resnet152, resnet50, ssd_vgg, vgg16"
    )
    with pytest.raises(NotFoundError) as error:
        zoo.network("ssd_vgg", "torchvision")
    assert str(error.value) == "the zoo has no variant 'torchvision' of ssd_vgg: it has slim"
    with pytest.raises(NotFoundError) as error:
        zoo.labels("coco")
    assert str(error.value) == "there is no list of classes 'coco': there are imagenet, voc"


@pytest.mark.parametrize("name", FEATURES)
def test_what_clients_of_a_classifier_see(name: str) -> None:
    network = zoo.network(name)
    assert network.task == "classification"
    assert network.input == zoo.Tensor("Placeholder:0", ("images",), (224, 224, 3))
    assert (network.features, network.shapes[network.features]) == FEATURES[name]
    (output,) = network.outputs
    assert output.name == f"classifier/{OUTPUTS[name]}"
    malformed = ("densenet121/predictions/Softmax:densenet121",) if name == "densenet121" else ()
    assert output.aliases == (f"classifier_1/{OUTPUTS[name]}", OUTPUTS[name], *malformed, "output_alias")
    assert output.shape == (1000,)
    assert network.labels == zoo.labels("imagenet")


@pytest.mark.parametrize("name", FEATURES)
def test_variants_see_the_same_names(name: str) -> None:
    slim = zoo.network(name)
    for variant in zoo.variants(name):
        network = zoo.network(name, variant)
        assert (network.input, network.outputs, network.features) == (slim.input, slim.outputs, slim.features)
        weights = {name for name in network.weight_shapes if not name.endswith("/biases")}
        assert weights == {name for name in slim.weight_shapes if not name.endswith("/biases")}


def test_what_clients_of_the_detector_see() -> None:
    network = zoo.network("ssd_vgg")
    assert network.task == "detection"
    assert network.input == zoo.Tensor("Placeholder:0", ("images",), (300, 300, 3))
    assert network.outputs == (
        *(zoo.Tensor(f"ssd_300_vgg/block{b}_box/Reshape_1:0", (), (g, g, a, 21)) for b, g, a in GRIDS),
        *(zoo.Tensor(f"ssd_300_vgg/block{b}_box/Reshape:0", (), (g, g, a, 4)) for b, g, a in GRIDS),
    )
    assert sum(prod(output.shape) for output in network.outputs) == 210_800
    assert (network.features, network.classifier) == ("", ())
    assert len(network.labels) == 21
    assert (network.labels[0], network.labels[15], network.labels[20]) == ("background", "person", "tvmonitor")
    spec = network.preprocessing
    assert (spec.height, spec.width, spec.resize, spec.order) == (300, 300, "stretch", "RGB")


def test_the_featurizer_ends_where_the_classifier_begins() -> None:
    for name in FEATURES:
        network = zoo.network(name)
        assert network.featurizer[-1].output == network.features
        assert network.classifier[0].inputs == (network.features,)
        assert network.featurizer + network.classifier == network.layers
        assert all(layer.name.startswith("classifier/") for layer in network.classifier)
    detector = zoo.network("ssd_vgg")
    assert detector.featurizer == detector.layers


@pytest.mark.parametrize(
    ("name", "variant", "trainable", "all_weights"),
    [
        # keras.applications and torchvision document these counts; 1.0 of SSD300's is 26 285 486 everywhere.
        ("densenet121", "torchvision", 7_978_856, 8_062_504),
        ("densenet121", "keras", 7_978_856, 8_062_504),
        ("resnet152", "torchvision", 60_192_808, 60_344_232),
        ("resnet152", "keras", 60_268_520, 60_419_944),
        ("resnet50", "keras", 25_583_592, 25_636_712),
        ("ssd_vgg", "slim", 26_285_486, 26_285_486),
        ("vgg16", "slim", 138_357_544, 138_357_544),
    ],
)
def test_weights_are_as_many_as_published(name: str, variant: str, trainable: int, all_weights: int) -> None:
    shapes = zoo.network(name, variant).weight_shapes
    assert sum(map(prod, shapes.values())) == all_weights
    assert sum(prod(shape) for key, shape in shapes.items() if "/moving_" not in key) == trainable


@pytest.mark.parametrize(
    ("name", "variant", "macs"),
    [
        # torchvision documents 2.83, 11.51 and 15.47 GMAC ("GFLOPS") for the first three.
        ("densenet121", "torchvision", 2_834_161_664),
        ("resnet152", "torchvision", 11_513_626_624),
        ("vgg16", "torchvision", 15_470_264_320),
        ("resnet152", "slim", 10_906_697_728),
        ("resnet50", "keras", 3_857_973_248),
        ("ssd_vgg", "slim", 30_896_609_792),
    ],
)
def test_multiply_accumulates(name: str, variant: str, macs: int) -> None:
    assert zoo.network(name, variant).macs == macs


def test_weights_have_slims_names_and_shapes() -> None:
    vgg = zoo.network("vgg16").weight_shapes
    assert vgg["vgg_16/conv1/conv1_1/weights"] == (3, 3, 3, 64)
    assert vgg["vgg_16/conv5/conv5_3/biases"] == (512,)
    assert vgg["vgg_16/fc6/weights"] == (7, 7, 512, 4096)
    assert vgg["vgg_16/fc8/weights"] == (1, 1, 4096, 1000)
    dense = zoo.network("densenet121").weight_shapes
    assert dense["densenet121/conv1/weights"] == (7, 7, 3, 64)
    assert dense["densenet121/BatchNorm/gamma"] == (64,)
    assert dense["densenet121/dense_block1/conv_block1/x1/BatchNorm/moving_mean"] == (64,)
    assert dense["densenet121/dense_block4/conv_block16/x2/Conv/weights"] == (3, 3, 128, 32)
    assert dense["densenet121/transition_block3/blk/Conv/weights"] == (1, 1, 1024, 512)
    assert dense["densenet121/final_block/BatchNorm/beta"] == (1024,)
    assert dense["densenet121/logits/biases"] == (1000,)
    ssd = zoo.network("ssd_vgg").weight_shapes
    assert ssd["ssd_300_vgg/conv4/conv4_3/weights"] == (3, 3, 512, 512)
    assert ssd["ssd_300_vgg/conv6/weights"] == (3, 3, 512, 1024)
    assert ssd["ssd_300_vgg/block8/conv3x3/weights"] == (3, 3, 256, 512)
    assert ssd["ssd_300_vgg/block4_box/L2Normalization/gamma"] == (512,)
    assert ssd["ssd_300_vgg/block7_box/conv_cls/weights"] == (3, 3, 1024, 126)
    assert ssd["ssd_300_vgg/block11_box/conv_loc/biases"] == (16,)


def test_variants_differ_where_their_publishers_do() -> None:
    def epsilons(name: str, variant: str) -> set[float]:
        return {la.epsilon for la in zoo.network(name, variant).layers if isinstance(la, BatchNorm)}

    def first(name: str, variant: str, kind: type) -> tuple[int, int, int, int]:
        network = zoo.network(name, variant)
        layer = next(layer for layer in network.layers if isinstance(layer, kind))
        return layer.pads(*network.input_shapes(layer))

    assert [epsilons("resnet152", v) for v in zoo.variants("resnet152")] == [{1e-5}, {1e-5}, {1.001e-5}]
    assert [epsilons("densenet121", v) for v in zoo.variants("densenet121")] == [{1.1e-5}, {1e-5}, {1.001e-5}]
    assert first("densenet121", "slim", Conv) == (2, 2, 3, 3)
    assert first("densenet121", "keras", Conv) == (3, 3, 3, 3)
    assert first("densenet121", "slim", MaxPool) == (0, 0, 1, 1)
    assert first("densenet121", "torchvision", MaxPool) == (1, 1, 1, 1)
    assert first("densenet121", "slim", AveragePool) == (0, 0, 0, 0)
    keras = zoo.network("resnet50", "keras")
    strided = [la.weights for la in keras.layers if isinstance(la, Conv) and la.stride == 2 and la.kernel == 1]
    assert strided == [
        f"resnet_v1_50/block{block}/unit_1/bottleneck_v1/{conv}/weights"
        for block in (2, 3, 4)
        for conv in ("shortcut", "conv1")
    ]
    assert all(layer.biases for layer in keras.layers if isinstance(layer, Conv))


def test_variants_see_their_publishers_images() -> None:
    def images(name: str, variant: str) -> tuple[str, tuple[float, ...], float]:
        spec = zoo.network(name, variant).preprocessing
        return spec.order, spec.mean, spec.scale

    slim, torchvision = (123.68, 116.779, 103.939), (123.675, 116.28, 103.53)
    for name in ("resnet50", "resnet152", "vgg16"):
        assert images(name, "slim") == ("RGB", slim, 1.0)
        assert images(name, "torchvision") == ("RGB", torchvision, 1.0)
        assert images(name, "keras") == ("BGR", slim, 1.0)
    assert images("densenet121", "slim") == ("RGB", slim, 0.017)
    assert images("densenet121", "torchvision") == ("RGB", torchvision, 1.0)
    assert images("densenet121", "keras") == ("RGB", torchvision, 1.0)


def test_ssd_dilates_and_normalises() -> None:
    network = zoo.network("ssd_vgg")
    (dilated,) = (la for la in network.layers if isinstance(la, Conv) and la.dilation > 1)
    assert (dilated.weights, dilated.dilation, dilated.kernel) == ("ssd_300_vgg/conv6/weights", 6, 3)
    assert dilated.pads(*network.input_shapes(dilated)) == (6, 6, 6, 6)
    (normal,) = (la for la in network.layers if isinstance(la, L2Normalize))
    assert normal.inputs == ("ssd_300_vgg/conv4/conv4_3/Relu:0",)
    assert network.shapes[normal.output] == (37, 37, 512)


def test_own_classes() -> None:
    network = zoo.network("resnet50", labels=["cat", "dog"])
    assert (network.outputs[0].shape, network.labels) == ((2,), ("cat", "dog"))
    detector = zoo.network("ssd_vgg", labels=("background", "cat", "dog"))
    assert detector.outputs[0].shape == (37, 37, 4, 3)
    assert detector.outputs[6].shape == (37, 37, 4, 4)
