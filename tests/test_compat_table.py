"""docs/legacy.md says of every name whether it is provided: what it says is so."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from fieldwave.compat import azureml
from fieldwave.deploy import Target
from fieldwave.images import Images
from fieldwave.registry import Registry

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
    return pkgutil.resolve_name(f"fieldwave.compat.{dotted}")


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


def explanations() -> list[str]:
    """What `explain` is told to say natively, wherever it is called."""
    found = []
    for path in sorted(Path(azureml.__path__[0]).rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "explain":
                text = call.args[1]
                parts = text.values if isinstance(text, ast.JoinedStr) else [text]
                found.append("".join(str(part.value) for part in parts if isinstance(part, ast.Constant)))
    return found


@pytest.mark.parametrize("native", sorted(set(explanations())))
def test_what_a_call_is_natively_is_there(native: str) -> None:
    """Every dotted name resolves, every attribute of the workspace is there, every command is one."""
    for dotted in re.findall(r"fieldwave(?:\.\w+)+", native):
        assert pkgutil.resolve_name(dotted) is not None
    for verb in re.findall(r"workspace\.registry\.(\w+)", native):
        assert hasattr(Registry, verb)
    for verb in re.findall(r"workspace\.images\.(\w+)", native):
        assert hasattr(Images, verb)
    for verb in re.findall(r"\btarget\.(\w+)\(", native):
        assert hasattr(Target, verb)
    for command in re.findall(r"\bfieldwave (\w+) (\w+)", native):
        commands = typer.main.get_command(importlib.import_module(f"fieldwave.cli.{command[0]}").app).commands
        assert command[1] in commands
