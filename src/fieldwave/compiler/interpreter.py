"""A functional model of the hardware: executes program images in numpy, exactly as ``docs/isa.md`` says.

It knows nothing about networks. It is slow where hardware is fast and strict where hardware would be silent: words
that nothing has written, an output that overlaps its input, and a stream that is not used up are errors. The
gateware is compared with it and the compiler proved on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fieldwave.compiler.early import late_words, step_words
from fieldwave.compiler.pooled import pool_results
from fieldwave.errors import DeviceError
from fieldwave.npu import Configuration
from fieldwave.npu.isa import (
    COMPUTE,
    HEADER,
    MAGIC,
    PARAMETER,
    RECORD_BYTES,
    SCALE,
    TABLE_BYTES,
    TRANSFER,
    VERSION,
    Opcode,
)

__all__ = ["Interpreter"]

Order = Literal["compute", "transfer"]
Fields = dict[str, int]
ADDRESS_MASK = (1 << COMPUTE.positions["input_base"][0].bits) - 1
_PARAMETER = np.dtype(
    [("bias", "<i4"), ("scale", "<f4"), ("zero", "i1"), ("low", "i1"), ("high", "i1"), ("", "u1")]
)
_SCALE = np.dtype([("bias", "<i4"), ("weight", "i1"), ("shift", "u1"), ("", "<u2")])
assert _PARAMETER.itemsize == PARAMETER.size and _SCALE.itemsize == SCALE.size


@dataclass
class Interpreter:
    """One NPU.

    Attributes:
        configuration: its parameters.
        eager: the queue that runs whenever its waits allow it; a right program gives the same result with either.
    """

    configuration: Configuration
    eager: Order = "compute"

    def __post_init__(self) -> None:
        lanes = self.configuration.input_lanes
        rng = np.random.default_rng(0)
        self.banks = [rng.integers(-128, 128, (words, lanes), np.int8) for words in self.configuration.bank_words]
        self.written = [np.zeros(words, bool) for words in self.configuration.bank_words]

    def run(self, memory: NDArray[np.uint8]) -> None:
        """Execute the program whose header is at the start of ``memory``, in place.

        Raises:
            DeviceError: the hardware would stop with an error, or do what no right program makes it do.
        """
        header = HEADER.decode(memory[:RECORD_BYTES].tobytes())
        if header["magic"] != MAGIC or header["version"] != VERSION:
            raise DeviceError("the memory holds no program")
        if header["fingerprint"] != self.configuration.fingerprint:
            raise DeviceError(
                f"the program is for configuration {header['fingerprint']:016x}, "
                f"this is {self.configuration.fingerprint:016x}; compile it again"
            )
        self.memory = memory
        start = header["stream_offset"]
        self.stream = memory[start : start + header["stream_beats"] * self.configuration.port_bytes]
        self.position = 0
        self.before: Fields | None = None
        lists = {
            "compute": self._descriptors(header["compute_offset"], COMPUTE),
            "transfer": self._descriptors(header["transfer_offset"], TRANSFER),
        }
        done = {"compute": 0, "transfer": 0}
        order = ("compute", "transfer") if self.eager == "compute" else ("transfer", "compute")
        while any(done[name] < len(lists[name]) for name in lists):
            for name, other in (order, order[::-1]):
                if done[name] < len(lists[name]) and lists[name][done[name]]["wait"] <= done[other]:
                    fields = lists[name][done[name]]
                    (self._compute if name == "compute" else self._transfer)(fields)
                    done[name] += 1
                    break
            else:
                raise DeviceError(f"both queues wait for each other after {done} descriptors")
        if self.position != len(self.stream):
            raise DeviceError(f"{self.position} of {len(self.stream)} bytes of the stream were used")

    def _descriptors(self, offset: int, record: Any) -> list[Fields]:
        found: list[Fields] = []
        while True:
            fields = record.decode(self.memory[offset : offset + RECORD_BYTES].tobytes())
            if fields["opcode"] == Opcode.END:
                return found
            found.append(fields)
            offset += self.configuration.record_stride

    def _take(self, count: int) -> NDArray[np.uint8]:
        if self.position + count > len(self.stream):
            raise DeviceError("the stream has ended")
        self.position += count
        return self.stream[self.position - count : self.position]

    def _transfer(self, f: Fields) -> None:
        lanes = self.configuration.input_lanes
        bank, written = self.banks[f["bank"]], self.written[f["bank"]]
        for row in range(f["rows"]):
            base = f["bank_base"] + row * f["bank_row_step"]
            words = slice(base, base + f["row_words"])
            start = f["memory_offset"] + row * f["memory_row_step"]
            if words.stop > len(bank) or start % self.configuration.port_bytes:
                raise DeviceError(f"a transfer leaves bank {f['bank']}, or a beat: {f}")
            cells = self.memory[start : start + f["row_words"] * lanes].reshape(-1, lanes)
            if f["opcode"] == Opcode.LOAD:
                bank[words] = (cells ^ 0x80).view(np.int8)
                written[words] = True
            else:
                cells[:] = bank[words].view(np.uint8) ^ 0x80

    def _check_early(self, f: Fields) -> None:
        """What a descriptor's early steps read, the one before it must have written long ago."""
        if self.before is None or self.before["output_bank"] != f["input_bank"]:
            return
        late = late_words(self.before, self.configuration)
        every = product(*(range(f[n]) for n in ("blocks", "kernel_height", "kernel_width", "input_tiles")))
        for block, ky, kx, word in islice(every, f["early"]):
            if np.isin(step_words(f, self.configuration, block, ky, kx, word), late).any():
                raise DeviceError(f"an early step reads what the descriptor before it may not have written: {f}")

    def _compute(self, f: Fields) -> None:
        self._check_early(f)
        self.before = f
        opcode, c = Opcode(f["opcode"]), self.configuration
        pixels = f["output_height"] * f["output_width"]
        self._check_blocks(f, pixels)
        table = self._take(TABLE_BYTES).copy() if f["lookup"] else None
        scales = self._scales(f)
        index = np.arange(pixels)
        y, x = np.divmod(index, f["output_width"])
        row, column = y, x
        if f["pool"]:
            row, column = np.divmod(np.arange(f["pool_rows"] * f["pool_columns"]), f["pool_columns"])
        output = f["output_base"] + row * f["output_y_step"] + column * f["output_x_step"]
        residual = f["residual_base"] + y * f["residual_y_step"] + x * f["residual_x_step"]
        self._check_overlap(f, output, y, x)
        gathered: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}
        for tile in range(f["tiles"]):
            word, part = divmod(f["output_slice"] + tile, c.slices)
            base = f["input_base"] + word * f["input_tile_step"]
            if base not in gathered:
                vectors, padding = self._gather(f, base, y, x)
                if scales is not None:
                    word_steps = base - f["input_base"] + np.arange(f["steps"]) % f["input_tiles"]
                    vectors = _scaled(f, vectors, padding, scales[word_steps])
                gathered = {base: (vectors, padding)}
            vectors, padding = gathered[base]  # [steps, pixels, lanes] int8, [steps, pixels]
            lanes = slice(part * c.output_lanes, (part + 1) * c.output_lanes)
            if opcode == Opcode.CONV:
                result = self._requantize(self._dot(f, vectors))
            elif opcode == Opcode.SUM:
                records = self._parameters()
                sums = (vectors[:, :, lanes].astype(np.int64) - f["pad_value"]).sum(0)
                result = self._requantize((sums, records))
            elif opcode == Opcode.MAX:
                result = vectors[:, :, lanes].max(0).astype(np.int64)
            else:
                sums = (vectors[:, :, lanes].astype(np.int64) - f["pad_value"]).sum(0)
                taps = f["average_taps"] if f["padding_counts"] else (~padding).sum(0)[:, None]
                exact = sums / taps * 2.0 ** (8 - f["average_shift"])
                result = np.clip(np.rint(exact) + f["output_zero"], -128, 127).astype(np.int64)
            if f["residual"]:
                words = residual + word * f["residual_tile_step"]
                self._check_written(f["residual_bank"], words)
                b = self.banks[f["residual_bank"]][words][:, lanes].astype(np.int64)
                result = _add(f, result, b)
            result = np.clip(result, f["clamp_low"], f["clamp_high"])
            if table is not None:
                result = table[result & 0xFF].view(np.int8).astype(np.int64)
            words = output + word * f["output_tile_step"]
            self._check_bank(f["output_bank"], words)
            if f["pool"]:
                if f["pool_continues"]:
                    self._check_written(f["output_bank"], words[: f["pool_columns"]])
                result = pool_results(f, result, self.banks[f["output_bank"]][words, lanes])
            self.banks[f["output_bank"]][words, lanes] = result
            self.written[f["output_bank"]][words] = True

    def _scales(self, f: Fields) -> NDArray[Any] | None:
        """Scale-shift constants, [word, lane]."""
        if not f["prescale"]:
            return None
        c = self.configuration
        size = f["prescale_beats"] * c.port_bytes
        words = size // (SCALE.size * c.input_lanes)
        if words > c.prescale_words:
            raise DeviceError(f"constants of {words} words are more than the {c.prescale_words} of the unit")
        return self._take(size)[: words * c.input_lanes * SCALE.size].view(_SCALE).reshape(words, c.input_lanes)

    def _gather(
        self, f: Fields, base: int, y: NDArray[Any], x: NDArray[Any]
    ) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
        """im2col: the vectors of every step, and which of them are padding."""
        start = y * f["input_y_step"] + x * f["input_x_step"] + base
        vectors, paddings = [], []
        for ky in range(f["kernel_height"]):
            for kx in range(f["kernel_width"]):
                row = f["start_y"] + y * f["stride_y"] + ky * f["dilation_y"]
                column = f["start_x"] + x * f["stride_x"] + kx * f["dilation_x"]
                padding = (row < 0) | (row >= f["input_height"]) | (column < 0) | (column >= f["input_width"])
                for word in range(f["input_tiles"]):
                    address = start + ky * f["tap_y_step"] + kx * f["tap_x_step"] + word & ADDRESS_MASK
                    read = address[~padding]
                    self._check_written(f["input_bank"], read)
                    vector = np.full((len(y), self.configuration.input_lanes), f["pad_value"], np.int8)
                    vector[~padding] = self.banks[f["input_bank"]][read]
                    vectors.append(vector)
                    paddings.append(padding)
        if len(vectors) != f["steps"]:
            raise DeviceError(f"{len(vectors)} steps are not the {f['steps']} of the descriptor")
        return np.stack(vectors), np.stack(paddings)

    def _dot(self, f: Fields, vectors: NDArray[np.int8]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """The sums of one tile with the next parameters and weights of the stream."""
        c = self.configuration
        records = self._parameters()
        size = f["steps"] * c.input_lanes * c.output_lanes
        if not f["repeat"] and f["blocks"] > 1 and size > c.ring_bytes - c.burst_beats * c.port_bytes:
            raise DeviceError(f"{size} bytes of weights do not fit the ring")
        weights = self._take(size)
        for _ in range(f["blocks"] - 1 if f["repeat"] else 0):
            if not np.array_equal(self._take(size), weights):
                raise DeviceError("the repeated weights of a block differ")
        matrix = weights.view(np.int8).reshape(f["steps"], c.output_lanes, c.input_lanes)
        sums = np.zeros((vectors.shape[1], c.output_lanes))
        for step in range(f["steps"]):  # exact in float64, whatever the order
            sums += vectors[step].astype(np.float32) @ matrix[step].astype(np.float32).T
        return sums.astype(np.int64), records

    def _parameters(self) -> NDArray[Any]:
        c = self.configuration
        return self._take(c.parameter_beats * c.port_bytes)[: PARAMETER.size * c.output_lanes].view(_PARAMETER)

    @staticmethod
    def _requantize(sums: tuple[NDArray[np.int64], NDArray[Any]]) -> NDArray[np.int64]:
        accumulators, records = sums
        biased = (accumulators + records["bias"].astype(np.int64)).astype(np.int32)  # modulo 2^32
        with np.errstate(over="ignore"):
            product = np.clip(np.rint(biased.astype(np.float32) * records["scale"]), -1024, 1024)
        zero, low, high = (records[name].astype(np.int64) for name in ("zero", "low", "high"))
        return np.asarray(np.clip(product.astype(np.int64) + zero, low, high))

    def _check_blocks(self, f: Fields, pixels: int) -> None:
        """Blocks, and pixel lanes where there are several, make up the output."""
        each = (f["blocks"] - 1) * f["block_pixels"] + f["last_pixels"]
        right = f["block_pixels"] <= self.configuration.block_pixels
        if self.configuration.pixel_lanes == 1:
            right &= each == pixels
        else:
            lanes = f["lanes"] if f["lane_pixels"] == each else 0
            right &= lanes <= self.configuration.pixel_lanes and (lanes - 1) * each < pixels <= lanes * each
            right &= (f["lane_rows"], f["lane_columns"]) == divmod(each, f["output_width"])
        if not right:
            raise DeviceError(f"the blocks do not make up the output: {f}")

    def _check_overlap(self, f: Fields, output: NDArray[Any], y: NDArray[Any], x: NDArray[Any]) -> None:
        """What a descriptor reads it must not write, but for a residual at the same place."""
        if f["input_bank"] != f["output_bank"]:
            return
        words = -(-f["tiles"] // self.configuration.slices)
        writes = np.unique(np.add.outer(np.arange(words) * f["output_tile_step"], output))
        start = y * f["input_y_step"] + x * f["input_x_step"] + f["input_base"]
        for ky in range(f["kernel_height"]):
            row = f["start_y"] + y * f["stride_y"] + ky * f["dilation_y"]
            for kx in range(f["kernel_width"]):
                column = f["start_x"] + x * f["stride_x"] + kx * f["dilation_x"]
                inside = (row >= 0) & (row < f["input_height"]) & (column >= 0) & (column < f["input_width"])
                taps = (start + ky * f["tap_y_step"] + kx * f["tap_x_step"])[inside]
                for offset in range((words - 1) * f["input_tile_step"] + f["input_tiles"]):
                    if np.isin((taps + offset) & ADDRESS_MASK, writes, assume_unique=False).any():
                        raise DeviceError(f"a descriptor overwrites its own input: {f}")

    def _check_bank(self, bank: int, words: NDArray[Any]) -> None:
        if len(words) and (words.min() < 0 or words.max() >= len(self.banks[bank])):
            raise DeviceError(f"word {words.max()} is outside bank {bank} of {len(self.banks[bank])} words")

    def _check_written(self, bank: int, words: NDArray[Any]) -> None:
        self._check_bank(bank, words)
        if not self.written[bank][words].all():
            raise DeviceError(f"words of bank {bank} are read before anything was written to them")


def _scaled(
    f: Fields, vectors: NDArray[np.int8], padding: NDArray[np.bool_], scales: NDArray[Any]
) -> NDArray[np.int8]:
    """The scale-shift of every element, half to even; padding stays what it is. ``scales``: [step, lane]."""
    constants = {name: scales[name].astype(np.int64)[:, None, :] for name in ("bias", "weight", "shift")}
    sums = (vectors.astype(np.int64) - f["prescale_input_zero"]) * constants["weight"] + constants["bias"]
    rounded = np.rint(sums / 2.0 ** constants["shift"]).astype(np.int64) + f["prescale_zero"]
    result = np.clip(rounded, f["prescale_low"], f["prescale_high"]).astype(np.int8)
    return np.where(padding[:, :, None], vectors, result)


def _add(f: Fields, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """The exact sum of two scaled bytes, rounded once, half to even."""
    left = (a - f["residual_a_zero"]) << f["residual_a_shift"]
    right = (b - f["residual_b_zero"]) << f["residual_b_shift"]
    total = (left + right) / 2.0 ** f["residual_shift"] + f["output_zero"]
    return np.asarray(np.clip(np.rint(total), -128, 127), np.int64)
