import subprocess
import sys
from pathlib import Path

import pytest

import fieldwave
from fieldwave.devices import create_device, device_names, open_device
from fieldwave.devices.cpu import CpuDevice
from fieldwave.errors import DeviceBusyError, NotFoundError


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
def test_an_unknown_name_lists_the_names(make: object) -> None:
    with pytest.raises(NotFoundError) as error:
        make("gpu")  # type: ignore[operator]
    assert str(error.value) == f"no device 'gpu'; there are: {', '.join(device_names())}, rtl:NPU"


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
