"""The contract between compiler, runtime and gateware: program header, descriptors, stream and registers.

``docs/isa.md`` is generated from this file (``python -m fieldwave.npu.reference``), and so is the fingerprint
by which hardware refuses a program that was made for another contract.

A *word* is ``input_lanes`` bytes: one vector of channels of one pixel, the unit of activation memory. A *beat*
is ``port_bytes`` bytes, the unit of the memory port. Offsets are bytes from the program's header in memory and
multiples of a beat, so that an image of a program runs at any address.

Activations are uint8 in memory and int8 in the banks: LOAD and STORE invert the top bit. Every activation value
in a descriptor or a parameter is such an int8, the uint8 value less 128.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum

from fieldwave.errors import InputError
from fieldwave.npu.record import Field, Record

__all__ = [
    "COMPUTE",
    "CONTRACT",
    "HEADER",
    "MAGIC",
    "PARAMETER",
    "RECORD_BYTES",
    "REGISTERS",
    "SCALE",
    "TABLE",
    "TABLE_BYTES",
    "TRACE_BASE",
    "TRACE_ENTRIES",
    "TRANSFER",
    "VERSION",
    "ErrorCode",
    "Opcode",
    "Register",
    "disassemble",
]

VERSION = 1
MAGIC = 0x504E5746  # the bytes "FWNP"
RECORD_BYTES = 128
TABLE_BYTES = 256
TRACE_BASE = 0x2000
TRACE_ENTRIES = 512


class Opcode(IntEnum):
    """What a descriptor asks for. Zero is no opcode, so that erased memory is no program."""

    END = 1  # this queue is finished
    CONV = 2  # array: dot products with streamed weights, then requantize
    MAX = 3  # maximum over the window
    AVERAGE = 4  # exact average over the window
    SUM = 5  # sum over the window, then requantize: the global average pool
    LOAD = 16  # memory -> activation bank
    STORE = 17  # activation bank -> memory


class ErrorCode(IntEnum):
    """Why a program stopped; register ERROR."""

    NONE = 0
    ILLEGAL_DESCRIPTOR = 1  # opcode unknown to this queue, or a count of zero
    FINGERPRINT = 2  # the header is no header, or was made for another configuration
    READ_BUS = 3  # the memory answered a read with an error
    WRITE_BUS = 4  # the memory answered a write with an error
    ACTIVATION_ADDRESS = 5  # a word address outside the activation bank
    RING = 6  # a tile's weights do not fit the weight ring and are not repeated per block


HEADER = Record(
    "header",
    RECORD_BYTES,
    "First record of a program image; register PROGRAM points to it.",
    (
        Field("magic", 32, "", f"{MAGIC:#010x}, the bytes FWNP."),
        Field("version", 32, "", "Version of this contract."),
        Field("fingerprint", 64, "", "Fingerprint of the configuration the program was compiled for."),
        Field("compute_offset", 32, "bytes", "First descriptor of the compute queue."),
        Field("transfer_offset", 32, "bytes", "First descriptor of the transfer queue."),
        Field("stream_offset", 32, "bytes", "First beat of the weight stream."),
        Field("stream_beats", 32, "beats", "Length of the weight stream; may be zero."),
        Field("arena_bytes", 32, "bytes", "Memory the program needs, header included; for the runtime only."),
    ),
)

COMPUTE = Record(
    "compute",
    RECORD_BYTES,
    "A whole layer (or a strip of it): CONV, MAX, AVERAGE, SUM, or END.",
    (
        Field("opcode", 8, "", "CONV, MAX, AVERAGE, SUM or END."),
        Field("repeat", 1, "flag", "The stream holds a tile's weights once per block, not once per tile."),
        Field("residual", 1, "flag", "CONV, SUM: add a second tensor to the requantized result."),
        Field("lookup", 1, "flag", "Pass every result through a table, which comes first in the stream."),
        Field("prescale", 1, "flag", "Scale-shift the input; the constants come before the parameters."),
        Field("padding_counts", 1, "flag", "AVERAGE: divide by the whole window, padding included."),
        Field("pool", 1, "flag", "Maxima over windows of the results; not with a residual or pixel lanes."),
        Field("reserved_flags", 2, "", "Zero."),
        Field("wait", 16, "descriptors", "Start after this many transfers have completed since start."),
        Field("tiles", 16, "tiles", "Tiles of output_lanes output channels."),
        Field("blocks", 16, "blocks", "Blocks of output pixels, each accumulated at once; of one pixel lane."),
        Field("block_pixels", 16, "pixels", "Output pixels of every block but the last."),
        Field("last_pixels", 16, "pixels", "Output pixels of the last block."),
        Field("kernel_height", 16, "taps", "Rows of the window."),
        Field("kernel_width", 16, "taps", "Columns of the window."),
        Field("input_tiles", 16, "words", "Words per tap that are multiplied; 1 for pools."),
        Field("steps", 16, "steps", "kernel_height x kernel_width x input_tiles."),
        Field("output_width", 16, "pixels", "Output pixels per row, before a fused pool."),
        Field("output_height", 16, "pixels", "Output rows, before a fused pool."),
        Field("input_height", 16, "pixels", "Rows outside 0 to this are padding."),
        Field("input_width", 16, "pixels", "Columns outside 0 to this are padding."),
        Field("start_y", 16, "pixels", "Input row of the first tap: minus the padding above.", signed=True),
        Field("start_x", 16, "pixels", "Input column of the first tap: minus the padding left.", signed=True),
        Field("stride_y", 8, "pixels", "Input rows between output rows."),
        Field("stride_x", 8, "pixels", "Input columns between output columns."),
        Field("dilation_y", 8, "pixels", "Input rows between taps."),
        Field("dilation_x", 8, "pixels", "Input columns between taps."),
        Field("pad_value", 8, "", "What padding reads as: the input's zero point; -128 for MAX.", signed=True),
        Field("input_bank", 8, "bank", "Bank of the input."),
        Field("input_base", 24, "words", "Address of the first tap, padding included (modulo 2^24)."),
        Field("clamp_low", 8, "", "Lower bound of the residual add's or the average's result.", signed=True),
        Field("input_x_step", 24, "words", "Between neighbours in an output row: stride_x x words per pixel."),
        Field("clamp_high", 8, "", "Upper bound of the residual add's or the average's result.", signed=True),
        Field("input_y_step", 24, "words", "Between output rows: stride_y x words per input row."),
        Field("residual_a_zero", 8, "", "Zero point of the result that the residual is added to.", signed=True),
        Field("tap_x_step", 24, "words", "Between taps: dilation_x x words per pixel."),
        Field("residual_b_zero", 8, "", "Zero point of the residual tensor.", signed=True),
        Field("tap_y_step", 24, "words", "Between rows of taps: dilation_y x words per input row."),
        Field("residual_a_shift", 8, "bits", "Left shift of the requantized result."),
        Field("input_tile_step", 24, "words", "Per word of output channels: 0 in CONV, 1 in pools."),
        Field("residual_b_shift", 8, "bits", "Left shift of the residual."),
        Field("output_base", 24, "words", "Address of the first output word."),
        Field("output_bank", 8, "bank", "Bank of the output."),
        Field("output_x_step", 24, "words", "Between neighbours in a row."),
        Field("output_zero", 8, "", "Zero point of the residual add's or the average's result.", signed=True),
        Field("output_y_step", 24, "words", "Between output rows."),
        Field("average_shift", 8, "bits", "AVERAGE: 8 - log2(input scale / output scale), 1 to 31."),
        Field("output_tile_step", 24, "words", "Between words of output channels: 1."),
        Field("output_slice", 8, "slices", "Place of the first tile in its word, of output and residual."),
        Field("residual_base", 24, "words", "Address of the first residual word."),
        Field("residual_bank", 8, "bank", "Bank of the residual."),
        Field("residual_x_step", 24, "words", "Between neighbours in a row: the residual has its own stride."),
        Field("residual_shift", 8, "bits", "Right shift of their sum, rounded half to even."),
        Field("residual_y_step", 24, "words", "Between output rows."),
        Field("reserved_1", 8, "", "Zero."),
        Field("residual_tile_step", 24, "words", "Between words of output channels: 1."),
        Field("reserved_2", 8, "", "Zero."),
        Field("prescale_input_zero", 8, "", "Zero point of the input before the scale-shift.", signed=True),
        Field("prescale_zero", 8, "", "Zero point after it; padding reads as pad_value, not scaled.", signed=True),
        Field("prescale_low", 8, "", "Lower bound after it.", signed=True),
        Field("prescale_high", 8, "", "Upper bound after it.", signed=True),
        Field("prescale_beats", 16, "beats", "Length of its constants in the stream; a SCALE record a channel."),
        Field("average_taps", 16, "taps", "AVERAGE with padding_counts: taps of the window, at most 256."),
        Field("pool_height", 8, "rows", "pool: rows of a window; output_y_step is between rows of windows."),
        Field("pool_width", 8, "columns", "pool: columns of a window; output_x_step is between windows."),
        Field("pool_start_y", 8, "rows", "pool: rows of the first window above the first result."),
        Field("pool_start_x", 8, "columns", "pool: columns of the first window left of the first result."),
        Field("pool_rows", 16, "windows", "pool: rows of windows; the last may be cut off by the last result."),
        Field("pool_columns", 16, "windows", "pool: windows per row; the last result of a row ends the last one."),
        Field("early", 16, "steps", "Steps that may begin before the descriptor before this one has completed."),
        Field("pool_overlap_y", 1, "rows", "pool: rows that a window shares with the next, 0 or 1."),
        Field("pool_overlap_x", 1, "columns", "pool: columns that a window shares with the next, 0 or 1."),
        Field("pool_continues", 1, "flag", "pool: the first row of windows has been begun; go on with it."),
        Field("reserved_3", 5, "", "Zero."),
        Field("lanes", 8, "lanes", "With several pixel lanes: how many of them have pixels."),
        Field("lane_pixels", 24, "pixels", "Output pixels of every lane but the last one used."),
        Field("lane_rows", 16, "pixels", "Output rows from a lane's first pixel to the next lane's."),
        Field("lane_columns", 16, "pixels", "And columns: the rest of lane_pixels by output_width."),
    ),
)

TRANSFER = Record(
    "transfer",
    RECORD_BYTES,
    "Copy rows of words between memory and an activation bank: LOAD, STORE, or END.",
    (
        Field("opcode", 8, "", "LOAD, STORE or END."),
        Field("bank", 8, "bank", "Activation bank."),
        Field("wait", 16, "descriptors", "Start after this many compute descriptors completed since start."),
        Field("rows", 32, "rows", "Rows to copy."),
        Field("row_words", 32, "words", "Words per row; a row starts at a beat, its last beat may be partial."),
        Field("bank_base", 32, "words", "First word in the bank; below 2^24."),
        Field("bank_row_step", 32, "words", "Between rows in the bank; below 2^24."),
        Field("memory_offset", 32, "bytes", "First byte in memory, relative to the header; whole beats."),
        Field("memory_row_step", 32, "bytes", "Between rows in memory; whole beats."),
    ),
)

PARAMETER = Record(
    "parameter",
    12,
    "Constants of one output channel; a tile's records are padded together to whole beats.",
    (
        Field("bias", 32, "", "Added to the accumulator; zero-point corrections are folded in.", signed=True),
        Field("scale", 32, "float32", "Bits of the multiplier."),
        Field("zero", 8, "", "Zero point of the result.", signed=True),
        Field("low", 8, "", "Lower bound of the result.", signed=True),
        Field("high", 8, "", "Upper bound of the result.", signed=True),
        Field("reserved", 8, "", "Zero."),
    ),
)

SCALE = Record(
    "scale",
    8,
    "Scale-shift constants of one input channel: y = rne(((x - input zero) * weight + bias) / 2^shift) + zero.",
    (
        Field("bias", 32, "", "Added to the product.", signed=True),
        Field("weight", 8, "", "Multiplier.", signed=True),
        Field("shift", 8, "bits", "0 to 31."),
    ),
)

TABLE = (
    """A lookup table is 256 bytes, the result for each int8 value: entry i for the value with the bits of i."""
)


class Register(IntEnum):
    """Byte offsets of the control registers (AXI4-Lite, 32 bits each)."""

    IDENTITY = 0x00
    VERSION = 0x04
    FINGERPRINT_LOW = 0x08
    FINGERPRINT_HIGH = 0x0C
    CONTROL = 0x10
    STATUS = 0x14
    ERROR = 0x18
    ERROR_ADDRESS = 0x1C
    PROGRAM_LOW = 0x20
    PROGRAM_HIGH = 0x24
    CYCLES = 0x28
    ARRAY_CYCLES = 0x2C
    WEIGHT_WAITS = 0x30
    OUTPUT_WAITS = 0x34
    BANK_WAITS = 0x38
    READ_BEATS = 0x3C
    WRITE_BEATS = 0x40


REGISTERS: dict[Register, tuple[str, str]] = {
    Register.IDENTITY: ("read", f"{MAGIC:#010x}."),
    Register.VERSION: ("read", "Version of this contract."),
    Register.FINGERPRINT_LOW: ("read", "Bits 31:0 of the configuration's fingerprint."),
    Register.FINGERPRINT_HIGH: ("read", "Bits 63:32 of the configuration's fingerprint."),
    Register.CONTROL: (
        "write",
        "Bit 0 start: reset, then run the program; bit 1 reset: let the bus finish, then reset; bit 2 keep, with "
        "start: the program and its stream are those of the last start. Where that run ended well, the stream has "
        "no more than the ring's bytes and PROGRAM has not been written since, it is not read again.",
    ),
    Register.STATUS: ("read", "Bit 0 busy; bit 1 done; bit 2 error; bit 3 resetting."),
    Register.ERROR: (
        "read",
        "Bits 7:0 error code; bit 8 queue (0 compute, 1 transfer); bits 31:16 index of the descriptor.",
    ),
    Register.ERROR_ADDRESS: (
        "read",
        "Bits 31:0 of the burst's memory address, or the word address that was outside.",
    ),
    Register.PROGRAM_LOW: ("read, write", "Bits 31:0 of the header's address in memory, a multiple of 4096."),
    Register.PROGRAM_HIGH: ("read, write", "Bits 63:32 of it."),
    Register.CYCLES: ("read", "Cycles from start to done."),
    Register.ARRAY_CYCLES: ("read", "Cycles in which a vector entered the array."),
    Register.WEIGHT_WAITS: ("read", "Cycles in which a vector waited for weights."),
    Register.OUTPUT_WAITS: ("read", "Cycles in which a vector waited for room behind the accumulators."),
    Register.BANK_WAITS: ("read", "Cycles in which a vector waited for its activation bank."),
    Register.READ_BEATS: ("read", "Beats read from memory."),
    Register.WRITE_BEATS: ("read", "Beats written to memory."),
}

_RECORDS = (HEADER, COMPUTE, TRANSFER, PARAMETER, SCALE)

CONTRACT = hashlib.sha256(
    repr(
        [
            (VERSION, list(Opcode), list(ErrorCode), list(Register)),
            *((record.size, [(f.name, f.bits, f.signed) for f in record.fields]) for record in _RECORDS),
        ]
    ).encode()
).hexdigest()
"""Changes with every name, number and width above, and with nothing else."""


def disassemble(data: bytes, *, stride: int = RECORD_BYTES) -> list[str]:
    """Readable text of a list of descriptors up to END, one line each; fields that are zero are left out.

    Raises:
        InputError: an opcode that does not exist, or bytes that end before END.
    """
    lines: list[str] = []
    for position in range(0, len(data), stride):
        opcode = data[position]
        if opcode not in set(Opcode):
            raise InputError(f"descriptor {len(lines)} has opcode {opcode}, which does not exist")
        record = TRANSFER if opcode in (Opcode.LOAD, Opcode.STORE) else COMPUTE
        values = record.decode(data[position : position + stride])
        shown = [f"{name}={value}" for name, value in values.items() if value and name != "opcode"]
        lines.append(" ".join([Opcode(opcode).name, *shown]))
        if opcode == Opcode.END:
            return lines
    raise InputError(f"the list ends after {len(lines)} descriptors without END")
