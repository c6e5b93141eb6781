"""A compiled network, and its file ``program.npu``.

The file is little-endian and has no pointers::

    "FWPROG02"  fingerprint u64  configuration  network  sections  refusals
    section:    side u8 (0 host, 1 NPU)
      host:     nodes  inputs  outputs  ONNX model
      NPU:      inputs  outputs  macs u64  arena_bytes u64  image
    tensor:     name  form u8  height u32  width u32  channels u32  offset u64  pixel_step u32  row_step u32
                parts: list of (u32, u32)  fold: list of at most one, eleven u32
    a text, model or image is its length as u64 and its bytes; a list is its length as u64 and its items

Equal programs are equal bytes. A reader checks every length against what is left of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import TypeVar, get_args

from fieldwave.compiler.fold import Fold
from fieldwave.compiler.operations import FeatureMap, Form
from fieldwave.compiler.tensors import MemoryTensor
from fieldwave.errors import PackageError

__all__ = ["HostSection", "NpuSection", "Program", "read_program", "write_program"]

MAGIC = b"FWPROG02"
MOST_BYTES = 1 << 32
"""Offsets in a program have 32 bits."""
MOST_COLUMNS = 1 << 16
"""Sizes in a descriptor have 16 bits."""
FORMS: tuple[Form, ...] = get_args(Form)
Item = TypeVar("Item")


@dataclass(frozen=True)
class HostSection:
    """Nodes that run on the host.

    Attributes:
        nodes: their names in the network.
        inputs, outputs: tensors that they read and leave, by name.
        model: the nodes as an ONNX model of their own, for ONNX Runtime.
    """

    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    model: bytes


@dataclass(frozen=True)
class NpuSection:
    """One run of the NPU.

    Attributes:
        inputs, outputs: where the host writes and reads tensors.
        macs: multiply-accumulates of the ONNX nodes that it runs.
        arena_bytes: memory from the header on, the image included.
        image: the program as the hardware reads it.
    """

    inputs: tuple[MemoryTensor, ...]
    outputs: tuple[MemoryTensor, ...]
    macs: int
    arena_bytes: int
    image: bytes


@dataclass(frozen=True)
class Program:
    """A network for one configuration.

    Attributes:
        fingerprint: of the configuration; hardware with another refuses it.
        configuration: its name, for messages.
        network: name of the ONNX graph.
        sections: in order of execution.
        refusals: each node that stays on the host although it works on quantized tensors or could have: its name,
            and why.
    """

    fingerprint: int
    configuration: str
    network: str
    sections: tuple[HostSection | NpuSection, ...]
    refusals: tuple[tuple[str, str], ...] = ()


def write_program(program: Program) -> bytes:
    """The bytes of ``program.npu``."""
    return b"".join(
        (
            MAGIC,
            struct.pack("<Q", program.fingerprint),
            _text(program.configuration),
            _text(program.network),
            _list(program.sections, _section),
            _list(program.refusals, lambda refusal: _text(refusal[0]) + _text(refusal[1])),
        )
    )


def read_program(data: bytes) -> Program:
    """Parse ``program.npu``.

    Raises:
        PackageError: the bytes are no program, are cut off, or go on after its end.
    """
    reader = _Reader(data)
    if reader.take(len(MAGIC)) != MAGIC:
        raise PackageError(f"not a program for the NPU: it begins with {data[:8]!r}, not {MAGIC!r}")
    program = Program(
        fingerprint=reader.number("Q"),
        configuration=reader.text(),
        network=reader.text(),
        sections=reader.items(reader.section),
        refusals=reader.items(lambda: (reader.text(), reader.text())),
    )
    if reader.position != len(data):
        raise PackageError(f"the program ends at byte {reader.position}, but its file has {len(data)}")
    return program


def _text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def _list(items: Sequence[Item], write: Callable[[Item], bytes]) -> bytes:
    return struct.pack("<Q", len(items)) + b"".join(write(item) for item in items)


def _section(section: HostSection | NpuSection) -> bytes:
    if isinstance(section, HostSection):
        lists = (section.nodes, section.inputs, section.outputs)
        return b"\0" + b"".join(_list(names, _text) for names in lists) + _text(section.model)
    tensors = _list(section.inputs, _tensor) + _list(section.outputs, _tensor)
    return b"\1" + tensors + struct.pack("<QQ", section.macs, section.arena_bytes) + _text(section.image)


def _tensor(tensor: MemoryTensor) -> bytes:
    size = tensor.map
    numbers = struct.pack(
        "<BIIIQII", FORMS.index(size.form), size.height, size.width, size.channels,
        tensor.offset, tensor.pixel_step, tensor.row_step,
    )  # fmt: skip
    parts = _list(tensor.parts, lambda part: struct.pack("<II", *part))
    folds = [] if tensor.fold is None else [tensor.fold]
    return _text(tensor.name) + numbers + parts + _list(folds, lambda fold: struct.pack("<11I", *_numbers(fold)))


def _numbers(fold: Fold) -> tuple[int, ...]:
    """The numbers of a fold in the order of its attributes."""
    *pairs, value = astuple(fold)
    return (*(number for pair in pairs for number in pair), value)


class _Reader:
    """Takes values from bytes of unknown origin."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.position:
            raise PackageError(
                f"the program is cut off: {count} bytes are expected at byte {self.position} of {len(self.data)}"
            )
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self, kind: str) -> int:
        return int(struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}")))[0])

    def text(self) -> str:
        try:
            return self.take(self.number("Q")).decode()
        except UnicodeDecodeError as error:
            raise PackageError(f"the program holds a name that is no text, before byte {self.position}") from error

    def items(self, read: Callable[[], Item]) -> tuple[Item, ...]:
        count = self.number("Q")
        if count > len(self.data) - self.position:
            raise PackageError(f"the program is cut off: it has no room for {count} items at byte {self.position}")
        return tuple(read() for _ in range(count))

    def section(self) -> HostSection | NpuSection:
        side = self.number("B")
        if side == 0:
            names = self.items(self.text), self.items(self.text), self.items(self.text)
            return HostSection(*names, self.take(self.number("Q")))
        if side != 1:
            raise PackageError(f"the program has a section of kind {side} before byte {self.position}")
        inputs, outputs = self.items(self.tensor), self.items(self.tensor)
        macs, arena_bytes, image = self.number("Q"), self.number("Q"), self.take(self.number("Q"))
        if arena_bytes > MOST_BYTES:
            raise PackageError(f"the program wants {arena_bytes} bytes of memory; the NPU reaches {MOST_BYTES}")
        for tensor in (*inputs, *outputs):
            if not len(image) <= tensor.offset <= arena_bytes - tensor.size:
                raise PackageError(f"tensor {tensor.name!r} of the program lies outside its memory")
        return NpuSection(inputs, outputs, macs, arena_bytes, image)

    def tensor(self) -> MemoryTensor:
        name, form = self.text(), self.number("B")
        if form >= len(FORMS):
            raise PackageError(f"tensor {name!r} of the program has form {form}, which does not exist")
        height, width, channels = self.number("I"), self.number("I"), self.number("I")
        offset, step, row_step = self.number("Q"), self.number("I"), self.number("I")
        parts = self.items(lambda: (self.number("I"), self.number("I")))
        folds = self.items(self.fold)
        fold = folds[0] if folds else None
        if fold is not None and not _is_sound(fold, len(parts)):
            raise PackageError(f"tensor {name!r} of the program is folded beyond what a descriptor can describe")
        columns, taps = (width, 1) if fold is None else (fold.size[1], fold.taps[0] * fold.taps[1])
        inside = all(start + count <= step for start, count in parts) and columns * step <= row_step
        if not inside or sum(count for _, count in parts) != channels * taps:
            raise PackageError(f"the channels of tensor {name!r} of the program do not fill its pixels")
        size = FeatureMap(height, width, channels, FORMS[form])
        return MemoryTensor(name, size, offset, step, row_step, parts, fold)

    def fold(self) -> Fold:
        return Fold(self.pair(), self.pair(), self.pair(), self.pair(), self.pair(), self.number("I"))

    def pair(self) -> tuple[int, int]:
        return self.number("I"), self.number("I")


def _is_sound(fold: Fold, parts: int) -> bool:
    """Whether no number of a fold is more than a descriptor holds, or nothing where there must be something."""
    present = (*fold.taps, *fold.strides, *fold.dilations, *fold.size)
    return parts == 1 and max(_numbers(fold)) < MOST_COLUMNS and min(present) > 0 and fold.value <= 0xFF
