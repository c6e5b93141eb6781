"""examples/transfer_learning.py, as a user runs it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install 'fieldwave[torch]'")
pytest.importorskip("sklearn", reason="needs scikit-learn: pip install scikit-learn")

EXAMPLE = Path(__file__).parents[1] / "examples" / "transfer_learning.py"


def test_transfer_learning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", [str(EXAMPLE)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    said = capsys.readouterr().out
    assert "classes 5, 6, 7, 8, 9" in said
    share = re.search(r"head: 100 examples, ([0-9.]+)% right of 796 others", said)
    assert share is not None and float(share[1]) > 65
    served = re.search(r"service: ([0-9]+) of 50 answers right", said)
    assert served is not None and int(served[1]) >= 32
