"""What goes over the wire, against LiteX's own programs for the host, and the witness against LiteX's gateware."""

from __future__ import annotations

import struct
import warnings
import zlib

import numpy as np
import pytest

pytest.importorskip("litex", reason="needs litex: pip install 'fieldwave[boards]'")

from fieldwave.boards.addresses import WITNESS
from fieldwave.devices.board.etherbone import answer_of, request
from fieldwave.devices.board.link import witnessed

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from litex.tools.remote.etherbone import EtherbonePacket, EtherboneReads, EtherboneRecord, EtherboneWrites


def packet(record: EtherboneRecord) -> bytes:
    made = EtherbonePacket(32)
    made.records = [record]
    made.encode()
    return bytes(made.bytes)


def record(number: int, addresses: list[int], target: int = 0, words: list[int] | None = None) -> EtherboneRecord:
    made = EtherboneRecord(addr_size=4)
    if words:
        made.writes = EtherboneWrites(addr_size=4, base_addr=target, datas=words)
    made.reads = EtherboneReads(addr_size=4, addrs=addresses)
    made.reads.base_ret_addr = number
    return made


def test_datagrams_are_those_of_litex() -> None:
    wanted = [0x4000_0000, 0x4000_0004, 0x1000]
    assert request(0x1234, wanted) == packet(record(0x1234, wanted))
    words = [1, 0xDEADBEEF, 0x12345678]
    assert request(8, [WITNESS], 0x4000_1000, np.array(words, np.uint32)) == packet(
        record(8, [WITNESS], 0x4000_1000, words)
    )


def test_answers_are_those_of_litex() -> None:
    answer = EtherboneRecord(addr_size=4)
    answer.writes = EtherboneWrites(addr_size=4, base_addr=0x1234, datas=[7, 0xFFFFFFFF])
    datagram = packet(answer)
    found = answer_of(datagram, 0x1234)
    assert found is not None
    assert found.tolist() == [7, 0xFFFFFFFF]
    assert answer_of(datagram, 0x1238) is None
    assert answer_of(datagram[:-1], 0x1234) is None
    assert answer_of(b"\0" * len(datagram), 0x1234) is None


def test_the_witness_of_the_gateware_is_that_of_the_host() -> None:
    """In Migen's simulator, with the bus driven by hand."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from litex.soc.interconnect.wishbone import Interface
        from migen.sim import run_simulation

        from fieldwave.boards.witness import Witness

        bus = Interface(data_width=32, address_width=32, addressing="word")
        witness = Witness(bus)
        rng = np.random.default_rng(1)
        seen: list[int] = []
        expected = [0]
        mine = 0

        def drive():  # type: ignore[no-untyped-def]
            nonlocal mine
            for index in range(20):
                address = WITNESS if index % 5 == 4 else int(rng.integers(0, 1 << 30)) * 4
                data, write = int(rng.integers(0, 1 << 32)), bool(index % 3)
                yield bus.adr.eq(address // 4)
                yield (bus.dat_w if write else bus.dat_r).eq(data)
                yield bus.we.eq(write)
                yield bus.cyc.eq(1)
                yield bus.stb.eq(1)
                yield  # nothing counts until it is acknowledged
                yield bus.ack.eq(1)
                yield
                yield bus.ack.eq(0)
                yield bus.cyc.eq(0)
                for _ in range(3):
                    yield
                seen.append((yield witness.crc.status))
                if address != WITNESS:
                    mine = witnessed(mine, address, np.array([data], np.uint32), write=write)
                expected.append(mine)

        run_simulation(witness, drive())
    assert seen == expected[1:]
    assert len(set(seen)) == 16


def test_the_witness_is_zlibs_crc() -> None:
    words = np.array([5, 6], np.uint32)
    raw = struct.pack("<IIBIIB", 0x1000_0000, 5, 1, 0x1000_0001, 6, 1)
    assert witnessed(0, 0x4000_0000, words, write=True) == zlib.crc32(raw)
