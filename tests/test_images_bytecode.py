from __future__ import annotations

import io
import marshal
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from types import CodeType

import pytest

from fieldwave.images import Images, add_base, bytecode
from fieldwave.store import LayoutStore
from tests import containers, service_modules
from tests.image_parts import base, package, wheelhouse

__all__ = ["wheelhouse"]

SOURCE = b'''"""A module."""
import os
WORDS = {"alpha", "beta", "gamma"}
def has(word): return word in {"alpha", "beta", "gamma", "delta", os.sep}
def again(word, os=os, sys=None): return has(word) and word in {"one", "two", "three"}
'''
DIGEST = """
import hashlib, sys
for name in sys.argv[2:]: __import__(name)
from fieldwave.images import bytecode
print(hashlib.sha256(bytecode.pyc("fieldwave/module.py", sys.argv[1].encode())).hexdigest())
"""


def test_equal_sources_give_equal_bytes_in_any_process() -> None:
    """Hashes of texts are salted anew in each, and what is loaded decides what is shared."""
    digests = set()
    for seed, loaded in (("0", ()), ("1", ("email", "json")), ("2", ("unittest", "asyncio"))):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", DIGEST, SOURCE.decode(), *loaded]
        digests.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(digests) == 1


def test_it_is_not_checked_against_the_source_and_says_nothing_of_this_machine() -> None:
    data = bytecode.pyc("fieldwave/module.py", SOURCE)
    assert data is not None
    assert data[4:8] == b"\x01\x00\x00\x00"  # PEP 552: by hash, not checked
    code = marshal.loads(data[16:])  # noqa: S302
    assert isinstance(code, CodeType)
    assert code.co_filename == ""


@pytest.mark.parametrize("name", ["fieldwave/data.txt", "numpy/tests/test_all.py", "fieldwave/broken.py"])
def test_what_gets_none(name: str) -> None:
    assert bytecode.pyc(name, b"this is no Python" if "broken" in name else SOURCE) is None


def names_in(store: LayoutStore, reference: str, layer: int) -> dict[str, bytes]:
    image = Images(store).get(reference)
    _, manifest = store.manifest(image.repository, image.digest)
    data = b"".join(store.read(image.repository, manifest.layers[layer]))
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        return {one.name: archive.extractfile(one).read() for one in archive if one.isreg()}  # type: ignore[union-attr]


@pytest.mark.skipif(not bytecode.compiler(), reason="this Python is not that of images")
def test_an_image_has_it_where_its_python_looks(tmp_path: Path, wheelhouse: Path) -> None:
    store = LayoutStore(tmp_path / "store")
    add_base(store, str(base(tmp_path / "base.tar")), "debian")
    image = Images(store).build(package(tmp_path / "four.zip"), "digits", wheels=wheelhouse)
    own = names_in(store, image.id, -2)
    sources = {name for name in own if name.endswith(".py")}
    compiled = {name for name in own if name.endswith(".pyc")}
    top = "opt/fieldwave/bytecode/opt/fieldwave/lib/fieldwave"
    assert {f"{top}/__main__.cpython-311.pyc", f"{top}/serving/server.cpython-311.pyc"} < compiled
    assert len(compiled) == len(sources)
    assert "PYTHONPYCACHEPREFIX=/opt/fieldwave/bytecode" in environment_of(store, image.id)


def environment_of(store: LayoutStore, reference: str) -> list[str]:
    import json

    image = Images(store).get(reference)
    _, manifest = store.manifest(image.repository, image.digest)
    environment: list[str] = json.loads(b"".join(store.read(image.repository, manifest.config)))["config"]["Env"]
    return environment


def test_another_python_builds_images_without(
    tmp_path: Path, wheelhouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bytecode, "PYTHON", "3.99")
    store = LayoutStore(tmp_path / "store")
    add_base(store, str(base(tmp_path / "base.tar")), "debian")
    lines: list[str] = []
    image = Images(store).build(package(tmp_path / "four.zip"), "digits", wheels=wheelhouse, log=lines.append)
    assert not [name for name in names_in(store, image.id, -2) if name.endswith(".pyc")]
    assert any(line.startswith("no byte code: images have Python 3.11, this is ") for line in lines)


@pytest.mark.slow
def test_a_service_finds_all_that_it_imports(podman: containers.Podman, digits_image: str, tmp_path: Path) -> None:
    known = set(bytecode.MODULES.read_text().split())
    missing = service_modules.imported(podman, digits_image, tmp_path) - known
    assert not missing, "write the list anew: python -m tests.service_modules"
