"""A service that runs in a container of its image, by podman: an image of ours, and real predictions."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fieldwave.conversion import Conversion
from fieldwave.deploy import LocalTarget, Service
from fieldwave.deploy.state import ServiceFolder
from fieldwave.errors import NotFoundError, ServiceError
from fieldwave.images import Image, Images
from fieldwave.workspace import Workspace
from fieldwave.zoo import digit_png, digits_images
from tests.containers import MISSING, PROGRAM, Podman, podman, real_store

pytestmark = [pytest.mark.slow]
needs_podman = pytest.mark.skipif(PROGRAM is None, reason=MISSING)


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """podman whose storage is found by the environment, too."""
    folder = tmp_path_factory.mktemp("podman")
    with podman(folder) as it:
        it.environment["CONTAINERS_STORAGE_CONF"] = str(folder / "storage.conf")
        yield it


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.create(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def image(workspace: Workspace, digits: Conversion) -> Image:
    store = real_store(workspace.folder)
    assert workspace.store.address == store.address
    return Images(store).build(digits.path, "digits")


@pytest.fixture
def target(workspace: Workspace, containers: Podman, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalTarget]:
    for name in ("CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "TMPDIR"):
        monkeypatch.setenv(name, containers.environment[name])
    target = LocalTarget(workspace)
    yield target
    for service in target.list():
        target.delete(service.name)


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "it did not happen in time"
        time.sleep(0.02)


def right(service: Service) -> int:
    """How many of a hundred digits the service knows."""
    found = digits_images()
    with service.client() as client:
        answers = [
            int(client.score_image(digit_png(found.heldout_images[index])).argmax()) for index in range(100)
        ]
    return sum(answer == int(label) for answer, label in zip(answers, found.heldout_labels[:100], strict=True))


def listening(port: int) -> list[str]:
    """The addresses on which somebody listens on that port, as the kernel writes them: 127.0.0.1 is 0100007F."""
    lines = [
        line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()
    ]
    places = [line[1].split(":") for line in lines if line[3] == "0A"]
    found = [address for address, number in places if int(number, 16) == port]
    assert found
    return found


def running(containers: Podman) -> list[str]:
    return containers("ps", "--quiet").split()


@needs_podman
def test_it_answers_is_confined_and_leaves_nothing(target: LocalTarget, image: Image, containers: Podman) -> None:
    service = target.deploy(image, "digits", runtime="podman")
    assert service.state == "Healthy"
    assert right(service) >= 95
    (container,) = running(containers)
    said = containers.inspect(container)
    assert said["HostConfig"]["ReadonlyRootfs"] is True
    assert said["Config"]["User"] == "1000"
    assert said["EffectiveCaps"] in (None, [])
    assert all(address.endswith("0100007F") for address in listening(service.port))
    target.delete("digits")
    assert containers("ps", "--all", "--quiet") == ""


@needs_podman
def test_whatever_is_killed_it_is_back_or_gone(target: LocalTarget, image: Image, containers: Podman) -> None:
    service = target.deploy(image, "digits", runtime="podman")
    (first,) = running(containers)
    # What the supervisor looks after; the container itself is podman's.
    os.kill(service.pid or 0, signal.SIGKILL)
    until(lambda: target.get("digits").restarts == 1)
    assert right(target.get("digits").wait(30)) >= 95
    (second,) = running(containers)
    assert second != first
    # The server in the container.
    containers("kill", "--signal", "KILL", second)
    until(lambda: target.get("digits").restarts == 2)
    assert right(target.get("digits").wait(30)) >= 95
    # Who looks after it.
    status = ServiceFolder(target.workspace.services_folder / "digits").read_status()
    assert status is not None
    os.kill(status.supervisor, signal.SIGKILL)
    until(lambda: target.get("digits").state == "Failed")
    until(lambda: running(containers) == [])
    target.delete("digits")


@needs_podman
def test_keys_replicas_and_another_image(
    target: LocalTarget, image: Image, containers: Podman, digits: Conversion
) -> None:
    other = Images(target.workspace.store).build(digits.path, "other", labels={"org.example.colour": "blue"})
    service = target.deploy(image, "digits", runtime="podman", secure=True, replicas=2)
    assert right(service) >= 95
    assert len(running(containers)) == 2
    updated = target.update("digits", other)
    assert updated.image == f"other:1@{other.digest}"
    assert updated.addresses == service.addresses
    assert right(updated) >= 95
    names = {containers.inspect(container)["ImageName"] for container in running(containers)}
    assert names == {other.reference()}


@needs_podman
def test_an_image_that_does_not_start_is_told(target: LocalTarget, image: Image, containers: Podman) -> None:
    with pytest.raises(ServiceError) as caught:
        target.deploy(image, "digits", device="rtl:tiny", runtime="podman")
    assert str(caught.value).startswith("service 'digits' did not start: ")
    assert containers("ps", "--all", "--quiet") == ""
    assert target.list() == ()


def test_without_podman_it_is_said(
    target: LocalTarget, image: Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFoundError) as caught:
        target.deploy(image, "digits", runtime="podman")
    assert str(caught.value) == (
        "podman is not on this machine; install it (apt-get install podman), or deploy without --runtime podman"
    )
