"""The register in the bus of a board: the same transactions, in the same order, with the same answers."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytest.importorskip("litex", reason="needs the extra 'boards': pip install 'fieldwave[boards]'")

from litex.soc.interconnect.wishbone import Interface
from migen import run_simulation

from fieldwave.boards.busregister import BusRegister

FAILS = 7
"""The address at which the slave has nothing."""


@pytest.mark.parametrize("addressing", ["word", "byte"])
@pytest.mark.parametrize("seed", range(4))
def test_every_transaction_arrives_once_and_is_answered(addressing: str, seed: int) -> None:
    rng = random.Random(seed)
    master = Interface(data_width=32, adr_width=30, addressing=addressing)
    register = BusRegister(master)
    bus, memory, done = register.bus, {}, []  # type: ignore[var-annotated]
    asked = [(rng.random() < 0.5, rng.randrange(10), rng.getrandbits(32), rng.randrange(16)) for _ in range(200)]
    assert bus.addressing == addressing and len(bus.adr) == len(master.adr)

    def slave():  # type: ignore[no-untyped-def]
        while True:
            yield
            if not ((yield bus.cyc) and (yield bus.stb)):
                continue
            for _ in range(rng.randrange(4)):
                yield
            address = yield bus.adr
            told = ((yield bus.we), address, (yield bus.dat_w), (yield bus.sel))
            done.append(told)
            if told[0]:
                memory[address] = told[2]
            yield bus.dat_r.eq(memory.get(address, 0))
            answer = bus.err if address == FAILS else bus.ack
            yield answer.eq(1)
            yield
            yield answer.eq(0)
            yield bus.dat_r.eq(rng.getrandbits(32))
            yield

    def bridge():  # type: ignore[no-untyped-def]
        expected: dict[int, int] = {}
        for write, address, value, lanes in asked:
            for signal, put in (
                (master.we, write),
                (master.adr, address),
                (master.dat_w, value),
                (master.sel, lanes),
            ):
                yield signal.eq(put)
            yield master.cyc.eq(1)
            yield master.stb.eq(1)
            yield
            while not ((yield master.ack) or (yield master.err)):
                yield
            assert (yield master.err) == (address == FAILS)
            if write:
                expected[address] = value
            assert (yield master.dat_r) == expected.get(address, 0)
            waits = rng.randrange(3)
            if waits:
                yield master.cyc.eq(0)
                yield master.stb.eq(0)
            for _ in range(waits):
                yield

    benches: list[Any] = [bridge(), _forever(slave())]
    run_simulation(register, benches)
    assert done == [tuple(map(int, one)) for one in asked]


def _forever(bench: Any) -> Any:
    """A bench that does not keep the simulation from ending."""
    from migen.sim import passive

    return passive(lambda: bench)()
