"""docs/images.md keeps its word: its commands and options exist, its Python runs, its names are in the image."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldwave.cli import app
from fieldwave.images import Images
from fieldwave.images.image import BUILD
from fieldwave.images.runtime import GRPC_PORT, PROBE_PORT
from fieldwave.store import LayoutStore
from fieldwave.workspace import Settings, Workspace
from tests import image_parts
from tests.image_parts import wheelhouse as wheelhouse

TEXT = (Path(__file__).parent.parent / "docs" / "images.md").read_text()


def test_the_commands_and_their_options_exist() -> None:
    lines = [line.partition("#")[0] for line in re.findall(r"^fieldwave images .*$", TEXT, re.MULTILINE)]
    words = [part.split() for line in lines for part in line.split("&& fieldwave images")]
    commands = {part[0] if part[0] != "fieldwave" else part[2] for part in words}
    assert {"base", "build", "list", "show", "logs", "push", "copy", "delete"} <= commands | {"base"}
    for part in words:
        command = part[2] if part[0] == "fieldwave" else "base"
        shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["images", command, "--help"]).stdout
        for option in (word for word in part if word.startswith("--")):
            assert option in shown, (command, option)
    serve = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["serve", "--help"]).stdout
    for variable in re.findall(r"FIELDWAVE_[A-Z_]+", TEXT):
        assert variable in serve, variable
    assert "base" in Settings.__dataclass_fields__


def test_the_python_runs(tmp_path: Path, wheelhouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (python,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    workspace = Workspace.create(tmp_path)
    (tmp_path / "fieldwave.toml").write_text("")
    image_parts.package(tmp_path / "rn50.zip")
    for _ in range(3):
        workspace.registry.register("rn50.zip", "resnet50")
    image_parts.base(tmp_path / "base.tar")
    python = python.replace('tags={"team": "vision"}', 'tags={"team": "vision"}, base="base.tar", wheels="wheels"')
    python = python.replace('"resnet50")  #', '"resnet50", base="base.tar", wheels="wheels")  #')
    names: dict[str, object] = {}
    exec(python, names)
    image = names["image"]
    assert (image.id, image.tags) == ("resnet50:1", {"team": "vision"})  # type: ignore[attr-defined]
    names["operation"].wait_for_completion(timeout=60)  # type: ignore[attr-defined]
    # The job, a process of its own, has the true lock file: these are not its wheels, and it says so.
    assert "lacks annotated-doc==" in names["operation"].snapshot().error  # type: ignore[attr-defined]


def test_what_is_said_of_an_image_is_so(tmp_path: Path, wheelhouse: Path) -> None:
    store = LayoutStore(tmp_path / "store")
    base = image_parts.base(tmp_path / "base.tar")
    image = Images(store).build(image_parts.package(tmp_path / "f.zip"), "f", base=str(base), wheels=wheelhouse)
    assert f"port {GRPC_PORT}" in TEXT and f"on {PROBE_PORT}" in TEXT and BUILD in TEXT
    tags = [entry.tag for entry in store.tagged("images/f")]
    assert tags == ["1", f"build-{image.digest.removeprefix('sha256:')}"]
    assert store.repositories() == ["bases/rootfs", "images/f", "runtimes/amd64"]
