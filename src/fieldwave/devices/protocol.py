"""What every device can do: the CPU, the simulated gateware, a board.

A service, a benchmark and a test speak to this protocol and never know which device they have: all devices
return the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from fieldwave.package import Package

__all__ = ["Counters", "Device"]


@dataclass(frozen=True)
class Counters:
    """What a device has done since it was opened.

    Attributes:
        images: images run; a batch of N counts N.
        busy_seconds: time spent in runs.
        cycles: clock cycles of the NPU, or None where there is none.
        macs: multiply-accumulates that the networks asked of the NPU, or None where there is none.
        multipliers: multiply-accumulates that the NPU can do in a cycle, or None where there is none.
        bytes_read, bytes_written: between the NPU and its memory, or None where that is not counted.
    """

    images: int
    busy_seconds: float
    cycles: int | None = None
    macs: int | None = None
    multipliers: int | None = None
    bytes_read: int | None = None
    bytes_written: int | None = None

    @property
    def utilisation(self) -> float | None:
        """``macs`` over what the multipliers could have done in these cycles, 0 to 1; None where nothing ran."""
        if not self.cycles or self.macs is None or self.multipliers is None:
            return None
        return self.macs / (self.cycles * self.multipliers)


class Device(Protocol):
    """Something that runs one quantized network at a time.

    The order of calls is `open`, `load`, `run` as often as wanted, `close`. A with statement opens the device,
    unless it is open already, and closes it. A device has one owner, the one who opened it, until it is closed.
    Its methods may be called from any thread of the owner's process: runs are serialised, and `load`, `exchange`
    and `close` wait for the run under way. A closed device can be opened again; it has then forgotten its package
    and its counters.

    Attributes:
        name: the name by which `create_device` knows it: ``"cpu"``.
    """

    name: str

    def open(self) -> None:
        """Become the owner.

        Raises:
            DeviceBusyError: the device has an owner already.
            DeviceError: the device cannot be reached.
        """

    def load(self, package: Package) -> None:
        """Make ``package`` the network that runs, in place of the one before; after an error that one stays.

        Raises:
            DeviceError: the device is not open, or cannot take the package.
            PackageError: the manifest and the model contradict each other.
        """

    def prepare(self, package: Package) -> Any:
        """Do all of `load` that need not wait for the run under way; the result is for `exchange`.

        Raises as `load`.
        """

    def exchange(self, network: Any) -> Any:
        """Make what `prepare` has returned the network that runs; returns the one before, for another exchange.

        Raises:
            DeviceError: the device is not open.
        """

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the network.

        Args:
            inputs: every input by its tensor's name in ``model.onnx``, of the manifest's dtype and shape:
                float32 [N, height, width, channels] for an image network.

        Returns:
            Every output of the manifest by its tensor's name in ``model.onnx``.

        Raises:
            TensorError: a name, dtype or shape is wrong, or an input is missing; the message lists the
                right ones.
            DeviceError: the device is not open, has no package, or failed.
        """

    def trace(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one image and return, beside the outputs, every quantized tensor on the way, by its name.

        For comparisons and not for speed. Raises as `run`, and MissingExtraError where a device needs more.
        """

    def counters(self) -> Counters:
        """What the device has done since it was opened."""

    def close(self) -> None:
        """Let the device go; closing a closed device does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
