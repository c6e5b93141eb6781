"""Read leveling: a driver that finds the delays of a DDR3 memory's reads, against a PHY with windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from fieldwave.devices.board import BoardCore, EtherboneTransport, Link, Transport, UartTransport
from fieldwave.devices.board.leveling import ATTEMPTS, SEEDS, Window, level_reads, widest
from fieldwave.errors import DeviceError
from fieldwave.npu import configuration
from tests.board_model import Bus, DatagramBoard, DirectTransport, SerialBoard
from tests.phy_model import DELAYS, SLIPS, Phy

Windows = list[tuple[int, set[int]]]
SCAN_READS = SLIPS * DELAYS * len(SEEDS)
"""At most: a setting at which no lane is right is left at its first pattern."""


def bus(windows: Windows) -> tuple[Bus, Phy]:
    made = Bus(configuration("tiny"))
    made.phy = phy = Phy(windows)
    return made, phy


def core_of(transport: Transport) -> BoardCore:
    return BoardCore(Link(transport), watchdog=5.0)


@pytest.fixture
def boards() -> Iterator[Callable[[str, Bus], tuple[SerialBoard | DatagramBoard, Transport]]]:
    made: list[SerialBoard | DatagramBoard] = []

    def make(kind: str, bus: Bus) -> tuple[SerialBoard | DatagramBoard, Transport]:
        if kind == "uart":
            made.append(SerialBoard(bus))
            return made[-1], UartTransport(made[-1].port, patience=0.15, give_up=0.04)
        made.append(DatagramBoard(bus))
        _, host, port = made[-1].port.split(":")
        return made[-1], EtherboneTransport(host, int(port), patience=0.06)

    yield make
    for board in made:
        board.unplug()


@pytest.mark.parametrize(
    ("windows", "found"),
    [
        ([(0, {1, 2, 3}), (0, {2, 3, 4})], [Window(0, 1, 3), Window(0, 2, 4)]),
        ([(3, {0, 1}), (1, {6, 7})], [Window(3, 0, 1), Window(1, 6, 7)]),
        ([(2, {0, 1, 3, 4, 5, 6}), (2, set(range(8)))], [Window(2, 3, 6), Window(2, 0, 7)]),
    ],
)
def test_every_lane_gets_the_middle_of_its_widest_window(windows: Windows, found: list[Window]) -> None:
    made, phy = bus(windows)
    made.starting = 5
    core_of(DirectTransport(made))
    assert phy.sound  # and memory was tried through it
    assert (phy.slips, phy.delays) == ([w.slip for w in found], [w.delay for w in found])
    link = Link(DirectTransport(made))
    link.begin()
    assert level_reads(link) == found


def test_what_works_by_chance_is_no_window() -> None:
    rows = np.zeros((2, 8), np.bool_)
    assert widest(rows) is None
    rows[0, 3] = True
    assert widest(rows) is None
    rows[1, [0, 1, 5, 6, 7]] = True
    assert widest(rows) == Window(1, 5, 7)
    assert Window(1, 5, 7).delay == 6 and Window(0, 1, 2).delay == 1
    rows[0, 2:5] = True  # equally wide, with a lower slip
    assert widest(rows) == Window(0, 2, 4)


@pytest.mark.parametrize("lane", [0, 1])
def test_a_lane_without_a_window_is_told(lane: int) -> None:
    windows: Windows = [(1, {3, 4}), (1, {3, 4})]
    windows[lane] = (2, {5})
    made, phy = bus(windows)
    with pytest.raises(DeviceError) as error:
        core_of(DirectTransport(made))
    assert str(error.value) == (
        f"byte lane {lane} of the memory of the board at here is read right at no 2 neighbouring delays of 8, "
        "with none of 4 bit slips: switch the board off and on; if that does not help, its memory is broken"
    )
    assert not phy.sound


def test_a_setting_that_fails_once_is_set_again_and_one_that_always_does_is_told() -> None:
    made, phy = bus([(1, {3, 4}), (1, {3, 4})])
    core_of(DirectTransport(made))
    scan = phy.reads - len(SEEDS)  # the last are the trial of what was found
    assert scan <= SCAN_READS
    phy.reads, phy.spotty = 0, {scan, scan + 1}
    core_of(DirectTransport(made))
    assert phy.sound and phy.reads == scan + 2 + len(SEEDS)
    phy.reads, phy.spotty = 0, set(range(scan, scan + ATTEMPTS))
    with pytest.raises(DeviceError) as error:
        core_of(DirectTransport(made))
    assert str(error.value) == (
        "the memory of the board at here is not read right at the delays that were found for it (3 of 3 to 4, "
        "3 of 3 to 4): try again, or a lower clock"
    )


def test_a_memory_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.board_model.FACTS", 0x04080108)
    with pytest.raises(DeviceError) as error:
        core_of(DirectTransport(bus([(1, {3, 4}), (1, {3, 4})])[0]))
    assert str(error.value) == (
        "the board at here describes its memory as 0x04080108, which this driver does not know; "
        "build its bitstream again with this version"
    )


def test_a_start_up_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldwave.devices.board.leveling.START_SECONDS", 0.05)
    made = Bus(configuration("tiny"))
    made.starting = 1 << 40
    with pytest.raises(DeviceError) as error:
        core_of(DirectTransport(made))
    assert str(error.value) == (
        "the board at here does not end the start-up of its memory; "
        "switch it off and on, and build its bitstream again"
    )


@pytest.mark.parametrize("kind", ["uart", "etherbone"])
def test_over_a_wire_that_damages_now_and_then(
    boards: Callable[[str, Bus], tuple[SerialBoard | DatagramBoard, Transport]], kind: str
) -> None:
    made, phy = bus([(0, {1, 2, 3}), (1, {5, 6, 7})])
    board, transport = boards(kind, made)
    rng = np.random.default_rng(3)
    damage = 0

    def hurt(data: bytes) -> bytes:
        nonlocal damage
        if rng.random() < 0.002:
            damage += 1
            return b""
        return data

    board.to_host = hurt
    core = core_of(transport)
    board.to_host = bytes
    assert damage
    assert phy.sound and (phy.slips, phy.delays) == ([0, 1], [2, 6])
    core.close()
