"""Services on this machine that others may reach: keys and TLS, or nothing; by real serving processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from fieldwave.client import PredictionClient
from fieldwave.conversion import Conversion
from fieldwave.deploy import Exposure, LocalTarget
from fieldwave.errors import InputError, ServiceError
from fieldwave.workspace import Workspace
from fieldwave.zoo import digit_png, digits_images
from tests.certificates import Authority

IMAGE = digit_png(digits_images().heldout_images[0])


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalTarget]:
    target = LocalTarget(Workspace(tmp_path / "project"))
    yield target
    for service in target.list():
        target.delete(service.name)


def test_beyond_this_machine_keys_and_tls_are_a_must(target: LocalTarget, digits: Conversion) -> None:
    with pytest.raises(InputError) as caught:
        target.deploy(digits.path, "digits", exposure=Exposure("0.0.0.0"))
    assert str(caught.value).startswith(
        "listening on 0.0.0.0 lets other machines in, but the service has no TLS; "
    )
    with pytest.raises(InputError, match="TLS has a certificate but no key"):
        target.deploy(digits.path, "digits", exposure=Exposure(tls_cert=Path("x.crt")))
    assert target.list() == ()


def test_with_both_it_serves_those_who_trust_it_and_have_a_key(
    target: LocalTarget, digits: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority()
    authority.server().write(tmp_path)
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    monkeypatch.chdir(tmp_path)  # relative paths are the caller's
    exposure = Exposure("0.0.0.0", Path("tls.crt"), Path("tls.key"), ca=Path("ca.crt"))
    service = target.deploy(digits.path, "digits", exposure=exposure, replicas=2)
    assert (service.host, service.secure, service.addresses[0]) == ("0.0.0.0", True, f"127.0.0.1:{service.port}")
    with service.client() as client:
        assert client.score_image(IMAGE).shape == (10,)
    with (
        PredictionClient(service.addresses, use_ssl=True, root_certificates=authority.certificate) as nobody,
        pytest.raises(ServiceError) as caught,
    ):
        nobody.score_image(IMAGE)
    assert caught.value.code == grpc.StatusCode.UNAUTHENTICATED.name
    (tmp_path / "ca.crt").unlink()
    # Without what it is to trust, a client is refused rather than made to speak in plain text.
    with pytest.raises(InputError):
        target.get("digits").client()
