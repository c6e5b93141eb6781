"""A register in a Wishbone bus: what the master says and what it is answered are each told a cycle later.

A bridge sits at one edge of the chip, by its pins, and may take its words out of block memory; what it speaks to
is all over the chip. With a register between, neither has to reach the other within a cycle. A transaction takes
two cycles longer. Classic cycles only (Wishbone B4, 3.2): one transaction at a time.
"""

from __future__ import annotations

from litex.gen import LiteXModule
from litex.soc.interconnect.wishbone import Interface
from migen import If

__all__ = ["BusRegister"]


class BusRegister(LiteXModule):
    """``bus`` does what ``master`` asks for.

    Parameters:
        master: LiteX's Wishbone interface, addressed by words or by bytes, as ``bus`` is then.
    """

    def __init__(self, master: Interface) -> None:
        bytes_ = len(master.sel).bit_length() - 1 if master.addressing == "byte" else 0
        self.bus = bus = Interface(master.data_width, master.adr_width - bytes_, addressing=master.addressing)
        self.sync += [
            If(bus.ack | bus.err, bus.cyc.eq(0)).Elif(
                master.cyc & master.stb & ~master.ack & ~master.err, bus.cyc.eq(1)
            ),
            # A master holds these until it is answered.
            *(getattr(bus, name).eq(getattr(master, name)) for name in ("adr", "dat_w", "sel", "we")),
            master.dat_r.eq(bus.dat_r),
            master.ack.eq(bus.ack),
            master.err.eq(bus.err),
        ]
        self.comb += bus.stb.eq(bus.cyc)
