"""Keys in the shell: made, replaced, and used to open a service that is run by hand."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import fieldwave
from fieldwave.cli import app
from fieldwave.conversion import Conversion
from fieldwave.keys import check_token, read_keys
from fieldwave.serving import ServeOptions
from fieldwave.zoo import digit_png, digits_images
from tests.certificates import Authority


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["keys", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_create_regenerate_token(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert run("create", str(folder)) == (
        0,
        "",
        f"two keys are in {folder}; clients send either\nnext: fieldwave serve PACKAGE --keys {folder}\n",
    )
    keys = read_keys(folder)
    assert run("create", str(folder)) == (
        1,
        "",
        f"error: {folder} is there already; for new keys: fieldwave keys regenerate {folder} primary\n",
    )
    said = f"the secondary key in {folder} is new, the primary key is as it was\n"
    assert run("regenerate", str(folder), "secondary") == (0, "", said)
    new = read_keys(folder)
    assert (new.primary == keys.primary, new.secondary == keys.secondary) == (True, False)
    assert run("regenerate", str(folder), "both") == (
        1,
        "",
        "error: no key is called 'both'; a service has 'primary' and 'secondary'\n",
    )

    code, out, err = run("token", str(folder), "--lifetime", "15m")
    assert code == 0
    check_token(new, out.strip(), now=time.time() + 14 * 60)
    assert re.fullmatch(r"valid until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", err)
    code, out, err = run("token", str(folder), "--json", "-q")
    assert (code, err) == (0, "")
    assert sorted(json.loads(out)) == ["expires", "token"]


@pytest.mark.parametrize("text", ["", "1", "1y", "-1h", "h", "1.5h"])
def test_what_is_no_time_is_refused(tmp_path: Path, text: str) -> None:
    code, out, err = run("token", str(tmp_path), f"--lifetime={text}")
    assert (code, out) == (2, "")
    assert f"{text!r} is no time; write 30s, 15m, 1h or 7d" in " ".join(err.replace("│", "").split())


def serve(file: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    source = Path(fieldwave.__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-m", "fieldwave", "serve", str(file), *arguments],
        env={**os.environ, "PYTHONPATH": str(source), "COLUMNS": "200", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def predict(address: str, image: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    source = Path(fieldwave.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "fieldwave", "predict", address, str(image), "-k", "1", *arguments],
        env={**os.environ, "PYTHONPATH": str(source), "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_service_set_up_by_the_environment_is_opened_by_files(tmp_path: Path, digits: Conversion) -> None:
    """As in a container: mounted keys and certificates, mutual TLS; and no secret where others look."""
    authority = Authority()
    certificate, key = authority.server().write(tmp_path)
    client_certificate, client_key = authority.client().write(tmp_path, "client")
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    run("create", str(tmp_path / "keys"))
    keys = read_keys(tmp_path / "keys")
    image = tmp_path / "0.png"
    image.write_bytes(digit_png(digits_images().heldout_images[0]))
    environment = {
        "FIELDWAVE_GRPC_PORT": "0",
        "FIELDWAVE_HOST": "0.0.0.0",
        "FIELDWAVE_NAME": "digits",
        "FIELDWAVE_DEVICE": "cpu",
        "FIELDWAVE_WORKERS": "2",
        "FIELDWAVE_KEYS": str(tmp_path / "keys"),
        "FIELDWAVE_TLS_CERT": str(certificate),
        "FIELDWAVE_TLS_KEY": str(key),
        "FIELDWAVE_CLIENT_CA": str(tmp_path / "ca.crt"),
        "FIELDWAVE_PROBE_PORT": "0",
        "FIELDWAVE_INSECURE": "",
        "FIELDWAVE_GRACE_SECONDS": "5",
    }
    said: list[str] = []
    with serve(digits.path, **environment) as process:
        assert process.stderr is not None
        try:
            ready = process.stderr.readline()
            found = re.fullmatch(
                rf"serving {digits.path} on (0\.0\.0\.0:(\d+)), device cpu, with keys and mutual TLS\n", ready
            )
            assert found is not None, ready
            address = f"127.0.0.1:{found[2]}"
            assert process.stderr.readline() == (
                f"next: fieldwave predict {address} IMAGE --key-file {tmp_path}/keys/primary --tls "
                "--client-cert FILE --client-key FILE\n"
            )
            trust = ("--ca", str(tmp_path / "ca.crt"))
            mine = ("--client-cert", str(client_certificate), "--client-key", str(client_key))
            opening = (*trust, *mine, "--key-file", str(tmp_path / "keys" / "secondary"))
            code, out, err = predict(address, image, *opening)
            assert (code, err) == (0, "")
            assert int(out.split()[-1]) == digits_images().heldout_labels[0]
            code, out, err = predict(address, image, *trust, *mine, FIELDWAVE_ACCESS_TOKEN=keys.primary)
            assert (code, err) == (0, "")
            for arguments, text in (
                (
                    ("--tls",),
                    "has a certificate that nobody has signed whom this client trusts; give the certificate of "
                    "its authority: root_certificates, or --ca",
                ),
                ((), "speaks TLS; call it with TLS: use_ssl=True, or --tls"),
                (
                    trust,
                    "wants a certificate of its clients; give client_certificate and client_key, or --client-cert "
                    "and --client-key",
                ),
                (
                    (*trust, *mine),
                    "answered UNAUTHENTICATED: this service wants a key: send the metadata 'authorization: Bearer "
                    "KEY'; give a key or a token as access_token",
                ),
                (
                    (*trust, *mine, "--key-file", str(client_certificate)),
                    "the access token, which is not shown here, is none: it has spaces or other such characters",
                ),
            ):
                code, out, err = predict(address, image, *arguments)
                assert (code, out) == (1, "")
                assert err.removeprefix("error: ").removeprefix(f"{address} ") == f"{text}\n"
                said.append(err)
            argv = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            process.terminate()
            said += process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "andshake failed" not in "".join(said)  # gRPC's own words, once for each stranger
    private = client_key.read_text().splitlines()[1]
    for secret in (keys.primary, keys.secondary, key.read_text().splitlines()[1], private):
        assert secret not in "".join(said)
        assert secret.encode() not in argv


def test_every_option_of_a_service_is_an_option_and_a_variable() -> None:
    command: Any = typer.main.get_command(app).get_command(None, "serve")  # type: ignore[attr-defined]
    options = {option.name: option for option in command.params if option.name not in ("package", "quiet")}
    fields = {field.name: field for field in dataclasses.fields(ServeOptions)}
    # Who holds an NPU is what a supervisor says, not a user.
    assert set(options) == set(fields) - {"package", "holder"}
    for name, option in options.items():
        assert option.envvar == f"FIELDWAVE_{name.upper()}"
        assert option.default == fields[name].default or (not option.default and not fields[name].default)


def test_options_of_an_address_are_refused_for_a_name(tmp_path: Path, digits: Conversion) -> None:
    for name in (str(digits.path), "digits"):
        code, out, err = predict(name, tmp_path / "0.png", "--tls")
        text = f"error: {name} is no HOST:PORT; leave out the options of TLS and --key-file\n"
        assert (code, out, err) == (1, "", text)
    code, _, err = predict("127.0.0.1:1", tmp_path / "0.png", "--key-file", str(tmp_path / "none"))
    assert (code, err) == (1, f"error: no file {tmp_path}/none; check the path\n")


def test_serve_refuses_to_be_exposed_also_by_the_environment(tmp_path: Path) -> None:
    with serve(tmp_path / "none.zip", FIELDWAVE_HOST="0.0.0.0", FIELDWAVE_KEYS=str(tmp_path)) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err == (
        "error: listening on 0.0.0.0 lets other machines in, but the service has no TLS; give --tls-cert FILE "
        "--tls-key FILE, listen on 127.0.0.1, or type --insecure where a network that you trust is all that "
        "reaches it\n"
    )
