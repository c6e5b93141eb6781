"""A box with sshd and podman, for real: an image goes there, serves with keys and TLS, and goes again."""

from __future__ import annotations

import base64
import json
import os
import signal
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fieldwave.client import PredictionClient
from fieldwave.conversion import Conversion
from fieldwave.deploy.edge import EdgeTarget
from fieldwave.devices import open_device
from fieldwave.errors import ConflictError, FieldwaveError, NotFoundError, ServiceError
from fieldwave.images import Image, Images
from fieldwave.package import read_package
from fieldwave.workspace import Workspace
from fieldwave.zoo import digit_png, digits_images
from tests import containers, edge_box, edge_image
from tests.test_deploy_ways import twin_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(containers.PROGRAM is None, reason=containers.MISSING),
    pytest.mark.skipif(edge_image.CATATONIT is None, reason=edge_image.MISSING),
    pytest.mark.skipif(edge_box.SSHD is None, reason=edge_box.MISSING),
]

DIGIT = digit_png(digits_images().heldout_images[0])


@pytest.fixture(scope="module")
def box(podman: containers.Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[edge_box.Box]:
    environment = edge_box.podman_environment(podman)
    with edge_box.running(tmp_path_factory.mktemp("box"), environment=environment) as box:
        yield box


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("workspace")
    containers.real_store(folder / ".fieldwave")
    return Workspace(folder)


@pytest.fixture(scope="module")
def image(workspace: Workspace, digits: Conversion) -> Image:
    return Images(workspace.store).build(digits.path, "digits", base="debian")


@pytest.fixture
def target(workspace: Workspace, box: edge_box.Box) -> Iterator[EdgeTarget]:
    target = EdgeTarget(workspace, box.host)
    yield target
    for service in target.list():
        target.delete(service.name)
    target.close()


def score(target: EdgeTarget, name: str) -> np.ndarray:
    with target.get(name).client() as client:
        scores = client.score_image(DIGIT)
    assert isinstance(scores, np.ndarray)
    return scores


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def test_a_service_is_deployed_called_changed_and_deleted(
    target: EdgeTarget,
    box: edge_box.Box,
    podman: containers.Podman,
    image: Image,
    digits: Conversion,
    tmp_path: Path,
) -> None:
    notes: list[str] = []
    target._note = notes.append
    service = target.deploy(image, "digits")
    assert (service.state, service.network, service.secure) == ("Healthy", "digits", True)
    assert service.image == f"digits:{image.version}@{image.digest}"
    assert service.package == image.package
    if not os.path.isdir("/run/systemd/system"):
        assert notes == [
            "box has no systemd that would start digits with the box: have its own start-up run "
            f"'podman pod start fieldwave-digits' as {target.check().user}"
        ]

    # The answer is that of the same package on this machine's processor, bit for bit.
    package = read_package(digits.path)
    with open_device("cpu") as device:
        device.load(package)
        [local] = device.run(package.image_input(DIGIT)).values()
    local = local[0]
    np.testing.assert_array_equal(score(target, "digits"), local)

    # It is called over HTTP as well, once that is asked for, with the same certificate and keys.
    assert service.http == ()
    [url] = target.update("digits", http_port=0).http
    trust = ssl.create_default_context(cadata=service.certificate)
    body = json.dumps({"inputs": {"images": [{"b64": base64.b64encode(DIGIT).decode()}]}}).encode()
    request = urllib.request.Request(f"{url}/v1/models/digits:predict", body)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, context=trust, timeout=30)
    request.add_header("authorization", f"Bearer {target.keys('digits').primary}")
    with urllib.request.urlopen(request, context=trust, timeout=30) as response:
        np.testing.assert_allclose(json.load(response)["outputs"][0], local, rtol=1e-6)
    assert target.update("digits", without=["http"]).http == ()
    with pytest.raises(OSError):
        urllib.request.urlopen(request, context=trust, timeout=30)

    # Another network takes turns on the device, and goes again.
    both = target.update("digits", also=[twin_of(digits, tmp_path / "twin.zip")])
    assert (both.network, both.also) == ("digits", ("twin",))
    for name in ("", "digits", "twin"):
        with both.client(name) as client:
            np.testing.assert_array_equal(client.score_image(DIGIT), local)
    assert target.update("digits", also=[]).also == ()
    with both.client("twin") as client, pytest.raises(ServiceError) as caught:
        client.score_image(DIGIT)
    assert caught.value.code == "NOT_FOUND"

    # Others see it, and nobody gets in without a key.
    other = EdgeTarget(target.workspace, box.host)
    [seen] = other.list()
    assert (seen.name, seen.state) == ("digits", "Healthy")
    keys = other.keys("digits")
    trusted = service.certificate.encode()
    for wrong in ("", "x" * 43):
        with (
            PredictionClient(
                service.address, use_ssl=True, access_token=wrong, root_certificates=trusted
            ) as client,
            pytest.raises(ServiceError) as caught,
        ):
            client.score_image(DIGIT)
        assert caught.value.code == "UNAUTHENTICATED"

    # A key is replaced while the service runs; the other one holds.
    before = podman.inspect("fieldwave-digits-server")["Id"]
    new = other.regenerate_key("digits", "primary")
    assert new.primary != keys.primary
    assert new.secondary == keys.secondary
    until(
        lambda: (
            _lets_in(service.address, trusted, new.primary)
            and not _lets_in(service.address, trusted, keys.primary)
        )
    )
    assert _lets_in(service.address, trusted, keys.secondary)
    assert podman.inspect("fieldwave-digits-server")["Id"] == before
    other.close()

    # What is seen from outside holds no key.
    told = " ".join([*target.logs("digits"), podman("inspect", "fieldwave-digits-server")])
    assert not any(key in told for key in (keys.primary, keys.secondary, new.primary))
    assert podman.inspect("fieldwave-digits-server")["HostConfig"]["ReadonlyRootfs"] is True

    updated = target.update("digits", image)
    assert (updated.address, updated.certificate) == (service.address, service.certificate)
    assert target.keys("digits") == new
    np.testing.assert_array_equal(score(target, "digits"), local)

    target.delete("digits")
    assert target.list() == ()
    assert podman("ps", "-aq") == ""
    assert podman("volume", "ls", "-q") == ""
    assert "fieldwave/digits" not in podman("images")
    assert [path for path in box.data.rglob("*") if path.is_file() and path.name != "lock"] == []
    with pytest.raises(NotFoundError) as missing:
        target.delete("digits")
    assert str(missing.value) == "no service 'digits' on box: there is none"


def test_a_service_that_dies_is_back_and_one_that_was_stopped_says_how(
    target: EdgeTarget, podman: containers.Podman, image: Image
) -> None:
    target.deploy(image, "digits", secure=False)
    expected = score(target, "digits")
    pid = podman.inspect("fieldwave-digits-server")["State"]["Pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: (found := target.get("digits")).state == "Healthy" and found.restarts == 1)
    np.testing.assert_array_equal(score(target, "digits"), expected)
    # As after a reboot of a box on which nothing starts it.
    podman("pod", "stop", "-t", "5", "fieldwave-digits")
    until(lambda: target.get("digits").state == "Failed")
    assert target.get("digits").reason.startswith(
        "it is stopped; start it there with 'podman pod start fieldwave-digits'"
    )
    podman("pod", "start", "fieldwave-digits")
    until(lambda: target.get("digits").state == "Healthy")
    np.testing.assert_array_equal(score(target, "digits"), expected)


def test_an_update_that_fails_leaves_the_one_before(target: EdgeTarget, image: Image, tmp_path: Path) -> None:
    service = target.deploy(image, "digits")
    expected = score(target, "digits")
    silent = edge_image.write_archive(tmp_path / "silent.tar")
    with pytest.raises(ServiceError) as caught:
        target.update("digits", silent, timeout=3)
    assert str(caught.value) == (
        "service 'digits' was not updated on box, the one before serves on: it was not ready within 3 s: it starts"
    )
    broken = edge_image.write_archive(tmp_path / "broken.tar", entrypoint=("/nothing",))
    with pytest.raises(ServiceError) as caught:
        target.update("digits", broken)
    assert "/nothing" in str(caught.value)
    until(lambda: target.get("digits").state == "Healthy")
    assert target.get("digits").image == service.image
    np.testing.assert_array_equal(score(target, "digits"), expected)


def test_a_first_start_that_fails_leaves_nothing(
    target: EdgeTarget, box: edge_box.Box, podman: containers.Podman, tmp_path: Path
) -> None:
    silent = edge_image.write_archive(tmp_path / "silent.tar")
    with pytest.raises(ServiceError) as caught:
        target.deploy(silent, "silent", timeout=2)
    assert str(caught.value) == "service 'silent' did not start on box: it was not ready within 2 s: it starts"
    broken = edge_image.write_archive(tmp_path / "broken.tar", entrypoint=("/nothing",))
    with pytest.raises(ServiceError, match="/nothing"):
        target.deploy(broken, "broken")
    assert target.list() == ()
    assert podman("ps", "-aq") == ""
    assert sorted(path.name for path in (box.data / "services").iterdir()) == []


def test_two_who_deploy_the_same_name_at_once(
    target: EdgeTarget, box: edge_box.Box, workspace: Workspace, tmp_path: Path
) -> None:
    archive = edge_image.write_archive(tmp_path / "a.tar")
    outcome: list[object] = []

    def deploy() -> None:
        mine = EdgeTarget(workspace, box.host)
        try:
            outcome.append(mine.deploy(archive, "both", wait=False))
        except FieldwaveError as error:
            outcome.append(error)
        mine.close()

    threads = [threading.Thread(target=deploy) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [isinstance(one, ConflictError) for one in outcome].count(True) == 1, outcome
    [service] = target.list()
    assert service.state == "Transitioning"


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.8, 1.5])
def test_a_link_that_breaks_while_podman_is_at_work(
    seconds: float, target: EdgeTarget, box: edge_box.Box, tmp_path: Path
) -> None:
    archive = edge_image.write_archive(tmp_path / "a.tar")
    target.deploy(archive, "first", wait=False)
    cut = threading.Timer(seconds, box.cut)
    cut.start()
    try:
        target.update("first", archive, wait=False)
    except FieldwaveError as error:
        assert "the same command can be given again" in str(error)
        target.update("first", archive, wait=False)
    cut.join()
    [service] = target.list()
    assert (service.name, service.state) == ("first", "Transitioning")


def _lets_in(address: str, trusted: bytes, key: str) -> bool:
    with PredictionClient(address, use_ssl=True, access_token=key, root_certificates=trusted) as client:
        try:
            client.score_image(DIGIT)
        except ServiceError as error:
            assert error.code == "UNAUTHENTICATED"
            return False
    return True
