from __future__ import annotations

import pytest

from fieldwave import zoo
from fieldwave.errors import ModelError
from fieldwave.preprocess import Preprocessing
from fieldwave.zoo.layers import Conv, GlobalAveragePool, Layer, Relu, Shape

IMAGES = zoo.Tensor("images:0", ("images",), (6, 8, 3))


def network(
    *layers: Layer,
    output: str = "last:0",
    shape: Shape = (1, 1, 3),
    features: str = "last:0",
    height: int = 6,
) -> zoo.Network:
    return zoo.Network(
        name="small",
        input=IMAGES,
        outputs=(zoo.Tensor(output, (), shape),),
        layers=layers,
        features=features,
        preprocessing=Preprocessing(height=height, width=8, resize="stretch"),
    )


LAST = GlobalAveragePool("last", ("images:0",))


def convolution(name: str, source: str) -> Conv:
    return Conv(name, (source,), kernel=3, channels=3, weights="weights")


def test_shapes_and_weights_come_from_the_layers() -> None:
    small = network(convolution("c", "images:0"), GlobalAveragePool("last", ("c:0",)))
    assert dict(small.shapes) == {"images:0": (6, 8, 3), "c:0": (6, 8, 3), "last:0": (1, 1, 3)}
    assert dict(small.weight_shapes) == {"weights": (3, 3, 3, 3)}
    assert small.macs == 6 * 8 * 81
    assert small.input_shapes(small.layers[1]) == ((6, 8, 3),)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"layers": (Relu("r", ("nothing:0",)), LAST)},
            "layer 'r': no layer before it writes its input 'nothing:0'",
        ),
        (
            {"layers": (Relu("last", ("images:0",)), LAST)},
            "layer 'last': the tensor 'last:0' exists already",
        ),
        (
            {"layers": (convolution("a", "images:0"), convolution("b", "a:0"), LAST)},
            "layer 'b': another layer has the weight 'weights' already",
        ),
        ({"output": "first:0"}, "network 'small': no layer writes the output 'first:0'"),
        ({"shape": (3,)}, "network 'small': the output 'last:0' is (1, 1, 3), not (3,)"),
        ({"features": "first:0"}, "network 'small': no layer writes the features 'first:0'"),
        (
            {"height": 7},
            "network 'small': the input is (6, 8, 3), its preprocessing makes (7, 8, 3)",
        ),
    ],
)
def test_a_malformed_network_is_refused(arguments: dict[str, object], message: str) -> None:
    layers = arguments.pop("layers", (LAST,))
    with pytest.raises(ModelError) as error:
        network(*layers, **arguments)  # type: ignore[misc, arg-type]
    assert str(error.value) == message


def test_how_the_outputs_of_a_detection_network_become_objects() -> None:
    network = zoo.network("ssd_vgg")
    detector = network.detector
    assert detector is not None
    assert detector.outputs == tuple(tensor.name for tensor in network.outputs)
    shapes = [(one.rows, one.columns, one.anchors, last) for last in (21, 4) for one in detector.maps]
    assert [tensor.shape for tensor in network.outputs] == shapes
    assert zoo.network("digits").detector is None
