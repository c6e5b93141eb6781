"""A store in a registry: what only a registry can do, and what only there goes wrong."""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from fieldwave.errors import ArtifactError, InputError, StorageError
from fieldwave.store import Artifact, Descriptor, Layer, RegistryStore
from fieldwave.store.credentials import Credentials
from tests import oci_registry

needs_registry = pytest.mark.skipif(oci_registry.PROGRAM is None, reason=oci_registry.MISSING)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with oci_registry.running(tmp_path_factory.mktemp("registry")) as running:
        yield running


def artifact(data: bytes) -> Artifact:
    return Artifact("application/vnd.fieldwave.package.v1", (Layer("application/zip", data),))


def count_up(tags: Sequence[str]) -> str:
    return str(max((int(tag) for tag in tags if tag.isdecimal()), default=0) + 1)


def _push(address: str, writer: int, each: int) -> None:
    store = RegistryStore(address)
    for number in range(each):
        store.push("models/digits", artifact(f"{writer}/{number}".encode()), count_up)


@needs_registry
@pytest.mark.parametrize(("writers", "each"), [(4, 5), pytest.param(16, 50, marks=pytest.mark.slow)])
def test_no_version_is_lost_among_many_writers(address: str, writers: int, each: int) -> None:
    prefix = f"{address}/many{writers}"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_push, args=(prefix, writer, each)) for writer in range(writers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * writers
    store = RegistryStore(prefix)
    entries = store.tagged("models/digits")
    assert len({entry.tag for entry in entries}) == writers * each
    found = {
        b"".join(store.read("models/digits", store.manifest("models/digits", entry.tag)[1].layers[0]))
        for entry in entries
    }
    assert found == {f"{writer}/{number}".encode() for writer in range(writers) for number in range(each)}
    assert store.repositories() == ["models/digits"]


@needs_registry
@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed: apt-get install skopeo")
def test_skopeo_reads_the_registry(address: str) -> None:
    pushed = RegistryStore(f"{address}/skopeo").push("models/digits", artifact(b"zip"), "3")
    command = ["skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{address}/skopeo/models/digits:3"]
    result = subprocess.run(command, capture_output=True, check=True)
    assert f"sha256:{hashlib.sha256(result.stdout).hexdigest()}" == pushed.descriptor.digest


@needs_registry
def test_a_registry_that_does_not_delete_is_said(tmp_path: Path) -> None:
    with oci_registry.running(tmp_path, delete=False) as address:
        store = RegistryStore(address)
        store.push("models/digits", artifact(b"zip"), "1")
        with pytest.raises(StorageError) as error:
            store.untag("models/digits", "1")
        assert str(error.value) == (
            f"the registry {address} does not delete; let it (for Docker's: storage.delete.enabled), and repeat"
        )


@needs_registry
def test_a_login_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The password is "secret", by bcrypt, as htpasswd -B writes it.
    (tmp_path / "htpasswd").write_text("fieldwave:$2b$05$iJpgRY72Nitm2.sysku/iewh0RdLPgWu68D0glnlmqmSRxrUnge8u\n")
    more = f"auth: {{htpasswd: {{realm: test, path: {tmp_path}/htpasswd}}}}"
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with oci_registry.running(tmp_path, more=more) as address:
        with pytest.raises(InputError) as error:
            RegistryStore(address).tagged("models/digits")
        assert str(error.value) == f"the registry {address} wants a login: podman login {address}"
        store = RegistryStore(address, credentials=Credentials("fieldwave", "wrong"))
        with pytest.raises(InputError, match=f"the registry {address} refuses GET /v2/models/digits/tags/list"):
            store.tagged("models/digits")
        (tmp_path / "auth.json").write_text(
            f'{{"auths": {{"{address}": {{"auth": "ZmllbGR3YXZlOnNlY3JldA=="}}}}}}'
        )
        store = RegistryStore(address)
        store.push("models/digits", artifact(b"zip"), "1")
        assert [entry.tag for entry in store.tagged("models/digits")] == ["1"]


def test_a_registry_that_is_down_is_said() -> None:
    address = f"127.0.0.1:{oci_registry.free_port()}"
    with pytest.raises(StorageError) as error:
        RegistryStore(address).tagged("models/digits")
    assert str(error.value) == f"cannot reach the registry {address}: [Errno 111] Connection refused"


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> RegistryStore:
    client = httpx.Client(transport=httpx.MockTransport(answer), follow_redirects=True)
    return RegistryStore("registry.test/team", client=client, credentials=Credentials("me", "secret"))


def test_a_registry_that_fails_is_said() -> None:
    store = answering(
        lambda request: httpx.Response(503, json={"errors": [{"code": "DENIED", "message": "quota"}]})
    )
    with pytest.raises(StorageError) as error:
        store.tagged("models/digits")
    assert str(error.value) == (
        "the registry registry.test answers 503 to GET /v2/team/models/digits/tags/list: DENIED quota"
    )


def test_what_was_lost_on_the_way_is_sent_again() -> None:
    """The answer to a push that was done is not taken for a push that failed."""
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.method)
        if request.method == "PUT" and seen.count("PUT") < 3:
            raise httpx.ReadError("connection reset")
        return httpx.Response({"PUT": 201, "HEAD": 200}[request.method])

    assert answering(answer).push("models/digits", artifact(b"zip"), "1").tag == "1"
    assert seen == ["HEAD", "HEAD", "PUT", "PUT", "PUT"]


def test_what_is_lost_again_and_again_is_said() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("connection reset")

    with pytest.raises(StorageError) as error:
        answering(answer).tagged("models/digits")
    assert str(error.value) == "cannot reach the registry registry.test: connection reset"


def test_a_blob_with_one_flipped_bit_is_not_handed_on() -> None:
    data = bytes(range(256)) * 20_000
    flipped = bytes([*data[:-1], data[-1] ^ 1])
    descriptor = Descriptor("application/zip", f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
    store = answering(lambda request: httpx.Response(200, content=flipped))
    pieces = []
    with pytest.raises(ArtifactError) as error:
        for piece in store.read("models/digits", descriptor):
            pieces.append(piece)
    assert str(error.value) == (
        f"registry.test/team/models/digits is damaged: the blob {descriptor.digest[:19]}… holds other bytes; "
        "push again"
    )
    assert sum(map(len, pieces)) < len(data)


def test_a_blob_that_never_ends_is_cut() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(1 << 20)

    descriptor = Descriptor("application/zip", f"sha256:{'0' * 64}", 10)
    with pytest.raises(ArtifactError):
        list(answering(lambda request: httpx.Response(200, content=endless())).read("models/digits", descriptor))


def test_a_token_is_fetched_and_goes_to_the_registry_alone() -> None:
    seen: list[tuple[str, str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        authorization = request.headers.get("authorization", "")
        seen.append((request.url.host, request.url.path, authorization))
        if request.url.host == "auth.test":
            return httpx.Response(200, json={"token": "abc"})
        if request.url.host == "blobs.test":
            return httpx.Response(200, content=b"{}")
        if authorization != "Bearer abc":
            challenge = 'Bearer realm="https://auth.test/token",service="registry.test"'
            return httpx.Response(401, headers={"WWW-Authenticate": challenge})
        return httpx.Response(307, headers={"Location": "https://blobs.test/there"})

    descriptor = Descriptor("application/json", f"sha256:{hashlib.sha256(b'{}').hexdigest()}", 2)
    assert b"".join(answering(answer).read("models/digits", descriptor)) == b"{}"
    assert seen[1] == ("auth.test", "/token", "Basic bWU6c2VjcmV0")
    assert seen[3] == ("blobs.test", "/there", "")
