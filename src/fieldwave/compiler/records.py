"""What a program image says: its header and the descriptors of both queues, decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fieldwave.errors import DeviceError
from fieldwave.npu import Configuration
from fieldwave.npu.isa import (
    COMPUTE,
    HEADER,
    MAGIC,
    PARAMETER,
    RECORD_BYTES,
    TRANSFER,
    VERSION,
    Opcode,
)
from fieldwave.npu.record import Record

__all__ = ["Records", "pixels_of", "read_records", "stream_beats", "transfer_bytes", "vectors_of"]

Fields = Mapping[str, int]


@dataclass(frozen=True)
class Records:
    """The records of one image.

    Attributes:
        header: its fields.
        compute, transfer: the descriptors of each queue, in order, END left out.
    """

    header: Fields
    compute: tuple[Fields, ...]
    transfer: tuple[Fields, ...]

    def is_resident(self, configuration: Configuration) -> bool:
        """Whether the weight ring holds the whole stream, so that it is read once for all runs."""
        return self.header["stream_beats"] <= configuration.ring_beats


def read_records(image: bytes, configuration: Configuration) -> Records:
    """Decode ``image``.

    Raises:
        DeviceError: it is no program, one for another configuration, or cut off.
    """
    header = HEADER.decode(_record(image, 0))
    if header["magic"] != MAGIC or header["version"] != VERSION:
        raise DeviceError("these bytes are no program image; pass the image of a program's NPU section")
    if header["fingerprint"] != configuration.fingerprint:
        raise DeviceError(
            f"the program is for configuration {header['fingerprint']:016x}, "
            f"this is {configuration.fingerprint:016x}; compile it again"
        )
    stride = configuration.record_stride
    compute = _descriptors(image, header["compute_offset"], COMPUTE, stride)
    return Records(header, compute, _descriptors(image, header["transfer_offset"], TRANSFER, stride))


def pixels_of(compute: Fields) -> int:
    """Output pixels of a compute descriptor; where there are several pixel lanes, of each but the last."""
    return (compute["blocks"] - 1) * compute["block_pixels"] + compute["last_pixels"]


def vectors_of(compute: Fields) -> int:
    """Vectors that enter the array, or pass it: the cycles of a compute descriptor without any loss."""
    return compute["tiles"] * compute["steps"] * pixels_of(compute)


def stream_beats(compute: Fields, configuration: Configuration) -> int:
    """Beats of the weight stream that a compute descriptor takes: table, scale-shift, parameters and weights."""
    beats = compute["prescale"] * compute["prescale_beats"] + compute["lookup"] * (configuration.table_beats)
    if compute["opcode"] in (Opcode.CONV, Opcode.SUM):
        beats += compute["tiles"] * -(-PARAMETER.size * configuration.output_lanes // configuration.port_bytes)
    if compute["opcode"] == Opcode.CONV:
        times = compute["blocks"] if compute["repeat"] else 1
        beats += compute["tiles"] * compute["steps"] * times * configuration.tile_beats
    return beats


def transfer_bytes(transfer: Fields, configuration: Configuration) -> int:
    """Bytes that a transfer moves through the memory port, whole beats: a row begins at one."""
    row = -(-transfer["row_words"] * configuration.input_lanes // configuration.port_bytes)
    return transfer["rows"] * row * configuration.port_bytes


def _descriptors(image: bytes, offset: int, record: Record, stride: int) -> tuple[Fields, ...]:
    found: list[Fields] = []
    while True:
        fields = record.decode(_record(image, offset))
        if fields["opcode"] == Opcode.END:
            return tuple(found)
        found.append(fields)
        offset += stride


def _record(image: bytes, offset: int) -> bytes:
    data = image[offset : offset + RECORD_BYTES]
    if len(data) < RECORD_BYTES:
        raise DeviceError(f"the program image is cut off: a record of {RECORD_BYTES} bytes is missing at {offset}")
    return data
