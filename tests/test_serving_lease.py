"""A server and the NPU that it holds; the device behind it is small, the leases are real."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fieldwave.errors import DeviceBusyError, InputError
from fieldwave.leases import acquire, why_busy
from fieldwave.serving import ServeOptions, Server
from tests.served import Affine, package

PROGRAM = """
import sys
import fieldwave.serving.server
from fieldwave.serving import ServeOptions, serve
from tests.served import Affine, package

fieldwave.serving.server.open_device = lambda name: Affine()
holder, when_busy = sys.argv[1:]
options = ServeOptions(package(), device="board", when_busy=when_busy, holder=holder, grpc_port=0)
serve(options, ready=lambda server: print("ready", flush=True), waiting=lambda reason: print(reason, flush=True))
print("returned", flush=True)
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "machine.toml").write_text("[boards.u250]\n")
    monkeypatch.setenv("FIELDWAVE_MACHINE", str(tmp_path / "machine.toml"))
    monkeypatch.setenv("FIELDWAVE_LEASES", str(tmp_path / "leases"))
    monkeypatch.delenv("FIELDWAVE_NPUS", raising=False)


@contextmanager
def process(holder: str, when_busy: str) -> Iterator[subprocess.Popen[str]]:
    root = Path(__file__).parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, holder, when_busy], stdout=subprocess.PIPE, text=True, cwd=root
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def said(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def options(**more: object) -> ServeOptions:
    return ServeOptions(package(), device="board", grpc_port=0, **more)  # type: ignore[arg-type]


def test_a_server_holds_the_npu_until_its_device_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    device = Affine()

    def open_device(name: str) -> Affine:
        opened.append(name)
        return device

    monkeypatch.setattr("fieldwave.serving.server.open_device", open_device)
    with Server(options(holder="a")) as server:
        assert opened == ["board:u250"]
        assert why_busy("board") == "1 NPU (u250), held by service a"
        assert server.replaced_by == ""
        with pytest.raises(DeviceBusyError, match=r"no NPU is free for b: 1 NPU \(u250\), held by service a"):
            Server(options(holder="b")).start()
    assert device.closed.is_set()
    assert why_busy("board") == ""


def test_a_server_that_did_not_start_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldwave.serving.server.open_device", lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Server(options()).start()
    assert why_busy("board") == ""


def test_a_server_that_waits_can_be_told_to_stop() -> None:
    told = threading.Event()
    with acquire("board", "a"), pytest.raises(DeviceBusyError, match="was stopped while it waited for an NPU"):
        Server(options(when_busy="wait"), waiting=lambda reason: told.set(), cancelled=told.is_set).start()


def test_services_wait_replace_and_are_killed() -> None:
    with process("a", "refuse") as first:
        assert said(first) == "ready"
        with process("b", "wait") as second:
            assert said(second) == "1 NPU (u250), held by service a"
            second.send_signal(signal.SIGTERM)
            assert said(second) == "returned"
        with process("c", "replace") as third:
            assert said(first) == "returned"
            assert said(third) == "1 NPU (u250), held by service a"
            assert said(third) == "ready"
            assert why_busy("board") == "1 NPU (u250), held by service c"
            third.kill()
            third.wait()
    assert why_busy("board") == ""


def test_what_to_do_when_busy_is_one_of_three() -> None:
    with pytest.raises(InputError) as caught:
        options(when_busy="hope")
    assert str(caught.value) == "when_busy is 'hope'; it must be refuse, wait or replace"
