from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from fieldwave import zoo
from fieldwave.errors import MissingExtraError, WeightsError

CONV1 = "digits/conv1/weights"


@pytest.fixture(scope="module")
def digits() -> zoo.Network:
    return zoo.network("digits")


@pytest.fixture
def weights(digits: zoo.Network) -> dict[str, np.ndarray]:
    return zoo.load_weights(digits, "")


def load_error(network: zoo.Network, source: str | Path) -> str:
    with pytest.raises(WeightsError) as error:
        zoo.load_weights(network, str(source))
    return str(error.value)


def write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    path.write_bytes(safetensors.numpy.save(arrays))
    return path


def test_shipped_weights_are_complete_and_in_order(digits: zoo.Network, weights: dict[str, np.ndarray]) -> None:
    assert {name: array.shape for name, array in weights.items()} == dict(digits.weight_shapes)
    assert list(weights) == list(digits.weight_shapes)
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}


def test_saved_weights_come_back(tmp_path: Path, digits: zoo.Network, weights: dict[str, np.ndarray]) -> None:
    path = tmp_path / "w.safetensors"
    zoo.save_weights(path, digits, weights)
    loaded = zoo.load_weights(digits, str(path))
    assert list(loaded) == list(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_the_same_weights_give_the_same_file(
    tmp_path: Path, digits: zoo.Network, weights: dict[str, np.ndarray]
) -> None:
    zoo.save_weights(tmp_path / "a.safetensors", digits, weights)
    backwards = dict(reversed(weights.items()))
    zoo.save_weights(tmp_path / "b.safetensors", digits, backwards)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_network_without_weights_tells_the_options() -> None:
    assert load_error(zoo.network("resnet50"), "") == (
        "resnet50 comes without weights: pull them with 'fieldwave weights pull resnet50', "
        "give the path of a file, or 'random:0' to try it out"
    )


@pytest.mark.parametrize("source", ["random", "Random:0", "resnet51", "weights/"])
def test_an_unknown_source_tells_the_options(digits: zoo.Network, source: str) -> None:
    assert load_error(digits, source) == (
        f"{source!r} is no source of weights: give a .safetensors, .pth, .pt, .ckpt, .h5, .keras, .onnx, "
        "or the folder of a SavedModel, or the name of a pulled set, or 'random:0'"
    )


@pytest.mark.parametrize(
    "source", ["random:", "random:x", "random:-1", "random:1.5", "random: 1", "random:١", f"random:{2**64}"]
)
def test_a_bad_seed_says_what_a_seed_is(digits: zoo.Network, source: str) -> None:
    assert load_error(digits, source) == (
        f"{source!r} has no seed: write a whole number from 0 to 2**64 - 1, as in 'random:0'"
    )


def test_a_missing_file(tmp_path: Path, digits: zoo.Network) -> None:
    path = tmp_path / "none.safetensors"
    assert load_error(digits, path) == f"cannot read the weights {path}: No such file or directory"


def test_a_folder(tmp_path: Path, digits: zoo.Network) -> None:
    path = tmp_path / "folder.safetensors"
    path.mkdir()
    assert load_error(digits, path) == f"cannot read the weights {path}: Is a directory"


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_truncated_file(tmp_path: Path, digits: zoo.Network, kept: int) -> None:
    path = tmp_path / "short.safetensors"
    zoo.save_weights(path, digits, zoo.load_weights(digits, ""))
    path.write_bytes(path.read_bytes()[:kept])
    assert load_error(digits, path) == f"{path} is damaged, or no .safetensors file: get it again"


def test_a_file_of_another_kind(tmp_path: Path, digits: zoo.Network) -> None:
    path = tmp_path / "pickle.safetensors"
    path.write_bytes(b"\x80\x04\x95 not a safetensors file at all")
    assert load_error(digits, path) == f"{path} is damaged, or no .safetensors file: get it again"


def test_a_file_of_another_network(tmp_path: Path, digits: zoo.Network, weights: dict[str, np.ndarray]) -> None:
    path = tmp_path / "weights.safetensors"
    zoo.save_weights(path, digits, weights)
    assert load_error(zoo.network("resnet50"), path) == ("weights.safetensors is not for resnet50, but for digits")


def test_one_missing_tensor(tmp_path: Path, digits: zoo.Network, weights: dict[str, np.ndarray]) -> None:
    del weights["digits/logits/biases"]
    path = write(tmp_path / "w.safetensors", weights)
    assert load_error(digits, path) == "w.safetensors is not for digits: it lacks 'digits/logits/biases' 10"


def test_one_tensor_too_many(tmp_path: Path, digits: zoo.Network, weights: dict[str, np.ndarray]) -> None:
    weights["global_step"] = np.array(7, np.int64)
    weights["digits/conv1/weights/Momentum"] = weights[CONV1]
    path = write(tmp_path / "w.safetensors", weights)
    assert list(zoo.load_weights(digits, str(path))) == list(digits.weight_shapes)
    weights["digits/conv1/biases"] = np.zeros(32, np.float32)
    path = write(tmp_path / "w.safetensors", weights)
    assert load_error(digits, path) == "w.safetensors is not for digits: it has 'digits/conv1/biases' 32"


def test_tensors_of_no_publisher(tmp_path: Path, digits: zoo.Network) -> None:
    path = write(tmp_path / "w.safetensors", {"a": np.zeros(3, np.float32), "b": np.zeros(3, np.float32)})
    assert load_error(digits, path) == (
        "w.safetensors is not for digits: it has 'a' 3 and 1 more, which no publisher of it has"
    )


def test_a_wrong_shape(tmp_path: Path, digits: zoo.Network, weights: dict[str, np.ndarray]) -> None:
    weights[CONV1] = np.ascontiguousarray(weights[CONV1].transpose(3, 2, 0, 1))
    path = write(tmp_path / "w.safetensors", weights)
    assert load_error(digits, path) == (
        "w.safetensors is not for digits: 'digits/conv1/weights' is 32x1x3x3, must be 3x3x1x32"
    )


def test_a_wrong_type(tmp_path: Path, digits: zoo.Network, weights: dict[str, np.ndarray]) -> None:
    weights[CONV1] = weights[CONV1].astype(np.float16)
    path = write(tmp_path / "half.safetensors", weights)
    loaded = zoo.load_weights(digits, str(path))[CONV1]
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, weights[CONV1])
    weights[CONV1] = weights[CONV1].astype(np.int8)
    path = write(tmp_path / "w.safetensors", weights)
    assert load_error(digits, path) == (
        "w.safetensors: 'digits/conv1/weights' is int8, must be a floating-point type"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(
    tmp_path: Path, digits: zoo.Network, weights: dict[str, np.ndarray], value: float
) -> None:
    weights[CONV1] = weights[CONV1].copy()
    weights[CONV1][0, :2, 0, 3] = value
    path = write(tmp_path / "w.safetensors", weights)
    assert load_error(digits, path) == (
        "w.safetensors: 'digits/conv1/weights' holds 2 values that are NaN or infinite"
    )


def test_a_variance_below_zero(tmp_path: Path, digits: zoo.Network, weights: dict[str, np.ndarray]) -> None:
    name = "digits/conv1/BatchNorm/moving_variance"
    weights[name] = np.where(np.arange(32) < 2, -1, weights[name]).astype(np.float32)
    path = write(tmp_path / "w.safetensors", weights)
    assert load_error(digits, path) == (f"w.safetensors: {name!r} holds 2 negative values: it is no variance")


def test_without_safetensors_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, digits: zoo.Network) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(MissingExtraError) as error:
        zoo.load_weights(digits, "")
    assert str(error.value) == (
        "reading and writing weights needs the extra 'convert': pip install 'fieldwave[convert]'"
    )


def test_a_set_of_weights_is_checked_before_it_is_saved_or_emitted(
    tmp_path: Path, digits: zoo.Network, weights: dict[str, np.ndarray]
) -> None:
    wide = weights | {CONV1: weights[CONV1].astype(np.float64)}
    with pytest.raises(WeightsError) as error:
        zoo.save_weights(tmp_path / "w.safetensors", digits, wide)
    assert str(error.value) == (
        "the set of weights: 'digits/conv1/weights' is float64, must be float32; convert it"
    )
    assert list(tmp_path.iterdir()) == []
    del wide[CONV1]
    with pytest.raises(WeightsError) as error:
        zoo.to_onnx(digits, wide)
    assert str(error.value) == ("the set of weights is not for digits: it lacks 'digits/conv1/weights' 3x3x1x32")
