"""The cpu device on a processor that this machine may not have, emulated by QEMU."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fieldwave
from fieldwave import golden
from fieldwave.package import Package
from tests import networks

QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")

TRACE = """
import sys
import numpy as np
from fieldwave.devices.cpu import CpuDevice
from fieldwave.devices.selftest import differing_operators, stored_selftest
from fieldwave.package import read_package
print(differing_operators(stored_selftest()))
with CpuDevice(threads=1) as device:
    device.load(read_package(sys.argv[1]))
    print(device.path, device.exact)
    np.savez(sys.argv[3], **device.trace({"images:0": np.load(sys.argv[2])}))
"""


@pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64: apt-get install qemu-user-static")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="runs this Python on another x86-64 processor")
def test_without_vnni_every_tensor_is_the_golden_one(tmp_path: Path) -> None:
    """Haswell has AVX2 and no VNNI: the stored network would saturate there."""
    package: Package = networks.package(tmp_path)
    image = networks.images()
    np.save(tmp_path / "image.npy", image)
    files = [tmp_path / name for name in ("small.zip", "image.npy", "traced.npz")]
    run = subprocess.run(
        [QEMU or "", "-cpu", "Haswell", sys.executable, "-c", TRACE, *files],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(fieldwave.__file__).parents[1])},
    )
    differing = "('QGemm', 'QLinearConv', 'QLinearMatMul')"
    assert run.stdout == f"{differing}\nuint8 weights (no VNNI) True\n"
    traced = np.load(files[2])
    expected = golden.run(package.model, {networks.INPUT: image})
    names = set(traced.files) - {networks.OUTPUT}
    assert len(names) == 8
    for name in names:
        np.testing.assert_array_equal(traced[name], expected[name], name)
