import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from fieldwave import golden
from fieldwave.devices import Counters, Device, cpu, open_device
from fieldwave.devices.cpu import CpuDevice
from fieldwave.devices.exactness import Exactness, exactness, find_exactness
from fieldwave.errors import DeviceBusyError, DeviceError, MissingExtraError, PackageError, TensorError
from fieldwave.graph import Graph, Node, Value, to_onnx
from fieldwave.package import Package, TensorSpec, write_package
from tests import networks
from tests.networks import INPUT, OUTPUT
from tests.test_devices_exactness import with_away_from_zero, without_vnni

NOT_OPEN = "device cpu is not open; call open() first, or use it in a with statement"
NO_NETWORK = "device cpu has no network; call load() with a package first"


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return networks.package(tmp_path)


def written(path: Path, graph: Graph, **changes: Any) -> Package:
    arguments: dict[str, Any] = {
        "network": "small",
        "model": to_onnx(graph).SerializeToString(),
        "inputs": networks.inputs(),
        "outputs": networks.outputs(),
    }
    return write_package(path, **{**arguments, **changes})


def bare(package: Package, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """What ONNX Runtime alone returns; of the rewritten model, where this processor needs that."""
    model = exactness().rewritten(package.model)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([OUTPUT], {INPUT: images})[0])


@pytest.mark.parametrize("count", [1, 3])
def test_a_network_runs_as_in_bare_onnxruntime(package: Package, count: int) -> None:
    images = networks.images(count)
    device: Device
    with CpuDevice() as device:
        device.load(package)
        outputs = device.run({INPUT: images})
    assert list(outputs) == [OUTPUT]
    np.testing.assert_array_equal(outputs[OUTPUT], bare(package, images))
    np.testing.assert_allclose(outputs[OUTPUT].sum(1), 1, rtol=1e-6)


def test_this_machine_keeps_the_promise(package: Package) -> None:
    assert CpuDevice().exact
    assert CpuDevice().path in ("int8 weights", "uint8 weights (no VNNI)")


@pytest.mark.parametrize("seed", range(5))
def test_every_quantized_tensor_is_the_golden_one(package: Package, seed: int) -> None:
    image = {INPUT: networks.images(seed=seed)}
    with open_device("cpu") as device:
        device.load(package)
        traced, run = device.trace(image), device.run(image)
    expected = golden.run(networks.network(), image)
    names = {name for name, value in expected.items() if value.dtype == np.uint8}
    assert set(traced) == names | {OUTPUT}
    assert len(names) == 8
    for name in names:
        np.testing.assert_array_equal(traced[name], expected[name], name)
    np.testing.assert_array_equal(traced[OUTPUT], run[OUTPUT])


@pytest.mark.parametrize(
    "differing", [without_vnni, with_away_from_zero], ids=["without VNNI", "half away from zero"]
)
def test_on_other_processors_the_tensors_are_the_same(
    package: Package, monkeypatch: pytest.MonkeyPatch, differing: Any
) -> None:
    """The rewritten networks, on kernels of this processor."""
    image = {INPUT: networks.images()}
    expected = golden.run(networks.network(), image)
    found = find_exactness(differing)
    monkeypatch.setattr(cpu, "exactness", lambda: found)
    with CpuDevice() as device:
        device.load(package)
        assert device.exact
        assert device.path == found.path
        traced = device.trace(image)
        np.testing.assert_array_equal(device.run(image)[OUTPUT], bare(package, image[INPUT]))
    assert set(traced) == {name for name, value in expected.items() if value.dtype == np.uint8} | {OUTPUT}
    for name in set(traced) - {OUTPUT}:
        np.testing.assert_array_equal(traced[name], expected[name], name)


def test_a_processor_that_differs_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "exactness", lambda: Exactness("int8 weights", (), ("QLinearAdd",)))
    assert not CpuDevice().exact


def test_loading_replaces_the_network(tmp_path: Path) -> None:
    first, second = networks.package(tmp_path, seed=1), networks.package(tmp_path, seed=2)
    images = networks.images()
    with CpuDevice() as device:
        for package in (first, second, first):
            device.load(package)
            np.testing.assert_array_equal(device.run({INPUT: images})[OUTPUT], bare(package, images))


def test_counters_count_images_and_seconds_since_open(package: Package) -> None:
    device = CpuDevice()
    for _ in range(2):
        with device:
            device.load(package)
            assert device.counters() == Counters(images=0, busy_seconds=0.0, cycles=None)
            device.run({INPUT: networks.images(3)})
            once = device.counters()
            assert once.images == 3
            assert once.busy_seconds > 0
            device.trace({INPUT: networks.images(1)})
            assert device.counters().images == 4
            assert device.counters().busy_seconds > once.busy_seconds


def test_a_refused_call_counts_nothing(package: Package) -> None:
    with CpuDevice() as device:
        device.load(package)
        with pytest.raises(TensorError):
            device.run({})
        assert device.counters() == Counters(0, 0.0)


def test_a_second_owner_is_refused() -> None:
    with CpuDevice() as device, pytest.raises(DeviceBusyError) as error:
        device.open()
    assert str(error.value) == (
        f"device cpu is in use (opened by process {os.getpid()}, thread 'MainThread'); close it there first"
    )


def test_before_open_and_after_close_nothing_runs(package: Package) -> None:
    device = CpuDevice()
    for _ in range(2):
        with pytest.raises(DeviceError) as refused:
            device.load(package)
        assert str(refused.value) == NOT_OPEN
        for use in (device.run, device.trace):
            with pytest.raises(DeviceError) as error:
                use({INPUT: networks.images()})
            assert str(error.value) == NOT_OPEN
        with device:
            device.load(package)
        device.close()


def test_a_device_opened_again_has_forgotten_its_network(package: Package) -> None:
    device = CpuDevice()
    with device:
        device.load(package)
    with device, pytest.raises(DeviceError) as error:
        device.run({INPUT: networks.images()})
    assert str(error.value) == NO_NETWORK


def test_wrong_inputs_name_the_right_ones(package: Package) -> None:
    right = "small takes: images:0 float32 [N, 8, 8, 3] (N at least 1)"
    with CpuDevice() as device:
        device.load(package)
        for inputs, message in (
            ({"pictures": networks.images()}, f"no input 'pictures'; {right}"),
            ({INPUT: np.zeros((1, 8, 9, 3), np.float32)}, f"input 'images:0' has shape [1, 8, 9, 3]; {right}"),
            ({INPUT: np.zeros((1, 8, 8, 3), np.uint8)}, f"input 'images:0' is uint8; {right}"),
        ):
            for use in (device.run, device.trace):
                with pytest.raises(TensorError) as error:
                    use(inputs)
                assert str(error.value) == message


def test_a_trace_takes_one_image(package: Package) -> None:
    with CpuDevice() as device:
        device.load(package)
        with pytest.raises(TensorError) as error:
            device.trace({INPUT: networks.images(2)})
    assert str(error.value) == "a trace takes 1 image, these are 2; trace them one by one"


def test_a_trace_needs_onnx(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with CpuDevice() as device:
        device.load(package)
        device.run({INPUT: networks.images()})
        with pytest.raises(MissingExtraError) as error:
            device.trace({INPUT: networks.images()})
    assert str(error.value) == "tracing a network needs the extra 'convert': pip install 'fieldwave[convert]'"


def test_a_damaged_model_is_one_line_and_the_network_before_stays(tmp_path: Path, package: Package) -> None:
    damaged = written(tmp_path / "damaged.zip", networks.network(), model=package.model[: len(package.model) // 2])
    with CpuDevice() as device:
        device.load(package)
        with pytest.raises(DeviceError) as error:
            device.load(damaged)
        assert str(error.value) == (
            "device cpu cannot load small: ONNX Runtime cannot load the model: "
            "Failed to load model because protobuf parsing failed.; convert it again"
        )
        np.testing.assert_array_equal(
            device.run({INPUT: networks.images()})[OUTPUT], bare(package, networks.images())
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"inputs": (TensorSpec(name="other", shape=(None, 8, 8, 3)),)},
            "inputs has 'other', model.onnx has 'images:0'",
        ),
        (
            {"inputs": (TensorSpec(name=INPUT, shape=(None, 9, 8, 3)),)},
            "inputs has images:0 float32 [N, 9, 8, 3], model.onnx has images:0 tensor(float) [N, 8, 8, 3]",
        ),
        (
            {"inputs": (TensorSpec(name=INPUT, dtype="uint8", shape=(None, 8, 8, 3)),)},
            "inputs has images:0 uint8 [N, 8, 8, 3], model.onnx has images:0 tensor(float) [N, 8, 8, 3]",
        ),
        (
            {"outputs": (TensorSpec(name="logits", shape=(None, 10)),)},
            "outputs has 'logits', model.onnx has 'probabilities:0'",
        ),
        (
            {"outputs": (TensorSpec(name=OUTPUT, shape=(None,)),)},
            "outputs has probabilities:0 float32 [N], model.onnx has probabilities:0 tensor(float) [N, 10]",
        ),
    ],
)
def test_a_manifest_that_contradicts_the_model(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    package = written(tmp_path / "wrong.zip", networks.network(), **changes)
    with CpuDevice() as device, pytest.raises(PackageError) as error:
        device.load(package)
    assert str(error.value) == f"the package of small contradicts itself: {message}; convert it again"


def test_an_input_that_the_manifest_leaves_out(tmp_path: Path) -> None:
    graph = networks.network()
    more = Graph(
        graph.name,
        (*graph.inputs, Value("extra", "float32", (None, 1))),
        graph.outputs,
        graph.nodes,
        graph.constants,
    )
    package = written(tmp_path / "more.zip", more)
    with CpuDevice() as device, pytest.raises(PackageError) as error:
        device.load(package)
    assert str(error.value) == (
        "the package of small contradicts itself: inputs has no 'extra', which model.onnx needs; convert it again"
    )


def test_a_failure_while_running_is_one_line(tmp_path: Path) -> None:
    graph = Graph(
        "table",
        (Value("x", "float32", (None,)),),
        (Value("y", "float32", (None,)),),
        (
            Node("Cast", "index", ("x",), ("index",), {"to": 7}),
            Node("Gather", "look up", ("table", "index"), ("y",), {"axis": 0}),
        ),
        {"table": np.arange(4, dtype=np.float32)},
    )
    package = write_package(
        tmp_path / "table.zip",
        network="table",
        model=to_onnx(graph).SerializeToString(),
        inputs=(TensorSpec(name="x", shape=(None,)),),
        outputs=(TensorSpec(name="y", shape=(None,)),),
    )
    with CpuDevice() as device:
        device.load(package)
        assert device.run({"x": np.asarray([3], np.float32)})["y"].tolist() == [3.0]
        with pytest.raises(DeviceError, match=r"^device cpu failed in table: [^\n]*'look up'[^\n]*$"):
            device.run({"x": np.asarray([9], np.float32)})
        assert device.counters().images == 1


def test_runs_of_many_threads_are_serialised_and_right(package: Package) -> None:
    images = [networks.images(seed=seed) for seed in range(16)]
    expected = [bare(package, image) for image in images]
    with CpuDevice() as device, ThreadPoolExecutor(8) as pool:
        device.load(package)
        results = list(pool.map(lambda image: device.run({INPUT: image})[OUTPUT], images * 4))
        assert device.counters().images == 64
    for result, right in zip(results, expected * 4, strict=True):
        np.testing.assert_array_equal(result, right)


def test_loading_and_closing_wait_for_the_run_under_way(tmp_path: Path) -> None:
    """Runs beside loads always see one network or the other, and after the close they are refused."""
    packages = [networks.package(tmp_path, seed=seed) for seed in (1, 2)]
    images = networks.images()
    right = [bare(package, images).tobytes() for package in packages]
    device = CpuDevice()
    device.open()
    device.load(packages[0])
    seen: set[bytes] = set()
    refused: list[str] = []
    started = threading.Event()

    def run() -> None:
        try:
            while True:
                seen.add(device.run({INPUT: images})[OUTPUT].tobytes())
                started.set()
        except DeviceError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert started.wait(60)
    for package in packages * 5:
        device.load(package)
    device.close()
    for thread in threads:
        thread.join(60)
    assert seen <= set(right)
    assert refused == [NOT_OPEN, NOT_OPEN]
