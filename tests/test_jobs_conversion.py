"""Conversion as a job: from a registered model to a registered package, by real processes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import fieldwave
from fieldwave import zoo
from fieldwave.errors import CalibrationError, ConflictError, FieldwaveError, InputError, JobError, NotFoundError
from fieldwave.frontends import Pixels
from fieldwave.jobs import ENDED, Jobs, Operation, convert
from fieldwave.jobs.conversion import _to_json
from fieldwave.jobs.convert_work import LOG, _preprocessing
from fieldwave.jobs.state import JobFolder
from fieldwave.package import read_package
from fieldwave.preprocess import Preprocessing
from fieldwave.registry import RegisteredModel
from fieldwave.workspace import Workspace
from tests import oci_registry


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "photos").mkdir()
    for index, pixels in enumerate(zoo.digits_images().calibration_images[:4]):
        (tmp_path / "photos" / f"{index}.png").write_bytes(zoo.digit_png(pixels))
    return Workspace.create(tmp_path)


@pytest.fixture
def source(workspace: Workspace) -> RegisteredModel:
    """The digits network as a registered ONNX file; its preprocessing is not in it."""
    file = workspace.root / "digits.onnx"
    file.write_bytes(zoo.to_onnx(*zoo.load("digits", "")).SerializeToString())
    return workspace.registry.register(file, "digits")


PIXELS = Pixels(mean=(0.0,), scale=1 / 255, resize="stretch", order="GRAY")


def test_a_registered_model_becomes_a_registered_package(
    workspace: Workspace, source: RegisteredModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    operation = convert(
        source,
        None,
        "digits/predictions/Softmax:0",
        "sim16",
        calibration="photos",
        preprocessing=PIXELS,
        labels="0123456789",
        tags={"team": "vision"},
        properties={"top1": "0.99"},
        description="Digits.",
    )
    reference = f"digits:1@{source.digest}"
    assert Jobs(workspace).users(reference) == [f"job {operation.id}"]
    assert Jobs(workspace).users("digits:2@sha256:00") == []
    assert operation.wait_for_completion(), list(operation.logs())
    assert Jobs(workspace).users(reference) == []
    made = operation.result
    assert made == workspace.registry.get("digits-int8:1")
    assert (made.kind, made.source) == ("package", reference)
    assert (dict(made.tags), made.description) == ({"team": "vision"}, "Digits.")
    assert dict(made.properties) == {"top1": "0.99", "job": operation.id}
    (path,) = workspace.registry.download(made, tmp_path / "out")
    options = {"calibration": "photos", "preprocessing": PIXELS, "labels": "0123456789", "npu": ["sim16"]}
    assert (
        read_package(path).digest == fieldwave.convert("digits.onnx", output="here.zip", **options).package.digest
    )
    manifest = read_package(path).manifest
    assert path.name == "digits-int8.zip"
    assert (manifest.labels, [one.configuration for one in manifest.programs]) == (tuple("0123456789"), ["sim16"])
    assert [str(tensor) for tensor in manifest.outputs] == ["digits/predictions/Softmax:0 float32 [N, 10]"]
    assert list(operation.snapshot().stages) == [
        "fetching digits:1",
        "loading the model",
        "reading calibration images",
        "calibrating: ranges",
        "comparing float and int8",
        "compiling for sim16",
        "registering digits-int8",
    ]
    (log,) = workspace.registry.attachments(made, LOG)
    assert log.decode().splitlines() == list(operation.logs())[:-1]  # all but how it ended
    assert log.decode().splitlines()[-1].endswith(f"registered digits-int8:1 {made.digest}")
    workspace.registry.delete(source)
    assert operation.result == made


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"model": "digits:2"}, NotFoundError, "model 'digits' has no version or alias '2': it has 1"),
        (
            {"model": "Digits"},
            NotFoundError,
            "no model 'Digits': no file has that name, and no registered model can",
        ),
        (
            {"model": object()},
            InputError,
            "a job runs in a process of its own and cannot take a object: "
            "register a file of it, or convert it here with fieldwave.convert",
        ),
        ({"name": "Digits"}, InputError, "'Digits' is no name for a model: use lower-case letters and digits, "),
        ({"tags": {"a b": "c"}}, InputError, "'a b' is no key of a tag: "),
        ({"properties": {"job": "x"}}, InputError, "the property 'job' is the job's own: it will be the name of "),
        ({"target": "sim17"}, NotFoundError, "'sim17'"),
        ({"calibration": "nowhere"}, NotFoundError, "no folder nowhere; name one that holds JPEG or PNG images"),
        ({"calibration": "."}, CalibrationError, "folder . holds no JPEG or PNG image; put 16 or more there, "),
        ({"evaluation": "nowhere"}, NotFoundError, "no folder nowhere; name one with a sub-folder of images for "),
        ({"timeout": 0}, InputError, "the timeout is 0 s; give a positive number of seconds, or none"),
    ],
)
def test_what_is_wrong_is_told_before_a_job_is_begun(
    workspace: Workspace,
    source: RegisteredModel,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    kind: type[FieldwaveError],
    message: str,
) -> None:
    monkeypatch.chdir(workspace.root)
    model = arguments.pop("model", source)
    with pytest.raises(kind) as caught:
        convert(model, **{"calibration": "photos", **arguments})
    assert message in str(caught.value)
    assert Jobs(workspace).list() == []


def test_a_package_is_not_converted_again(workspace: Workspace, digits: Any) -> None:
    model = workspace.registry.register(digits.path, "digits")
    for wanted in (model, "digits", "digits:1"):
        with pytest.raises(InputError) as caught:
            convert(wanted, calibration=workspace.root / "photos", workspace=workspace)
        assert str(caught.value) == "model digits:1 is a package already; convert what it was made of"


def test_a_model_of_another_registry_is_refused(workspace: Workspace, source: RegisteredModel) -> None:
    other = dataclasses.replace(source, digest="sha256:00")
    with pytest.raises(ConflictError) as caught:
        convert(other, calibration=workspace.root / "photos", workspace=workspace)
    assert str(caught.value) == f"model digits:1 is {source.digest} here, not sha256:00; get it again"


def test_a_conversion_that_fails_registers_nothing(workspace: Workspace, source: RegisteredModel) -> None:
    operation = convert("digits:1", calibration=workspace.root / "photos", workspace=workspace)
    assert not operation.wait_for_completion()
    assert operation.error.startswith("network 'digits' does not say how pixels become its input: give the mean ")
    with pytest.raises(JobError, match=f"^job {operation.id} is Failed: network 'digits' does not say how "):
        _ = operation.result
    assert workspace.registry.find() == [source]
    assert sorted(os.listdir(operation.folder)) == ["job.json", "job.log", "lock", "status.json"]


@pytest.mark.parametrize(
    "said", [None, PIXELS, Pixels(size=(3, 4)), Preprocessing(8, 8, "GRAY", "stretch", 1, (0.5,), 0.1)]
)
def test_preprocessing_goes_through_json(said: Pixels | Preprocessing | None) -> None:
    assert _preprocessing(json.loads(json.dumps(_to_json(said)))) == said


FULL = """
import os, sys
from pathlib import Path
from fieldwave.errors import StorageError
from fieldwave.jobs import convert
from fieldwave.workspace import Workspace

root, photos = Path(sys.argv[1]), Path(sys.argv[2])
workspace, filler = Workspace.create(root), root / "filler"

def job(left):
    filler.unlink(missing_ok=True)
    space = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
    filler.write_bytes(bytes(space - left))
    return convert("digits", target="sim16", calibration=photos, workspace=workspace)

workspace.create_folder("jobs")
try:
    job(0)
except StorageError as error:
    print(error, os.listdir(root / ".fieldwave/jobs"), sep="|")
for left in (60_000, 250_000, 1_000_000):
    operation = job(left)
    operation.wait_for_completion()
    now = operation.snapshot()
    names = [model.id for model in workspace.registry.find()]
    print(now.state, now.error, names, (operation.folder / "work").exists(), sep="|")
"""


def test_a_full_disk_is_told_and_leaves_nothing(workspace: Workspace, tmp_path: Path) -> None:
    if not shutil.which("unshare"):
        pytest.skip("unshare is not installed: apt-get install util-linux")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=2m none {disk} && exec "$@"'
    command = [sys.executable, "-c", FULL, str(disk), str(workspace.root / "photos")]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", *command], capture_output=True, text=True, timeout=100
    )
    if "not permitted" in done.stderr:
        pytest.skip("this machine does not let users mount a disk of their own (unshare -rm)")
    assert done.returncode == 0, done.stderr
    none, package, store, enough = done.stdout.splitlines()
    assert none.endswith("/job.json: No space left on device; nothing was left behind|[]")
    # Too little for the package in the job's folder, and then for a copy of it in the store.
    for full in (package, store):
        assert re.fullmatch(r"Failed\|.*No space left on device.*\|\[\]\|False", full)
    assert enough == "Succeeded||['digits-int8:1']|False"


@pytest.mark.slow
@pytest.mark.skipif(oci_registry.PROGRAM is None, reason=oci_registry.MISSING)
def test_it_works_on_a_registry_and_says_when_that_is_down(workspace: Workspace, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (tmp_path / "registry").mkdir()
    with oci_registry.running(tmp_path / "registry") as address:
        (tmp_path / "fieldwave.toml").write_text(f'store = "oci://{address}/team"\n')
        remote = Workspace(tmp_path)
        operation = convert("digits", calibration=photos, workspace=remote)
        assert operation.wait_for_completion(), operation.error
        assert operation.result == remote.registry.get("digits-int8:1")
        (log,) = remote.registry.attachments(operation.result, LOG)
        assert log.decode().splitlines() == list(operation.logs())[:-1]
    operation = convert("digits", weights="random:0", calibration=photos, workspace=remote)
    assert not operation.wait_for_completion()
    assert operation.error.endswith("[Errno 111] Connection refused")


@pytest.mark.slow
def test_a_registered_saved_model(workspace: Workspace, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="tensorflow is not installed: pip install 'fieldwave[tensorflow]'")
    from tests.tensorflow_models import keras_network

    source = workspace.registry.register(keras_network(tmp_path / "flowers"), "flowers")
    operation = convert(source, target="sim16", calibration=tmp_path / "photos", size=32, workspace=workspace)
    assert operation.wait_for_completion(), list(operation.logs())
    made = operation.result
    assert (made.id, made.source) == ("flowers-int8:1", f"flowers:1@{source.digest}")
    assert (made.facts["network"], made.facts["npu"]) == ("flowers", "sim16")


@pytest.mark.slow
@pytest.mark.parametrize("when", ["anywhere", "while it registers"])
def test_a_killed_conversion_is_whole_or_nothing(workspace: Workspace, when: str) -> None:
    """What the job says is what the registry has, and the rerun succeeds."""

    def begin() -> Operation[RegisteredModel]:
        return convert("digits", target="sim16", calibration=workspace.root / "photos", workspace=workspace)

    begun, first = time.monotonic(), begin()
    assert first.wait_for_completion()
    duration, states = time.monotonic() - begun, []
    for step in range(40):
        operation = begin()
        while when != "anywhere" and not operation.progress[0].startswith("registering"):
            time.sleep(0.001)
        time.sleep((duration * 1.1 if when == "anywhere" else 0.3) * step / 40)
        now, leader = operation.snapshot(), JobFolder(operation.folder).leader()
        victim = now.pid if step % 2 else leader
        if now.state not in ENDED and victim:
            with contextlib.suppress(ProcessLookupError):  # it was faster
                os.kill(victim, signal.SIGKILL)
        operation.wait_for_completion()
        states.append((operation.state, step % 2, now.state in ENDED))
        made = workspace.registry.find("digits-int8", properties=[f"job={operation.id}"])
        if operation.state == "Succeeded":
            assert [operation.result] == made
        else:
            assert (operation.state, made) == ("Failed", []), (step, operation.snapshot())
    assert {state for state, _, _ in states} == {"Failed", "Succeeded"}, states
    assert begin().wait_for_completion()
