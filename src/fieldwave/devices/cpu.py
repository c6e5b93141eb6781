"""The cpu device: ONNX Runtime on the package's ``model.onnx``."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from fieldwave.devices.exactness import exactness
from fieldwave.devices.ownership import Ownership
from fieldwave.devices.protocol import Counters
from fieldwave.devices.session import one_line, open_session
from fieldwave.devices.tensors import check_inputs
from fieldwave.devices.trace import Tracer
from fieldwave.errors import DeviceError, PackageError, TensorError
from fieldwave.onnx_runtime import onnxruntime
from fieldwave.package import Manifest, Package, TensorSpec

__all__ = ["CpuDevice"]

_TYPES = {"float32": "tensor(float)"}


@dataclass
class _Network:
    manifest: Manifest
    model: bytes
    session: onnxruntime.InferenceSession
    outputs: list[str]
    tracer: Tracer | None = None


class CpuDevice:
    """Runs packages on this machine's processor, with the bits that every device returns.

    Args:
        threads: how many compute one image; 0 takes one for each physical core that this process may use.
    """

    name = "cpu"

    def __init__(self, *, threads: int = 0) -> None:
        self._threads = threads
        self._ownership = Ownership(self.name)
        self._running = threading.RLock()
        self._network: _Network | None = None
        self._counters = Counters(0, 0.0)

    @property
    def exact(self) -> bool:
        """Whether a check on this processor found the normative bits in every operator (docs/numerics.md)."""
        return exactness().exact

    @property
    def path(self) -> str:
        """Which kernels compute: ``"int8 weights"``, or ``"uint8 weights (no VNNI)"`` on older x86."""
        return exactness().path

    def open(self) -> None:
        """Become the owner; see `Device.open`."""
        self._ownership.claim()
        self._counters = Counters(0, 0.0)

    def load(self, package: Package) -> None:
        """Make ``package`` the network that runs; see `Device.load`.

        Raises:
            MissingExtraError: this processor needs the network rewritten, and ``onnx`` is not installed.
        """
        self.exchange(self.prepare(package))

    def prepare(self, package: Package) -> Any:
        """Open a session over the package's network; see `Device.prepare`."""
        self._ownership.check()
        model = exactness().rewritten(package.model)
        try:
            session = open_session(model, threads=self._threads)
        except DeviceError as error:
            raise DeviceError(
                f"device cpu cannot load {package.manifest.network}: {error}; convert it again"
            ) from error
        _check_tensors(package.manifest, "inputs", package.manifest.inputs, session.get_inputs())
        _check_tensors(package.manifest, "outputs", package.manifest.outputs, session.get_outputs())
        outputs = [spec.name for spec in package.manifest.outputs]
        return _Network(package.manifest, model, session, outputs)

    def exchange(self, network: Any) -> Any:
        """Make it the network that runs; see `Device.exchange`."""
        with self._running:
            self._ownership.check()
            before, self._network = self._network, network
            return before

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the network; see `Device.run`."""
        with self._running:
            network = self._loaded()
            images = check_inputs(network.manifest, inputs)
            start = time.perf_counter()
            try:
                values = network.session.run(network.outputs, dict(inputs))
            except Exception as error:
                raise DeviceError(f"device cpu failed in {network.manifest.network}: {one_line(error)}") from error
            self._count(images, time.perf_counter() - start)
            return dict(zip(network.outputs, values, strict=True))

    def trace(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Every quantized tensor of one image; see `Device.trace`.

        Raises:
            MissingExtraError: ``onnx`` is not installed.
        """
        with self._running:
            network = self._loaded()
            images = check_inputs(network.manifest, inputs)
            if images != 1:
                raise TensorError(f"a trace takes 1 image, these are {images}; trace them one by one")
            start = time.perf_counter()
            if network.tracer is None:
                network.tracer = Tracer(network.model, self._threads)
            values = network.tracer.run(inputs)
            self._count(images, time.perf_counter() - start)
            return values

    def counters(self) -> Counters:
        """Images and seconds since `open`."""
        return self._counters

    def close(self) -> None:
        """Free the network and the ownership; see `Device.close`."""
        with self._running:
            self._network = None
            self._ownership.release()

    def __enter__(self) -> Self:
        if self._ownership.enter():
            self._counters = Counters(0, 0.0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _loaded(self) -> _Network:
        self._ownership.check()
        if self._network is None:
            raise DeviceError("device cpu has no network; call load() with a package first")
        return self._network

    def _count(self, images: int, seconds: float) -> None:
        before = self._counters
        self._counters = Counters(before.images + images, before.busy_seconds + seconds)


def _check_tensors(manifest: Manifest, kind: str, specs: tuple[TensorSpec, ...], found: list[Any]) -> None:
    """The manifest is what clients are told and the model is what runs: they must say the same."""
    by_name = {value.name: value for value in found}
    for spec in specs:
        value = by_name.pop(spec.name, None)
        if value is None:
            names = ", ".join(repr(other.name) for other in found)
            raise _contradiction(manifest, f"{kind} has {spec.name!r}, model.onnx has {names}")
        if value.type != _TYPES.get(spec.dtype, f"tensor({spec.dtype})") or not _same_shape(spec, value.shape):
            shape = ", ".join(str(size) for size in value.shape)
            raise _contradiction(
                manifest, f"{kind} has {spec}, model.onnx has {value.name} {value.type} [{shape}]"
            )
    if kind == "inputs" and by_name:
        raise _contradiction(manifest, f"{kind} has no {next(iter(by_name))!r}, which model.onnx needs")


def _same_shape(spec: TensorSpec, shape: list[int | str | None]) -> bool:
    if not shape:
        return True  # the model leaves it open
    return len(shape) == len(spec.shape) and all(
        not isinstance(size, int) or size == expected for size, expected in zip(shape, spec.shape, strict=True)
    )


def _contradiction(manifest: Manifest, text: str) -> PackageError:
    return PackageError(f"the package of {manifest.network} contradicts itself: {text}; convert it again")
