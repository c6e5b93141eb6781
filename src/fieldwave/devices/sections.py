"""A compiled network at work: sections on the NPU and on the host, one after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldwave.compiler import HostSection, NpuSection, Program
from fieldwave.devices.exactness import exactness
from fieldwave.devices.session import one_line, open_session
from fieldwave.errors import DeviceError, PackageError
from fieldwave.onnx_runtime import onnxruntime

__all__ = ["Core", "Network"]

PAGE = 4096


class Core(Protocol):
    """Something that executes program images: a simulation, a board."""

    def execute(self, memory: NDArray[np.uint8], section: NpuSection | None = None) -> int:
        """Run the program at the start of ``memory``, in place; returns the clock cycles it took.

        The same array again is the same program: nothing of it but its tensors may have changed, so that a core
        may keep weights on the chip from one run to the next.

        Args:
            section: what ``memory`` was made for: a core with memory of its own then moves its image once, and
                its inputs and outputs, not all of it.

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

    Args:
        program: what to run.
        core: on what.
        inputs, outputs: names of the tensors that go in and that must come out.

    Attributes:
        macs: multiply-accumulates on the NPU for one image.

    Raises:
        PackageError: the program needs tensors that are not there, or does not make the outputs.
        DeviceError: ONNX Runtime cannot load what stays on the host.
        MissingExtraError: this processor needs that rewritten, and ``onnx`` is not installed.
    """

    def __init__(self, program: Program, core: Core, *, inputs: Collection[str], outputs: Collection[str]) -> None:
        _check_flow(program, inputs, outputs)
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
            cycles += self._core.execute(part.memory, part.section)
            tensors.update((tensor.name, tensor.unpack(part.memory)) for tensor in part.section.outputs)
        return tensors, cycles


def _check_flow(program: Program, inputs: Collection[str], outputs: Collection[str]) -> None:
    made = set(inputs)
    for section in program.sections:
        taken, left = (
            [name if isinstance(name, str) else name.name for name in names]
            for names in (section.inputs, section.outputs)
        )
        _check_made(program, taken, made)
        made.update(left)
    _check_made(program, outputs, made)


def _check_made(program: Program, wanted: Iterable[str], made: Collection[str]) -> None:
    for name in wanted:
        if name not in made:
            raise PackageError(
                f"the program of {program.network} for {program.configuration} does not make tensor {name!r}; "
                "convert it again"
            )


def _host(section: HostSection) -> _Host:
    return _Host(section, open_session(exactness().rewritten(section.model), threads=1))


def _npu(section: NpuSection) -> _Npu:
    """The image in memory of its own, at a page, as the hardware wants it."""
    raw = np.zeros(section.arena_bytes + PAGE, np.uint8)
    start = -raw.ctypes.data % PAGE
    memory = raw[start : start + section.arena_bytes]
    memory[: len(section.image)] = np.frombuffer(section.image, np.uint8)
    return _Npu(section, memory)
