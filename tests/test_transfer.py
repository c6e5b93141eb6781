"""Featurizers and the heads trained on them: the same features everywhere, the same answers once packed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("sklearn", reason="needs scikit-learn: pip install scikit-learn")

from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC, LinearSVC

from fieldwave import golden, zoo
from fieldwave.conversion import Conversion
from fieldwave.devices import open_device
from fieldwave.errors import CalibrationError, ImageError, ModelError, StorageError
from fieldwave.graph import from_onnx
from fieldwave.package import Package
from fieldwave.preprocess import normalise
from fieldwave.transfer import FEATURES, Featurizer, featurizer, head_of, pack, package_featurizer

Array = NDArray[Any]
SPLIT = 180


def inputs(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return normalise(pixels[..., None], zoo.network("digits").preprocessing)


@pytest.fixture(scope="module")
def digits_featurizer() -> Featurizer:
    return featurizer("digits", inputs(zoo.digits_images().calibration_images[:20]))


@pytest.fixture(scope="module")
def features(digits_featurizer: Featurizer) -> NDArray[np.float32]:
    return digits_featurizer.features(inputs(zoo.digits_images().heldout_images))


@pytest.fixture(scope="module")
def labels() -> Array:
    return zoo.digits_images().heldout_labels


def served(package: Package, device: str = "cpu") -> Array:
    """What a package answers for the second half of the held-out digits."""
    with open_device(device) as opened:
        opened.load(package)
        (scores,) = opened.run(
            {package.manifest.inputs[0].name: inputs(zoo.digits_images().heldout_images[SPLIT:])}
        ).values()
    return scores


def test_features_are_those_of_the_golden_model(digits_featurizer: Featurizer, features: Array) -> None:
    assert features.shape == (360, 64) and features.dtype == np.float32
    images = inputs(zoo.digits_images().heldout_images[:3])
    tensors = golden.run(digits_featurizer.graph, {digits_featurizer.graph.inputs[0].name: images})
    assert np.array_equal(tensors[FEATURES], features[:3])


def test_features_are_near_those_of_the_float_network(digits_featurizer: Featurizer, features: Array) -> None:
    real = digits_featurizer.float_features(inputs(zoo.digits_images().heldout_images[:20]))
    assert real.shape == (20, 64)
    assert np.linalg.norm(features[:20] - real) < 0.05 * np.linalg.norm(real)


def test_files_bytes_and_folders_give_the_same_features(
    digits_featurizer: Featurizer, features: Array, tmp_path: Path
) -> None:
    files = [zoo.digit_png(pixels) for pixels in zoo.digits_images().heldout_images[:3]]
    for index, data in enumerate(files):
        (tmp_path / f"{index}.png").write_bytes(data)
    assert np.array_equal(digits_featurizer.features(files), features[:3])
    assert np.array_equal(digits_featurizer.features(tmp_path), features[:3])
    assert np.array_equal(digits_featurizer.features(sorted(tmp_path.iterdir())), features[:3])


def test_a_package_is_a_featurizer_too(
    digits: Conversion, digits_featurizer: Featurizer, features: Array, tmp_path: Path
) -> None:
    """Cut from the whole network's package, and read back from its own."""
    images = inputs(zoo.digits_images().heldout_images[:20])
    assert np.array_equal(package_featurizer(digits.path).features(images), features[:20])
    path = tmp_path / "featurizer.zip"
    assert digits_featurizer.write(path) == digits_featurizer.package()
    again = package_featurizer(path)
    assert (again.name, again.size, again.preprocessing) == ("digits", 64, digits_featurizer.preprocessing)
    assert np.array_equal(again.features(images), features[:20])


HEADS = [
    LogisticRegression(max_iter=1000),
    make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    make_pipeline(StandardScaler(), PCA(20), LinearSVC()),
    RidgeClassifier(),
]


@pytest.mark.parametrize(
    "head", HEADS, ids=lambda head: type(head[-1] if hasattr(head, "steps") else head).__name__
)
def test_a_packed_head_answers_as_it_was_trained(
    digits_featurizer: Featurizer, features: Array, labels: Array, head: Any, tmp_path: Path
) -> None:
    head.fit(features[:SPLIT], labels[:SPLIT])
    package = pack(digits_featurizer, head, output=tmp_path / "tuned.zip")
    scores = served(package)
    probable = hasattr(head, "predict_proba")
    expected = head.predict_proba(features[SPLIT:]) if probable else head.decision_function(features[SPLIT:])
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(scores.argmax(1), head.predict(features[SPLIT:]))
    assert package.manifest.labels == tuple("0123456789")
    kind = "Softmax" if probable else "BiasAdd"
    assert [str(spec) for spec in package.manifest.outputs] == [f"classifier_output/{kind}:0 float32 [N, 10]"]


def test_an_int8_head_answers_nearly_as_it_was_trained(
    digits_featurizer: Featurizer, features: Array, labels: Array, tmp_path: Path
) -> None:
    head = LogisticRegression(max_iter=1000).fit(features[:SPLIT], labels[:SPLIT])
    package = pack(digits_featurizer, head, output=tmp_path / "tuned.zip", calibration=features[:SPLIT])
    scores = served(package)
    graph = from_onnx(package.model)
    assert [node.op for node in graph.nodes[-4:]] == ["Flatten", "QGemm", "DequantizeLinear", "Softmax"]
    assert (scores.argmax(1) == head.predict(features[SPLIT:])).mean() > 0.99
    assert np.abs(scores - head.predict_proba(features[SPLIT:])).max() < 0.1


def test_two_classes_keep_their_order_and_names(
    digits_featurizer: Featurizer, features: Array, labels: Array, tmp_path: Path
) -> None:
    names = np.where(labels % 2, "odd", "even")
    head = LogisticRegression(max_iter=1000).fit(features[:SPLIT], names[:SPLIT])
    package = pack(digits_featurizer, head, output=tmp_path / "tuned.zip", labels={"odd": "impar", "even": "par"})
    assert package.manifest.labels == ("par", "impar")
    np.testing.assert_allclose(served(package), head.predict_proba(features[SPLIT:]), atol=1e-5)


def test_some_classes_of_many_keep_their_labels(
    digits_featurizer: Featurizer, features: Array, labels: Array, tmp_path: Path
) -> None:
    """A head that saw threes, fives and sevens only, with a list of names for all ten digits."""
    some = np.isin(labels, (3, 5, 7))
    head = LogisticRegression(max_iter=1000).fit(features[some], labels[some])
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    package = pack(digits_featurizer, head, output=tmp_path / "tuned.zip", labels=words)
    assert package.manifest.labels == ("three", "five", "seven")


def test_a_torch_head(digits_featurizer: Featurizer, features: Array, labels: Array, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'fieldwave[torch]'")
    torch.manual_seed(0)
    head = torch.nn.Sequential(
        torch.nn.Dropout(0.2), torch.nn.Linear(64, 32), torch.nn.BatchNorm1d(32), torch.nn.ReLU(),
        torch.nn.Sequential(torch.nn.BatchNorm1d(32), torch.nn.Linear(32, 10, bias=False)),
    )  # fmt: skip
    x, y = torch.from_numpy(features[:SPLIT]), torch.from_numpy(labels[:SPLIT].astype(np.int64))
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(x), y).backward()
        optimizer.step()
    head.eval()
    package = pack(digits_featurizer, head, output=tmp_path / "tuned.zip", labels=list("0123456789"))
    with torch.no_grad():
        expected = head(torch.from_numpy(features[SPLIT:])).softmax(1).numpy()
    np.testing.assert_allclose(served(package), expected, atol=1e-5)
    assert package.manifest.labels == tuple("0123456789")


def test_the_same_head_gives_the_same_bytes(
    digits_featurizer: Featurizer, features: Array, labels: Array, tmp_path: Path
) -> None:
    head = LogisticRegression(max_iter=1000).fit(features[:SPLIT], labels[:SPLIT])
    one, other = (pack(digits_featurizer, head, output=tmp_path / name) for name in ("1.zip", "2.zip"))
    assert one.digest == other.digest


@pytest.mark.slow
def test_features_and_answers_of_the_gateware(
    digits_featurizer: Featurizer, features: Array, labels: Array, tmp_path: Path
) -> None:
    head = LogisticRegression(max_iter=1000).fit(features[:SPLIT], labels[:SPLIT])
    images = inputs(zoo.digits_images().heldout_images[:4])
    assert np.array_equal(digits_featurizer.features(images, "rtl:tiny"), features[:4])
    path = tmp_path / "tuned.zip"
    package = pack(digits_featurizer, head, output=path, calibration=features[:SPLIT], npu=["tiny"])
    name = package.manifest.inputs[0].name
    with open_device("cpu") as cpu, open_device("rtl:tiny") as rtl:
        answers = []
        for device in (cpu, rtl):
            device.load(package)
            answers.append(next(iter(device.run({name: images[:2]}).values())))
    assert np.array_equal(*answers)


def test_heads_that_are_not_linear(features: Array, labels: Array) -> None:
    x, y = features[:SPLIT], labels[:SPLIT] % 2
    for head, said in (
        (RandomForestClassifier(3), "is no linear classifier and no torch module: use LogisticRegression, "),
        (SVC(), "is no linear function of the features: use LogisticRegression, "),
        (make_pipeline(Normalizer(), LogisticRegression()), "is no linear function of the features: use "),
    ):
        with pytest.raises(ModelError) as caught:
            head_of(head.fit(x, y), 64)
        assert str(caught.value).startswith(f"head {type(head).__name__} {said}")


def test_a_torch_layer_that_is_not_packed() -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'fieldwave[torch]'")
    with pytest.raises(ModelError) as caught:
        head_of(torch.nn.Sequential(torch.nn.Linear(64, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)), 64)
    assert str(caught.value) == (
        "layer 1 of the head is a Tanh, which is not packed here; use Linear first, then Linear, ReLU, "
        "BatchNorm1d, Dropout, and a Softmax last"
    )


def test_a_head_of_other_features(features: Array, labels: Array) -> None:
    head = LogisticRegression(max_iter=1000).fit(features[:SPLIT, :32], labels[:SPLIT])
    with pytest.raises(ModelError) as caught:
        head_of(head, 64)
    assert str(caught.value) == "the head reads 32 features, the featurizer gives 64"


def test_a_class_without_a_label(
    digits_featurizer: Featurizer, features: Array, labels: Array, tmp_path: Path
) -> None:
    head = LogisticRegression(max_iter=1000).fit(features[:SPLIT], labels[:SPLIT])
    with pytest.raises(ModelError) as caught:
        pack(digits_featurizer, head, output=tmp_path / "x.zip", labels=["zero", "one"])
    assert str(caught.value) == "class 2 of the head has no label; give one for each class"


def test_calibration_features_of_another_network(
    digits_featurizer: Featurizer, features: Array, labels: Array, tmp_path: Path
) -> None:
    head = LogisticRegression(max_iter=1000).fit(features[:SPLIT], labels[:SPLIT])
    with pytest.raises(CalibrationError) as caught:
        pack(digits_featurizer, head, output=tmp_path / "x.zip", calibration=features[:, :3])
    assert str(caught.value) == "the calibration features have shape (360, 3), expected [n, 64]"


def test_a_tensor_that_is_not_there(digits: Conversion) -> None:
    with pytest.raises(ModelError) as caught:
        package_featurizer(digits.package, "pool9")
    assert str(caught.value) == (
        "network 'digits' has no quantized tensor 'pool9' to cut at; name one that a layer of it makes"
    )


def test_a_network_without_features() -> None:
    with pytest.raises(ModelError) as caught:
        featurizer("ssd_vgg", [])
    assert str(caught.value) == (
        "network 'ssd_vgg' does not say where its features are; name the tensor: features=..."
    )


def test_files_that_are_no_images(digits_featurizer: Featurizer, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError) as empty:
        digits_featurizer.features(tmp_path)
    assert str(empty.value) == (
        f"folder {tmp_path} holds no JPEG or PNG image; put 16 or more there, like those to come"
    )
    with pytest.raises(StorageError) as missing:
        digits_featurizer.features([tmp_path / "none.png"])
    assert str(missing.value) == f"cannot read {tmp_path / 'none.png'}: No such file or directory"
    (tmp_path / "a.png").write_bytes(b"hello")
    with pytest.raises(ImageError) as text:
        digits_featurizer.features([tmp_path / "a.png"])
    assert str(text.value).startswith(f"{tmp_path / 'a.png'}: not an image")


def test_a_package_has_no_float_network(digits: Conversion) -> None:
    with pytest.raises(ModelError) as caught:
        package_featurizer(digits.package).float_features(inputs(zoo.digits_images().heldout_images[:1]))
    assert str(caught.value) == "featurizer 'digits' comes from a package, which holds no float network"
