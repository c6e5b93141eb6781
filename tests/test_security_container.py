"""A service with keys and mutual TLS in a hardened container, its secrets mounted as a cluster mounts them."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import grpc
import pytest

from fieldwave import zoo
from fieldwave.client import PredictionClient
from fieldwave.conversion import Conversion
from fieldwave.errors import ServiceError
from fieldwave.images import Images
from fieldwave.keys import Keys, read_keys, write_keys
from tests import containers, oci_registry
from tests.certificates import Authority
from tests.containers import Podman

HARDENED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")
SETTINGS = {
    "FIELDWAVE_HOST": "0.0.0.0",
    "FIELDWAVE_KEYS": "/etc/fieldwave/keys",
    "FIELDWAVE_TLS_CERT": "/etc/fieldwave/tls/tls.crt",
    "FIELDWAVE_TLS_KEY": "/etc/fieldwave/tls/tls.key",
    "FIELDWAVE_CLIENT_CA": "/etc/fieldwave/tls/ca.crt",
    "FIELDWAVE_PROBE_PORT": "50052",
}
USER = 1000  # of the image


@pytest.fixture(scope="module")
def image(podman: Podman, digits: Conversion, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digits network's image, loaded; its reference."""
    folder = tmp_path_factory.mktemp("image")
    images = Images(containers.real_store(folder))
    built = images.build(digits.path, "digits")
    images.export(built, folder / "digits.tar")
    podman("load", "-q", "-i", str(folder / "digits.tar"))
    return built.reference()


class Mounted:
    """A folder that a kubelet would mount: what is in it is swapped as a whole, by one link."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._number = 0
        path.mkdir()

    def put(self, files: dict[str, bytes]) -> None:
        """Swap in ``files``, readable for the image's user alone."""
        self._number += 1
        new = self.path / f"..{self._number}"
        new.mkdir()
        for name, content in files.items():
            (new / name).write_bytes(content)
            (new / name).chmod(0o400)
        for path in (self.path, new, *new.iterdir()):
            os.chown(path, USER, USER)
        (self.path / "..new").symlink_to(new.name)
        (self.path / "..new").rename(self.path / "..data")
        for name in files:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")


def as_files(keys: Keys) -> dict[str, bytes]:
    return {"primary": keys.primary.encode(), "secondary": keys.secondary.encode()}


def tls_files(authority: Authority) -> dict[str, bytes]:
    pair = authority.server()
    return {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.certificate}


@pytest.mark.slow
def test_keys_and_certificates_are_replaced_in_a_running_container(
    podman: Podman, image: str, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files to the image's user")
    tmp_path.chmod(0o755)
    keys, authority = Keys.generate(), Authority()
    mounted, tls = Mounted(tmp_path / "keys"), Mounted(tmp_path / "tls")
    mounted.put(as_files(keys))
    tls.put(tls_files(authority))
    port, probe_port = oci_registry.free_port(), oci_registry.free_port()
    name = podman(
        *("run", "--detach", *HARDENED),
        *(f"--publish=127.0.0.1:{port}:50051", f"--publish=127.0.0.1:{probe_port}:50052"),
        *(f"--volume={one.path}:/etc/fieldwave/{one.path.name}:ro" for one in (mounted, tls)),
        *(f"--env={key}={value}" for key, value in SETTINGS.items()),
        image,
    )
    picture = zoo.digit_png(zoo.digits_images().heldout_images[0])
    label = zoo.digits_images().heldout_labels[0]

    def client(key: str, trusted: Authority) -> PredictionClient:
        mine = trusted.client()
        return PredictionClient(
            f"127.0.0.1:{port}",
            use_ssl=True,
            access_token=key,
            root_certificates=trusted.certificate,
            client_certificate=mine.certificate,
            client_key=mine.key,
        )

    def refusal(key: str, trusted: Authority) -> str:
        with client(key, trusted) as caller:
            try:
                caller.score_image(picture)
            except ServiceError as error:
                return error.code
        return ""

    with grpc.insecure_channel(f"127.0.0.1:{probe_port}") as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=30, wait_for_ready=True) in (b"\x08\x01", b"\x08\x02")
        with client(keys.primary, authority) as caller:
            caller.wait_until_ready(30)
            assert int(caller.score_image(picture).argmax()) == label
            assert check(b"", timeout=10) == b"\x08\x01"
            assert refusal("", authority) == refusal("x", authority) == "UNAUTHENTICATED"
            assert refusal(keys.primary, Authority()) == "UNAVAILABLE"
            new = keys.regenerated("secondary")
            mounted.put(as_files(new))
            assert refusal(new.secondary, authority) == ""  # from its first call
            assert refusal(keys.secondary, authority) == "UNAUTHENTICATED"
            other = Authority()
            tls.put(tls_files(other))
            assert refusal(new.secondary, other) == ""
            assert refusal(new.secondary, authority) == "UNAVAILABLE"
            assert int(caller.score_image(picture).argmax()) == label  # a connection that stands
    logs = subprocess.run([*podman.command, "logs", name], env=podman.environment, capture_output=True, text=True)
    said = logs.stdout + logs.stderr
    assert "the keys in /etc/fieldwave/keys changed and have been read again" in said
    assert "the TLS files changed and have been read again" in said
    everything = said + podman("inspect", name) + podman("inspect", image)
    for secret in (keys.primary, keys.secondary, new.secondary):
        assert secret not in everything
    begin = time.monotonic()
    podman("stop", "--time=20", name)
    assert time.monotonic() - begin < 19
    assert podman.inspect(name)["State"]["ExitCode"] == 0


@pytest.mark.slow
def test_keys_made_by_the_command_serve_in_a_container(podman: Podman, image: str, tmp_path: Path) -> None:
    """``fieldwave keys create`` on the host, the folder mounted: `read_keys` of both sides agree."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files to the image's user")
    tmp_path.chmod(0o755)
    folder = tmp_path / "keys"
    write_keys(folder, Keys.generate())
    for path in (folder, *folder.iterdir()):
        os.chown(path, USER, USER)
    command = (
        "from fieldwave.keys import read_keys; k = read_keys('/etc/fieldwave/keys'); print(k.primary, k.secondary)"
    )
    printed = podman(
        *("run", "--rm", *HARDENED, f"--volume={folder}:/etc/fieldwave/keys:ro"),
        *("--entrypoint=python3", image, "-c", command),
    )
    keys = read_keys(folder)
    assert printed.split() == [keys.primary, keys.secondary]
