from __future__ import annotations

import os
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from fieldwave.errors import InputError, NotFoundError
from fieldwave.images import lock, wheels
from fieldwave.images.lock import ARCHITECTURES, Pinned, lock_file, pinned
from fieldwave.images.source_files import digest, source_files
from tests.image_parts import wheelhouse as wheelhouse

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fieldwave" / "wheels"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_lock_files_pin_all_that_the_runtime_asks_for(architecture: str) -> None:
    found = {re.sub("[-_.]+", "-", wheel.name).lower(): wheel for wheel in pinned(architecture)}
    wanted = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split("[<>=!~ ;[]", each)[0].lower() for each in wanted} <= set(found)
    assert all(len(wheel.sha256) == 64 for wheel in found.values())
    assert lock_file(architecture).read_text().splitlines()[0] == (
        f"# The runtime of images, Python 3.11, {architecture}; by: python -m fieldwave.images.relock"
    )


def test_the_architectures_have_the_same_versions() -> None:
    assert [wheel.id for wheel in pinned("amd64")] == [wheel.id for wheel in pinned("arm64")]


def test_an_unknown_architecture_has_no_runtime() -> None:
    with pytest.raises(InputError) as error:
        pinned("riscv64")
    assert str(error.value) == "no runtime for 'riscv64'; there is one for amd64, arm64"


def test_a_line_without_a_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_FOLDER", tmp_path)
    (tmp_path / "runtime-amd64.txt").write_text("# head\nnumpy==2.0\n")
    with pytest.raises(InputError) as error:
        pinned("amd64")
    assert str(error.value) == (
        f"{tmp_path / 'runtime-amd64.txt'}, line 2: 'numpy==2.0' pins no wheel by its hash"
    )


def test_wheels_of_a_folder_are_known_by_their_hashes(wheelhouse: Path, cache: Path) -> None:
    found = wheels.wheels("amd64", wheelhouse)
    assert [path.name for path in found] == ["first-1.0-py3-none-any.whl", "second-1.0-py3-none-any.whl"]
    found[0].write_bytes(found[0].read_bytes() + b"x")
    with pytest.raises(NotFoundError) as error:
        wheels.wheels("amd64", wheelhouse)
    assert str(error.value) == (
        f"{wheelhouse} lacks first==1.0 for amd64, or holds other files of that name; "
        "fill it where there is a network: fieldwave images base --wheels FOLDER"
    )
    assert not cache.exists()


def test_pip_downloads_what_the_cache_lacks(
    wheelhouse: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """pip itself, over a folder for an index."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheelhouse))
    found = wheels.wheels("amd64")
    assert {path.parent for path in found} == {cache}
    assert [path.read_bytes() for path in found] == [p.read_bytes() for p in wheels.wheels("amd64", wheelhouse)]
    shutil.rmtree(wheelhouse)
    assert wheels.wheels("arm64") == found
    found[1].write_bytes(b"damaged")
    with pytest.raises(NotFoundError) as error:
        wheels.wheels("amd64")
    assert str(error.value).startswith("pip could not download the runtime's wheels: ")
    assert str(error.value).endswith("; without a network, give a folder of wheels")
    assert [path.name for path in cache.iterdir()] == [found[0].name]


def test_a_wheel_of_another_hash_is_refused_by_pip(
    wheelhouse: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheelhouse))
    path = wheelhouse / "first-1.0-py3-none-any.whl"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(NotFoundError, match="THESE PACKAGES DO NOT MATCH THE HASHES"):
        wheels.wheels("amd64")


def test_a_python_without_pip_is_told_so(
    wheelhouse: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\necho "{sys.executable}: No module named pip" >&2\nexit 1\n')
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(NotFoundError) as error:
        wheels.wheels("amd64")
    assert str(error.value) == (
        f"{bare} has no pip to download the runtime's wheels; install it (python -m ensurepip), "
        "or give a folder of wheels"
    )


def test_a_wheel_is_named_as_pip_names_it() -> None:
    assert Pinned("numpy", "2.0", "0" * 64).line == f"numpy==2.0 --hash=sha256:{'0' * 64}"


def test_our_own_files_are_all_of_the_package() -> None:
    files = dict(source_files())
    assert {"fieldwave/py.typed", "fieldwave/images/runtime-amd64.txt", "fieldwave/wire/messages.pb"} <= set(files)
    assert not [name for name in files if name.endswith(".pyc") or "/." in name]
    assert files["fieldwave-0.1.0.dist-info/METADATA"].startswith(b"Metadata-Version: 2.1\nName: fieldwave\n")
    assert digest(source_files()) == digest(list(files.items()))
    assert digest([("a", b"b")]) != digest([("a", b"c")])
