"""The package's front door: its names, its weight, and that the documents keep their word."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import fieldwave

ROOMS = [module.name for module in pkgutil.iter_modules(fieldwave.__path__) if module.ispkg]


def test_every_public_name_is_there_even_after_its_room_was_imported() -> None:
    for module in pkgutil.iter_modules(fieldwave.__path__):
        if module.name != "__main__":
            importlib.import_module(f"fieldwave.{module.name}")
    assert sorted(fieldwave.__all__) == fieldwave.__all__
    for name in fieldwave.__all__:
        assert not isinstance(getattr(fieldwave, name), type(fieldwave)), f"{name} is hidden by a module"


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError) as caught:
        fieldwave.nothing  # type: ignore[attr-defined]  # noqa: B018
    assert str(caught.value) == "module 'fieldwave' has no attribute 'nothing'"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_exports_what_it_names(room: str) -> None:
    module = importlib.import_module(f"fieldwave.{room}")
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)  # their order is ruff's affair: constants first
    for name in module.__all__:
        assert hasattr(module, name)


def imported(code: str) -> set[str]:
    """The modules that are loaded after ``code`` ran in a fresh interpreter."""
    script = f"{code}\nimport sys\nprint(' '.join(sys.modules))"
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(finished.stdout.split())


HEAVY = {
    "numpy",
    "onnx",
    "onnxruntime",
    "grpc",
    "google.protobuf",
    "PIL",
    "simplejpeg",
    "pydantic",
    "rich",
    "typer",
}


def test_the_import_is_light() -> None:
    assert not imported("import fieldwave") & HEAVY


def test_the_client_needs_no_runtime() -> None:
    """A client has grpcio, protobuf and numpy, and nothing else of ours or of others."""
    loaded = imported("import fieldwave.client")
    assert not loaded & {"onnx", "onnxruntime", "PIL", "simplejpeg", "pydantic", "typer", "fieldwave.serving"}


def test_the_command_imports_what_it_uses() -> None:
    assert not imported("import fieldwave.cli") & (HEAVY - {"typer", "rich"})
