from __future__ import annotations

import gzip
import hashlib
import io
import stat
import tarfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwave.errors import InputError, StorageError
from fieldwave.images.layer import LayerWriter
from fieldwave.images.members import around, stored
from fieldwave.images.wheel import wheel_files
from tests import image_parts


@given(st.lists(st.tuples(st.binary(max_size=200_000), st.booleans()), max_size=4))
@settings(max_examples=20, deadline=None)
def test_members_after_one_another_are_one_gzip_file(parts: list[tuple[bytes, bool]]) -> None:
    zipped = b""
    for data, compressed in parts:
        deflated = zlib.compress(data, wbits=-15)
        zipped += around(deflated, zlib.crc32(data), len(data)) if compressed else stored(data)
    if zipped:
        assert gzip.decompress(zipped) == b"".join(data for data, _ in parts)


def test_stored_bytes_are_these() -> None:
    assert stored(b"abc").hex() == "1f8b08000000000000ff" + "010300fcff" + "616263" + "c2412435" + "03000000"


def small(folder: Path) -> bytes:
    with LayerWriter(folder / "layer") as layer:
        layer.folder("opt/a")
        layer.file("opt/a/b", b"x" * 700, 0o755)
        layer.link("opt/a/c", "b")
        data = b"y" * 1000
        # What a compressor made of it, once; here by hand, so that the digests below follow from nothing but us.
        block = b"\x01" + (1000).to_bytes(2, "little") + (1000 ^ 0xFFFF).to_bytes(2, "little") + data
        layer.deflated_file("opt/a/d", block, zlib.crc32(data), 1000)
        written = layer.finish()
    data = written.path.read_bytes()
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == written.digest
    assert f"sha256:{hashlib.sha256(gzip.decompress(data)).hexdigest()}" == written.diff_id
    assert len(data) == written.size
    return data


def test_a_layer_is_a_tar_archive(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(small(tmp_path)), mode="r:gz") as archive:
        found = [(m.name, m.size, m.linkname, stat.filemode(m.mode)) for m in archive]
        assert archive.extractfile("opt/a/d").read() == b"y" * 1000  # type: ignore[union-attr]
    assert found == [
        ("opt", 0, "", "?rwxr-xr-x"),
        ("opt/a", 0, "", "?rwxr-xr-x"),
        ("opt/a/b", 700, "", "?rwxr-xr-x"),
        ("opt/a/c", 0, "b", "?rwxrwxrwx"),
        ("opt/a/d", 1000, "", "?rw-r--r--"),
    ]


def test_a_layer_has_this_digest_under_every_python(tmp_path: Path) -> None:
    assert hashlib.sha256(small(tmp_path)).hexdigest() == (
        "6a481d217066ec8e3c2856df10ee524837405a01f776b3097a239c9712e2d2cb"
    )


@pytest.mark.parametrize("length", [1, 99, 100, 101, 155, 200, 255])
def test_a_long_name_is_a_name(tmp_path: Path, length: int) -> None:
    name = "/".join(["d" * 49] * 6)[-length:].lstrip("/")
    with LayerWriter(tmp_path / "layer") as layer:
        layer.file(name, b"data")
        path = layer.finish().path
    with tarfile.open(path) as archive:
        assert archive.getnames() == [name]


def test_a_name_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error, LayerWriter(tmp_path / "layer") as layer:
        layer.file("n" * 101, b"data")
    assert str(error.value) == f"the name {'n' * 101} of 101 bytes does not fit into an image; shorten it"
    assert not (tmp_path / "layer").exists()


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error, LayerWriter(tmp_path / "layer") as layer:
        layer.file("opt/a", b"1")
        layer.file("opt/a", b"2")
    assert str(error.value) == "two files of the image are named opt/a"


def test_a_layer_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as error, LayerWriter(tmp_path / "absent" / "layer"):
        pass
    assert str(error.value) == f"cannot write {tmp_path / 'absent' / 'layer'}: No such file or directory"


def test_a_wheel_gives_what_python_imports(tmp_path: Path) -> None:
    files = {
        "pkg/__init__.py": b"A = 1\n",
        "pkg-1.0.data/purelib/more.py": b"B = 2\n",
        "pkg-1.0.data/platlib/pkg/c.so": b"C" * 5000,
        "pkg-1.0.data/scripts/run": b"#!python\n",
        "pkg-1.0.data/headers/a.h": b"",
    }
    path, _ = image_parts.wheel(tmp_path, "pkg", files)
    found = {file.path: file for file in wheel_files(path)}
    about = [f"pkg-1.0.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL")]
    assert list(found) == ["more.py", *about, "pkg/__init__.py", "pkg/c.so"]
    assert zlib.decompress(found["pkg/c.so"].data, wbits=-15) == b"C" * 5000


@pytest.mark.parametrize("name", ["../a.py", "/a.py", "a/../../b.py", "a\\b.py", "a//b.py", "./a.py"])
def test_a_wheel_cannot_lead_out_of_its_folder(tmp_path: Path, name: str) -> None:
    path, _ = image_parts.wheel(tmp_path, "bad", {name: b""})
    with pytest.raises(InputError) as error:
        list(wheel_files(path))
    assert str(error.value) == f"{path} holds a file named {name!r}, which leads out of its folder"


def test_a_damaged_wheel_is_refused(tmp_path: Path) -> None:
    path, _ = image_parts.wheel(tmp_path, "bad", {"a.py": b"A = 1\n" * 100})
    data = bytearray(path.read_bytes())
    data[40] ^= 0xFF  # in the stream of the only file
    path.write_bytes(data)
    file = next(file for file in wheel_files(path) if file.path == "a.py")
    with pytest.raises(InputError) as error, LayerWriter(tmp_path / "layer") as layer:
        layer.deflated_file("a.py", file.data, file.crc, file.size)
    assert str(error.value).startswith("a.py is damaged: ")
    path.write_bytes(b"no zip at all")
    with pytest.raises(InputError, match="is no wheel: File is not a zip file"):
        list(wheel_files(path))
