"""What goes over the wire, against LiteX's own programs for the host, and the witness against LiteX's gateware."""

from __future__ import annotations

import struct
import warnings
import zlib
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("litex", reason="needs litex: pip install 'fieldwave[boards]'")

from fieldwave.boards.addresses import WITNESS
from fieldwave.devices.board.etherbone import answer_of, reads, writes
from fieldwave.devices.board.link import witnessed

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from litex.tools.remote.etherbone import EtherbonePacket, EtherboneReads, EtherboneRecord, EtherboneWrites


def packet(record: EtherboneRecord) -> bytes:
    made = EtherbonePacket(32)
    made.records = [record]
    made.encode()
    return bytes(made.bytes)


def test_datagrams_are_those_of_litex() -> None:
    asked, told = EtherboneRecord(addr_size=4), EtherboneRecord(addr_size=4)
    asked.reads = EtherboneReads(addr_size=4, addrs=[0x4000_0000, 0x4000_0004, 0x1000])
    asked.reads.base_ret_addr = 0x1234
    assert reads(0x1234, [0x4000_0000, 0x4000_0004, 0x1000]) == packet(asked)
    told.writes = EtherboneWrites(addr_size=4, base_addr=0x4000_1000, datas=[1, 0xDEADBEEF, 0x12345678])
    assert writes(0x4000_1000, np.array([1, 0xDEADBEEF, 0x12345678], np.uint32)) == packet(told)


@pytest.mark.slow
def test_liteeths_gateware_understands_the_datagrams() -> None:
    """Its Etherbone core with a memory behind it, in Migen's simulator; what is above UDP is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from liteeth.common import eth_udp_user_description
        from liteeth.frontend.etherbone import LiteEthEtherbone
        from litex.soc.interconnect import stream, wishbone
        from migen import Module, passive
        from migen.sim import run_simulation

        udp = stream.Endpoint(eth_udp_user_description(32)), stream.Endpoint(eth_udp_user_description(32))
        port = SimpleNamespace(sink=udp[0], source=udp[1])
        crossbar = SimpleNamespace(dw=32, get_port=lambda *_, **__: port)
        top = Module()
        top.submodules.etherbone = LiteEthEtherbone(SimpleNamespace(crossbar=crossbar), 1234, buffer_depth=64)
        bus = wishbone.Interface(data_width=32, address_width=32, addressing="word")
        top.submodules.memory = wishbone.SRAM(512, bus=bus)
        top.comb += top.etherbone.wishbone.bus.connect(bus)
        words = np.random.default_rng(2).integers(0, 1 << 32, 40, np.uint32)
        answers: list[bytes] = []

        def send(datagram: bytes):  # type: ignore[no-untyped-def]
            pieces = struct.unpack(f"<{len(datagram) // 4}I", datagram)
            for index, piece in enumerate(pieces):
                last = index == len(pieces) - 1
                for signal, value in (
                    (port.source.valid, 1), (port.source.data, piece), (port.source.last, last),
                    (port.source.last_be, 8 * last), (port.source.length, len(datagram)),
                ):  # fmt: skip
                    yield signal.eq(value)
                yield
                while not (yield port.source.ready):
                    yield
            yield port.source.valid.eq(0)

        def drive():  # type: ignore[no-untyped-def]
            yield port.sink.ready.eq(1)
            yield from send(writes(0x40, words))
            for number, addresses in ((0x1234, [0x44]), (0x5678, [0x40 + 4 * index for index in range(40)])):
                yield from send(reads(number, addresses))
                while len(answers) < 1 + (number == 0x5678):
                    yield

        @passive
        def watch():  # type: ignore[no-untyped-def]
            data = b""
            while True:
                if (yield port.sink.valid) and (yield port.sink.ready):
                    data += struct.pack("<I", (yield port.sink.data))
                    if (yield port.sink.last):
                        answers.append(data)
                        data = b""
                yield

        run_simulation(top, [drive(), watch()])
    one, all_of_them = answer_of(answers[0], 0x1234), answer_of(answers[1], 0x5678)
    assert one is not None and all_of_them is not None
    assert one.tolist() == [words[1]]
    assert all_of_them.tolist() == words.tolist()


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
