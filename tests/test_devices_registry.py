import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fieldwave
from fieldwave.devices import create_device, device_names, open_device
from fieldwave.devices.cpu import CpuDevice
from fieldwave.devices.rtl import RtlDevice
from fieldwave.errors import DeviceBusyError, NotFoundError
from fieldwave.npu.config import CONFIGURATIONS


def test_a_device_is_made_by_name_and_not_yet_open() -> None:
    device = create_device("cpu", threads=1)
    assert isinstance(device, CpuDevice)
    assert device.name == "cpu"
    device.open()


def test_an_opened_device() -> None:
    device = open_device("cpu")
    with pytest.raises(DeviceBusyError):
        device.open()


@pytest.mark.parametrize("make", [create_device, open_device])
@pytest.mark.parametrize("name", ["gpu", "cpu:tiny", "cpu:", "gpu:tiny", "board", ""])
def test_an_unknown_name_lists_the_names(make: Callable[[str], object], name: str) -> None:
    with pytest.raises(NotFoundError) as error:
        make(name)
    assert device_names() == ("cpu", "rtl", "board")
    assert str(error.value) == f"no device {name!r}; there are: cpu, rtl, rtl:NPU, board:PORT"


def test_the_rtl_device_takes_an_npu_behind_a_colon() -> None:
    device = create_device("rtl:tiny")
    assert isinstance(device, RtlDevice)
    assert device.name == "rtl"
    assert device.configuration == CONFIGURATIONS["tiny"]


@pytest.mark.parametrize("npu", ["enormous", "tiny:", ""])
def test_an_unknown_npu_lists_the_npus(npu: str) -> None:
    with pytest.raises(NotFoundError) as error:
        create_device(f"rtl:{npu}")
    assert str(error.value) == f"no NPU configuration {npu!r}; there are {', '.join(CONFIGURATIONS)}"


def test_naming_the_devices_imports_no_runtime() -> None:
    code = "import sys, fieldwave.devices as d; print(d.device_names()); print('onnxruntime' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(fieldwave.__file__).parents[1])},
    )
    assert run.stdout == f"{device_names()}\nFalse\n"
