"""Programs for the NPU, assembled by hand for tests: one layer at a time, every address chosen by the test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fieldwave.npu import Configuration, isa
from fieldwave.npu.isa import Opcode


@dataclass(frozen=True)
class Tensor:
    """A uint8 feature map [height, width, channels] in an activation bank."""

    bank: int
    base: int
    height: int
    width: int
    channels: int

    def words_per_pixel(self, configuration: Configuration) -> int:
        return -(-self.channels // configuration.input_lanes)

    def words(self, configuration: Configuration) -> int:
        return self.height * self.width * self.words_per_pixel(configuration)


@dataclass
class Program:
    """Descriptors, stream and data of one program; :meth:`image` puts them together."""

    configuration: Configuration
    compute: list[dict[str, int]] = field(default_factory=list)
    transfer: list[dict[str, int]] = field(default_factory=list)
    stream: bytearray = field(default_factory=bytearray)
    data: bytearray = field(default_factory=bytearray)
    fingerprint: int | None = None
    data_offset: int = 4 << 20

    # Memory

    def place(self, data: bytes) -> int:
        """Put bytes into the data area; returns their offset from the header."""
        offset = self.data_offset + len(self.data)
        self.data += data + bytes(-len(data) % self.configuration.port_bytes)
        return offset

    def image(self) -> np.ndarray[Any, Any]:
        """The whole arena."""
        configuration = self.configuration
        stride = configuration.record_stride
        computes = b"".join(
            isa.COMPUTE.encode(values).ljust(stride, b"\0") for values in [*self.compute, {"opcode": Opcode.END}]
        )
        transfers = b"".join(
            isa.TRANSFER.encode(values).ljust(stride, b"\0") for values in [*self.transfer, {"opcode": Opcode.END}]
        )
        offsets = stride, stride + len(computes), stride + len(computes) + len(transfers)
        header = isa.HEADER.encode(
            {
                "magic": isa.MAGIC,
                "version": isa.VERSION,
                "fingerprint": configuration.fingerprint if self.fingerprint is None else self.fingerprint,
                "compute_offset": offsets[0],
                "transfer_offset": offsets[1],
                "stream_offset": offsets[2],
                "stream_beats": len(self.stream) // configuration.port_bytes,
                "arena_bytes": self.data_offset + len(self.data),
            }
        )
        text = header.ljust(stride, b"\0") + computes + transfers + self.stream
        assert len(text) <= self.data_offset, "the stream runs into the data"
        arena = np.zeros(self.data_offset + len(self.data), np.uint8)
        arena[: len(text)] = np.frombuffer(text, np.uint8)
        arena[self.data_offset :] = np.frombuffer(bytes(self.data), np.uint8)
        return arena

    # Transfers

    def load(self, tensor: Tensor, pixels: np.ndarray[Any, Any], *, wait: int = 0) -> None:
        """LOAD a feature map [height, width, channels] into its place, holes filled with noise."""
        words = tensor.words_per_pixel(self.configuration)
        lanes = words * self.configuration.input_lanes
        noise = np.random.default_rng(7).integers(0, 256, (tensor.height, tensor.width, lanes), dtype=np.uint8)
        noise[:, :, : tensor.channels] = pixels
        offset = self.place(noise.tobytes())
        self.transfer.append(
            {
                "opcode": Opcode.LOAD, "bank": tensor.bank, "wait": wait, "rows": 1,
                "row_words": tensor.words(self.configuration), "bank_base": tensor.base, "memory_offset": offset,
            }
        )  # fmt: skip

    def store(self, tensor: Tensor, *, wait: int) -> int:
        """STORE a feature map; returns where it goes, for :meth:`read`."""
        words = tensor.words(self.configuration)
        offset = self.place(bytes(words * self.configuration.input_lanes))
        self.transfer.append(
            {
                "opcode": Opcode.STORE, "bank": tensor.bank, "wait": wait, "rows": 1, "row_words": words,
                "bank_base": tensor.base, "memory_offset": offset,
            }
        )  # fmt: skip
        return offset

    def read(self, arena: np.ndarray[Any, Any], tensor: Tensor, offset: int) -> np.ndarray[Any, Any]:
        """The feature map that was stored at ``offset``."""
        lanes = tensor.words_per_pixel(self.configuration) * self.configuration.input_lanes
        stored = arena[offset : offset + tensor.height * tensor.width * lanes]
        return stored.reshape(tensor.height, tensor.width, lanes)[:, :, : tensor.channels]

    # Layers

    def convolve(
        self, x: Tensor, y: Tensor, weights: np.ndarray[Any, Any], bias: np.ndarray[Any, Any],
        scale: np.ndarray[Any, Any], *, x_zero: int, y_zero: int, low: int = 0, high: int = 255,
        repeat: bool = False, **geometry: Any,
    ) -> dict[str, int]:  # fmt: skip
        """CONV; weights [out, kernel height, kernel width, in], for every block where they exceed the ring or
        ``repeat`` says so; returns the descriptor for further changes."""
        configuration = self.configuration
        inputs, outputs = configuration.input_lanes, configuration.output_lanes
        words = x.words_per_pixel(configuration)
        tiles = -(-y.channels // outputs)
        _, rows, columns, _ = weights.shape
        padded = np.zeros((tiles * outputs, rows, columns, words * inputs), np.int8)
        padded[: y.channels, :, :, : x.channels] = weights
        padded = padded.reshape(tiles, outputs, rows, columns, words, inputs).transpose(0, 2, 3, 4, 1, 5)

        values = self._window(Opcode.CONV, x, y, rows, columns, pad_value=x_zero - 128, **geometry)
        values |= {"input_tiles": words, "steps": rows * columns * words}
        beats = values["steps"] * configuration.tile_beats
        repeat |= values["blocks"] > 1 and beats > configuration.ring_beats - configuration.burst_beats
        values["repeat"] = int(repeat)

        folded = bias.astype(np.int64) - (x_zero - 128) * weights.astype(np.int64).sum((1, 2, 3))
        for tile in range(tiles):
            channels = range(tile * outputs, min((tile + 1) * outputs, y.channels))
            self._parameters([(int(folded[c]), np.float32(scale[c]), y_zero, low, high) for c in channels])
            self.stream += padded[tile].tobytes() * (values["blocks"] if repeat else 1)
        self.compute.append(values)
        return values

    def pool(
        self, opcode: Opcode, x: Tensor, y: Tensor, rows: int, columns: int, *, x_zero: int = 0, **geometry: Any
    ) -> dict[str, int]:
        """MAX, AVERAGE or SUM; for SUM the caller adds :meth:`parameters`."""
        pad = -128 if opcode == Opcode.MAX else x_zero - 128
        values = self._window(opcode, x, y, rows, columns, pad_value=pad, **geometry)
        values |= {"input_tiles": 1, "steps": rows * columns, "input_tile_step": 1}
        self.compute.append(values)
        return values

    def fuse_max_pool(
        self, descriptor: dict[str, int], results: tuple[int, int], y: Tensor, kernel: tuple[int, int],
        stride: tuple[int, int], pad: tuple[int, int], *, block: int | None = None,
    ) -> None:  # fmt: skip
        """Let a CONV, whose results are rows by columns, write their maxima over windows to y."""
        pixels, words = results[0] * results[1], y.words_per_pixel(self.configuration)
        block = block or -(-pixels // -(-pixels // self.configuration.block_pixels))
        descriptor |= {
            "blocks": -(-pixels // block), "block_pixels": block, "last_pixels": (pixels - 1) % block + 1,
            "output_height": results[0], "output_width": results[1], "output_x_step": words,
            "output_y_step": y.width * words, "pool": 1, "pool_height": kernel[0], "pool_width": kernel[1],
            "pool_start_y": pad[0], "pool_start_x": pad[1], "pool_rows": y.height, "pool_columns": y.width,
            "pool_overlap_y": kernel[0] - stride[0], "pool_overlap_x": kernel[1] - stride[1],
        }  # fmt: skip

    def parameters(self, records: list[tuple[int, Any, int, int, int]]) -> None:
        """Parameters of all channels: bias, scale, zero, low, high (uint8 convention)."""
        outputs = self.configuration.output_lanes
        for start in range(0, len(records), outputs):
            self._parameters(records[start : start + outputs])

    def table(self, table: np.ndarray[Any, Any]) -> None:
        """A look-up table uint8 -> uint8; it belongs before everything else of its descriptor."""
        index = np.arange(256) ^ 128
        self.stream += (table[index] ^ 128).astype(np.uint8).tobytes()

    def scales(self, weight: np.ndarray[Any, Any], bias: np.ndarray[Any, Any], shift: np.ndarray[Any, Any]) -> int:
        """Scale-shift constants; returns how many beats they take."""
        block = b"".join(
            isa.SCALE.encode({"weight": int(w), "bias": int(b), "shift": int(k)})
            for w, b, k in zip(weight, bias, shift, strict=True)
        )
        beats = -(-len(block) // self.configuration.port_bytes)
        self.stream += block.ljust(beats * self.configuration.port_bytes, b"\0")
        return beats

    def _parameters(self, records: list[tuple[int, Any, int, int, int]]) -> None:
        block = b"".join(
            isa.PARAMETER.encode(
                {
                    "bias": bias, "scale": int(np.float32(scale).view(np.uint32)), "zero": zero - 128,
                    "low": low - 128, "high": high - 128,
                }
            )
            for bias, scale, zero, low, high in records
        )  # fmt: skip
        self.stream += block.ljust(self.configuration.parameter_beats * self.configuration.port_bytes, b"\0")

    def _window(
        self, opcode: Opcode, x: Tensor, y: Tensor, rows: int, columns: int, *, pad_value: int,
        stride: tuple[int, int] = (1, 1), dilation: tuple[int, int] = (1, 1), pad: tuple[int, int] = (0, 0),
        wait: int = 0, block: int | None = None,
    ) -> dict[str, int]:  # fmt: skip
        configuration = self.configuration
        words = x.words_per_pixel(configuration)
        everything = y.height * y.width
        pixels = -(-everything // configuration.pixel_lanes)
        several = {
            "lanes": -(-everything // pixels), "lane_pixels": pixels,
            "lane_rows": pixels // y.width, "lane_columns": pixels % y.width,
        }  # fmt: skip
        block_pixels = block or -(-pixels // -(-pixels // configuration.block_pixels))
        blocks = -(-pixels // block_pixels)
        out_words = y.words_per_pixel(configuration)
        row = x.width * words
        return {
            "opcode": opcode, "wait": wait,
            "tiles": -(-y.channels // configuration.output_lanes),
            "blocks": blocks, "block_pixels": block_pixels, "last_pixels": pixels - (blocks - 1) * block_pixels,
            "kernel_height": rows, "kernel_width": columns,
            "output_width": y.width, "output_height": y.height, "input_height": x.height, "input_width": x.width,
            "start_y": -pad[0], "start_x": -pad[1], "stride_y": stride[0], "stride_x": stride[1],
            "dilation_y": dilation[0], "dilation_x": dilation[1], "pad_value": pad_value,
            "input_bank": x.bank, "input_base": (x.base - pad[0] * row - pad[1] * words) % (1 << 24),
            "input_x_step": stride[1] * words, "input_y_step": stride[0] * row,
            "tap_x_step": dilation[1] * words, "tap_y_step": dilation[0] * row,
            "output_bank": y.bank, "output_base": y.base, "output_x_step": out_words,
            "output_y_step": y.width * out_words, "output_tile_step": 1,
            "clamp_low": -128, "clamp_high": 127,
        } | (several if configuration.pixel_lanes > 1 else {})  # fmt: skip


def output_size(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    return (size + before + after - (kernel - 1) * dilation - 1) // stride + 1


def windows(
    x: np.ndarray[Any, Any], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int],
    pads: tuple[int, int, int, int], fill: int,
) -> np.ndarray[Any, Any]:  # fmt: skip
    """[out height, out width, kernel height, kernel width, channels] of x; pads are top, left, bottom, right."""
    top, left, bottom, right = pads
    padded = np.pad(x.astype(np.int64), ((top, bottom), (left, right), (0, 0)), constant_values=fill)
    height = output_size(x.shape[0], kernel[0], stride[0], dilation[0], top, bottom)
    width = output_size(x.shape[1], kernel[1], stride[1], dilation[1], left, right)
    rows = np.arange(height)[:, None] * stride[0] + np.arange(kernel[0]) * dilation[0]
    columns = np.arange(width)[:, None] * stride[1] + np.arange(kernel[1]) * dilation[1]
    return padded[rows[:, None, :, None], columns[None, :, None, :]]


def requantize(acc: Any, scale: Any, zero: int, low: int = 0, high: int = 255) -> Any:
    """y = clamp(rne(fl32(fl32(acc) * scale)) + zero): the definition, in numpy's float32."""
    product = acc.astype(np.float32) * np.asarray(scale, np.float32)
    return np.clip(np.rint(product.astype(np.float64)) + zero, low, high).astype(np.uint8)


def convolve(
    x: Any, weights: Any, bias: Any, scale: Any, *, x_zero: int, y_zero: int, low: int = 0, high: int = 255,
    stride: Any = (1, 1), dilation: Any = (1, 1), pads: Any = (0, 0, 0, 0),
) -> Any:  # fmt: skip
    """QLinearConv of x [height, width, in] with weights [out, rows, columns, in]."""
    patches = windows(x, weights.shape[1:3], stride, dilation, pads, x_zero) - x_zero
    acc = np.einsum("hwyxc,oyxc->hwo", patches, weights.astype(np.int64), optimize=True) + bias
    return requantize(acc, scale, y_zero, low, high)


def execute(simulation: Any, program: Program, model: Any, *, cycles: int = 5_000_000) -> np.ndarray[Any, Any]:
    """Run a program to its end and return the arena; fails the test on an error or a hang."""
    arena = program.image()
    start(simulation, arena, model)
    assert simulation.run(cycles), f"no end within {cycles} cycles"
    assert simulation.read(isa.Register.STATUS) == 2, hex(simulation.read(isa.Register.ERROR))
    return arena


def start(simulation: Any, arena: np.ndarray[Any, Any], model: Any) -> None:
    simulation.attach(arena, model)
    simulation.write(isa.Register.PROGRAM_LOW, model.base & 0xFFFFFFFF)
    simulation.write(isa.Register.PROGRAM_HIGH, model.base >> 32)
    simulation.write(isa.Register.CONTROL, 1)


def add(a: Any, b: Any, *, a_zero: int, b_zero: int, y_zero: int, a_shift: int, b_shift: int, shift: int,
        low: int = 0, high: int = 255) -> Any:  # fmt: skip
    """QLinearAdd with power-of-two scales: one rounding, half to even."""
    total = ((a.astype(np.int64) - a_zero) << a_shift) + ((b.astype(np.int64) - b_zero) << b_shift)
    return np.clip(np.rint(total / 2.0**shift + y_zero), low, high).astype(np.uint8)
