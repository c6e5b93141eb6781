"""The witness: a CRC-32 of every transaction of the host's bridge, by which a host knows what really happened.

A serial line has no checksums, and datagrams get lost. Here the board itself sums up what its bridge has done on
the bus, and the host, who knows what it meant to be done and what it was told, sums up the same: if the two agree,
every word was written once, where it was meant to be, nothing else was written, and every word that was read is
true. That takes one read after as many transactions as one likes.

The CRC is that of IEEE 802.3 (as zlib has it) over 9 bytes for each transaction: word address, data (both 32 bits,
little-endian) and 1 for a write or 0 for a read. Transactions with the witness itself are left out, so that it may
be read again when the answer was lost.
"""

from __future__ import annotations

from typing import Any

from liteeth.mac.crc import LiteEthMACCRCEngine
from litex.gen import LiteXModule
from litex.soc.interconnect.csr import CSRStatus
from migen import Cat, If, Signal

from fieldwave.boards.addresses import WITNESS

__all__ = ["Witness"]

POLYNOMIAL = 0x04C11DB7


class Witness(LiteXModule):
    """Watches a Wishbone master.

    Parameters:
        bus: LiteX's Wishbone interface, 32 bits wide, addressed by words or by bytes.
    """

    def __init__(self, bus: Any) -> None:
        self.crc = CSRStatus(32, description="CRC-32 of the transactions of the host's bridge.")
        bits = 2 if bus.addressing == "byte" else 0
        word = Signal(32)
        mine = Signal()
        # One cycle for the record, one for the sum: a transaction takes longer than one, so that none is missed.
        seen, record = Signal(), Signal(72)
        self.engine = engine = LiteEthMACCRCEngine(72, 32, POLYNOMIAL)
        state = Signal(32, reset=0xFFFFFFFF)
        self.comb += [
            word.eq(bus.adr[bits:]),
            mine.eq(word == WITNESS // 4),
            engine.data.eq(record),
            engine.crc_prev.eq(state),
            self.crc.status.eq(state[::-1] ^ 0xFFFFFFFF),
        ]
        self.sync += [
            seen.eq(bus.cyc & bus.stb & bus.ack & ~mine),
            If(bus.we, record.eq(Cat(word, bus.dat_w, bus.we))).Else(record.eq(Cat(word, bus.dat_r, bus.we))),
            If(seen, state.eq(engine.crc_next)),
        ]
