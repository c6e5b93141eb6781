from __future__ import annotations

import os
from pathlib import Path

import pytest

from fieldwave.errors import InputError, StorageError
from fieldwave.workspace import Settings, Workspace


def test_the_nearest_fieldwave_toml_upwards_marks_the_project(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "inner"
    deep = inner / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "outer" / "fieldwave.toml").touch()
    (inner / "fieldwave.toml").touch()

    workspace = Workspace.find(deep)

    assert workspace == Workspace(inner)
    assert workspace.root == inner
    assert workspace.services_folder == inner / ".fieldwave" / "services"


def test_a_folder_of_that_name_marks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "fieldwave.toml").mkdir()
    assert Workspace.find(tmp_path).root == tmp_path / "data" / "fieldwave"


def test_the_working_directory_is_where_the_search_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fieldwave.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert Workspace.find().root == tmp_path


def test_outside_a_project_it_is_the_users_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    workspace = Workspace.find(tmp_path)
    assert workspace.root == tmp_path / "data" / "fieldwave"
    assert workspace.services_folder == tmp_path / "data" / "fieldwave" / "services"


@pytest.mark.parametrize("value", [None, "", "relative/data"])
def test_without_a_usable_xdg_variable_it_is_below_home(
    value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_DATA_HOME", value)
    assert Workspace.find(tmp_path).root == tmp_path / ".local" / "share" / "fieldwave"


def test_a_deleted_working_directory_lies_in_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "fieldwave.toml").touch()
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    try:
        assert Workspace.find().root == tmp_path / "data" / "fieldwave"
    finally:
        os.chdir(tmp_path)


def test_a_projects_state_is_kept_out_of_version_control(tmp_path: Path) -> None:
    assert Workspace(tmp_path).create_services_folder() == tmp_path / ".fieldwave" / "services"
    assert (tmp_path / ".fieldwave" / ".gitignore").read_text() == "*\n"
    assert Workspace(tmp_path).create_services_folder().is_dir()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / ".fieldwave").write_text("a file in the way")
    with pytest.raises(StorageError) as caught:
        Workspace(tmp_path).create_services_folder()
    assert str(caught.value) == f"cannot make {tmp_path}/.fieldwave/services: Not a directory"


def test_a_user_without_a_home_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654_321)
    with pytest.raises(StorageError) as caught:
        Workspace.find(tmp_path)
    assert str(caught.value) == (
        "user 987654321 has no home folder to keep services in; set XDG_DATA_HOME to a folder, "
        "or mark the project's folder with an empty file fieldwave.toml"
    )
    (tmp_path / "fieldwave.toml").touch()
    assert Workspace.find(tmp_path) == Workspace(tmp_path)


def test_the_file_says_what_the_workspace_is(tmp_path: Path) -> None:
    (tmp_path / "fieldwave.toml").write_text('name = "vision"\nlocation = "Oslo"\nstore = "models"\n')
    workspace = Workspace.from_config(tmp_path)
    assert workspace.settings == Settings("vision", "Oslo", "models", "local")
    assert (workspace.name, workspace.store.address) == ("vision", str(tmp_path / "models"))


def test_a_registry_is_a_store_too(tmp_path: Path) -> None:
    (tmp_path / "fieldwave.toml").write_text('store = "oci://registry.example.com/team"\n')
    assert Workspace.find(tmp_path).store.address == "registry.example.com/team"


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "vision")
    assert workspace.settings == Settings()
    assert (workspace.name, workspace.store.address) == (
        "vision",
        str(tmp_path / "vision" / ".fieldwave" / "store"),
    )


def test_what_is_created_is_read_back(tmp_path: Path) -> None:
    name = 'the "best" \\ vision ✓\n'
    Workspace.create(tmp_path, name=name, location="Oslo")
    assert Workspace.find(tmp_path).settings == Settings(name, "Oslo")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = vision", "is no TOML: Invalid value (at line 1, column 8)"),
        ("colour = 'red'", ": 'colour' is unknown; it may say name, location, store, compute, base"),
        ("name = 3", ": name is 3, expected a text in quotes"),
    ],
)
def test_a_wrong_file_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "fieldwave.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        _ = Workspace.find(tmp_path).settings
    assert str(error.value).removeprefix(str(path)).lstrip() == said


@pytest.mark.parametrize(
    ("said", "base"),
    [
        ("", ""),
        ("debian:2", "debian:2"),
        ("parts/base.tar", "{root}/parts/base.tar"),
        ("base.tar", "{root}/base.tar"),
        ("parts/layout:one", "{root}/parts/layout:one"),
        ("registry.example/python:3.11", "registry.example/python:3.11"),
    ],
)
def test_a_base_that_is_a_path_begins_at_the_top_folder(tmp_path: Path, said: str, base: str) -> None:
    (tmp_path / "parts" / "layout").mkdir(parents=True)
    for name in ("parts/base.tar", "base.tar"):
        (tmp_path / name).touch()
    (tmp_path / "fieldwave.toml").write_text(f"base = {said!r}\n")
    assert Workspace(tmp_path).base == base.format(root=tmp_path)
