"""The driver of boards, with damage on the way: the golden bytes or an error of its kind, and it works again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldwave import golden
from fieldwave.compiler import NpuSection, compile_network
from fieldwave.devices import create_device
from fieldwave.devices.board import BoardCore, BoardDevice, EtherboneTransport, Link, Transport, UartTransport
from fieldwave.devices.board.ports import Way, parse_port
from fieldwave.errors import DeviceBusyError, DeviceError, DeviceLostError, InputError, NotFoundError
from fieldwave.golden import Window
from fieldwave.npu import CONFIGURATIONS, configuration
from tests.board_model import MEMORY_BYTES, Bus, DatagramBoard, SerialBoard
from tests.programs import run_section
from tests.random_networks import Builder

TINY = configuration("tiny")
FINGERPRINT = f"{TINY.fingerprint:016x}"
Board = SerialBoard | DatagramBoard


@dataclass(frozen=True)
class Network:
    """A network of one section, what goes in, and what must come out."""

    section: NpuSection
    feeds: dict[str, NDArray[np.uint8]]
    truth: dict[str, NDArray[np.uint8]]

    def check(self, core: BoardCore) -> None:
        results = run_section(self.section, self.feeds, lambda memory: core.execute(memory, self.section))
        for name, values in results.items():
            np.testing.assert_array_equal(values, self.truth[name], err_msg=name)


@pytest.fixture(scope="module")
def network() -> Network:
    builder = Builder(3)
    x = builder.input(8, 6, 6)
    y = builder.conv(builder.conv(x, 24, Window((3, 3), pads=(1, 1, 1, 1))), 16, Window((1, 1)))
    graph, feeds = builder.graph(y), builder.feeds()
    (section,) = compile_network(graph, TINY).program.sections
    assert isinstance(section, NpuSection)
    return Network(section, feeds, golden.run(graph, feeds))


@pytest.fixture
def boards() -> Iterator[Callable[[str, Bus], Board]]:
    made: list[Board] = []

    def make(kind: str, bus: Bus) -> Board:
        made.append(SerialBoard(bus) if kind == "uart" else DatagramBoard(bus))
        return made[-1]

    yield make
    for board in made:
        board.unplug()


def transport(board: Board) -> Transport:
    if isinstance(board, SerialBoard):
        return UartTransport(board.port, patience=0.15, give_up=0.04)
    _, host, port = board.port.split(":")
    return EtherboneTransport(host, int(port), patience=0.06)


def core_of(board: Board, watchdog: float = 5.0) -> BoardCore:
    return BoardCore(Link(transport(board)), watchdog=watchdog)


@dataclass
class Fault:
    """Damages one byte of a stream, and counts what goes by."""

    kind: str
    at: int
    bit: int = 0
    seen: int = field(default=0)
    hit: bool = False

    def __call__(self, data: bytes) -> bytes:
        start, self.seen = self.seen, self.seen + len(data)
        place = self.at - start
        if not 0 <= place < len(data):
            return data
        self.hit = True
        if self.kind == "flip":
            return data[:place] + bytes((data[place] ^ 1 << self.bit,)) + data[place + 1 :]
        if self.kind == "lose":
            return data[:place] + data[place + 1 :]
        if self.kind == "insert":
            return data[:place] + bytes((self.bit,)) + data[place:]
        assert self.kind == "cut"
        return data[:place]


@pytest.mark.parametrize("kind", ["uart", "etherbone"])
def test_the_golden_bytes_and_the_network_is_sent_once(
    boards: Callable[[str, Bus], Board], network: Network, kind: str
) -> None:
    board = boards(kind, Bus(TINY))
    core = core_of(board)
    counter = Fault("flip", -1)
    memory = np.zeros(network.section.arena_bytes, np.uint8)
    memory[: len(network.section.image)] = np.frombuffer(network.section.image, np.uint8)
    for tensor in network.section.inputs:
        tensor.pack(network.feeds[tensor.name], memory)
    board.to_board = counter
    core.execute(memory, network.section)
    first, counter.seen = counter.seen, 0
    core.execute(memory, network.section)
    assert first > len(network.section.image) > 2 * counter.seen
    for tensor in network.section.outputs:
        np.testing.assert_array_equal(tensor.unpack(memory), network.truth[tensor.name])
    assert core.recoveries == 0
    assert core.counters is not None and core.counters["cycles"] == 1000
    core.close()


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_byte_on_a_serial_line(boards: Callable[[str, Bus], Board], network: Network, seed: int) -> None:
    damage(boards, network, seed)


@pytest.mark.slow
def test_many_damaged_bytes_on_a_serial_line(boards: Callable[[str, Bus], Board], network: Network) -> None:
    for seed in range(12, 72):
        damage(boards, network, seed)


def damage(boards: Callable[[str, Bus], Board], network: Network, seed: int) -> None:
    """One byte is damaged while a network is loaded and run, anywhere, either way, in any manner."""
    rng = random.Random(seed)
    board = boards("uart", Bus(TINY))
    core = core_of(board)
    kind = rng.choice(["flip", "flip", "lose", "insert", "cut"])
    to_host = rng.random() < 0.4
    fault = Fault(kind, rng.randrange(600 if to_host else 7000), rng.randrange(8))
    if to_host:
        board.to_host = fault
    else:
        board.to_board = fault
    network.check(core)
    network.check(core)
    core.close()


@pytest.mark.parametrize("way", ["asked", "answered", "twice"])
def test_lost_and_doubled_datagrams(boards: Callable[[str, Bus], Board], network: Network, way: str) -> None:
    board = boards("etherbone", Bus(TINY))
    assert isinstance(board, DatagramBoard)
    core = core_of(board)
    rng = random.Random(5)
    if way == "twice":
        board.twice = True
        with pytest.raises(DeviceError) as error:
            network.check(core)
        assert "was disturbed in 3 runs in a row" in str(error.value) or "not what was meant" in str(error.value)
        board.twice = False
    elif way == "asked":
        board.to_board = lambda data: b"" if rng.random() < 0.1 else data
    else:
        board.to_host = lambda data: b"" if rng.random() < 0.1 else data
    network.check(core)
    network.check(core)
    core.close()


def test_noise_without_end_is_an_error_and_then_it_works(
    boards: Callable[[str, Bus], Board], network: Network
) -> None:
    board = boards("uart", Bus(TINY))
    core = core_of(board)
    board.to_host = lambda data: bytes(byte ^ 0x10 for byte in data)
    with pytest.raises(DeviceError) as error:
        network.check(core)
    assert not isinstance(error.value, DeviceLostError)
    assert str(error.value) == f"the board at {board.port} was not reset; check the cable"
    board.to_host = bytes
    network.check(core)
    core.close()


def test_a_silent_board(boards: Callable[[str, Bus], Board], network: Network) -> None:
    board = boards("uart", Bus(TINY))
    core = core_of(board)
    board.to_host = lambda data: b""
    with pytest.raises(DeviceError) as error:
        network.check(core)
    assert str(error.value) == (
        f"the board at {board.port} sent 0 of 4 bytes in 0.15 s; "
        "check the cable, and that the board has its bitstream"
    )
    board.to_host = bytes
    network.check(core)
    core.close()


@pytest.mark.parametrize("part", [0.02, 0.6, 0.98])
def test_a_reset_in_the_middle(boards: Callable[[str, Bus], Board], network: Network, part: float) -> None:
    board = boards("uart", Bus(TINY))
    core = core_of(board)
    counter = Fault("flip", -1)
    board.to_board = counter
    network.check(core)
    when, counter.seen = int(counter.seen * part), 0

    def press_reset(data: bytes) -> bytes:
        before = counter.seen
        counter(data)
        if before <= when < counter.seen:
            board.bus.reset()
            board.bus.memory[:] = 0xA5  # its refresh stood still
        return data

    board.to_board = press_reset
    network.check(core)
    assert core.recoveries == 1
    core.close()


def test_an_npu_that_never_ends(boards: Callable[[str, Bus], Board], network: Network) -> None:
    board = boards("uart", Bus(TINY))
    core = core_of(board, watchdog=0.2)
    board.bus.stuck = True
    with pytest.raises(DeviceError) as error:
        network.check(core)
    assert str(error.value) == (
        f"the NPU at {board.port} did not finish within 0.2 s and was reset; is its memory answering?"
    )
    assert board.bus.resets == 2
    board.bus.stuck = False
    network.check(core)
    core.close()


def test_an_npu_that_stops(boards: Callable[[str, Bus], Board], network: Network) -> None:
    board = boards("uart", Bus(TINY))
    core = core_of(board)
    image = bytearray(network.section.image)
    image[8] ^= 1  # the program's fingerprint
    with pytest.raises(DeviceError) as error:
        Network(replace(network.section, image=bytes(image)), network.feeds, network.truth).check(core)
    assert str(error.value) == (
        "the NPU stopped with ILLEGAL_DESCRIPTOR at compute descriptor 0, address 0x0; "
        "load the package again, or compile it again for this configuration"
    )
    network.check(core)
    core.close()


def test_a_memory_that_forgets(boards: Callable[[str, Bus], Board]) -> None:
    board = boards("uart", Bus(TINY))
    board.bus.forgetful = 0xFF
    with pytest.raises(DeviceError) as error:
        core_of(board)
    assert str(error.value) == (
        f"the memory of the board at {board.port} does not keep what is written (128 of 128 words at 0x40000000 "
        "were wrong): switch the board off and on; if that does not help, its memory is broken"
    )


def test_another_board_after_a_reset(boards: Callable[[str, Bus], Board], network: Network) -> None:
    board = boards("uart", Bus(TINY))
    core = core_of(board)
    network.check(core)
    board.bus = Bus(TINY, fingerprint=0x1234, name="other")
    with pytest.raises(DeviceError) as error:
        network.check(core)
    assert str(error.value) == (
        f"the board at {board.port} was model with fingerprint {FINGERPRINT} and is now other with "
        "0000000000001234; open the device again"
    )
    core.close()


def test_a_program_for_more_memory_than_there_is(boards: Callable[[str, Bus], Board], network: Network) -> None:
    board = boards("uart", Bus(TINY))
    core = core_of(board)
    with pytest.raises(DeviceError) as error:
        core.execute(np.zeros(MEMORY_BYTES + 1, np.uint8), network.section)
    assert str(error.value) == (
        f"the network needs {MEMORY_BYTES + 1} bytes of memory, "
        f"the board at {board.port} (model) has {MEMORY_BYTES}"
    )
    core.close()


def test_networks_take_turns_in_memory(boards: Callable[[str, Bus], Board], network: Network) -> None:
    core = core_of(boards("etherbone", Bus(TINY)))
    large = replace(network.section, arena_bytes=MEMORY_BYTES * 3 // 4)
    memories = []
    for _ in range(3):
        memory = np.zeros(large.arena_bytes, np.uint8)
        memory[: len(large.image)] = np.frombuffer(large.image, np.uint8)
        memories.append(memory)
    for memory in (memories[0], memories[1], memories[0], memories[2]):
        large.inputs[0].pack(network.feeds[large.inputs[0].name], memory)
        core.execute(memory, large)
        np.testing.assert_array_equal(large.outputs[0].unpack(memory), network.truth[large.outputs[0].name])
    core.close()


def test_pulling_the_cable(boards: Callable[[str, Bus], Board], network: Network) -> None:
    board = boards("uart", Bus(TINY))
    core = core_of(board)
    network.check(core)
    board.unplug()
    with pytest.raises(DeviceLostError) as error:
        network.check(core)
    assert str(error.value) == (
        f"the board at {board.port} has been unplugged; plug it in and open the device again"
    )
    core.close()


def test_a_network_board_that_is_switched_off(boards: Callable[[str, Bus], Board], network: Network) -> None:
    board = boards("etherbone", Bus(TINY))
    core = core_of(board)
    board.unplug()
    with pytest.raises(DeviceLostError) as error:
        network.check(core)
    assert str(error.value) == f"nobody listens at {board.port}; is the board on, and is this its address?"
    core.close()


def test_a_board_with_another_npu(boards: Callable[[str, Bus], Board]) -> None:
    board = boards("uart", Bus(TINY))
    device = BoardDevice(transport=transport(board), npu="sim16")
    with pytest.raises(DeviceError) as error:
        device.open()
    assert str(error.value) == (
        f"the NPU at {board.port} has fingerprint {FINGERPRINT}, the configuration asked for "
        f"{CONFIGURATIONS['sim16'].fingerprint:016x}; build the bitstream again, or ask for what the board has"
    )


def test_a_board_with_an_unknown_npu(boards: Callable[[str, Bus], Board]) -> None:
    board = boards("uart", Bus(TINY, fingerprint=0x1234))
    with pytest.raises(DeviceError) as error:
        BoardDevice(transport=transport(board)).open()
    assert str(error.value) == (
        f"the NPU at {board.port} has fingerprint 0000000000001234, which no named configuration has; "
        "build its bitstream again with this version"
    )


def test_the_identity_and_the_owner(boards: Callable[[str, Bus], Board]) -> None:
    board = boards("uart", Bus(TINY))
    with BoardDevice(transport=transport(board)) as device:
        assert device.configuration == TINY
        assert (device.identity.board, device.identity.clock) == ("model", 50_000_000)
        with pytest.raises(DeviceBusyError):
            device.open()
        with pytest.raises(DeviceBusyError) as error:
            transport(board)
        assert str(error.value) == f"another process has the serial port {board.port}; close it there first"


def test_ports() -> None:
    assert parse_port("/dev/ttyUSB0@3000000") == Way("uart", "/dev/ttyUSB0", {"baud": 3_000_000})
    assert parse_port("udp:192.168.1.50") == Way("udp", "192.168.1.50")
    assert parse_port("udp:host:99") == Way("udp", "host", {"port": 99})
    assert parse_port("sim") == Way("sim", "tiny")
    with pytest.raises(InputError) as error:
        parse_port("usb:1")
    assert str(error.value) == (
        "'usb:1' is no way to a board; say SERIAL_PORT, udp:HOST, sim, or the name of a board of this machine"
    )


def test_the_board_device_by_name() -> None:
    device = create_device("board:udp:127.0.0.1")
    assert isinstance(device, BoardDevice)
    assert device.name == "board:udp:127.0.0.1"
    with pytest.raises(DeviceError, match=r"^device board:udp:127\.0\.0\.1 is not open; "):
        device.identity  # noqa: B018
    with pytest.raises(
        NotFoundError, match=r"^no serial port /dev/nothing; 'fieldwave devices' lists the boards$"
    ):
        create_device("board:/dev/nothing").open()
    with pytest.raises(DeviceError, match=r"^/dev/null is no serial port: "):
        create_device("board:/dev/null").open()
