from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fieldwave
from fieldwave.errors import ConflictError, DeviceBusyError, InputError, NotFoundError, StorageError
from fieldwave.leases import Lease, Slot, SlotState, acquire, slot_states, why_busy
from fieldwave.leases.machine import to_given
from fieldwave.leases.replace import Reservation, reserve
from fieldwave.leases.slots import Holder, leases_folder, read_holder, try_lock, write_record

CHILD = Path(__file__).with_name("lease_child.py")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with two simulated NPUs and a board."""
    path = tmp_path / "machine.toml"
    path.write_text("rtl = 2\n[boards.kv260-0]\n")
    monkeypatch.setenv("FIELDWAVE_MACHINE", str(path))
    monkeypatch.setenv("FIELDWAVE_LEASES", str(tmp_path / "leases"))
    monkeypatch.delenv("FIELDWAVE_NPUS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(fieldwave.__file__).parents[1]))
    return path


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts processes that take an NPU; returns when they have it."""
    children: list[subprocess.Popen[str]] = []

    def one(*arguments: str) -> subprocess.Popen[str]:
        child = subprocess.Popen([sys.executable, str(CHILD), *arguments], stdout=subprocess.PIPE, text=True)
        children.append(child)
        return child

    yield one
    for child in children:
        child.kill()
        child.communicate()


def replaced_by(lease: Lease, newcomer: str) -> Reservation:
    """A reservation whose holder was told, one that does not mind SIGTERM: this process."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert lease.slot is not None
        holder = read_holder(lease.slot)
        assert holder is not None
        kept = reserve([SlotState(lease.slot, holder)], newcomer)
        assert kept is not None
        kept.tell(holder)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert kept.told == holder
    assert lease.replaced_by == newcomer
    return kept


def said(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def free() -> list[str]:
    return [state.slot.name for state in slot_states() if state.holder is None]


def test_one_holder_for_each_npu() -> None:
    with acquire("rtl", "a") as first, acquire("rtl:tiny", "b") as second:
        assert [lease.slot and lease.slot.name for lease in (first, second)] == ["rtl-0", "rtl-1"]
        assert (first.device, second.device) == ("rtl", "rtl:tiny")
        assert free() == ["kv260-0"]
        assert [state.holder and state.holder.name for state in slot_states()] == [None, "a", "b"]
        with pytest.raises(DeviceBusyError) as caught:
            acquire("rtl", "c")
        assert str(caught.value) == (
            "no NPU is free for c: 2 NPUs, both held by services a and b; "
            "delete a service, or deploy with --when-busy wait or replace"
        )
    assert free() == ["kv260-0", "rtl-0", "rtl-1"]


def test_the_reason_in_words(machine: Path) -> None:
    assert why_busy("rtl") == ""
    with acquire("board", "z") as lease:
        assert lease.device == "board:kv260-0"
        assert why_busy("board") == why_busy("board:kv260-0") == "1 NPU (kv260-0), held by service z"
    with acquire("rtl", "a"), acquire("rtl", "a"):
        assert why_busy("rtl") == "2 NPUs, both held by service a"
    machine.write_text("rtl = 3\n")
    with acquire("rtl", "b"), acquire("rtl", "c"), acquire("rtl", "a"):
        assert why_busy("rtl") == "3 NPUs, all held by services a, b and c"


def test_what_needs_no_npu(machine: Path) -> None:
    machine.write_text("")
    for device in ("cpu", "rtl", "rtl:tiny"):
        with acquire(device, "a") as first, acquire(device, "b") as second:
            assert (first.slot, second.slot, first.device, first.replaced_by) == (None, None, device, "")
            with pytest.raises(InputError, match="holds no file"):
                first.fileno()
    assert not leases_folder().exists()


def test_an_npu_that_is_not_there(machine: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        acquire("board:u250", "a")
    assert str(caught.value) == f"this machine has no NPU for device 'board:u250'; boards in {machine}: kv260-0"
    machine.write_text("rtl = 0\n")
    with pytest.raises(NotFoundError) as caught:
        why_busy("rtl")
    assert str(caught.value) == f"no simulated NPU may run on this machine: {machine} says rtl = 0"


def test_a_killed_holder_frees_its_npu(start: Callable[..., subprocess.Popen[str]]) -> None:
    child = start("board", "a")
    assert said(child) == "board:kv260-0 kv260-0"
    [state] = [state for state in slot_states() if state.slot.kind == "board"]
    assert state.holder is not None
    assert (state.holder.name, state.holder.pid) == ("a", child.pid)
    child.kill()
    child.wait()
    with acquire("board", "b") as lease:
        assert lease.slot == Slot("kv260-0", "board")


def test_one_that_waits_gets_the_npu_when_it_is_free(start: Callable[..., subprocess.Popen[str]]) -> None:
    reasons: list[str] = []
    child = start("board", "a")
    said(child)

    def waiting(reason: str) -> None:
        reasons.append(reason)
        child.terminate()

    with acquire("board", "b", "wait", waiting=waiting) as lease:
        assert lease.replaced_by == ""
    assert reasons == ["1 NPU (kv260-0), held by service a"]
    assert said(child) == "replaced by nobody"


def test_a_wait_ends() -> None:
    with acquire("board", "a"):
        start = time.monotonic()
        with pytest.raises(DeviceBusyError) as caught:
            acquire("board", "b", "wait", timeout=0.1)
        assert str(caught.value) == "no NPU for b in time: 1 NPU (kv260-0), held by service a"
        assert 0.1 <= time.monotonic() - start < 5
        told = threading.Event()
        with pytest.raises(DeviceBusyError) as caught:
            acquire("board", "b", "wait", waiting=lambda _: told.set(), cancelled=told.is_set)
        assert str(caught.value) == (
            "b was stopped while it waited for an NPU: 1 NPU (kv260-0), held by service a"
        )


def test_the_longest_holder_is_replaced_and_knows_by_whom(start: Callable[..., subprocess.Popen[str]]) -> None:
    oldest, youngest = start("rtl", "a"), None
    assert said(oldest) == "rtl rtl-0"
    youngest = start("rtl", "b")
    assert said(youngest) == "rtl rtl-1"
    with acquire("rtl", "c", "replace") as lease:
        assert lease.slot == Slot("rtl-0", "rtl")
        assert said(oldest) == "replaced by c"
        assert oldest.wait(10) == 0
        assert youngest.poll() is None
        assert why_busy("rtl") == "2 NPUs, both held by services b and c"


def test_who_waits_does_not_get_the_npu_of_one_that_is_replaced(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    for _ in range(3):
        first = start("board", "a")
        assert said(first) == "board:kv260-0 kv260-0"
        waiters = [start("board", f"w{index}", "wait") for index in range(3)]
        assert [said(waiter) for waiter in waiters] == ["1 NPU (kv260-0), held by service a"] * 3
        os.kill(first.pid, signal.SIGSTOP)

        def go_on(reason: str, stopped: int = first.pid) -> None:
            assert reason == "1 NPU (kv260-0), held by service a"
            os.kill(stopped, signal.SIGCONT)

        with acquire("board", "b", "replace", waiting=go_on):
            assert said(first) == "replaced by b"
            assert [waiter.poll() for waiter in waiters] == [None] * 3
        for waiter in waiters:
            waiter.kill()
            waiter.wait()


def test_an_npu_that_is_kept_for_one_is_not_free() -> None:
    with acquire("board", "a") as lease:
        kept = replaced_by(lease, "b")
    assert why_busy("board") == "1 NPU (kv260-0), held by service b"
    with pytest.raises(DeviceBusyError, match=r"no NPU is free for c: 1 NPU \(kv260-0\), held by service b"):
        acquire("board", "c")
    kept.release()
    with acquire("board", "c"):
        assert why_busy("board") == "1 NPU (kv260-0), held by service c"


def test_two_that_replace_at_the_same_time_take_turns(start: Callable[..., subprocess.Popen[str]]) -> None:
    first = start("board", "a")
    said(first)
    newcomers = [start("board", "b", "replace"), start("board", "c", "replace")]
    deadline = time.monotonic() + 20
    while sorted(child.poll() is None for child in newcomers) != [False, True]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    [last] = [child for child in newcomers if child.poll() is None]
    assert said(first) in ("replaced by b", "replaced by c")
    assert said(last) == "board:kv260-0 kv260-0"


def test_one_that_came_just_before_the_reservation_is_told_too() -> None:
    """Between the look at who holds an NPU and the reservation another may have come."""
    with acquire("board", "a") as lease:
        kept = replaced_by(lease, "c")
        assert kept.told is not None
    descriptor = try_lock(leases_folder() / "kv260-0")
    assert descriptor is not None
    write_record(descriptor, dataclasses.asdict(Holder.me("b")))
    assert lease.slot is not None
    newcomer = read_holder(lease.slot)
    assert newcomer is not None
    told = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        kept.tell(kept.told)
        assert not told.is_set()
        kept.tell(newcomer)
        assert told.wait(5)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert kept.told == newcomer
    os.close(descriptor)
    kept.release()


def test_a_holder_that_died_may_come_back_before_who_waits(
    start: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldwave.leases.lease._RETURN_SECONDS", 0.5)
    first = start("board", "a")
    said(first)
    first.kill()
    first.wait()
    began = time.monotonic()
    reasons: list[str] = []
    with acquire("board", "b", "wait", waiting=reasons.append):
        assert time.monotonic() - began >= 0.5
    assert reasons == ["1 NPU (kv260-0), held by service a"]
    with acquire("board", "b", "wait"):
        assert time.monotonic() - began < 10, "one that let go does not come back"


def test_a_service_that_died_takes_its_npu_again_at_once(start: Callable[..., subprocess.Popen[str]]) -> None:
    first = start("board", "a")
    said(first)
    waiter = start("board", "b", "wait")
    assert said(waiter) == "1 NPU (kv260-0), held by service a"
    first.kill()
    first.wait()
    again = start("board", "a", "wait")
    assert said(again) == "board:kv260-0 kv260-0"
    assert waiter.poll() is None


def test_nobody_is_replaced_by_one_of_its_own_name() -> None:
    with acquire("board", "a"), pytest.raises(DeviceBusyError, match="no NPU is free for a"):
        acquire("board", "a", "replace")


def test_one_that_does_not_go_is_named(start: Callable[..., subprocess.Popen[str]]) -> None:
    child = start("board", "a")
    said(child)
    os.kill(child.pid, signal.SIGSTOP)
    with pytest.raises(DeviceBusyError) as caught:
        acquire("board", "b", "replace", timeout=0.2)
    assert str(caught.value) == ("service a was told to go and still holds kv260-0")


def test_a_process_that_does_not_hold_the_file_is_never_ended(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    """What a lock file says, any user may have written."""
    innocent = start("cpu", "x")
    said(innocent)
    with acquire("board", "a"):
        path = leases_folder() / "kv260-0"
        path.write_text(path.read_text().replace(f'"pid": {os.getpid()}', f'"pid": {innocent.pid}'))
        with pytest.raises(ConflictError) as caught:
            acquire("board", "b", "replace")
    assert str(caught.value) == (
        "service a holds kv260-0 and cannot be ended from here: it is another user's, or in another container; "
        "end it there, or wait for it"
    )
    assert innocent.poll() is None


def test_a_holder_that_has_left_no_name() -> None:
    with acquire("board", "a"):
        (leases_folder() / "kv260-0").write_bytes(b"\xff{")
        assert why_busy("board") == "1 NPU (kv260-0), held by service (no name)"
        with pytest.raises(ConflictError):
            acquire("board", "b", "replace")


@pytest.mark.parametrize("text", ["7", "[]", '{"name": 1}', '{"name": "a", "pid": "x", "since": "", "token": ""}'])
def test_whatever_a_lock_file_says_it_is_held(text: str) -> None:
    with acquire("board", "a"):
        (leases_folder() / "kv260-0").write_text(text)
        assert why_busy("board") == "1 NPU (kv260-0), held by service (no name)"


@pytest.mark.parametrize("name", ["kv260-0", "kv260-0.replaced"])
def test_a_pipe_in_the_place_of_a_lock_file_keeps_nobody_waiting(name: str) -> None:
    acquire("board", "a").release()
    (leases_folder() / name).unlink(missing_ok=True)
    os.mkfifo(leases_folder() / name)
    assert why_busy("board") == ""
    with acquire("board", "a"):
        assert why_busy("board") == "1 NPU (kv260-0), held by service " + ("(no name)" if "." not in name else "a")


def test_a_child_that_inherits_the_lease_keeps_the_npu() -> None:
    lease = acquire("board", "a")
    child = subprocess.Popen(["sleep", "60"], pass_fds=[lease.fileno()])
    os.close(lease.fileno())
    lease._descriptor = None
    assert why_busy("board") == "1 NPU (kv260-0), held by service a"
    child.kill()
    child.wait()
    assert why_busy("board") == ""


def test_a_lock_file_that_was_removed_is_made_anew() -> None:
    with acquire("board", "a"):
        (leases_folder() / "kv260-0").unlink()
        with acquire("board", "b"):
            assert why_busy("board") == "1 NPU (kv260-0), held by service b"


def test_every_user_may_hold_and_look() -> None:
    with acquire("board", "a"):
        assert leases_folder().stat().st_mode & 0o7777 == 0o1777
        assert (leases_folder() / "kv260-0").stat().st_mode & 0o7777 == 0o1666
        assert sorted(path.name for path in leases_folder().iterdir()) == ["kv260-0"]


def test_looking_does_not_keep_anybody_from_an_npu() -> None:
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            why_busy("board")

    acquire("board", "a").release()
    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            acquire("board", "a").release()
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_eight_processes_for_two_npus(start: Callable[..., subprocess.Popen[str]]) -> None:
    children = [start("rtl", f"s{index}", "refuse") for index in range(8)]
    got = sorted(said(child) for child in children)
    assert got == [""] * 6 + ["rtl rtl-0", "rtl rtl-1"]


def test_a_container_holds_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDWAVE_NPUS", to_given((Slot("u250-1", "board", ("/dev/x",)),)))
    with acquire("board", "a") as lease:
        assert (lease.device, lease.slot) == ("board:u250-1", Slot("u250-1", "board", ("/dev/x",)))
        assert why_busy("board") == ""
    with pytest.raises(NotFoundError) as caught:
        acquire("board:kv260-0", "a")
    assert str(caught.value) == (
        "this container was given no NPU for device 'board:kv260-0'; it has: board:u250-1"
    )
    assert not leases_folder().exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FIELDWAVE_LEASES", str(tmp_path / "file" / "leases"))
    with pytest.raises(StorageError) as caught:
        acquire("board", "a")
    assert str(caught.value) == f"cannot lock {tmp_path}/file/leases/kv260-0: Not a directory"


def test_a_board_by_the_way_to_it(machine: Path) -> None:
    machine.write_text('[boards.ulx3s-0]\nfiles = ["/dev/ttyUSB7"]\n[boards.ecpix]\naddress = "192.168.1.50"\n')
    with acquire("board:/dev/ttyUSB7@500000", "a") as one, acquire("board:udp:192.168.1.50", "a") as two:
        assert [lease.slot and lease.slot.name for lease in (one, two)] == ["ulx3s-0", "ecpix"]
        assert (one.device, two.device) == ("board:/dev/ttyUSB7@500000", "board:udp:192.168.1.50")
        with pytest.raises(DeviceBusyError):
            acquire("board:ulx3s-0", "b")
    with acquire("board:/dev/ttyUSB8", "a") as lease:
        assert (lease.device, lease.slot and lease.slot.name) == ("board:/dev/ttyUSB8", "at-dev-ttyusb8")
        with pytest.raises(DeviceBusyError) as caught:
            acquire("board:/dev/ttyUSB8@500000", "b")
        assert str(caught.value).startswith("no NPU is free for b: 1 NPU (at-dev-ttyusb8), held by service a; ")
    with acquire("board:sim", "a") as lease:
        assert (lease.device, lease.slot) == ("board:sim", None)
