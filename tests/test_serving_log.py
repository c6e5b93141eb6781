from __future__ import annotations

import json
import subprocess
import sys

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
