"""The whole road on this machine: a package, a service that is killed under load, and nothing left of it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldwave import zoo
from fieldwave.client import PredictionClient
from fieldwave.conversion import convert
from fieldwave.deploy import LocalTarget
from fieldwave.deploy.state import ServiceFolder
from fieldwave.devices import create_device
from fieldwave.errors import ServiceError
from fieldwave.package import read_package, write_package
from fieldwave.preprocess import preprocess
from fieldwave.workspace import Workspace
from tests.processes import runs

IMAGES = 8


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return [zoo.digit_png(pixels) for pixels in zoo.digits_images().heldout_images[:IMAGES]]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, images: list[bytes]) -> Path:
    folder = tmp_path_factory.mktemp("package")
    (folder / "photos").mkdir()
    for number, image in enumerate(images):
        (folder / "photos" / f"{number}.png").write_bytes(image)
    return convert("digits", calibration=folder / "photos", output=folder / "digits.zip").path


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalTarget]:
    target = LocalTarget(Workspace(tmp_path))
    yield target
    for service in target.list():
        target.delete(service.name)


def test_killed_under_load_it_is_back_and_every_answer_is_right(
    target: LocalTarget, package: Path, images: list[bytes]
) -> None:
    service = target.deploy(package, "digits")
    right = _direct(target, images)
    answers: list[tuple[int, NDArray[np.float32]]] = []
    failures: list[BaseException] = []
    enough = threading.Event()

    def load() -> None:
        try:
            with service.client() as client:
                while not enough.is_set():
                    number = len(answers) % IMAGES
                    answers.append((number, client.score_image(images[number])))
        except BaseException as error:
            failures.append(error)

    def more(count: int) -> None:
        goal = len(answers) + count
        _until(lambda: len(answers) >= goal or bool(failures))

    clients = [threading.Thread(target=load) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        for restart in (1, 2):
            more(50)
            before = target.get("digits")
            assert before.pid is not None
            os.kill(before.pid, signal.SIGKILL)
            killed = time.monotonic()
            _until(lambda count=restart: target.get("digits").restarts == count)
            after = target.get("digits").wait(10)
            more(3)  # two might have been on their way
            assert time.monotonic() - killed < 5.0
            assert after.port == service.port
            assert after.pid != before.pid
    finally:
        enough.set()
        for client in clients:
            client.join()
    status = ServiceFolder(target.workspace.services_folder / "digits").read_status()
    target.delete("digits")

    assert failures == []
    wrong = [number for number, answer in answers if answer.tobytes() != right[number].tobytes()]
    assert wrong == []
    assert list(target.workspace.services_folder.iterdir()) == []
    assert status is not None
    assert not runs(after.pid or 0)
    assert not runs(status.supervisor)


def test_it_changes_under_load_and_no_answer_is_lost(
    target: LocalTarget, package: Path, images: list[bytes], tmp_path: Path
) -> None:
    service = target.deploy(package, "digits")
    other = _other(package, tmp_path)
    right = _direct(target, images)
    seen: list[int] = []
    failures: list[BaseException] = []
    enough = threading.Event()

    def load() -> None:
        try:
            with service.client() as client:
                while not enough.is_set():
                    for number, image in enumerate(images):
                        # The scores are the same, the labels tell the packages apart.
                        assert client.score_image(image).tobytes() == right[number].tobytes()
                    seen.append(1)
        except BaseException as error:
            failures.append(error)

    clients = [threading.Thread(target=load) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        for source in (other, package):
            goal = len(seen) + 4
            _until(lambda least=goal: len(seen) >= least or bool(failures))
            after = target.update("digits", source)
            assert (after.pid, after.restarts) == (service.pid, 0)
        scaled = target.scale("digits", 2)
        with scaled.client() as both:
            for image, scores in zip(images, right, strict=True):
                assert both.score_image(image).tobytes() == scores.tobytes()
        target.scale("digits", 1)
    finally:
        enough.set()
        for client in clients:
            client.join()
    assert failures == []
    with target.update("digits", other).client() as client:
        assert client.labels() == tuple("abcdefghij")


def test_a_service_with_keys_answers_those_who_have_one(
    target: LocalTarget, package: Path, images: list[bytes]
) -> None:
    service = target.deploy(package, "digits", secure=True)
    with service.client() as client:
        assert client.score_image(images[0]).shape == (10,)
    with PredictionClient(service.address) as nobody, pytest.raises(ServiceError) as caught:
        nobody.score_image(images[0])
    assert caught.value.code == "UNAUTHENTICATED"
    old = target.keys("digits").primary
    with service.client() as client, PredictionClient(service.address, access_token=old) as late:
        assert client.score_image(images[0]).shape == (10,)
        target.regenerate_key("digits", "primary")
        _until(lambda: not _accepts(late, images[0]))
        assert client.score_image(images[0]).shape == (10,)  # it has looked the new key up


@pytest.mark.slow
def test_a_frozen_process_is_seen(target: LocalTarget, package: Path) -> None:
    service = target.deploy(package, "digits")
    assert service.pid is not None
    os.kill(service.pid, signal.SIGSTOP)
    _until(lambda: target.get("digits").state == "Unhealthy")
    assert target.get("digits").reason == f"process {service.pid} is there and does not answer"
    os.kill(service.pid, signal.SIGCONT)
    _until(lambda: target.get("digits").state == "Healthy")


def test_a_deleted_service_has_ended_in_order(target: LocalTarget, package: Path, images: list[bytes]) -> None:
    service = target.deploy(package, "digits")
    with service.client() as client:
        assert client.score_image(images[0]).shape == (10,)
    lines = target.logs("digits", follow=True)
    first = next(lines)
    target.delete("digits")
    assert first.endswith(f"for port {service.port}")
    assert any(line.endswith("fieldwave.serving.serve: stopped") for line in lines)


def _other(package: Path, folder: Path) -> Path:
    """The same network with other labels."""
    content = read_package(package)
    manifest = content.manifest
    assert content.preprocessing is not None
    path = folder / "other.zip"
    write_package(
        path,
        network="other",
        model=content.model,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        preprocessing=content.preprocessing,
        labels=tuple("abcdefghij"),
    )
    return path


def _accepts(client: PredictionClient, image: bytes) -> bool:
    try:
        return client.score_image(image).shape == (10,)
    except ServiceError as error:
        assert error.code == "UNAUTHENTICATED"
        return False


def _direct(target: LocalTarget, images: list[bytes]) -> list[NDArray[np.float32]]:
    package = target.package("digits")
    assert package.preprocessing is not None
    answers = []
    with create_device("cpu") as device:
        device.load(package)
        for image in images:
            (answer,) = device.run(
                {package.manifest.inputs[0].name: preprocess(image, package.preprocessing)[None]}
            ).values()
            answers.append(answer[0])
    return answers


def _until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "it did not happen in time"
        time.sleep(0.005)
