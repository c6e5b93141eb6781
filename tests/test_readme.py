"""The README keeps its word: its Python runs as it stands, its shell commands exist, its links lead somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_runs(tmp_path: Path, photographs: list[Path]) -> None:
    (tmp_path / "photos").mkdir()
    for path in photographs[:2]:
        shutil.copy(path, tmp_path / "photos")
    shutil.copy(photographs[-1], tmp_path / "snowleopard.jpg")
    (tmp_path / "fieldwave.toml").touch()
    (code,) = blocks("python")
    check = "\nassert scores.shape == (1000,)\nassert fieldwave.LocalTarget().list() == ()\n"
    subprocess.run([sys.executable, "-c", code + check], cwd=tmp_path, check=True, timeout=300)


def test_the_shell_commands_exist() -> None:
    commands = [
        line.split() for block in blocks("sh") for line in block.splitlines() if line.startswith("fieldwave ")
    ]
    assert len(commands) >= 5
    for words in commands:
        verb = words[1:3] if words[1] == "services" else words[1:2]
        finished = subprocess.run(
            [sys.executable, "-m", "fieldwave", *verb, "--help"], capture_output=True, text=True, check=True
        )
        for option in (word for word in words if word.startswith("--")):
            assert option in finished.stdout, f"{' '.join(verb)} has no {option}"
        assert "Example" in finished.stdout


@pytest.mark.parametrize(
    "document", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / document).parent / target).exists(), target
