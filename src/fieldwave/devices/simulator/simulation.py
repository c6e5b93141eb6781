"""A simulated NPU on the other side of its two ports."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.devices.simulator.build import build_simulator
from fieldwave.errors import DeviceError
from fieldwave.npu import Configuration
from fieldwave.npu.isa import TRACE_BASE, TRACE_ENTRIES, Register

__all__ = ["MemoryModel", "Simulation"]


@dataclass(frozen=True)
class MemoryModel:
    """How the simulated memory behaves.

    Parameters:
        base: bus address of the buffer's first byte.
        latency: cycles from a read burst to its first beat, and from a written burst to its acknowledgement.
        bandwidth: bytes per cycle, reads and writes together; None is one beat.
        stall: chance that a bus channel stalls in a cycle.
        seed: of the stalls.
        fault: bus address that answers with an error.
        silent: never answers.
    """

    base: int = 0x1_0000_0000
    latency: int = 20
    bandwidth: float | None = None
    stall: float = 0.0
    seed: int = 1
    fault: int | None = None
    silent: bool = False


class _Settings(ctypes.Structure):
    _fields_ = tuple((field.name, ctypes.c_uint64) for field in fields(MemoryModel))


class Simulation:
    """One simulated core; the memory behind it is a numpy buffer of the caller, used in place.

    Attributes:
        configuration: of the core.
        memory: the buffer that is attached.

    Raises:
        MissingExtraError, DeviceError: see :func:`build_simulator`.
    """

    def __init__(
        self, configuration: Configuration, *, progress: Callable[[str, float], None] | None = None
    ) -> None:
        self.configuration = configuration
        self._library = _load(build_simulator(configuration, progress=progress))
        self._model = self._library.simulation_new()
        self.memory: NDArray[np.uint8] | None = None

    def attach(self, memory: NDArray[np.uint8], model: MemoryModel | None = None) -> None:
        """Put ``memory``, a contiguous vector of bytes, behind the memory port, and behave like ``model``."""
        if memory.dtype != np.uint8 or memory.ndim != 1 or not memory.flags.c_contiguous:
            raise DeviceError("simulated memory must be a contiguous vector of uint8")
        model = model or MemoryModel()
        bandwidth = self.configuration.port_bytes if model.bandwidth is None else model.bandwidth
        settings = _Settings(
            model.base,
            model.latency,
            max(1, round(bandwidth * 256)),
            round(model.stall * 65536),
            model.seed,
            2**64 - 1 if model.fault is None else model.fault,
            model.silent,
        )
        assert len(astuple(model)) == len(settings._fields_)
        self.memory = memory  # the library holds a pointer into it
        self._library.simulation_memory(self._model, memory.ctypes.data, memory.size, ctypes.byref(settings))

    def write(self, register: int, value: int) -> None:
        """Write a control register."""
        if not self._library.simulation_write(self._model, register, value):
            raise DeviceError(f"the NPU did not answer a write to register {register:#x}")

    def read(self, register: int) -> int:
        """Read a control register or a word of the trace."""
        value = ctypes.c_uint32()
        if not self._library.simulation_read(self._model, register, ctypes.byref(value)):
            raise DeviceError(f"the NPU did not answer a read of register {register:#x}")
        return value.value

    def run(self, cycles: int) -> bool:
        """Clock until the core raises its interrupt; False when it has not within ``cycles``.

        Raises:
            DeviceError: the core broke a rule of AXI4.
        """
        ended = bool(self._library.simulation_run(self._model, cycles))
        violation = self._library.simulation_violation(self._model)
        if violation:
            raise DeviceError(
                f"the NPU broke a rule of AXI4 on channel {violation.decode()}: a fault of the design"
            )
        return ended

    def reset(self) -> None:
        """Pull the reset line, as a power cycle would; forgets what is on the bus."""
        self._library.simulation_reset(self._model)

    def trace(self, queue: int, count: int) -> list[tuple[int, int]]:
        """Start and end of the first ``count`` descriptors of a queue (0 compute, 1 transfer), in cycles."""
        base = TRACE_BASE + queue * TRACE_ENTRIES * 8
        return [(self.read(base + 8 * i), self.read(base + 8 * i + 4)) for i in range(min(count, TRACE_ENTRIES))]

    def counters(self) -> dict[str, int]:
        """The cycle counters by name."""
        names = [register for register in Register if register >= Register.CYCLES]
        return {register.name.lower(): self.read(register) for register in names}

    def close(self) -> None:
        """Free the model."""
        if self._model:
            self._library.simulation_free(self._model)
            self._model = None

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _load(path: Path) -> Any:
    library = ctypes.CDLL(str(path))
    pointer, u32, u64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
    for name, result, arguments in (
        ("simulation_new", pointer, ()),
        ("simulation_free", None, (pointer,)),
        ("simulation_reset", None, (pointer,)),
        ("simulation_memory", None, (pointer, pointer, u64, pointer)),
        ("simulation_write", ctypes.c_int, (pointer, u32, u32)),
        ("simulation_read", ctypes.c_int, (pointer, u32, pointer)),
        ("simulation_run", ctypes.c_int, (pointer, u64)),
        ("simulation_violation", ctypes.c_char_p, (pointer,)),
        ("simulation_cycle", u64, (pointer,)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
