from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from fieldwave.errors import InputError, NotFoundError
from fieldwave.images import add_base
from fieldwave.images.debian import make_debian
from fieldwave.store import LayoutStore
from tests.containers import needs_base


def test_a_mirror_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    needs_base()
    with pytest.raises(NotFoundError) as error:
        make_debian(tmp_path / "base.tar.gz", mirror=str(tmp_path / "mirror"))
    assert str(error.value).startswith("mmdebstrap could not make a base of bookworm: ")
    assert len(str(error.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_mmdebstrap_is_told_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("mmdebstrap") is None
    with pytest.raises(NotFoundError) as error:
        make_debian(tmp_path / "base.tar.gz")
    assert str(error.value) == "mmdebstrap is not installed: apt-get install mmdebstrap"


def test_an_architecture_without_a_runtime_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        make_debian(tmp_path / "base.tar.gz", architecture="riscv64")
    assert str(error.value) == "no runtime for 'riscv64'; there is one for amd64, arm64"


@pytest.mark.slow
def test_the_base_holds_python_and_nothing_else_that_runs(tmp_path: Path) -> None:
    needs_base()
    packages = make_debian(tmp_path / "one.tar.gz")
    assert make_debian(tmp_path / "two.tar.gz") == packages
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    assert (tmp_path / "one.tar.gz").stat().st_size < 20_000_000
    with tarfile.open(tmp_path / "one.tar.gz") as archive:
        members = {member.name: member for member in archive}
        texts = {
            name: archive.extractfile(member).read()  # type: ignore[union-attr]
            for name, member in members.items()
            if member.isfile() and name.startswith("etc/")
        }
    programs = [name for name in members if name.startswith(("bin/", "sbin/", "usr/bin/", "usr/sbin/"))]
    assert programs == ["usr/bin/python3.11"]
    assert not [name for name in members if name.startswith(("etc/apt/", "var/lib/apt/", "var/cache/", "dev/"))]
    assert not [name for name, text in texts.items() if b"http://" in text and b"mirror" in text]
    assert not {"etc/resolv.conf", "etc/hostname", "etc/machine-id"} & set(members)
    assert {f"var/lib/dpkg/status.d/{each.split()[0]}" for each in packages} < set(members)
    assert "usr/share/doc/libc6/copyright" in members
    assert {(m.uid, m.gid, m.mtime) for m in members.values()} == {(0, 0, 0)}
    assert not [
        name for name, member in members.items() if member.isdev() or (member.isfile() and member.mode & 0o6000)
    ]
    base = add_base(LayoutStore(tmp_path / "store"), str(tmp_path / "one.tar.gz"), "debian")
    assert (base.id, base.python, base.architecture, base.root) == (
        "debian:1",
        "/usr/bin/python3.11",
        "amd64",
        "opt",
    )
