"""The parameters of an NPU, what follows from them, and the configurations that have a name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from fieldwave.errors import InputError, NotFoundError
from fieldwave.npu import isa

__all__ = ["CONFIGURATIONS", "Configuration", "configuration"]

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Configuration:
    """Everything that is fixed at synthesis.

    Parameters:
        input_lanes: channels of one activation word, and rows of the array.
        output_lanes: output channels computed at once; divides ``input_lanes``.
        bank_bytes: size of each of the two activation banks, in bytes.
        ring_bytes: size of the weight ring, in bytes; a power of two beats. A network whose weights it holds reads
            them once, and not again for the images after the first.
        port_bytes: width of the memory port (AXI4 data bus), in bytes. More than 128, the widest bus of AXI4, is
            for cards whose memory has many channels (HBM): buses side by side that are addressed as one.
        requantizer_lanes: accumulators requantized per cycle; divides ``output_lanes``.
        block_pixels: output pixels that are accumulated at once.
        pixel_lanes: output pixels computed at once, with the same weights. Activation memory is there once per
            lane, because each reads another word; its banks are divided, so that each may write one, too.
        lookup: there is a table look-up behind the residual add.
        prescale_words: input words (of input_lanes channels) that the scale-shift unit holds constants for;
            0: there is no such unit.

    Raises:
        InputError: a value that no hardware can be built for.
    """

    input_lanes: int
    output_lanes: int
    bank_bytes: tuple[int, int]
    ring_bytes: int
    port_bytes: int
    requantizer_lanes: int
    block_pixels: int = 128
    pixel_lanes: int = 1
    lookup: bool = True
    prescale_words: int = 0

    def __post_init__(self) -> None:
        for name in ("input_lanes", "output_lanes", "requantizer_lanes", "port_bytes", "block_pixels"):
            value = getattr(self, name)
            if value < 1 or value & value - 1:
                raise InputError(f"{name} must be a power of two, not {value}")
        for divisor, whole in (("output_lanes", "input_lanes"), ("requantizer_lanes", "output_lanes")):
            if getattr(self, divisor) > getattr(self, whole):
                raise InputError(
                    f"{divisor} must not exceed {whole}, but {getattr(self, divisor)} > {getattr(self, whole)}"
                )
        if self.pixel_lanes not in (1, 2, 4):
            raise InputError(f"pixel_lanes must be 1, 2 or 4, not {self.pixel_lanes}")
        if not 4 <= self.port_bytes <= 512:
            raise InputError(
                f"port_bytes must be 4 to 512, one AXI4 data bus or up to four side by side, not {self.port_bytes}"
            )
        if self.input_lanes * self.output_lanes < 4 * self.port_bytes:
            raise InputError(
                f"port_bytes must be at most a quarter of a weight tile, but {self.port_bytes} > "
                f"{self.input_lanes} x {self.output_lanes} / 4"
            )
        if self.block_pixels < 8:
            raise InputError(f"block_pixels must be at least 8, not {self.block_pixels}")
        if self.prescale_words < 0 or self.prescale_words & self.prescale_words - 1:
            raise InputError(f"prescale_words must be 0 or a power of two, not {self.prescale_words}")
        for size in self.bank_bytes:
            if size <= 0 or size % self.input_lanes:
                raise InputError(f"bank_bytes must be whole words of {self.input_lanes} bytes, not {size}")
        beats = self.ring_bytes // self.port_bytes
        if self.ring_bytes % self.port_bytes or beats & beats - 1 or beats < 4 * self.burst_beats:
            raise InputError(
                f"ring_bytes must be a power of two and at least {4 * self.burst_beats * self.port_bytes}, "
                f"not {self.ring_bytes}"
            )

    @property
    def bank_words(self) -> tuple[int, int]:
        """Words of each activation bank."""
        return self.bank_bytes[0] // self.input_lanes, self.bank_bytes[1] // self.input_lanes

    @property
    def slices(self) -> int:
        """Tiles of output channels in one activation word."""
        return self.input_lanes // self.output_lanes

    @property
    def port_bits(self) -> int:
        return self.port_bytes * 8

    @property
    def ring_beats(self) -> int:
        return self.ring_bytes // self.port_bytes

    @property
    def burst_beats(self) -> int:
        """Beats of the longest memory burst; a burst never crosses 4096 bytes, as AXI4 demands."""
        return min(16, 4096 // self.port_bytes)

    @property
    def tile_beats(self) -> int:
        """Beats of one weight tile: input_lanes x output_lanes bytes."""
        return self.input_lanes * self.output_lanes // self.port_bytes

    @property
    def parameter_beats(self) -> int:
        """Beats of the parameters of one tile of output channels."""
        return -(-isa.PARAMETER.size * self.output_lanes // self.port_bytes)

    @property
    def table_beats(self) -> int:
        """Beats of a lookup table."""
        return -(-isa.TABLE_BYTES // self.port_bytes)

    @property
    def record_beats(self) -> int:
        """Beats from one descriptor to the next."""
        return -(-isa.RECORD_BYTES // self.port_bytes)

    @property
    def scales_at_once(self) -> int:
        """Constants of the scale-shift that are written in one cycle: those of a beat, in one word."""
        return min(max(1, self.port_bytes // isa.SCALE.size), self.input_lanes)

    @property
    def record_stride(self) -> int:
        """Bytes from one descriptor to the next, whole beats."""
        return self.record_beats * self.port_bytes

    @property
    def multipliers(self) -> int:
        return self.input_lanes * self.output_lanes * self.pixel_lanes

    @cached_property
    def fingerprint(self) -> int:
        """64 bits that change with any parameter and any change of the instruction set."""
        text = json.dumps({"isa": isa.CONTRACT, **asdict(self)}, sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


CONFIGURATIONS: dict[str, Configuration] = {
    # A toy for tests and first steps: fits the smallest ECP5.
    "tiny": Configuration(8, 8, (64 * KIB, 64 * KIB), 16 * KIB, 8, 2, block_pixels=64, prescale_words=16),
    # Simulation and continuous integration: ResNet-50 without spilling, the first layer unfolded.
    "sim16": Configuration(16, 16, (1024 * KIB, 1024 * KIB), 256 * KIB, 16, 4, prescale_words=64),
    "sim32": Configuration(32, 32, (512 * KIB, 1024 * KIB), 512 * KIB, 128, 32, prescale_words=32),
    "sim64": Configuration(64, 64, (512 * KIB, 1024 * KIB), 512 * KIB, 128, 64, prescale_words=16),
    # Lattice ECP5-85F: 156 multipliers, 416 KiB of byte-wide block memory.
    "ecp5-85f": Configuration(16, 8, (96 * KIB, 160 * KIB), 64 * KIB, 16, 4, lookup=False),
    # AMD Zynq UltraScale+ ZU7EV and K26: 64 x 32 with two products per DSP48E2. The K26 has half the look-up
    # tables, and so half the requantizers (docs/cards.md).
    "zcu104": Configuration(64, 32, (512 * KIB, 1024 * KIB), 512 * KIB, 64, 32, prescale_words=16),
    "kv260": Configuration(64, 32, (416 * KIB, 928 * KIB), 512 * KIB, 64, 16, prescale_words=16),
    # Intel Arria 10 GX 1150: two 18 x 19 multipliers per DSP block.
    "arria10-1150": Configuration(64, 32, (512 * KIB, 1024 * KIB), 512 * KIB, 64, 32, prescale_words=16),
    # AMD Alveo U250: one of several arrays, or two or four pixels at once. Those have a ring for all weights of
    # ResNet-50 (26 MB) and ports as wide as their arrays need: the ring keeps up with four pixels, the card's four
    # memory channels, 256 bytes a cycle, do not.
    "u250": Configuration(64, 64, (512 * KIB, 1024 * KIB), 1024 * KIB, 128, 64, prescale_words=16),
    "u250x2": Configuration(64, 64, (768 * KIB, 1024 * KIB), 32 * MIB, 256, 64, pixel_lanes=2, prescale_words=16),
    "u250x4": Configuration(64, 64, (768 * KIB, 1024 * KIB), 32 * MIB, 512, 64, pixel_lanes=4, prescale_words=16),
}


def configuration(name: str) -> Configuration:
    """The configuration of that name, or the one in that ``.json`` file, as ``fieldwave tune`` writes it.

    Raises:
        NotFoundError: there is none; the message lists the names.
        InputError: the file is no configuration.
    """
    if name in CONFIGURATIONS:
        return CONFIGURATIONS[name]
    if name.endswith(".json"):
        return _read(Path(name))
    raise NotFoundError(f"no NPU configuration {name!r}; there are {', '.join(CONFIGURATIONS)}")


def _read(path: Path) -> Configuration:
    try:
        values = json.loads(path.read_text())
        banks = values.pop("bank_bytes")
        return Configuration(bank_bytes=(int(banks[0]), int(banks[1])), **values)
    except FileNotFoundError:
        raise NotFoundError(f"no NPU configuration {str(path)!r}: there is no such file") from None
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise InputError(f"{path} is no NPU configuration: {error}") from error
