"""docs/edge.md and docs/lifecycle.md keep their word: what they name exists, what they quote is said."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from typer.testing import CliRunner

from fieldwave.cli import app
from fieldwave.deploy.edge import box, change, copying
from fieldwave.deploy.edge.record import Record
from fieldwave.ssh import Host
from fieldwave.ssh.diagnosis import diagnose

DOCS = Path(__file__).parent.parent / "docs"
EDGE, LIFECYCLE = ((DOCS / name).read_text() for name in ("edge.md", "lifecycle.md"))
EXAMPLE = (DOCS.parent / "examples" / "lifecycle.py").read_text()


def test_the_commands_and_their_options_exist() -> None:
    lines = re.findall(r"`(fieldwave [^`\n]+)`", EDGE + LIFECYCLE)
    lines += re.findall(r"^ *(fieldwave .*)$", EDGE + LIFECYCLE + EXAMPLE, re.MULTILINE)
    assert len(lines) > 15
    for line in lines:
        words = line.partition("&&")[0].split()[1:]
        nouns = [word for word in words[:2] if word.isalpha()]
        command = nouns[:1] if nouns[0] in ("predict", "init", "convert") else nouns
        shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*command, "--help"])
        assert shown.exit_code == 0, line
        for option in (word for word in words if word.startswith("--")):
            assert option in shown.stdout, line
    for option in ("--folder", "--identity", "--ssh"):
        assert option in CliRunner(env={"COLUMNS": "200"}).invoke(app, ["compute", "attach", "--help"]).stdout


def test_what_is_quoted_is_what_is_said() -> None:
    line3 = Host("line3")
    said = [
        diagnose(line3, "Host key verification failed."),
        diagnose(line3, "REMOTE HOST IDENTIFICATION HAS CHANGED\nOffending ED25519 key in /home/maria/known:7\n"),
        diagnose(line3, "maria@line3: Permission denied (publickey)."),
        diagnose(line3, "ssh: connect to host line3 port 22: Connection timed out"),
    ]
    quoted = [text.removesuffix("…").strip() for text in re.findall(r"`(line3: [^`]*)`", EDGE)]
    for message in said:
        assert any(message.startswith(text) for text in quoted), message
    script = Path(inspect.getfile(box)).with_name("box.sh").read_text()
    sources = "".join(inspect.getsource(module) for module in (box, change, copying)) + script
    for part in (
        "podman is not installed there;",
        "or later is needed",
        "MB are free there and the image needs about",
        "is being deployed by",
        "meanwhile",
        "build the image on a base for",
    ):
        assert part in sources
    assert ".".join(map(str, box.OLDEST_PODMAN)) in EDGE
    record = Record(**dict.fromkeys(Record.__dataclass_fields__, "digits"))
    assert record.pod == "fieldwave-digits"
    assert "fieldwave-NAME" in EDGE
