"""The proof itself: whole networks on the cpu device against the golden model, and against bare ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from fieldwave import golden
from fieldwave.conversion import Conversion
from fieldwave.devices import create_device
from fieldwave.devices.cpu import CpuDevice
from fieldwave.errors import DeviceError
from fieldwave.verify import verify


def bare_onnxruntime(model: bytes, image: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Every tensor of the graph, by ONNX Runtime alone."""
    proto = onnx.load_model_from_string(model)
    names = [name for node in proto.graph.node for name in node.output]
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, image), strict=True))


@pytest.mark.parametrize("name", ["snowleopardgaze.jpg", "meeting.jpg", "cat_346.jpg"])
def test_resnet50_in_bare_onnxruntime_equals_golden(
    resnet50: Conversion, photographs: list[Path], name: str
) -> None:
    image = resnet50.package.image_input(next(path for path in photographs if path.name == name).read_bytes())
    theirs = bare_onnxruntime(resnet50.package.model, image)
    ours = golden.run(resnet50.package.model, image)
    quantized = [tensor for tensor, value in theirs.items() if value.dtype == np.uint8]
    assert len(quantized) == 78
    differing = {
        tensor: int(np.count_nonzero(ours[tensor] != theirs[tensor]))
        for tensor in quantized
        if not np.array_equal(ours[tensor], theirs[tensor])
    }
    assert differing == {}
    assert sum(theirs[tensor].size for tensor in quantized) > 10_000_000


def test_different_photographs_give_different_answers(resnet50: Conversion, photographs: list[Path]) -> None:
    with create_device("cpu") as device:
        device.load(resnet50.package)
        answers = []
        for path in photographs:
            (scores,) = device.run(resnet50.package.image_input(path.read_bytes())).values()
            assert scores.sum() == pytest.approx(1, abs=1e-5)
            answers.append(scores[0])
    assert len({int(scores.argmax()) for scores in answers}) >= 3
    assert 0.005 < np.median([scores.max() for scores in answers]) < 0.9
    apart = [float(np.abs(a - b).sum()) for i, a in enumerate(answers) for b in answers[:i]]
    assert min(apart) > 0.02


def test_the_cpu_device_equals_golden(digits: Conversion) -> None:
    rng = np.random.default_rng(0)
    images = [{"images:0": rng.integers(0, 256, (1, 8, 8, 1)).astype(np.float32) / 256} for _ in range(10)]
    with create_device("cpu") as device:
        checks = list(verify(digits.package, device, images))
    assert len(checks) == 10
    for one in checks:
        assert len(one.checks) == one.tensors == 14
        assert [check.differing for check in one.checks] == [0] * 14
        assert one.checks[-1].size == 10


def test_a_wrong_device_is_found_out(digits: Conversion) -> None:
    """A device whose weights differ in one place returns other bytes, and the proof counts them."""

    class Wrong(CpuDevice):
        def trace(self, inputs: Any) -> dict[str, NDArray[Any]]:
            tensors = dict(super().trace(inputs))
            name = "digits/pool2/MaxPool:0_quantized"
            tensors[name] = tensors[name] ^ np.array([1] + [0] * (tensors[name].shape[-1] - 1), np.uint8)
            return tensors

    image = {"images:0": np.zeros((1, 8, 8, 1), np.float32)}
    with Wrong() as device:
        (one,) = verify(digits.package, device, [image])
    wrong = [check for check in one.checks if check.differing]
    assert [check.tensor for check in wrong] == ["digits/pool2/MaxPool:0_quantized"]
    assert 0 < wrong[0].differing < wrong[0].size


class Partial(CpuDevice):
    """A device whose trace holds the tensors that ``keep`` lets through."""

    keep: Callable[[str, NDArray[Any]], NDArray[Any] | None]

    def trace(self, inputs: Any) -> dict[str, NDArray[Any]]:
        kept = {name: type(self).keep(name, value) for name, value in super().trace(inputs).items()}
        return {name: value for name, value in kept.items() if value is not None}


def test_a_device_that_shows_nothing_proves_nothing(digits: Conversion) -> None:
    class Silent(Partial):
        keep = staticmethod(lambda name, value: None)

    with Silent() as device, pytest.raises(DeviceError) as caught:
        list(verify(digits.package, device, [{"images:0": np.zeros((1, 8, 8, 1), np.float32)}]))
    assert str(caught.value) == (
        "device cpu shows no 'digits/logits/BiasAdd:0_quantized', the last quantized tensor: nothing is proved"
    )


def test_a_tensor_of_another_shape_is_no_match(digits: Conversion) -> None:
    class Flat(Partial):
        keep = staticmethod(lambda name, value: value[:, :1])

    with Flat() as device, pytest.raises(DeviceError) as caught:
        list(verify(digits.package, device, [{"images:0": np.zeros((1, 8, 8, 1), np.float32)}]))
    assert str(caught.value) == "device cpu makes 'images:0_quantized' of shape (1, 1, 8, 1), not (1, 8, 8, 1)"
