"""A compiled network at work: sections on the NPU and on the host, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from fieldwave.compiler import HostSection, NpuSection, Program
from fieldwave.devices.exactness import exactness
from fieldwave.devices.session import one_line, open_session
from fieldwave.errors import DeviceError

__all__ = ["Core", "Network"]

PAGE = 4096


class Core(Protocol):
    """Something that executes program images: a simulation, a board."""

    def execute(self, memory: NDArray[np.uint8]) -> int:
        """Run the program at the start of ``memory``, in place; returns the clock cycles it took.

        Raises:
            DeviceError: the core stopped with an error, or did not stop.
        """


@dataclass
class _Host:
    section: HostSection
    session: onnxruntime.InferenceSession


@dataclass
class _Npu:
    section: NpuSection
    memory: NDArray[np.uint8] = field(repr=False)


class Network:
    """One program, loaded: sessions opened, images in memory.

    Attributes:
        macs: multiply-accumulates on the NPU for one image.

    Raises:
        DeviceError: ONNX Runtime cannot load what stays on the host.
        MissingExtraError: this processor needs that rewritten, and ``onnx`` is not installed.
    """

    def __init__(self, program: Program, core: Core) -> None:
        self._core = core
        self.macs = sum(part.macs for part in program.sections if isinstance(part, NpuSection))
        self._parts = [_host(part) if isinstance(part, HostSection) else _npu(part) for part in program.sections]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], int]:
        """Run one image.

        Returns:
            Every tensor that a section leaves, by name, and the clock cycles of the NPU.
        """
        tensors = dict(inputs)
        cycles = 0
        for part in self._parts:
            if isinstance(part, _Host):
                feeds = {name: tensors[name] for name in part.section.inputs}
                try:
                    values = part.session.run(list(part.section.outputs), feeds)
                except Exception as error:
                    raise DeviceError(f"ONNX Runtime failed on the host: {one_line(error)}") from error
                tensors.update(zip(part.section.outputs, values, strict=True))
                continue
            for tensor in part.section.inputs:
                tensor.pack(tensors[tensor.name], part.memory)
            cycles += self._core.execute(part.memory)
            tensors.update((tensor.name, tensor.unpack(part.memory)) for tensor in part.section.outputs)
        return tensors, cycles


def _host(section: HostSection) -> _Host:
    return _Host(section, open_session(exactness().rewritten(section.model), threads=1))


def _npu(section: NpuSection) -> _Npu:
    """The image in memory of its own, at a page, as the hardware wants it."""
    raw = np.zeros(section.arena_bytes + PAGE, np.uint8)
    start = -raw.ctypes.data % PAGE
    memory = raw[start : start + section.arena_bytes]
    memory[: len(section.image)] = np.frombuffer(section.image, np.uint8)
    return _Npu(section, memory)
