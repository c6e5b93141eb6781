"""The whole road on the digits network: convert, prove, deploy, score over gRPC, clean up."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fieldwave import zoo
from fieldwave.bench import HardwareTime, hardware_time
from fieldwave.conversion import Conversion, convert
from fieldwave.deploy import LocalTarget, Service
from fieldwave.devices import create_device
from fieldwave.package import Package
from fieldwave.verify import verify
from fieldwave.workspace import Workspace

__all__ = ["Demo", "Example", "Proof", "Scores", "Simulated"]

SERVICE = "digits"


@dataclass(frozen=True)
class Proof:
    """Quantized tensors compared with the golden model, byte by byte, over ``images`` images."""

    images: int
    tensors: int
    size: int
    differing: int


@dataclass(frozen=True)
class Example:
    """One scored image: its pixels [H, W], the label, and the probability of each class."""

    pixels: NDArray[np.uint8]
    label: int
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class Scores:
    """What the running service answered.

    Attributes:
        images: PNG files sent, one a request.
        answers: the probabilities of each.
        right: how many it labelled right.
        identical: how many of its answers equal the device's, bit for bit.
        p50, p99: latency that the client saw, in milliseconds.
        examples: a few images with their answers.
    """

    images: int
    answers: tuple[NDArray[np.float32], ...]
    right: int
    identical: int
    p50: float
    p99: float
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Simulated:
    """The held-out images on the gateware in simulation, beside the answers of the service.

    Attributes:
        npu: the configuration's name.
        images: how many were run.
        identical: how many answers equal the service's, bit for bit.
        hardware: what one image costs.
    """

    npu: str
    images: int
    identical: int
    hardware: HardwareTime


class Demo:
    """A workspace of its own in a temporary folder; leaving the context deletes the service and every file."""

    def __init__(self) -> None:
        self._digits = zoo.digits_images()
        self._folder = tempfile.TemporaryDirectory(prefix="fieldwave-demo-")
        self.root = Path(self._folder.name)
        self.target = LocalTarget(Workspace(self.root))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for service in self.target.list():
            self.target.delete(service.name)
        self._folder.cleanup()

    @property
    def heldout(self) -> int:
        """How many held-out images there are."""
        return len(self._digits.heldout_labels)

    def write_images(self) -> tuple[Path, Path]:
        """Write the images as PNG files: a folder to calibrate on, and one with a sub-folder for each class."""
        calibration, heldout = self.root / "calibration", self.root / "heldout"
        calibration.mkdir()
        for index, pixels in enumerate(self._digits.calibration_images):
            (calibration / f"{index:04d}.png").write_bytes(zoo.digit_png(pixels))
        for index, label in enumerate(self._digits.heldout_labels):
            folder = heldout / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{index:04d}.png").write_bytes(zoo.digit_png(self._digits.heldout_images[index]))
        return calibration, heldout

    def convert(self, calibration: Path, heldout: Path, progress: Callable[[str, float], None]) -> Conversion:
        """Quantize the committed weights and measure the accuracy on the held-out digits."""
        output = self.root / "digits.zip"
        return convert("digits", calibration=calibration, evaluation=heldout, output=output, progress=progress)

    def prove(self, package: Package, device: str, images: int) -> Proof:
        """Compare every quantized tensor of some held-out digits on a device with the golden model."""
        with create_device(device) as opened:
            found = list(verify(package, opened, [self._input(package, index) for index in range(images)]))
        size, differing = sum(one.size for one in found), sum(one.differing for one in found)
        return Proof(images, len(found[0].checks), size, differing)

    def deploy(self, package: Path) -> Service:
        """Start the service, a process of its own, and wait until it is ready."""
        return self.target.deploy(package, SERVICE)

    def score(self, package: Package, service: Service, device: str, examples: int = 4) -> Scores:
        """Send every held-out digit as PNG bytes over gRPC, and run the same images on a device directly."""
        answers: list[NDArray[np.float32]] = []
        times: list[float] = []
        with service.client() as client:
            for index in range(self.heldout):
                data = zoo.digit_png(self._digits.heldout_images[index])
                begin = time.perf_counter()
                answers.append(np.asarray(client.score_image(data)))
                times.append((time.perf_counter() - begin) * 1e3)
        identical = 0
        with create_device(device) as opened:
            opened.load(package)
            for index, answer in enumerate(answers):
                (direct,) = opened.run(self._input(package, index)).values()
                identical += direct[0].tobytes() == answer.tobytes()
        labels = self._digits.heldout_labels
        right = sum(int(answer.argmax()) == label for answer, label in zip(answers, labels, strict=True))
        p50, p99 = np.percentile(times, (50, 99))
        shown = tuple(
            Example(self._digits.heldout_images[index], int(labels[index]), answers[index])
            for index in range(examples)
        )
        return Scores(len(answers), tuple(answers), right, identical, float(p50), float(p99), shown)

    def simulate(
        self,
        package: Package,
        npu: str,
        answers: Sequence[NDArray[np.float32]],
        progress: Callable[[str, float], None],
    ) -> Simulated:
        """Run the first ``len(answers)`` held-out digits on the gateware, cycle by cycle.

        Raises:
            MissingExtraError: ``fieldwave[gateware]`` is not installed.
            DeviceError: there is no C++ compiler to build the simulation with.
        """
        identical = 0
        progress(f"building the simulation of {npu}", 0.0)
        with create_device(f"rtl:{npu}") as device:
            device.load(package)
            for index, answer in enumerate(answers):
                (simulated,) = device.run(self._input(package, index)).values()
                identical += simulated[0].tobytes() == answer.tobytes()
                progress("simulating", (index + 1) / len(answers))
            hardware = hardware_time(device.counters())
        assert hardware is not None
        return Simulated(npu, len(answers), identical, hardware)

    def _input(self, package: Package, index: int) -> dict[str, NDArray[np.float32]]:
        return package.image_input(zoo.digit_png(self._digits.heldout_images[index]))
