"""A board in Python, for the driver's tests: bus, witness and NPU behind a serial line or a datagram socket.

It keeps to the protocols of LiteX's UARTBone and LiteEth's Etherbone by itself, not by the driver's code. The NPU
is the functional model, which gives the gateware's bits.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
import tty
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fieldwave.boards import addresses
from fieldwave.compiler.interpreter import Interpreter
from fieldwave.npu import Configuration
from fieldwave.npu.isa import MAGIC, VERSION, Register
from tests.phy_model import FACTS, Phy

MEMORY_BYTES = 1 << 20
GIVE_UP_SECONDS = 0.02

Damage = Callable[[bytes], bytes]
"""What becomes of bytes on their way."""


class Bus:
    """Memory, registers and the witness.

    Attributes:
        stuck: the NPU starts and never ends.
        forgetful: bits that memory loses.
        phy: between memory and bus, where delays of reads have to be found.
        starting: reads of the register that says so, until the memory's start-up ends.
        resets: how often the host has reset the board.
    """

    def __init__(
        self, configuration: Configuration, *, fingerprint: int | None = None, name: str = "model"
    ) -> None:
        self.npu = Interpreter(configuration)
        self.memory: NDArray[np.uint8] = np.random.default_rng(7).integers(0, 256, MEMORY_BYTES, np.uint8)
        self.fingerprint = configuration.fingerprint if fingerprint is None else fingerprint
        self.identity = f"fieldwave {name} {self.fingerprint:016x}\0".encode()
        self.stuck = False
        self.forgetful = 0
        self.phy: Phy | None = None
        self.starting = 0
        self.resets = 0
        self.reset()

    def reset(self) -> None:
        """As after power on, but for memory."""
        self.witness, self.status, self.program, self.cycles = 0, 0, [0, 0], 0
        self._starts = self.starting
        if self.phy is not None:
            self.phy.reset()

    def read(self, address: int) -> int:
        value = self._read(address)
        self._saw(address, value, 0)
        return value

    def write(self, address: int, value: int) -> None:
        self._saw(address, value, 1)
        if address == addresses.RESET and value & 1:
            self.resets += 1
            self.reset()
        elif address == addresses.NPU + Register.CONTROL:
            self.status = 0
            if value & 1:
                self._start()
        elif address == addresses.NPU + Register.PROGRAM_LOW:
            self.program[0] = value
        elif 0 <= address - addresses.MEMORY < MEMORY_BYTES and not self._starts:
            self._words()[(address - addresses.MEMORY) // 4] = value
        elif self.phy is not None and 0x2000 <= address < 0x3000:
            self.phy.write(address, value)

    def _saw(self, address: int, value: int, write: int) -> None:
        if address != addresses.WITNESS:
            self.witness = zlib.crc32(struct.pack("<IIB", address // 4, value, write), self.witness)

    def _words(self) -> NDArray[np.uint32]:
        return self.memory.view(np.uint32)

    def _read(self, address: int) -> int:
        if 0 <= address - addresses.MEMORY < MEMORY_BYTES:
            word = int(self._words()[(address - addresses.MEMORY) // 4]) & ~self.forgetful
            return word if self.phy is None else self.phy.pass_on(word)
        if address == addresses.STARTING:
            self._starts = max(self._starts - 1, 0)
            return int(self._starts > 0)
        if self.phy is not None and 0x2000 <= address < 0x3000:
            return self.phy.read(address)
        known = {
            addresses.LEVELING: 0 if self.phy is None else FACTS,
            addresses.WITNESS: self.witness,
            addresses.CLOCK: 50_000_000,
            addresses.MEMORY_BYTES: MEMORY_BYTES,
            addresses.NPU + Register.IDENTITY: MAGIC,
            addresses.NPU + Register.VERSION: VERSION,
            addresses.NPU + Register.FINGERPRINT_LOW: self.fingerprint & 0xFFFFFFFF,
            addresses.NPU + Register.FINGERPRINT_HIGH: self.fingerprint >> 32,
            addresses.NPU + Register.STATUS: self.status,
            addresses.NPU + Register.ERROR: 1,
            addresses.NPU + Register.CYCLES: self.cycles,
        }
        index = (address - addresses.IDENTIFIER) // 4
        if 0 <= index < len(self.identity):
            return self.identity[index]
        return known.get(address, 0)

    def _start(self) -> None:
        self.status = 1
        if self.stuck:
            return
        start = self.program[0] - addresses.MEMORY
        try:
            self.npu.run(self.memory[start:])
            self.status, self.cycles = 2, 1000
        except Exception:
            self.status = 4


class DirectTransport:
    """The way to a board without a wire, which makes thousands of words quick."""

    name, burst, chunk = "here", 255, 2048

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def read(self, address: int, count: int) -> NDArray[np.uint32]:
        return np.array([self._bus.read(address + 4 * index) for index in range(count)], np.uint32)

    def write(self, address: int, words: NDArray[np.uint32]) -> None:
        for index, word in enumerate(words):
            self._bus.write(address + 4 * index, int(word))

    def resynchronise(self) -> None:
        pass

    def close(self) -> None:
        pass


class SerialBoard(threading.Thread):
    """A board behind a pseudo-terminal.

    Attributes:
        port: the path that a driver opens.
        to_board, to_host: what happens to bytes on the way.
    """

    def __init__(self, bus: Bus) -> None:
        super().__init__(daemon=True)
        self.bus = bus
        self.to_board: Damage = bytes
        self.to_host: Damage = bytes
        self._board, self._host = os.openpty()
        tty.setraw(self._host)
        self.port = os.ttyname(self._host)
        self._stopping = threading.Event()
        self.start()

    def unplug(self) -> None:
        """Pull the cable: both ends are closed, and the driver's sees it."""
        self._stopping.set()
        self.join(5)

    def run(self) -> None:
        waiting, last = b"", time.monotonic()
        while not self._stopping.is_set():
            if select.select([self._board], [], [], GIVE_UP_SECONDS / 4)[0]:
                waiting += self.to_board(os.read(self._board, 4096))
                last = time.monotonic()
                waiting = self._obey(waiting)
            elif time.monotonic() - last > GIVE_UP_SECONDS:
                waiting = b""  # as the bridge does after 100 ms
        os.close(self._board)
        os.close(self._host)

    def _obey(self, data: bytes) -> bytes:
        """Do every whole command; what is left."""
        while len(data) >= 6:
            kind, count, address = data[0], data[1] or 256, int.from_bytes(data[2:6], "big") * 4 & 0xFFFFFFFF
            step = 4 if kind in (1, 2) else 0
            if kind in (1, 3):
                for index in range(min(count, (len(data) - 6) // 4)):
                    if len(data) < 6 + 4 * count:
                        return data
                    at = 6 + 4 * index
                    self.bus.write(address + step * index, int.from_bytes(data[at : at + 4], "big"))
                if len(data) < 6 + 4 * count:
                    return data
                data = data[6 + 4 * count :]
            elif kind in (2, 4):
                words = (self.bus.read(address + step * index) for index in range(count))
                answer = self.to_host(b"".join(word.to_bytes(4, "big") for word in words))
                if answer:
                    os.write(self._board, answer)
                return b""  # the receiver does not listen while it answers
            else:
                data = data[6:]
        return data


class DatagramBoard(threading.Thread):
    """A board behind a UDP port of this machine; see `SerialBoard`."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(daemon=True)
        self.bus = bus
        self.to_board: Damage = bytes
        self.to_host: Damage = bytes
        self.twice = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.02)
        self.port = f"udp:127.0.0.1:{self._socket.getsockname()[1]}"
        self._stopping = threading.Event()
        self.start()

    def unplug(self) -> None:
        self._stopping.set()
        self.join(5)

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                data, host = self._socket.recvfrom(8192)
            except TimeoutError:
                continue
            data = self.to_board(data)
            for _ in range(2 if self.twice else 1):
                answer = self.to_host(self._obey(data)) if data else b""
                if answer:
                    self._socket.sendto(answer, host)
        self._socket.close()

    def _obey(self, data: bytes) -> bytes:
        magic, version, sizes = struct.unpack_from(">HBB", data)
        assert (magic, version & 0xF0, sizes) == (0x4E6F, 0x10, 0x44)
        enable, writes, reads = data[9:12]
        assert enable == 0xF
        assert not (writes and reads), "LiteEth does not understand this"
        position = 12
        if writes:
            (base,) = struct.unpack_from(">I", data, position)
            for index, value in enumerate(struct.unpack_from(f">{writes}I", data, position + 4)):
                self.bus.write(base + 4 * index, value)
            position += 4 + 4 * writes
        if not reads:
            return b""
        back, *wanted = struct.unpack_from(f">I{reads}I", data, position)
        values = [self.bus.read(address) for address in wanted]
        header = struct.pack(">HBBIBBBB", 0x4E6F, 0x10, 0x44, 0, 0, 0xF, reads, 0)
        return header + struct.pack(f">I{reads}I", back, *values)
