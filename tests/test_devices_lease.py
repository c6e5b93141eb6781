from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldwave.bench import bench_device
from fieldwave.cli import app
from fieldwave.conversion import Conversion
from fieldwave.devices import lease_device
from fieldwave.errors import DeviceBusyError, NotFoundError
from fieldwave.leases import acquire, why_busy
from fieldwave.package import read_package


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "machine.toml").write_text("rtl = 1\n")
    monkeypatch.setenv("FIELDWAVE_MACHINE", str(tmp_path / "machine.toml"))
    monkeypatch.setenv("FIELDWAVE_LEASES", str(tmp_path / "leases"))
    monkeypatch.delenv("FIELDWAVE_NPUS", raising=False)


def test_a_device_is_open_and_its_npu_held_within(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    class Recorded:
        def __init__(self, npu: str) -> None:
            opened.append(npu)

        def __enter__(self) -> Recorded:
            return self

        def __exit__(self, *exception: object) -> None:
            opened.append("closed")

    monkeypatch.setattr("fieldwave.devices.rtl.RtlDevice", Recorded)
    with lease_device("rtl:tiny", "bench") as device:
        assert isinstance(device, Recorded)
        assert why_busy("rtl") == f"1 NPU (rtl-0), held by service bench (process {os.getpid()})"
    assert opened == ["tiny", "closed"]
    assert why_busy("rtl") == ""
    with lease_device("cpu", "bench") as device:
        assert device.name == "cpu"


def test_what_another_holds_is_not_touched(digits: Conversion) -> None:
    package = read_package(digits.path)
    with acquire("rtl", "aa"):
        with pytest.raises(DeviceBusyError, match=r"1 NPU \(rtl-0\), held by service aa"):
            bench_device(package, "rtl:tiny", seconds=0.1)
        result = CliRunner().invoke(app, ["bench", str(digits.path), "--device", "rtl:tiny", "--seconds", "0.1"])
    assert result.exit_code == 1
    assert result.stderr.endswith(
        "1 NPU (rtl-0), held by service aa; delete a service, or deploy with --when-busy wait or replace\n"
    )


def test_a_board_that_is_not_there() -> None:
    with (
        pytest.raises(NotFoundError, match="this machine has no NPU for device 'board'"),
        lease_device("board", "x"),
    ):
        pass
