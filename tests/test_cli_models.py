from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldwave.cli import app
from fieldwave.workspace import Workspace


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits.onnx").write_bytes(b"a network" * 1000)
    Workspace.create(tmp_path)
    return tmp_path


def run(*arguments: str, given: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments), input=given)
    return result.exit_code, result.stdout, result.stderr


def test_init_marks_a_folder(tmp_path: Path) -> None:
    assert run("init", "vision", "--location", "Oslo") == (
        0,
        f"vision  {tmp_path / 'vision'}\n",
        "next: fieldwave models register PACKAGE --name NAME\n",
    )
    assert (tmp_path / "vision" / "fieldwave.toml").read_text() == 'location = "Oslo"\n'
    code, out, err = run("init", "vision")
    assert (code, out) == (1, "")
    assert err == (
        f"error: {tmp_path / 'vision' / 'fieldwave.toml'} is there already; edit it, or choose another folder\n"
    )


def test_register_says_what_it_is_called() -> None:
    code, out, err = run("models", "register", "digits.onnx", "--tag", "team=vision")
    model = Workspace.find().registry.get("digits")
    assert (code, out) == (0, f"digits:1  9.0 kB  {model.digest}\n")
    assert err == "next: fieldwave models show digits:1\n"
    assert dict(model.tags) == {"team": "vision"}


def test_list_and_show() -> None:
    run("models", "register", "digits.onnx", "--tag", "team=vision", "--property", "top1=0.99")
    run("models", "register", "digits.onnx", "--name", "other")
    run("models", "alias", "digits:1", "production")
    created = Workspace.find().registry.get("digits").created
    code, out, _ = run("models", "list", "--tag", "team")
    assert (code, out.splitlines()) == (
        0,
        [
            "MODEL     KIND  SIZE    CREATED               ALIASES     TAGS",
            f"digits:1  onnx  9.0 kB  {created}  production  team=vision",
        ],
    )
    code, out, _ = run("models", "show", "digits:production", "--json")
    shown = json.loads(out)
    assert (shown["id"], shown["aliases"], shown["properties"]) == ("digits:1", ["production"], {"top1": "0.99"})
    code, out, _ = run("models", "show", "digits")
    assert "tags         team=vision" in out.splitlines()


def test_an_empty_list_says_what_comes_next() -> None:
    assert run("models", "list") == (
        0,
        "",
        "no such models in this workspace\nnext: fieldwave models register PACKAGE --name NAME\n",
    )


def test_tag_changes_what_is_said() -> None:
    run("models", "register", "digits.onnx", "--tag", "stage=test")
    assert run("models", "tag", "digits:1", "team=a", "--remove", "stage") == (0, "digits:1  team=a\n", "")
    code, _, err = run("models", "tag", "digits:1", "team")
    assert (code, err) == (1, "error: 'team' is no KEY=VALUE\n")


def test_download_writes_the_files(tmp_path: Path) -> None:
    run("models", "register", "digits.onnx")
    assert run("models", "download", "digits", "-o", "out") == (0, "out/digits.onnx\n", "")
    assert (tmp_path / "out" / "digits.onnx").read_bytes() == b"a network" * 1000


def test_delete_asks_first() -> None:
    run("models", "register", "digits.onnx")
    code, _, _ = run("models", "delete", "digits:1", given="n\n")
    assert (code, len(Workspace.find().registry.find())) == (1, 1)
    assert run("models", "delete", "digits:1", "--yes") == (0, "", "digits:1 is deleted\n")
    assert Workspace.find().registry.find() == []


def test_delete_wants_a_version() -> None:
    run("models", "register", "digits.onnx")
    assert run("models", "delete", "digits", "--yes") == (
        1,
        "",
        "error: 'digits' names no version; write digits:VERSION, so that the right one goes\n",
    )


def test_copy_to_a_disk_and_from_it(tmp_path: Path) -> None:
    run("models", "register", "digits.onnx", "--tag", "team=vision")
    model = Workspace.find().registry.get("digits")
    disk = tmp_path / "disk"
    assert run("models", "copy", "digits:1", str(disk))[:2] == (0, f"digits:1  {model.digest}  {disk}\n")
    assert run("models", "delete", "digits:1", "--yes")[0] == 0
    code, out, err = run("models", "copy", "digits", "--from", str(disk))
    store = Workspace.find().store.address
    assert (code, out, err) == (
        1,
        "",
        f"error: digits:1 was deleted in {store}; copy it with --next, as the next version there\n",
    )
    assert run("models", "copy", "digits", "--from", str(disk), "--next")[:2] == (
        0,
        f"digits:2  {model.digest}  {store}\n",
    )
    assert dict(Workspace.find().registry.get("digits:2").tags) == {"team": "vision"}


def test_copy_wants_one_other_store() -> None:
    run("models", "register", "digits.onnx")
    assert run("models", "copy", "digits")[2] == (
        "error: name one other store: DESTINATION to copy to it, or --from STORE to copy from it\n"
    )


def test_download_what_it_was_converted_from(tmp_path: Path) -> None:
    registry = Workspace.find().registry
    registry.register(
        tmp_path / "digits.onnx", "digits", source=registry.register(tmp_path / "digits.onnx", "raw")
    )
    code, out, err = run("models", "download", "digits", "--source", "--output", "original")
    assert (code, out, err) == (0, "original/digits.onnx\n", "digits was converted from raw:1\n")
    assert run("models", "download", "raw", "--source")[2] == (
        "error: model raw:1 was not converted from a registered model\n"
    )
