"""PyTorch modules and programs: exported, their normalisation found, nothing executed that a file holds."""

from __future__ import annotations

import io
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldwave import zoo
from fieldwave.errors import InputError, ModelError
from fieldwave.frontends import Pixels, load
from fieldwave.frontends.measure import run
from fieldwave.frontends.torch_model import quiet_torch
from fieldwave.model import FloatModel
from tests.small_zoo import small

pytestmark = pytest.mark.skipif(
    not (find_spec("torch") and find_spec("onnxscript")),
    reason="torch and onnxscript are not installed: pip install 'fieldwave[torch]'",
)

SIZE = 16


def network(*, normalises: bool) -> Any:
    """A residual network; with torchvision's normalisation of pixels from 0 to 255 inside, or without."""
    with quiet_torch() as torch:
        nn = torch.nn

        class Normalise(nn.Module):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
                self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

            def forward(self, x: Any) -> Any:
                return (x / 255 - self.mean) / self.std

        class Net(nn.Module):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.normalise = Normalise() if normalises else nn.Identity()
                self.conv1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
                self.bn1 = nn.BatchNorm2d(8)
                self.pool = nn.MaxPool2d(3, 2, 1)
                self.conv2 = nn.Conv2d(8, 8, 3, 1, 1)
                self.average = nn.AdaptiveAvgPool2d(1)
                self.dropout = nn.Dropout(0.5)
                self.dense = nn.Linear(8, 10)

            def forward(self, x: Any) -> Any:
                x = self.pool(torch.relu(self.bn1(self.conv1(self.normalise(x)))))
                x = torch.relu(x + self.conv2(x))
                return self.dense(self.dropout(torch.flatten(self.average(x), 1))).softmax(1)

        torch.manual_seed(0)
        return Net()


def same(loaded: FloatModel, module: Any, to_module: Any) -> None:
    """The loaded network answers to pixels as the module does to what it takes."""
    with quiet_torch() as torch:
        pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype(np.float32)
        with torch.no_grad():
            expected = module.eval()(torch.from_numpy(to_module(pixels).transpose(0, 3, 1, 2).copy())).numpy()
    spec = loaded.preprocessing
    assert spec is not None
    inputs = ((pixels - np.asarray(spec.mean, np.float32)) * np.float32(spec.scale)).astype(np.float32)
    name = loaded.graph.outputs[0].name
    np.testing.assert_allclose(run(loaded.graph, inputs, [name])[name], expected, atol=1e-5)


def test_a_module_with_its_normalisation_inside() -> None:
    module = network(normalises=True).train()
    loaded = load(module, size=SIZE)
    assert module.training
    assert loaded.name == "net"
    assert loaded.graph.inputs[0].shape == (None, SIZE, SIZE, 3)
    assert loaded.graph.outputs[0].shape == (None, 10)
    assert loaded.preprocessing is not None
    assert loaded.preprocessing.mean == pytest.approx((123.675, 116.28, 103.53), rel=1e-6)
    assert loaded.notes[-2:] == (
        "the normalisation inside the model was moved into the preprocessing",
        "the gain of each channel went into the weights of the first convolution",
    )
    same(loaded, module, lambda pixels: pixels)


def test_a_program_file_and_the_normalisation_of_torchvision(tmp_path: Path) -> None:
    module = network(normalises=False).eval()
    with quiet_torch() as torch:
        image = torch.zeros(2, 3, SIZE, SIZE)
        program = torch.export.export(module, (image,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
        torch.export.save(program, tmp_path / "net.pt2")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    loaded = load(tmp_path / "net.pt2", preprocessing=Pixels(mean=mean, std=std))
    same(loaded, module, lambda pixels: ((pixels / 255 - mean) / std).astype(np.float32))

    class Evil:
        def __reduce__(self) -> Any:
            return (open, (str(tmp_path / "executed"), "w"))

    file = io.BytesIO()
    with quiet_torch() as torch:
        torch.save(Evil(), file)
    evil = tmp_path / "evil.pt2"
    with zipfile.ZipFile(tmp_path / "net.pt2") as good, zipfile.ZipFile(evil, "w") as bad:
        for name in good.namelist():
            bad.writestr(name, file.getvalue() if name.endswith("model.pt") else good.read(name))
    with pytest.raises(ModelError) as caught:
        load(evil)
    assert str(caught.value) == (
        f"{evil}: 'net/data/sample_inputs/model.pt' is a pickle that is more than tensors and is not executed; "
        "export the network to .onnx instead"
    )
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
def test_a_network_of_the_zoo_as_a_module() -> None:
    network = small("densenet121", "torchvision")
    weights = zoo.load_weights(network, "random:0")
    loaded = load(zoo.to_torch(network, weights), size=network.input.shape[0], name="small")
    reference = zoo.float_model(network, weights)
    image = np.random.default_rng(0).uniform(-2, 2, (2, *network.input.shape)).astype(np.float32)
    ours, theirs = (
        run(model.graph, image, [model.graph.outputs[0].name])[model.graph.outputs[0].name]
        for model in (loaded, reference)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(b"hello")
    with pytest.raises(ModelError) as caught:
        load(path)
    assert str(caught.value) == f"{path} is no program of torch.export.save: File is not a zip file"


def test_a_module_that_cannot_be_exported() -> None:
    with quiet_torch() as torch:

        class Eigen(torch.nn.Module):  # type: ignore[misc, name-defined]
            def forward(self, x: Any) -> Any:
                return torch.linalg.eigh(x)[0]

        module = Eigen()
    with pytest.raises(InputError) as no_size:
        load(module)
    assert str(no_size.value) == "a Eigen does not say the size of its image: give size=224"
    with pytest.raises(ModelError) as caught:
        load(module, size=8)
    said = str(caught.value)
    assert said.startswith("node '_linalg_eigh' (aten._linalg_eigh.default) cannot be converted to ONNX: ")
    assert "\n" not in said
