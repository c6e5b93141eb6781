from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fieldwave.errors import StorageError
from fieldwave.processes.lock import holder, is_held, sign, take


def test_a_lock_is_held_until_every_copy_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    lock = take(path)
    assert is_held(path)
    copy = os.dup(lock)
    os.close(lock)
    assert is_held(path)
    os.close(copy)
    assert not is_held(path)


def test_it_passes_to_a_child_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = take(path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock]) as child:
        os.close(lock)
        assert is_held(path)
        child.kill()
    assert not is_held(path)


def test_looking_does_not_look_like_holding(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    os.close(take(path))
    imports = "import sys; from pathlib import Path; from fieldwave.processes.lock import is_held"
    loop = f"{imports}; p = Path(sys.argv[1]); print(any(is_held(p) for _ in range(20000)))"
    others = [subprocess.Popen([sys.executable, "-c", loop, str(path)], stdout=subprocess.PIPE) for _ in range(2)]
    assert [other.communicate()[0] for other in others] == [b"False\n", b"False\n"]


def test_a_lock_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        take(tmp_path / "gone" / "lock")
    assert str(caught.value) == f"cannot lock {tmp_path}/gone/lock: No such file or directory"


def test_a_lock_names_who_signed_it_last(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert holder(path) is None
    lock = take(path)
    assert holder(path) is None
    sign(path)
    assert holder(path) == os.getpid()
    assert is_held(path)
    os.close(lock)
    for damage in ("", "x", "-1", "0"):
        path.write_text(damage)
        assert holder(path) is None
    sign(tmp_path / "nowhere" / "lock")


def test_a_child_finds_the_lock_that_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = take(path)
    program = (
        "import sys; from pathlib import Path; from fieldwave.processes.lock import inherited;"
        "print(inherited(Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", program, str(path)]
    given = subprocess.run(command, pass_fds=[lock], capture_output=True, text=True, check=True)
    none = subprocess.run(command, capture_output=True, text=True, check=True)
    os.close(lock)
    assert (given.stdout, none.stdout) == (f"{lock}\n", "None\n")
