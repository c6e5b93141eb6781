import hashlib
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fieldwave
from fieldwave.errors import NotFoundError, PackageError, StorageError
from fieldwave.package import Package, Program, TensorSpec, archive, parse_package, read_package, write_package
from fieldwave.package.container import pack
from fieldwave.preprocess import Preprocessing

REMEDY = "copy it again or convert again"
INPUTS = (TensorSpec(name="images:0", aliases=("pictures",), shape=(None, 8, 8, 3)),)
OUTPUTS = (TensorSpec(name="probabilities:0", shape=(None, 10)),)
PROGRAM = Program(file="program.npu", configuration="small", fingerprint="f00d")


def write(path: Path, **changes: Any) -> Package:
    arguments: dict[str, Any] = {
        "network": "digits",
        "model": b"the model's bytes",
        "inputs": INPUTS,
        "outputs": OUTPUTS,
        "labels": ("zero", "eins", "zwölf"),
        "programs": {PROGRAM: b"instructions"},
        "extra": {"report.json": b"{}"},
    }
    return write_package(path, **{**arguments, **changes})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "digits.zip")
    return tmp_path / "digits.zip"


@pytest.fixture(autouse=True)
def version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fixed version, since the manifest holds it and sizes and digests depend on it."""
    monkeypatch.setattr("fieldwave.package.archive.__version__", "0.0.0")


def error_of(path: Path) -> str:
    with pytest.raises(PackageError) as error:
        read_package(path)
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(path), "PATH")


def change(path: Path, edit: Callable[[dict[str, bytes], dict[str, Any]], None]) -> None:
    """Rewrite a package with valid headers around changed files and a changed manifest."""
    with zipfile.ZipFile(path) as zipped:
        files = {name: zipped.read(name) for name in zipped.namelist()}
    manifest = json.loads(files["manifest.json"])
    edit(files, manifest)
    if manifest:
        files["manifest.json"] = json.dumps(manifest).encode()
    path.write_bytes(pack(files))


def test_a_package_comes_back_as_it_was_written(path: Path) -> None:
    written, read = write(path), read_package(path)
    assert read == written
    assert read.manifest == written.manifest
    assert dict(read.files) == {
        "model.onnx": b"the model's bytes",
        "program.npu": b"instructions",
        "report.json": b"{}",
    }
    assert read.model == b"the model's bytes"
    assert read.preprocessing is None
    assert read.manifest.labels == ("zero", "eins", "zwölf")
    assert read.manifest.programs == (PROGRAM,)
    assert read.manifest.version == "0.0.0"
    assert read.digest == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_preprocessing_comes_back(path: Path) -> None:
    preprocessing = Preprocessing(8, 6, order="BGR", resize="stretch", mean=(1.5, 2.0, 3.25), scale=0.1)
    write(path, preprocessing=preprocessing)
    assert read_package(path).preprocessing == preprocessing


def test_a_preprocessing_that_no_image_fits(path: Path) -> None:
    write(path, preprocessing=Preprocessing(8, 8))
    change(path, lambda files, manifest: manifest["preprocessing"].update(mean=[1.0]))
    reason = "the mean has 1 values, the order RGB takes 3: one per channel"
    assert error_of(path) == f"PATH is damaged: manifest.json: preprocessing: {reason}; {REMEDY}"


def test_a_package_does_not_print_its_weights(path: Path) -> None:
    assert "the model's bytes" not in repr(read_package(path))


def test_the_files_cannot_be_changed(path: Path) -> None:
    with pytest.raises(TypeError):
        read_package(path).files["model.onnx"] = b""  # type: ignore[index]


def test_the_same_arguments_give_these_bytes_on_every_machine(tmp_path: Path) -> None:
    package = write(tmp_path / "one.zip", extra={"a.json": b"1", "b.json": b"2"})
    assert package.digest == "sha256:dcc4c7deca5b0699f15948735b4e89937de961814d0fd53b2d795afcec2e20ca"
    other = {"b.json": b"2", "a.json": b"1"}
    assert write(tmp_path / "two.zip", extra=other, inputs=list(INPUTS)).digest == package.digest
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_the_standard_library_unzips_it(path: Path) -> None:
    with zipfile.ZipFile(path) as zipped:
        assert zipped.testzip() is None
        assert zipped.namelist() == ["manifest.json", "model.onnx", "program.npu", "report.json"]


def test_one_flipped_bit_in_any_byte_is_an_error(path: Path) -> None:
    good = path.read_bytes()
    which = random.Random(0)
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 1 << which.randrange(8)
        with pytest.raises(PackageError) as error:
            parse_package(bytes(bad), "digits.zip")
        assert str(error.value).startswith("digits.zip ")
        assert "\n" not in str(error.value)


def test_a_cut_at_any_byte_is_an_error(path: Path) -> None:
    good = path.read_bytes()
    for length in range(len(good)):
        with pytest.raises(PackageError):
            parse_package(good[:length], "digits.zip")


def test_a_flipped_bit_in_the_model_names_the_model(path: Path) -> None:
    model, damaged = b"the model's bytes", b"thf model's bytes"
    path.write_bytes(path.read_bytes().replace(model, damaged))
    found, said = (hashlib.sha256(data).hexdigest()[:12] for data in (damaged, model))
    assert error_of(path) == (
        f"PATH is damaged: model.onnx has sha256 {found}…, the manifest says {said}…; {REMEDY}"
    )


def test_a_flipped_bit_in_a_header_is_named(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    assert error_of(path) == f"PATH is damaged: the zip's headers are not as they were written; {REMEDY}"


def test_another_size_than_the_manifest_says(path: Path) -> None:
    change(path, lambda files, manifest: files.update({"model.onnx": b"short"}))
    assert error_of(path) == f"PATH is damaged: model.onnx has 5 bytes, the manifest says 17; {REMEDY}"


def test_a_file_that_is_missing(path: Path) -> None:
    change(path, lambda files, manifest: files.pop("report.json"))
    assert error_of(path) == f"PATH is damaged: report.json is missing; {REMEDY}"


def test_a_file_that_the_manifest_does_not_know(path: Path) -> None:
    change(path, lambda files, manifest: files.update({"stowaway": b""}))
    assert error_of(path) == f"PATH is damaged: stowaway is not in the manifest; {REMEDY}"


def test_no_manifest(path: Path) -> None:
    path.write_bytes(pack({"model.onnx": b""}))
    assert error_of(path) == f"PATH is no package: it has no manifest.json; {REMEDY}"


def test_a_manifest_that_is_not_json(path: Path) -> None:
    path.write_bytes(pack({"model.onnx": b"", "manifest.json": b'{"format":'}))
    reason = "EOF while parsing a value at line 1 column 10"
    assert error_of(path) == f"PATH is damaged: manifest.json is not JSON ({reason}); {REMEDY}"


def test_a_manifest_nested_without_end(path: Path) -> None:
    path.write_bytes(pack({"model.onnx": b"", "manifest.json": b"[" * 100_000}))
    assert error_of(path).startswith("PATH is damaged: manifest.json is not JSON (recursion limit exceeded")


def test_a_manifest_that_is_too_large(path: Path) -> None:
    path.write_bytes(pack({"model.onnx": b"", "manifest.json": b" " * ((4 << 20) + 1)}))
    assert error_of(path) == (
        f"PATH is no package: manifest.json has 4194305 bytes, at most 4194304 are allowed; {REMEDY}"
    )


@pytest.mark.parametrize(("written", "shown"), [("fieldwave.package/2", "'fieldwave.package/2'"), (None, "None")])
def test_another_format(path: Path, written: str | None, shown: str) -> None:
    change(path, lambda files, manifest: manifest.update(format=written))
    assert error_of(path) == (
        f"PATH has the format {shown}, fieldwave 0.0.0 reads 'fieldwave.package/1'; "
        "upgrade fieldwave or convert again"
    )


@pytest.mark.parametrize("text", [b"[]", b"null", b'"x"', b"1"])
def test_a_manifest_that_is_no_object(path: Path, text: bytes) -> None:
    path.write_bytes(pack({"model.onnx": b"", "manifest.json": text}))
    assert error_of(path).startswith("PATH has the format None, fieldwave ")


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("network", 5, "network: input should be a valid string (it is 5)"),
        ("network", "", "network: string should have at least 1 character (it is '')"),
        ("surprise", 1, "surprise: extra inputs are not permitted (it is 1)"),
        ("labels", "abc", "labels: input should be a valid array (it is 'abc')"),
        ("inputs", [], "inputs: tuple should have at least 1 item after validation, not 0 (it is [])"),
        (
            "inputs",
            [{"name": "x", "shape": [None, 0]}],
            "inputs.0.shape.1: input should be greater than 0 (it is 0)",
        ),
        (
            "inputs",
            [{"name": "x", "shape": [None, "8"]}],
            "inputs.0.shape.1: input should be a valid integer (it is '8')",
        ),
        ("inputs", [{"name": "x"}], "inputs.0.shape is missing"),
        ("files", {}, "files has no model.onnx"),
        (
            "programs",
            [{"file": "other.npu", "configuration": "small", "fingerprint": "1"}],
            "programs names other.npu, which files has not",
        ),
        (
            "programs",
            [{"file": "../x", "configuration": "small", "fingerprint": "1"}],
            "programs.0.file: '../x' is no file name of a package (a-z, 0-9, '.', '_', '-', at most 100)"
            " (it is '../x')",
        ),
    ],
)
def test_a_manifest_with_a_wrong_field(path: Path, key: str, value: Any, text: str) -> None:
    change(path, lambda files, manifest: manifest.update({key: value}))
    assert error_of(path) == f"PATH is damaged: manifest.json: {text}; {REMEDY}"


def test_a_long_wrong_value_is_shortened(path: Path) -> None:
    change(path, lambda files, manifest: manifest.update(labels="x" * 1000))
    assert error_of(path).endswith(f"(it is '{'x' * 78}…); {REMEDY}")


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a\\b"])
def test_a_zip_whose_names_leave_the_folder(path: Path, name: str) -> None:
    with zipfile.ZipFile(path, "a") as zipped:
        zipped.writestr(name, b"evil")
    assert error_of(path) == (
        f"PATH is no package or damaged: member {name!r} is no file name of a package "
        f"(a-z, 0-9, '.', '_', '-', at most 100); {REMEDY}"
    )
    assert list(path.parent.iterdir()) == [path]


def test_not_a_zip(path: Path) -> None:
    path.write_bytes(b"\x89PNG")
    assert error_of(path) == f"PATH is no package or damaged: it is not a zip file; {REMEDY}"


def test_a_truncated_zip(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])
    reason = "the zip directory at its end is missing, the file is cut short"
    assert error_of(path) == f"PATH is no package or damaged: {reason}; {REMEDY}"


def test_a_file_that_is_too_large(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 100)
    assert error_of(path) == "PATH is larger than 100 bytes, no package is; name another file"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "rn50.zip"
    with pytest.raises(NotFoundError) as error:
        read_package(missing)
    assert str(error.value) == f"no package {missing}; write one with: fieldwave convert --output {missing}"


def test_a_folder_and_a_pipe_are_no_packages(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert error_of(tmp_path) == "PATH is not a file; name the package's zip file"
    assert error_of(pipe) == "PATH is not a file; name the package's zip file"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(StorageError) as error:
        read_package(loop)
    assert str(error.value) == f"cannot read {loop}: Too many levels of symbolic links"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"network": ""}, "network: string should have at least 1 character (it is '')"),
        ({"inputs": ()}, "inputs: tuple should have at least 1 item after validation, not 0 (it is ())"),
        ({"extra": {"model.onnx": b""}}, "two files are named 'model.onnx'; rename one"),
        ({"extra": {"manifest.json": b""}}, "two files are named 'manifest.json'; rename one"),
        ({"extra": {"program.npu": b""}}, "two files are named 'program.npu'; rename one"),
        (
            {"extra": {"a/b": b""}},
            "files.a/b.[key]: 'a/b' is no file name of a package (a-z, 0-9, '.', '_', '-', at most 100)"
            " (it is 'a/b')",
        ),
        ({"extra": {f"f{n}": b"" for n in range(62)}}, "65 files, at most 64 are allowed"),
        (
            {"labels": ["x" * 1000] * 4200},
            "the manifest has 4234613 bytes, at most 4194304 are allowed",
        ),
    ],
)
def test_what_no_package_can_hold_is_not_written(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    target = tmp_path / "digits.zip"
    with pytest.raises(PackageError) as error:
        write(target, **changes)
    assert str(error.value) == f"cannot write {target}: {text}"
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_too_large_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 50_000)
    target = tmp_path / "digits.zip"
    with pytest.raises(PackageError) as error:
        write(target, model=bytes(50_000), labels=())
    assert str(error.value) == f"cannot write {target}: the files have 51028 bytes, at most 50000 are allowed"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs root and CAP_SYS_ADMIN")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_full_disk_leaves_the_old_package_and_nothing_else(small_disk: Path) -> None:
    target = small_disk / "digits.zip"
    before = write(target)
    with pytest.raises(StorageError) as error:
        write(target, model=bytes(100_000))
    assert str(error.value) == f"cannot write {target}: No space left on device; nothing was left behind"
    assert os.listdir(small_disk) == ["digits.zip"]
    assert read_package(target) == before


LIMITED = """
import resource, sys
from fieldwave.errors import StorageError
from fieldwave.package import TensorSpec, write_package
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
spec = TensorSpec(name="x", shape=(None,))
try:
    write_package(sys.argv[1], network="digits", model=bytes(20_000), inputs=[spec], outputs=[spec])
except StorageError as error:
    print(error)
"""


def test_a_limit_on_file_sizes_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "digits.zip"
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, target], capture_output=True, text=True, check=True, env=environment()
    )
    assert run.stdout == f"cannot write {target}: File too large; nothing was left behind\n"
    assert list(tmp_path.iterdir()) == []


def environment() -> dict[str, str]:
    """This one, with the package under test importable."""
    return {**os.environ, "PYTHONPATH": str(Path(fieldwave.__file__).parents[1])}


def test_a_missing_folder(tmp_path: Path) -> None:
    target = tmp_path / "nowhere" / "digits.zip"
    with pytest.raises(StorageError) as error:
        write(target)
    assert str(error.value) == f"cannot write {target}: No such file or directory; nothing was left behind"
