from __future__ import annotations

import http.client
import json
import logging
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from fieldwave.keys import Keys, sign_token, write_keys
from fieldwave.wire.requests import encode_request
from tests.answering import PREDICT
from tests.served import channel, serving, tensor

PROGRAM = """
import logging
from fieldwave.serving import start_logging
start_logging(json={json})
logging.getLogger("fieldwave.requests").info("code=OK", extra={{"fields": {{"code": "OK", "milliseconds": 1.5}}}})
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("fieldwave.serving").exception("it \\u2260 failed")
"""


def written(*, as_json: bool) -> list[str]:
    command = [sys.executable, "-c", PROGRAM.format(json=as_json)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()


def test_json_has_an_object_a_line() -> None:
    first, second = (json.loads(line) for line in written(as_json=True))
    assert {key: first[key] for key in ("level", "logger", "code", "milliseconds")} == {
        "level": "info",
        "logger": "fieldwave.requests",
        "code": "OK",
        "milliseconds": 1.5,
    }
    assert len(first["time"]) == len("2026-01-01T00:00:00.000Z")
    assert second["message"] == "it ≠ failed"
    assert second["error"].endswith("ZeroDivisionError: division by zero")


def test_text_has_a_line_each_and_tracebacks() -> None:
    lines = written(as_json=False)
    assert lines[0].endswith("Z fieldwave.requests: code=OK")
    assert lines[1].endswith("Z fieldwave.serving: it ≠ failed")
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_every_answer_has_a_line_with_its_id_and_no_line_has_a_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    keys, other = Keys.generate(), Keys.generate()
    token, foreign = sign_token(keys).value, sign_token(other).value
    write_keys(tmp_path / "keys", keys)
    sent = (keys.primary, keys.secondary, token, other.primary, foreign, "guessed-in-vain")
    trailing: list[dict[str, str]] = []
    with serving(keys=tmp_path / "keys", http_port=0, log_requests=True) as server, channel(server) as opened:
        for number, secret in enumerate(sent):
            metadata = (("authorization", f"Bearer {secret}"), ("x-request-id", f"grpc-{number}"))
            for request in (encode_request({"images": tensor()}), encode_request({"imges": tensor()}), b"\xff"):
                call = opened.unary_unary(PREDICT).with_call
                try:
                    _, done = call(request, metadata=metadata, timeout=30)
                except grpc.RpcError as error:
                    done = error
                trailing.append(dict(tuple(each) for each in done.trailing_metadata() or ()))
            connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=30)
            headers = {"authorization": f"Bearer {secret}", "x-request-id": f"rest-{number}"}
            for body in (json.dumps({"instances": tensor().tolist()}), "{}"):
                connection.request("POST", f"/v1/models/affine:predict?key={secret}", body, headers)
                connection.getresponse().read()
            connection.close()
    written = "\n".join((caplog.text, *(str(record.__dict__) for record in caplog.records), *capfd.readouterr()))
    for secret in sent:
        assert secret not in written
        assert secret.rpartition(".")[2] not in written
    # The first three may come in: one answer and two refusals each, and every one is told its id.
    for number in range(3):
        assert [each["x-request-id"] for each in trailing[3 * number : 3 * number + 3]] == [f"grpc-{number}"] * 3
        assert caplog.text.count(f"request=grpc-{number} ") == 3
        assert caplog.text.count(f"request=rest-{number} ") == 2
