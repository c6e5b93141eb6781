"""What all devices with an NPU have in common, whether it is simulated or on a board."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fieldwave.compiler import Program, compile_network, read_program
from fieldwave.devices.ownership import Ownership
from fieldwave.devices.protocol import Counters
from fieldwave.devices.sections import Core, Network
from fieldwave.devices.tensors import check_inputs
from fieldwave.errors import DeviceError, TensorError
from fieldwave.graph import from_onnx
from fieldwave.npu import Configuration
from fieldwave.npu.isa import ErrorCode
from fieldwave.package import Package

__all__ = ["DONE", "KEEP", "START", "NpuCore", "NpuDevice", "describe_error"]

START, KEEP = 1, 4
"""Bits of register CONTROL."""
DONE = 2
"""Bit of register STATUS."""


class NpuCore(Core, Protocol):
    """A core that is powered up.

    Attributes:
        counters: the hardware's own, of the last program, by name.
        beats: words that have been read from the memory and written to it, of all programs.
    """

    counters: dict[str, int] | None
    beats: tuple[int, int]

    def close(self) -> None:
        """Let the hardware go."""


class NpuDevice(ABC):
    """Runs packages on an NPU; see `Device`.

    Args:
        configuration: of the NPU; None where only the NPU itself knows it, and `_power_up` then sets it.
        configuration_name: its name, where it has one.
    """

    name: str

    def __init__(self, configuration: Configuration | None, configuration_name: str | None) -> None:
        self._configuration = configuration
        self._name = configuration_name
        self._ownership = Ownership(self.name)
        self._running = threading.RLock()
        self._core: NpuCore | None = None
        self._package: Package | None = None
        self._network: Network | None = None
        self._tracing: Network | None = None
        self._counters = Counters(0, 0.0, 0, 0)

    @abstractmethod
    def _power_up(self) -> NpuCore:
        """Make the hardware ready."""

    @property
    def configuration(self) -> Configuration:
        """What the NPU was built for.

        Raises:
            DeviceError: only the NPU knows it, and the device is not open.
        """
        if self._configuration is None:
            self._ownership.check()
        assert self._configuration is not None
        return self._configuration

    def open(self) -> None:
        """Become the owner, and make the hardware ready; see `Device.open`."""
        self._ownership.claim()
        self._begin()

    def load(self, package: Package) -> None:
        """Make ``package`` the network that runs; see `Device.load`.

        The package's own program for this configuration is taken; where it has none, the network is compiled now.

        Raises:
            DeviceError: the program was made for another configuration.
            PackageError: the program is damaged, or of another network.
            ModelError: the network does not fit this NPU.
            MissingExtraError: the network has to be compiled, and ``onnx`` is not installed.
        """
        self.exchange(self.prepare(package))

    def prepare(self, package: Package) -> Any:
        """Read the package's program, or compile it; see `Device.prepare`."""
        self._ownership.check()
        program = self._stored(package) or compile_network(from_onnx(package.model), self.configuration).program
        return package, self._network_of(package, program), None

    def exchange(self, network: Any) -> Any:
        """Make it the network that runs; see `Device.exchange`."""
        with self._running:
            self._ownership.check()
            before = self._package, self._network, self._tracing
            self._package, self._network, self._tracing = network
            return before

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the network, image by image; see `Device.run`."""
        with self._running:
            package, network = self._loaded()
            images = check_inputs(package.manifest, inputs)
            names = [spec.name for spec in package.manifest.outputs]
            results = []
            for index in range(images):
                tensors = self._timed(network, {name: value[index : index + 1] for name, value in inputs.items()})
                results.append([tensors[name] for name in names])
            return dict(zip(names, map(np.concatenate, zip(*results, strict=True)), strict=True))

    def trace(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs and every quantized tensor that the program materialises, of one image; see `Device.trace`.

        A tensor that is fused away is not there. The program that runs stores all the others as well.

        Raises:
            MissingExtraError: ``onnx`` is not installed.
        """
        with self._running:
            package, _ = self._loaded()
            images = check_inputs(package.manifest, inputs)
            if images != 1:
                raise TensorError(f"a trace takes 1 image, these are {images}; trace them one by one")
            if self._tracing is None:
                compiled = compile_network(from_onnx(package.model), self.configuration, trace=True)
                self._tracing = self._network_of(package, compiled.program)
            tensors = self._timed(self._tracing, inputs)
            outputs = {spec.name for spec in package.manifest.outputs}
            return {name: value for name, value in tensors.items() if name in outputs or value.dtype == np.uint8}

    def counters(self) -> Counters:
        """Images, seconds and cycles since `open`."""
        return self._counters

    @property
    def core_counters(self) -> dict[str, int]:
        """The hardware's own counters after the last run, by name."""
        return dict(self._opened().counters or {})

    def close(self) -> None:
        """Free the hardware and the ownership; see `Device.close`."""
        with self._running:
            if self._core is not None:
                self._core.close()
            self._core = self._package = self._network = self._tracing = None
            self._ownership.release()

    def __enter__(self) -> Self:
        if self._ownership.enter():
            self._begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _begin(self) -> None:
        try:
            self._core = self._power_up()
        except BaseException:
            self._ownership.release()
            raise
        self._counters = Counters(0, 0.0, 0, 0, self.configuration.multipliers, 0, 0)

    def _stored(self, package: Package) -> Program | None:
        """The package's program for this configuration.

        Raises:
            DeviceError: it has one of that name, for other hardware.
        """
        fingerprint = f"{self.configuration.fingerprint:016x}"
        for stored in package.manifest.programs:
            if fingerprint != stored.fingerprint and self._name != stored.configuration:
                continue
            program = read_program(package.files[stored.file])
            if program.fingerprint != self.configuration.fingerprint:
                raise DeviceError(
                    f"the program of {package.manifest.network} for {stored.configuration} has fingerprint "
                    f"{program.fingerprint:016x}, this NPU {fingerprint}; convert it again"
                )
            return program
        return None

    def _network_of(self, package: Package, program: Program) -> Network:
        manifest = package.manifest
        inputs, outputs = ([spec.name for spec in specs] for specs in (manifest.inputs, manifest.outputs))
        return Network(program, self._opened(), inputs=inputs, outputs=outputs)

    def _opened(self) -> NpuCore:
        self._ownership.check()
        assert self._core is not None
        return self._core

    def _loaded(self) -> tuple[Package, Network]:
        self._ownership.check()
        if self._package is None or self._network is None:
            raise DeviceError(f"device {self.name} has no network; call load() with a package first")
        return self._package, self._network

    def _timed(self, network: Network, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        word = self.configuration.port_bytes
        core, start = self._opened(), time.perf_counter()
        tensors, cycles = network.run(inputs)
        seconds, before = time.perf_counter() - start, self._counters
        self._counters = replace(
            before,
            images=before.images + 1,
            busy_seconds=before.busy_seconds + seconds,
            cycles=(before.cycles or 0) + cycles,
            macs=(before.macs or 0) + network.macs,
            bytes_read=core.beats[0] * word,
            bytes_written=core.beats[1] * word,
        )
        return tensors


def describe_error(error: int, address: int) -> str:
    """The error register in words."""
    code, queue, index = error & 0xFF, "transfer" if error >> 8 & 1 else "compute", error >> 16
    name = ErrorCode(code).name if code in set(ErrorCode) else f"code {code}"
    return (
        f"the NPU stopped with {name} at {queue} descriptor {index}, address {address:#x}; "
        "load the package again, or compile it again for this configuration"
    )
