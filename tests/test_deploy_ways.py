"""The ways in which a service on this machine is called: HTTP, a Unix socket, several packages."""

from __future__ import annotations

import base64
import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from fieldwave import zoo
from fieldwave.conversion import Conversion
from fieldwave.deploy import LocalTarget
from fieldwave.errors import ConflictError, InputError, ServiceError
from fieldwave.package import read_package, write_package
from fieldwave.wire import from_tensor_proto
from fieldwave.wire.messages import PredictRequest, PredictResponse
from fieldwave.wire.requests import encode_request
from fieldwave.workspace import Workspace
from tests.test_deploy_change import package_of
from tests.test_deploy_local import running

PREDICT = "/tensorflow.serving.PredictionService/Predict"
DIGIT = zoo.digit_png(zoo.digits_images().heldout_images[0])


def twin_of(digits: Conversion, path: Path) -> Path:
    """The digits network under another name, in a new file."""
    package = read_package(digits.path)
    manifest = package.manifest
    write_package(
        path,
        network="twin",
        model=package.model,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        preprocessing=manifest.preprocessing,
    )
    return path


@pytest.fixture(scope="module")
def twin(digits: Conversion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return twin_of(digits, tmp_path_factory.mktemp("twin") / "twin.zip")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalTarget]:
    target = LocalTarget(Workspace(tmp_path))
    yield target
    for service in target.list():
        target.delete(service.name)


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[LocalTarget]:
    """The same, with serving processes that are up in a blink."""
    target = running(tmp_path, "serving")
    yield target
    for service in target.list():
        target.delete(service.name, timeout=1)


def by_rest(url: str, network: str = "digits") -> list[float]:
    body = {"inputs": {"images": [{"b64": base64.b64encode(DIGIT).decode()}]}}
    request = urllib.request.Request(f"{url}/v1/models/{network}:predict", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=30) as response:
        outputs = json.load(response)["outputs"]
    return list(map(float, outputs[0]))


def by_grpc(address: str, network: str) -> list[float]:
    message = PredictRequest.FromString(encode_request({"images": [DIGIT]}, ["output_alias"]))
    message.model_spec.name = network
    with grpc.insecure_channel(address) as channel:
        answer = PredictResponse.FromString(channel.unary_unary(PREDICT)(message.SerializeToString(), timeout=30))
    [proto] = answer.outputs.values()
    return [float(each) for each in from_tensor_proto(proto)[0]]


def test_over_http_over_a_socket_and_for_two_networks(
    target: LocalTarget, digits: Conversion, twin: Path, tmp_path: Path
) -> None:
    path = tmp_path / "s.sock"
    service = target.deploy(digits.path, "digits", http_port=0, socket=path, also=[twin])
    [url] = service.http
    assert (service.socket, service.also) == (str(path), ("twin",))
    right = by_grpc(service.address, "digits")
    assert int(np.argmax(right)) == int(zoo.digits_images().heldout_labels[0])
    assert by_grpc(f"unix:{path}", "digits") == right
    np.testing.assert_allclose(by_rest(url), right, rtol=1e-6)
    # The other network is there by its name, in each way.
    assert by_grpc(service.address, "twin") == by_grpc(f"unix:{path}", "twin") == right
    np.testing.assert_allclose(by_rest(url, "twin"), right, rtol=1e-6)
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        assert b'model="twin"' in response.read()

    # Its ports are taken also while its process is away, and no other service may have them.
    with pytest.raises(ConflictError) as caught:
        target.deploy(digits.path, "other", port=int(url.rpartition(":")[2]))
    assert str(caught.value) == (
        f"port {url.rpartition(':')[2]} on 127.0.0.1 is taken by service 'digits'; "
        "choose another, or 0 for a free one"
    )
    target.delete("digits")
    assert not path.exists()


@pytest.mark.slow
def test_a_service_gets_http_a_socket_and_a_second_network_later(
    target: LocalTarget, digits: Conversion, twin: Path, tmp_path: Path
) -> None:
    before = target.deploy(digits.path, "digits")
    assert (before.http, before.socket, before.also) == ((), "", ())
    path = tmp_path / "s.sock"
    after = target.update("digits", http_port=0, socket=path, also=[twin])
    assert after.address == before.address
    right = by_grpc(after.address, "digits")
    assert by_grpc(f"unix:{path}", "twin") == right
    np.testing.assert_allclose(by_rest(after.http[0], "twin"), right, rtol=1e-6)
    again = target.update("digits", twin, also=[digits.path])
    assert (again.network, again.also, again.http) == ("twin", ("digits",), after.http)
    assert by_grpc(again.address, "digits") == right
    alone = target.update("digits", also=[], without=["socket", "http"])
    assert (alone.also, alone.socket, alone.http, path.exists()) == ((), "", (), False)
    with pytest.raises(OSError):
        by_rest(after.http[0])
    with pytest.raises(grpc.RpcError) as caught:
        by_grpc(alone.address, "digits")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    folder = target.workspace.services_folder / "digits"
    assert len(list(folder.glob("*.zip"))) == 1


def test_each_replica_has_http_on_a_port_of_its_own_and_keeps_it(stand_in: LocalTarget, tmp_path: Path) -> None:
    service = stand_in.deploy(package_of(tmp_path, "tiny"), "rn50", replicas=2, http_port=0)
    assert len(set(service.http)) == 2
    more = stand_in.scale("rn50", 3)
    assert more.http[:2] == service.http
    assert len(set(more.http)) == 3
    assert stand_in.update("rn50", device="rtl:sim16").http == more.http
    with pytest.raises(ServiceError):
        stand_in.update("rn50", device="rtl:tiny", http_port=0)
    assert stand_in.get("rn50").http == more.http
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError) as caught:
            stand_in.update("rn50", http_port=port)
    assert f"port {port} on 127.0.0.1 is taken by another process" in str(caught.value)
    assert stand_in.get("rn50").wait(10).http == more.http


def test_http_and_the_socket_end_when_they_are_not_wanted_any_more(stand_in: LocalTarget, tmp_path: Path) -> None:
    package, path = package_of(tmp_path, "tiny"), tmp_path / "s.sock"
    service = stand_in.deploy(package, "rn50", replicas=2, http_port=0, socket=path)
    [url, _] = service.http
    with pytest.raises(InputError) as caught:
        stand_in.update("rn50", http_port=0, without=["http"])
    assert str(caught.value) == "service 'rn50' is to have a port for HTTP and to have none; say one of the two"

    without = stand_in.update("rn50", without=["http", "socket"])
    assert (without.http, without.socket, without.address) == ((), "", service.address)
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(url.rpartition(":")[2])))  # it is anybody's
    with pytest.raises(InputError) as caught:
        stand_in.update("rn50", without=["http"])
    assert str(caught.value) == "service 'rn50' has no port for HTTP that could end"
    with pytest.raises(InputError) as caught:
        stand_in.update("rn50", without=["socket"])
    assert str(caught.value) == "service 'rn50' has no socket that could end"


def test_ways_that_cannot_be(stand_in: LocalTarget, tmp_path: Path) -> None:
    package = package_of(tmp_path, "tiny")
    with pytest.raises(InputError) as caught:
        stand_in.deploy(package, "rn50", also=[package])
    assert str(caught.value) == "two packages are of network 'tiny'; callers could not say which they mean"
    with pytest.raises(InputError) as caught:
        stand_in.deploy(package, "rn50", runtime="podman", socket=tmp_path / "s.sock")
    assert str(caught.value) == (
        "a service in podman has no socket and only its image's package; leave out --socket and --also"
    )
    with pytest.raises(InputError) as caught:
        stand_in.deploy(package, "rn50", http_port=70000)
    assert str(caught.value) == "port 70000 does not exist; choose one from 1 to 65535, or 0 for a free one"
    assert stand_in.list() == ()
