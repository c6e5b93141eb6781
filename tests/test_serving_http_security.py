"""Keys and TLS on the HTTP port."""

from __future__ import annotations

import json
import os
import ssl
import time
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from fieldwave.serving import Server
from tests.certificates import Authority, Pair
from tests.secured import MALFORMED, NO_KEY, OLD, WRONG, keys_with_a_past
from tests.served import affine, serving, tensor

PREDICT = "/v1/models/affine:predict"


def ask(server: Server, path: str, context: ssl.SSLContext | None = None, *keys: str) -> tuple[int, Any]:
    connection = (
        HTTPConnection("127.0.0.1", server.http_port, timeout=10)
        if context is None
        else HTTPSConnection("localhost", server.http_port, timeout=10, context=context)
    )
    try:
        predict = path == PREDICT
        connection.putrequest("POST" if predict else "GET", path)
        for key in keys:
            connection.putheader("authorization", key)
        body = json.dumps({"instances": tensor().tolist()}).encode() if predict else b""
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, json.loads(response.read()) if path != "/metrics" else None
    finally:
        connection.close()


def trusting(authority: Authority, client: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    if client is not None:
        context.load_cert_chain(client / "client.crt", client / "client.key")
    return context


def test_all_but_health_wants_a_key(tmp_path: Path) -> None:
    with serving(keys=keys_with_a_past(tmp_path / "keys"), http_port=0) as server:
        secondary = (tmp_path / "keys" / "secondary").read_text().strip()
        for path in (PREDICT, "/v2", "/metrics", "/openapi.json", "/nowhere"):
            assert ask(server, path) == (401, {"error": NO_KEY} if path != "/metrics" else None)
        for keys, text in (
            ((f"Bearer {OLD.primary}",), WRONG),
            (("Basic abc",), MALFORMED),
            ((f"Bearer {secondary}",) * 2, MALFORMED),
        ):
            assert ask(server, PREDICT, None, *keys) == (401, {"error": text})
        answer = {"predictions": affine(tensor()).tolist()}
        assert ask(server, PREDICT, None, f"Bearer {secondary}") == (200, answer)
        assert ask(server, "/v2/health/live") == (200, {"live": True})
        assert ask(server, "/v2/health/ready") == (200, {"ready": True})


def test_tls_with_the_service_s_certificate_and_the_clients(tmp_path: Path) -> None:
    authority, stranger = Authority(), Authority()
    certificate, key = authority.server().write(tmp_path)
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    authority.client().write(tmp_path, "client")
    with serving(tls_cert=certificate, tls_key=key, client_ca=tmp_path / "ca.crt", http_port=0) as server:
        assert ask(server, "/v2/health/live", trusting(authority, tmp_path)) == (200, {"live": True})
        for context in (trusting(stranger, tmp_path), trusting(authority)):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                ask(server, "/v2/health/live", context)
        with pytest.raises(ConnectionError):
            ask(server, "/v2/health/live")


def test_a_renewed_certificate_is_shown_from_then_on(tmp_path: Path) -> None:
    before, after = Authority("before"), Authority("after")
    certificate, key = before.server().write(tmp_path)
    with serving(tls_cert=certificate, tls_key=key, http_port=0) as server:
        assert ask(server, "/v2/health/live", trusting(before)) == (200, {"live": True})
        renew(after.server(), tmp_path)
        assert ask(server, "/v2/health/live", trusting(after)) == (200, {"live": True})
        with pytest.raises(ssl.SSLError):
            ask(server, "/v2/health/live", trusting(before))


def test_another_authority_of_clients_counts_from_then_on(tmp_path: Path) -> None:
    before, after = Authority("before"), Authority("after")
    certificate, key = before.server().write(tmp_path)
    (tmp_path / "ca.crt").write_bytes(before.certificate)
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, authority in ((old, before), (new, after)):
        folder.mkdir()
        authority.client().write(folder, "client")
    with serving(tls_cert=certificate, tls_key=key, client_ca=tmp_path / "ca.crt", http_port=0) as server:
        assert ask(server, "/v2/health/live", trusting(before, old)) == (200, {"live": True})
        (tmp_path / "ca.crt").write_bytes(after.certificate)
        assert ask(server, "/v2/health/live", trusting(before, new)) == (200, {"live": True})
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(server, "/v2/health/live", trusting(before, old))


def renew(pair: Pair, folder: Path) -> None:
    pair.write(folder)
    later = time.time() + 1
    for name in ("tls.crt", "tls.key"):
        os.utime(folder / name, (later, later))
