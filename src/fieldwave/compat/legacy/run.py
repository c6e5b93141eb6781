"""Running a script or notebook of the retired service as it is."""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fieldwave.compat.legacy.names import provide
from fieldwave.errors import InputError, NotFoundError, StorageError

__all__ = ["run"]


def run(script: str | os.PathLike[str], arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Run a ``.py`` file, or the code cells of an ``.ipynb`` one by one, with the legacy names; its globals.

    The script sees its own ``sys.argv`` and, as Python does it, its folder first in ``sys.path``. Of a notebook's
    cells, lines for IPython alone (``%matplotlib``, ``!pip``) are left out. What the script raises is raised.

    Raises:
        NotFoundError: there is no such file.
        InputError: a notebook that cannot be read as one.
        StorageError: the file cannot be read.
    """
    path = Path(script)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"there is no script {path}; check the path") from None
    except (OSError, UnicodeError) as error:
        raise StorageError(f"cannot read {path}: {error}") from error
    provide()
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.parent.absolute()))
    if path.suffix != ".ipynb":
        return runpy.run_path(str(path), run_name="__main__")
    with tempfile.TemporaryDirectory() as folder:
        cells = Path(folder) / f"{path.stem}.py"
        cells.write_text(_code(text, path), encoding="utf-8")
        return runpy.run_path(str(cells), run_name="__main__")


def _code(text: str, path: Path) -> str:
    try:
        cells = json.loads(text)["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} is no notebook of version 4; save it anew in Jupyter") from None
    return "\n\n".join(_without_magics(source) for source in sources) + "\n"


def _without_magics(source: str) -> str:
    """A cell's Python: what only IPython understands becomes a comment; a cell for another language vanishes."""
    if source.lstrip().startswith("%%"):
        return ""
    lines = (f"# {line}" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())
    return "\n".join(lines)
