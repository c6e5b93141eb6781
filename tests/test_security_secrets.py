"""Where a deployed service's keys must not be: in other files, command lines, environments, logs, answers."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner

from fieldwave.cli import app
from fieldwave.client import PredictionClient
from fieldwave.conversion import Conversion
from fieldwave.deploy import LocalTarget
from fieldwave.errors import ServiceError
from fieldwave.keys import Keys, sign_token
from fieldwave.workspace import Workspace
from fieldwave.zoo import digit_png, digits_images


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalTarget]:
    (tmp_path / "fieldwave.toml").touch()
    target = LocalTarget(Workspace(tmp_path))
    yield target
    for service in target.list():
        target.delete(service.name)


def test_keys_and_tokens_of_a_deployed_service_are_nowhere_but_in_their_files(
    target: LocalTarget, tmp_path: Path, digits: Conversion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    service = target.deploy(digits.path, "digits", secure=True)
    image = digit_png(digits_images().heldout_images[0])
    secrets = _used_in_every_way(target, image)
    seen = b""
    for arguments in (
        ["list"],
        ["list", "--json"],
        ["show", "digits"],
        ["show", "digits", "--json"],
        ["logs", "digits"],
    ):
        result = CliRunner().invoke(app, ["services", *arguments])
        assert result.exit_code == 0
        seen += result.output.encode() + result.stderr.encode()
    processes = _processes_of(tmp_path)
    assert service.pid in processes
    assert len(processes) >= 2  # what serves, and who looks after it
    for pid in processes:
        seen += Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    keys = tmp_path.glob("**/keys/*")
    files = set(tmp_path.rglob("*")) - set(keys)
    assert any(path.name == "service.log" for path in files)
    for path in files:
        seen += str(path).encode() + (path.read_bytes() if path.is_file() else b"")
    assert b"calls without a valid key" in seen
    for secret in secrets:
        assert secret.encode() not in seen
    for path in tmp_path.glob("**/keys/*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert path.read_text().strip() in secrets


def _used_in_every_way(target: LocalTarget, image: bytes) -> list[str]:
    """Right and wrong calls, before and after both keys are regenerated; all the secrets that were used."""
    first = target.keys("digits")
    wrong = Keys.generate()
    service = target.get("digits")
    secrets = [wrong.primary, sign_token(wrong).value]
    for keys in (first, target.regenerate_key("digits", "primary"), target.regenerate_key("digits", "secondary")):
        secrets += [keys.primary, keys.secondary, sign_token(keys).value]
        for token in (*secrets, f"{keys.primary}x"):
            with PredictionClient(service.address, access_token=token) as client:
                try:
                    client.score_image(image)
                except ServiceError as error:
                    assert error.code == "UNAUTHENTICATED"
                    assert not any(secret in str(error) for secret in secrets)
    with grpc.insecure_channel(service.address) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        for value in (first.primary, f"Basic {first.primary}"):
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", metadata=[("authorization", value)], timeout=10)
            assert first.primary not in str(caught.value)
    return secrets


def _processes_of(folder: Path) -> list[int]:
    """Processes of this user that mention ``folder`` in their command line, or descend from one that does."""
    parents: dict[int, int] = {}
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                status = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(status[1])
                if str(folder).encode() in (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
            except OSError:
                continue  # it has ended
    for _ in range(3):
        found |= {pid for pid, parent in parents.items() if parent in found}
    return sorted(found)
