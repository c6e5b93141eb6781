"""The start-up sequence of a memory chip, against the order and the times of its data sheet."""

from __future__ import annotations

from itertools import pairwise

import pytest

pytest.importorskip("litedram", reason="needs the extra 'boards': pip install 'fieldwave[boards]'")

from litedram.modules import MT48LC16M16
from litedram.phy.dfi import Interface
from litedram.phy.gensdrphy import GENSDRPHY
from migen import Record, run_simulation

from fieldwave.boards.startup import SPACING, Startup, startup_steps


def test_an_sdr_chip_gets_its_commands_in_order_and_in_time() -> None:
    pads = Record(
        [("a", 13), ("dq", 16), ("ba", 2), ("cs_n", 1), ("cke", 1), ("we_n", 1), ("ras_n", 1), ("cas_n", 1)]
    )
    module = MT48LC16M16(50e6, "1:1")
    steps = startup_steps(GENSDRPHY(pads, 50e6).settings, module.timing_settings)
    dfi = Interface(13, 2, 1, 16, 1)
    startup = Startup(dfi, steps)
    seen: list[tuple[int, str, int, int]] = []

    def watch():  # type: ignore[no-untyped-def]
        cycle = 0
        while (yield startup.selected):
            strobes = ""
            for name in ("cs", "ras", "cas", "we"):
                if not (yield getattr(dfi.phases[0], f"{name}_n")):
                    strobes += name + " "
            if strobes:
                seen.append((cycle, strobes.strip(), (yield dfi.phases[0].address), (yield dfi.phases[0].cke)))
            yield
            cycle += 1
        seen.append((cycle, "over", 0, 1))

    run_simulation(startup, watch())
    commands = [(name, address) for _, name, address, _ in seen]
    mode = (2 << 4) + 0  # CAS latency 2, bursts of one
    assert commands == [
        ("cs ras we", 0x400), ("cs ras cas we", mode + 0x100), ("cs ras we", 0x400), ("cs ras cas", 0),
        ("cs ras cas", 0), ("cs ras cas we", mode), ("over", 0),
    ]  # fmt: skip
    cycles = [cycle for cycle, *_ in seen]
    # 100 us with a clock before the first command.
    assert cycles[0] >= 100e-6 * 50e6
    assert all(after - before >= SPACING for before, after in pairwise(cycles))
    assert all(cke for *_, cke in seen)
