"""docs/legacy.md says of every name whether it is provided: what it says is so."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install tensorflow-cpu")

TABLE = Path(__file__).parents[1] / "docs" / "legacy.md"


def rows() -> list[tuple[list[str], str]]:
    """The dotted names of each row, and their state."""
    found = []
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[1] in ("yes", "no", "name only"):
            names = re.findall(r"`([^`]+)`", cells[0])
            found.append((names, cells[1]))
    return found


def resolve(dotted: str) -> Any:
    """The object of a dotted name, ``azureml`` being ours."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(["fieldwave", "compat", *parts[:length]])
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not module.startswith(error.name or "?"):
                raise
            continue
        for name in parts[length:]:
            found = getattr(found, name)
        return found
    raise ModuleNotFoundError(dotted)


@pytest.mark.parametrize(
    ("names", "state"), rows(), ids=lambda value: value[0] if isinstance(value, list) else value
)
def test_a_row_of_the_table(names: list[str], state: str) -> None:
    whole = [name for name in names if name.startswith("azureml")]
    top = resolve(whole[0]) if state != "no" else None
    for name in names:
        if state == "no":
            check_absent(name if name in whole else f"{whole[0].rpartition('.')[0]}.{name}")
        elif name not in whole:
            parent = resolve(whole[0].rpartition(".")[0])
            assert hasattr(top, name) or hasattr(parent, name), name
        else:
            resolve(name)


def check_absent(name: str) -> None:
    """Not there at all, or it says so when it is called."""
    try:
        found = resolve(name)
    except AttributeError as error:
        # A module that is not there: the finder says so, which is tested with a script.
        assert str(error).startswith(
            ("module 'fieldwave.compat.azureml'", "module 'fieldwave.compat.azureml.contrib'")
        )
        return
    except ImportError as error:
        assert "is not provided: it is no part of the road" in str(error)
        return
    with pytest.raises(NotImplementedError, match=r"provided|gRPC|locally"):
        found(None, None)
