"""The other kinds of file, written by the libraries themselves where they are here."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from fieldwave.errors import WeightsError
from fieldwave.zoo.weights import open_tensors

VALUES = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def complaint(path: Path) -> str:
    with pytest.raises(WeightsError) as error:
        open_tensors(path)
    return str(error.value)


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    half = VALUES.astype(np.float16)
    path.write_bytes(safetensors.numpy.save({"a": VALUES, "half": half}, metadata={"format": "pt"}))
    file = open_tensors(path)
    assert (file.format, file.notes) == ("safetensors", {"format": "pt"})
    assert {name: (stored.shape, stored.dtype) for name, stored in file.tensors.items()} == {
        "a": ((2, 3, 4), "float32"),
        "half": ((2, 3, 4), "float16"),
    }
    np.testing.assert_array_equal(file.tensors["a"].load(), VALUES)
    np.testing.assert_array_equal(file.read("half"), VALUES)


def test_safetensors_of_bfloat16(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch has bfloat16: pip install torch")
    from safetensors.torch import save_file

    save_file({"a": torch.from_numpy(VALUES).bfloat16()}, tmp_path / "w.safetensors")
    file = open_tensors(tmp_path / "w.safetensors")
    assert file.tensors["a"].dtype == "bfloat16"
    np.testing.assert_array_equal(file.read("a"), VALUES)


def test_values_beyond_float32(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors.numpy.save({"a": np.array([1.0, 1e300, np.nan])}))
    with pytest.raises(WeightsError) as error:
        open_tensors(path).read("a")
    assert str(error.value) == "w.safetensors: 'a' holds 2 values that are NaN or infinite"


def test_onnx(tmp_path: Path) -> None:
    import onnx
    from onnx import helper, numpy_helper

    graph = helper.make_graph([], "g", [], [], [numpy_helper.from_array(VALUES, "a")])
    model = helper.make_model(graph)
    onnx.save(model, tmp_path / "in.onnx")
    onnx.save(model, tmp_path / "out.onnx", save_as_external_data=True, location="values.bin", size_threshold=0)
    for name in ("in.onnx", "out.onnx"):
        file = open_tensors(tmp_path / name)
        assert (file.format, file.tensors["a"].shape, file.tensors["a"].dtype) == ("onnx", (2, 3, 4), "float32")
        np.testing.assert_array_equal(file.read("a"), VALUES)
    (tmp_path / "values.bin").unlink()
    with pytest.raises(WeightsError) as error:
        open_tensors(tmp_path / "out.onnx").read("a")
    assert str(error.value) == "out.onnx is damaged: 'a' cannot be read; get it again"


def test_onnx_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    assert complaint(path) == f"cannot read the weights {path}: No such file or directory"
    path.write_bytes(b"\xff\xff no model")
    assert complaint(path) == f"{path} is damaged, or no ONNX file: get it again"


@pytest.mark.parametrize("name", ["w.h5", "w.keras", "w.bin"])
def test_a_kind_is_told_by_its_bytes_where_the_name_does_not(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"hello")
    if name == "w.bin":
        assert complaint(path) == (
            f"{path} is of no kind that holds weights: "
            "give a .safetensors, .pth, .pt, .ckpt, .h5, .keras, .onnx, or the folder of a SavedModel"
        )
    else:
        assert complaint(path) == f"{path} is damaged, or no file of Keras: get it again"
    path = tmp_path / "model.ckpt"
    path.write_bytes(safetensors.numpy.save({"a": VALUES}))
    assert open_tensors(path).format == "safetensors"


def test_a_missing_file_and_an_empty_folder(tmp_path: Path) -> None:
    path = tmp_path / "w.keras"
    assert complaint(path) == f"cannot read the weights {path}: No such file or directory"
    assert complaint(tmp_path) == f"cannot read the weights {tmp_path}: Is a directory"


# Keras: the layout of Keras 1 and 2, and what reaches out of the file, made by h5py.


def test_h5_with_the_names_of_keras_1(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py reads HDF5: pip install h5py")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = [b"block1_conv1", b"block1_pool", b"norm"]
        group = file.create_group("block1_conv1")
        group.attrs["weight_names"] = [b"block1_conv1_W_1:0", b"block1_conv1_b_1:0"]
        group["block1_conv1_W_1:0"] = np.zeros((3, 3, 3, 4), np.float32)
        group["block1_conv1_b_1:0"] = np.ones(4, np.float32)
        file.create_group("block1_pool").attrs["weight_names"] = []
        group = file.create_group("norm")
        group.attrs["weight_names"] = [
            f"norm/{name}:0" for name in ("gamma", "beta", "moving_mean", "moving_variance")
        ]
        for number, name in enumerate(group.attrs["weight_names"]):
            group[name] = np.full(4, number, np.float32)
    file = open_tensors(tmp_path / "w.h5")
    assert list(file.tensors) == [
        "block1_conv1/kernel",
        "block1_conv1/bias",
        "norm/gamma",
        "norm/beta",
        "norm/moving_mean",
        "norm/moving_variance",
    ]
    assert file.read("block1_conv1/bias").tolist() == [1.0] * 4
    assert file.read("norm/moving_mean").tolist() == [2.0] * 4


def test_h5_that_reaches_into_other_files(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py reads HDF5: pip install h5py")
    (tmp_path / "secret").write_bytes(bytes(16))
    with h5py.File(tmp_path / "w.h5", "w") as file:
        group = file.create_group("layers/dense/vars")
        group.create_dataset("0", (4,), "f4", external=[(str(tmp_path / "secret"), 0, 16)])
    assert complaint(tmp_path / "w.h5") == "w.h5: 'layers/dense/vars/0' lies in another file, which is not read"
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file.attrs["layer_names"] = ["dense"]
        file.create_group("dense").attrs["weight_names"] = ["kernel"]
        file["dense/kernel"] = h5py.ExternalLink(str(tmp_path / "w.h5"), "layers/dense/vars/0")
    assert complaint(tmp_path / "link.h5") == (
        f"{tmp_path / 'link.h5'} is damaged, or no file of Keras: get it again"
    )


def test_a_keras_archive_that_unpacks_too_large(tmp_path: Path) -> None:
    pytest.importorskip("h5py", reason="h5py reads HDF5: pip install h5py")
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(101 * 2**20))
    assert complaint(tmp_path / "bomb.keras") == (
        "bomb.keras unpacks to 105906176 bytes, more than weights do; it was not read"
    )
    with zipfile.ZipFile(tmp_path / "none.keras", "w") as archive:
        archive.writestr("readme", b"")
    assert (
        complaint(tmp_path / "none.keras") == "none.keras is a zip, but none of Keras: it has no model.weights.h5"
    )


@pytest.fixture(scope="module")
def model() -> Any:
    keras = pytest.importorskip("keras", reason="Keras writes the files: pip install tensorflow-cpu")
    keras.utils.set_random_seed(1)
    images = keras.Input((8, 8, 3))
    net = keras.layers.Conv2D(4, 3, name="conv1_conv")(images)
    net = keras.layers.BatchNormalization(name="conv1_bn")(net)
    net = keras.layers.Lambda(lambda x: x * 2)(net)
    net = keras.layers.GlobalAveragePooling2D()(net)
    net = keras.layers.Dense(2, name="predictions")(net)
    model = keras.Model(images, net)
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((2, 8, 8, 3)), np.ones((2, 2)))
    return model


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.weights.h5"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_what_keras_writes(tmp_path: Path, model: Any, name: str) -> None:
    (model.save_weights if name == "m.weights.h5" else model.save)(tmp_path / name)
    file = open_tensors(tmp_path / name)
    expected = {variable.path: variable.numpy() for variable in model.weights}
    assert set(file.tensors) == set(expected)
    for weight, values in expected.items():
        np.testing.assert_array_equal(file.read(weight), values)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_savedmodel_of_keras(tmp_path: Path, model: Any) -> None:
    model.export(tmp_path / "saved", verbose=False)
    file = open_tensors(tmp_path / "saved")
    assert (file.format, file.origin) == ("savedmodel", "saved")
    for variable in model.weights:
        np.testing.assert_array_equal(file.read(variable.path), variable.numpy())


def test_checkpoints_of_tensorflow(tmp_path: Path) -> None:
    tensorflow = pytest.importorskip("tensorflow", reason="TensorFlow writes them: pip install tensorflow-cpu")
    tf1 = tensorflow.compat.v1
    with tf1.Graph().as_default(), tf1.Session() as session:
        tf1.get_variable("net/conv1/weights", initializer=VALUES, use_resource=False)
        tf1.get_variable("global_step", initializer=np.int64(7), use_resource=False)
        session.run(tf1.global_variables_initializer())
        for version, name in ((tf1.train.SaverDef.V1, "one.ckpt"), (tf1.train.SaverDef.V2, "two.ckpt")):
            (tmp_path / name[:3]).mkdir()
            tf1.train.Saver(write_version=version).save(
                session, str(tmp_path / name[:3] / name), write_meta_graph=False
            )
        tensor = session.graph.get_tensor_by_name("net/conv1/weights:0")
        tf1.saved_model.simple_save(session, str(tmp_path / "saved"), {"x": tensor}, {"y": tensor})
    assert open_tensors(tmp_path / "saved").format == "savedmodel"
    np.testing.assert_array_equal(open_tensors(tmp_path / "saved").read("net/conv1/weights"), VALUES)
    for source in (
        "one/one.ckpt",
        "one",
        "two/two.ckpt",
        "two/two.ckpt.index",
        "two/two.ckpt.data-00000-of-00001",
        "two",
    ):
        file = open_tensors(tmp_path / source)
        assert file.format == "tensorflow"
        assert {name: (stored.shape, stored.dtype) for name, stored in file.tensors.items()} == {
            "global_step": ((), "int64"),
            "net/conv1/weights": ((2, 3, 4), "float32"),
        }
        np.testing.assert_array_equal(file.read("net/conv1/weights"), VALUES)
    data = tmp_path / "two" / "two.ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:40])
    with pytest.raises(WeightsError) as error:
        open_tensors(tmp_path / "two").read("net/conv1/weights")
    assert str(error.value) == "two.ckpt is damaged: 'net/conv1/weights' cannot be read; get it again"
    data.with_name("two.ckpt.index").write_bytes(b"damaged")
    assert complaint(tmp_path / "two") == (
        f"{tmp_path / 'two' / 'two.ckpt'} is damaged, or no checkpoint of TensorFlow: get it again"
    )
