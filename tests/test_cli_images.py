from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldwave.cli import app
from fieldwave.workspace import Workspace
from tests import image_parts
from tests.image_parts import wheelhouse as wheelhouse


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    image_parts.base(tmp_path / "base.tar")
    image_parts.package(tmp_path / "four.zip")
    Workspace.create(tmp_path)
    (tmp_path / "fieldwave.toml").write_text('base = "rootfs"\n')
    return tmp_path


def run(*arguments: str, given: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["images", *arguments], input=given)
    return result.exit_code, result.stdout, result.stderr


def build(wheelhouse: Path, *more: str) -> tuple[int, str, str]:
    run("base", "base.tar", "--name", "rootfs")
    return run("build", "four.zip", "--wheels", str(wheelhouse), *more)


def test_a_base_from_an_archive_is_kept_once() -> None:
    code, out, err = run("base", "base.tar", "--name", "rootfs")
    assert (code, err) == (0, "next: fieldwave images build PACKAGE --base rootfs\n")
    assert out.startswith("rootfs:1  linux/amd64  ")
    assert run("base", "base.tar", "--name", "rootfs") == (code, out, err)
    code, out, _ = run("base", "--list", "--json")
    (found,) = json.loads(out)
    assert (found["id"], found["python"], found["reference"]) == ("rootfs:1", "/usr/bin/python3.11", "")


def test_no_base_is_no_table() -> None:
    assert run("base", "--list") == (0, "", "no bases in this workspace\nnext: fieldwave images base\n")


def test_build_says_what_was_built(wheelhouse: Path) -> None:
    code, out, err = build(wheelhouse, "--tag", "team=vision", "--label", "org.example=yes")
    image = Workspace.find().images.get("four")
    assert (code, out) == (0, f"four:1  {image.size / 1e6:.1f} MB  {image.digest}\n")
    assert err == "next: fieldwave services deploy --image four:1 --name four\n"
    assert (dict(image.tags), dict(image.labels)) == ({"team": "vision"}, {"org.example": "yes"})


def test_a_registered_model_is_built_by_its_name(wheelhouse: Path) -> None:
    run("base", "base.tar", "--name", "rootfs")
    model = Workspace.find().registry.register("four.zip", "digits")
    assert run("build", "digits", "--wheels", str(wheelhouse))[0] == 0
    image = Workspace.find().images.get("digits")
    assert image.model == f"digits:1@{model.digest}"


def test_list_show_and_logs(wheelhouse: Path) -> None:
    assert run("list") == (
        *(0, ""),
        "no such images in this workspace\nnext: fieldwave images build PACKAGE --name NAME\n",
    )
    build(wheelhouse, "--tag", "team=vision")
    image = Workspace.find().images.get("four")
    _, out, _ = run("list", "--tag", "team=vision")
    assert [line.split() for line in out.splitlines()] == [
        ["IMAGE", "NETWORK", "MODEL", "SIZE", "CREATED", "TAGS"],
        ["four:1", "four", f"{image.size / 1e6:.1f}", "MB", image.created, "team=vision"],
    ]
    assert json.loads(run("list", "--tag", "team=sound", "--json")[1]) == []
    assert f"digest     {image.digest}\n" in run("show", "four")[1]
    assert json.loads(run("show", "four:1", "--json")[1])["tags"] == {"team": "vision"}
    assert run("logs", "four")[1].splitlines()[-1].endswith(f" image {image.digest}")


def test_copy_writes_an_archive_or_to_another_store(wheelhouse: Path, tmp_path: Path) -> None:
    build(wheelhouse)
    image = Workspace.find().images.get("four")
    assert run("copy", "four", "four.tar") == (
        *(0, f"four.tar  {image.reference()}\n"),
        "next: podman load -i four.tar\n",
    )
    assert run("copy", "four", "four.tar") == (
        *(1, ""),
        "error: four.tar is there already; choose another file, or overwrite it\n",
    )
    assert run("copy", "four", "other") == (0, f"four:1  {image.digest}  other\n", "")
    (tmp_path / "fieldwave.toml").write_text('store = "other"\n')
    assert Workspace.find().images.get("four:1").digest == image.digest
    assert run("logs", "four")[0] == 0


def test_delete_asks_and_wants_a_version(wheelhouse: Path) -> None:
    build(wheelhouse)
    assert run("delete", "four")[::2] == (
        1,
        "error: 'four' names no version; write four:VERSION, so that the right one goes\n",
    )
    assert run("delete", "four:1", given="n\n")[0] == 1
    assert run("delete", "four:1", "--yes") == (0, "", "four:1 is deleted\n")
    assert run("show", "four")[::2] == (1, "error: there is no image 'four': build one first\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("build", "absent.zip"), "no package absent.zip; write one with: fieldwave convert --output absent.zip"),
        (("build", "absent"), "the registry has no model 'absent': it is empty; register one first"),
        (("build", "four.zip", "--tag", "x"), "'x' is no KEY=VALUE"),
        (("build", "four.zip", "--name", "A"), "'A' is no name for an image"),
        (("build", "four.zip", "--base", "nothing"), "there is no base 'nothing': no base of that name in "),
        (("show", "absent"), "there is no image 'absent': build one first"),
    ],
)
def test_an_error_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith(f"error: {message}")
