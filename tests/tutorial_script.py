"""The Python of the retired service's tutorial, taken from the document."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

__all__ = ["DOCUMENT", "blocks", "script"]

DOCUMENT = Path(__file__).parents[2] / "shared" / "reference" / "000_9b0fbae69a404e2b.txt"
_FENCED = re.compile(r"^( *)```python\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def blocks() -> list[str]:
    """Every block in its order, but the five that only list alternative names of outputs."""
    found = [textwrap.dedent(match[2]) for match in _FENCED.finditer(DOCUMENT.read_text(encoding="utf-8"))]
    return [block for block in found if not block.startswith("output_tensors = ")]


def script() -> str:
    """The blocks, joined."""
    return "\n".join(blocks())
