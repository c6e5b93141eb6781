"""Two int8 products with a common factor in one multiplier of 27 x 18 bits (AMD WP486, UG579).

::

    packed = second * 2**18 + first                        27 bits: the pre-adder's
    word   = factor * packed = (factor * second) * 2**18 + factor * first

The lower field of a word is ``first``'s product, signed, and it borrows from the upper one where it is negative:
``split`` gives that back. A product is at most 2**14 in magnitude and the field holds 2**17 - 1, so words may be
added up to seven times before they are split.

A ``PackedProducts`` is a DSP48E2 with three of its registers at work, which are those that an array of plain
multipliers has in logic, too: nothing changes its cycle::

    first  -> D --+
                  +--> pre-adder -> AD (enabled by swap) --+
    second -> A --+                                        +--> multiplier -> P -> word
    factor -> B register ----------------------------------+

The register between multiplier and ALU (M) is left out; AMD DS925 and DS923 allow 456 MHz for that in speed
grade -1 at 0.85 V.
"""

from __future__ import annotations

import enum
from typing import Any

from amaranth import C, Cat, ClockSignal, Instance, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FIELD", "MODULE", "TOGETHER", "WORD", "PackedProducts", "Products", "packed_products", "split"]

MODULE = "packed_products"
"""Name in Verilog of what is a DSP48E2 there: written once, instantiated thousands of times."""

FIELD = 18
"""Bits of the lower field."""
WORD = FIELD + 16
"""Bits of a word that is no sum."""
TOGETHER = 7
"""Words that may be added before they are split."""


class Products(enum.Enum):
    """How the array makes its products: the same bits in the same cycles, for different tools."""

    PLAIN = "plain"
    """A multiplication each; the tool chooses the multiplier. Intel's take two in a block that way."""
    PACKED = "packed"
    """Two in a multiplication, for tools that infer DSP48E2."""
    DSP48E2 = "dsp48e2"
    """The same as instances of AMD's primitive."""


def packed_products(first: Any, second: Any, swap: Any, factor: Any, name: str, instance: bool) -> tuple[Any, Any]:
    """A ``PackedProducts`` with these inputs, to be a submodule, and its word; ``instance``: of ``MODULE``."""
    word = Signal(signed(WORD), name=f"{name}_word")
    inputs = {"first": first, "second": second, "swap": swap, "factor": factor}
    if instance:
        ports = {f"i_{port}": value for port, value in inputs.items()}
        return Instance(MODULE, i_clk=ClockSignal(), **ports, o_word=word), word
    m = Module()
    m.submodules.products = products = PackedProducts()
    m.d.comb += [getattr(products, port).eq(value) for port, value in inputs.items()]
    m.d.comb += word.eq(products.word)
    return m, word


class PackedProducts(wiring.Component):
    """``factor`` times each of a pair, two cycles later.

    Parameters:
        primitive: be a DSP48E2, not logic that describes one.

    Members:
        first, second, swap: the pair, kept at ``swap``: it meets the factor of the same cycle and those after it.
        factor: int8, one a cycle.
        word: both products, for ``split``.
    """

    def __init__(self, *, primitive: bool = False) -> None:
        self.primitive = primitive
        super().__init__(
            {
                "first": In(signed(8)),
                "second": In(signed(8)),
                "swap": In(1),
                "factor": In(signed(8)),
                "word": Out(signed(WORD)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if self.primitive:
            product = Signal(48)
            m.submodules.dsp = self._primitive(product)
            m.d.comb += self.word.eq(product[:WORD])
            return m
        pair, factor = Signal(signed(27), reset_less=True), Signal(signed(8), reset_less=True)
        with m.If(self.swap):
            m.d.sync += pair.eq((self.second << FIELD) + self.first)
        word = Signal(signed(WORD), reset_less=True)
        m.d.sync += [factor.eq(self.factor), word.eq(factor * pair)]
        m.d.comb += self.word.eq(word)
        return m

    def _primitive(self, product: Signal) -> Instance:
        def extended(value: Any, bits: int) -> Any:
            return Cat(value, value[-1].replicate(bits - len(value)))

        used = {
            # (A + D) x B, and P is that: X and Y hold the product (UG579, tables of INMODE, OPMODE and ALUMODE).
            "p_AMULTSEL": "AD", "p_BMULTSEL": "B", "p_PREADDINSEL": "A", "p_USE_MULT": "MULTIPLY",
            "p_USE_SIMD": "ONE48", "p_USE_PATTERN_DETECT": "NO_PATDET",
            "p_A_INPUT": "DIRECT", "p_B_INPUT": "DIRECT",
            "i_INMODE": C(0b00100, 5), "i_OPMODE": C(0b00_000_01_01, 9), "i_ALUMODE": C(0, 4),
            # The registers of the drawing above; C is unused and held at ones, as UG579 advises.
            "p_AREG": 0, "p_ACASCREG": 0, "p_DREG": 0, "p_ADREG": 1, "p_BREG": 1, "p_BCASCREG": 1, "p_MREG": 0,
            "p_PREG": 1, "p_CREG": 1, "p_INMODEREG": 0, "p_OPMODEREG": 0, "p_ALUMODEREG": 0,
            "p_CARRYINREG": 0, "p_CARRYINSELREG": 0,
            "i_CLK": ClockSignal(), "i_CEAD": self.swap, "i_CEB2": C(1), "i_CEP": C(1),
            "i_A": Cat(C(0, FIELD), extended(self.second, 30 - FIELD)), "i_B": extended(self.factor, 18),
            "i_C": C(2**48 - 1, 48), "i_D": extended(self.first, 27), "o_P": product,
        }  # fmt: skip
        unused = {
            "ACIN": 30, "BCIN": 18, "PCIN": 48, "CARRYCASCIN": 1, "CARRYIN": 1, "CARRYINSEL": 3, "MULTSIGNIN": 1,
            **dict.fromkeys(("CEA1", "CEA2", "CEALUMODE", "CEB1", "CEC", "CECARRYIN", "CECTRL", "CED"), 1),
            **dict.fromkeys(("CEINMODE", "CEM", "RSTA", "RSTALLCARRYIN", "RSTALUMODE", "RSTB", "RSTC"), 1),
            **dict.fromkeys(("RSTCTRL", "RSTD", "RSTINMODE", "RSTM", "RSTP"), 1),
        }  # fmt: skip
        return Instance("DSP48E2", **used, **{f"i_{name}": C(0, bits) for name, bits in unused.items()})


def split(word: Any) -> tuple[Any, Any]:
    """The sums of the first and of the second products of a word, or of up to ``TOGETHER`` words added."""
    return word[:FIELD].as_signed(), word[FIELD:].as_signed() + word[FIELD - 1]
