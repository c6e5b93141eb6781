"""FPGAs and cards, as their vendors describe them: what of an NPU fits.

Counts are those of the vendors' data sheets, named in ``source``. Clocks are what this design is planned with on
the part; they are not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldwave.errors import NotFoundError

__all__ = ["PARTS", "Block", "Part", "part"]


@dataclass(frozen=True)
class Block:
    """A kind of block memory.

    Attributes:
        name: of the vendor.
        count: on the part.
        shapes: depth and width in bits that one of them can have, in whole bytes: parity bits are left out.
    """

    name: str
    count: int
    shapes: tuple[tuple[int, int], ...]

    def needed(self, depth: int, width: int) -> int:
        """How many of them make a memory of ``depth`` words of ``width`` bits."""
        return min(-(-depth // deep) * -(-width // wide) for deep, wide in self.shapes)


@dataclass(frozen=True)
class Part:
    """An FPGA on its card or board.

    Attributes:
        name: full name.
        logic: look-up tables: of six inputs on AMD's, four on Lattice's; on Intel's adaptive, two to a module.
        multipliers: hard multiplier blocks.
        products: int8 products that one of them makes each cycle; where it is wide, two with a common factor.
        wide_product: blocks that make a product of 24 x 24 bits, for the requantizer.
        blocks: its block memories, the largest first.
        bandwidth: of its memory, in GB/s, peak.
        port_bytes: widest memory port that is sensible there.
        megahertz: clock that the design is planned with.
        source: where the figures are from.
    """

    name: str
    logic: int
    multipliers: int
    products: int
    single: int
    wide_product: int
    blocks: tuple[Block, ...]
    bandwidth: float
    port_bytes: int
    megahertz: float
    source: str

    @property
    def six_inputs(self) -> bool:
        """Its look-up tables have six inputs: it is one of AMD's, on which logic has been counted."""
        return "AMD" in self.name


_ULTRA = ((4096, 64),)
_SMALL = ((512, 32), (1024, 16), (2048, 8))


def _amd(ultra: int, small: int) -> tuple[Block, ...]:
    return Block("UltraRAM", ultra, _ULTRA), Block("BRAM18", small, _SMALL)


PARTS: dict[str, Part] = {
    "u250": Part(
        "AMD Alveo U250", 1_728_000, 12288, 2, 1, 4, _amd(1280, 5376), 77.0, 256, 300,
        "AMD DS962 (card), DS890 (XCU250), UG579: two int8 products with a common factor in a DSP48E2",
    ),
    "u280": Part(
        "AMD Alveo U280", 1_303_680, 9024, 2, 1, 4, _amd(960, 4032), 460.0, 512, 300,
        "AMD DS963 (card with HBM2), DS890, UG579",
    ),
    "zcu104": Part(
        "AMD ZCU104 (XCZU7EV)", 230_400, 1728, 2, 1, 4, _amd(96, 624), 19.2, 64, 300,
        "AMD DS891, UG1267: DDR4-2400, 64 bits",
    ),
    "kv260": Part(
        "AMD Kria KV260 (K26)", 117_120, 1248, 2, 1, 4, _amd(64, 288), 19.2, 64, 300,
        "AMD DS987: DDR4-2400, 64 bits",
    ),
    "arria10-1150": Part(
        "Intel Arria 10 GX 1150", 854_400, 1518, 2, 2, 2, (Block("M20K", 2713, _SMALL),), 17.0, 64, 275,
        "Intel 683332: two 18 x 19 or one 27 x 27 product in a block; DDR4-2133, 64 bits; clock as of the "
        "vendor's own engine (768974)",
    ),
    "stratix10-2800": Part(
        "Intel Stratix 10 GX 2800", 1_866_240, 5760, 2, 2, 2, (Block("M20K", 11721, _SMALL),), 77.0, 256, 300,
        "Intel 683729; four channels of DDR4-2400",
    ),
    "ecp5-85f": Part(
        "Lattice ECP5-85F", 83_640, 156, 1, 1, 4, (Block("EBR", 208, _SMALL),), 1.6, 16, 60,
        "Lattice FPGA-DS-02012; DDR3-800, 16 bits; Yosys makes one product of an 18 x 18 multiplier",
    ),
    "ulx3s-85f": Part(
        "Lattice ECP5-85F on a ULX3S", 83_640, 156, 1, 1, 4, (Block("EBR", 208, _SMALL),), 0.27, 4, 60,
        "Lattice FPGA-DS-02012; SDR SDRAM of 16 bits at 133 MHz",
    ),
}  # fmt: skip


def part(name: str) -> Part:
    """The part of that name.

    Raises:
        NotFoundError: there is none; the message lists the names.
    """
    if name not in PARTS:
        raise NotFoundError(f"no part {name!r} in the table; there are {', '.join(PARTS)}")
    return PARTS[name]
