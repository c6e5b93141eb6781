"""The keys of a service: their form, and the folder that they are kept in."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fieldwave.errors import InputError, NotFoundError, StorageError
from fieldwave.keys import KEY_NAMES, Keys, read_keys, regenerate_key, write_keys

ONE, TWO = "1" * 32, "2" * 32


def test_generated_keys_are_256_random_bits_each() -> None:
    keys = {key for _ in range(50) for key in (lambda made: (made.primary, made.secondary))(Keys.generate())}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {43}  # 256 bits by 6


@pytest.mark.parametrize("which", KEY_NAMES)
def test_one_key_is_regenerated_and_the_other_stays(which: str) -> None:
    keys = Keys.generate()
    new = keys.regenerated(which)  # type: ignore[arg-type]
    changed = {name for name in KEY_NAMES if getattr(new, name) != getattr(keys, name)}
    assert changed == {which}


def test_no_text_of_keys_shows_them() -> None:
    keys = Keys.generate()
    assert repr(keys) == str(keys) == "Keys()"


@pytest.mark.parametrize("bad", ["", "short" * 6, "x" * 257, "a space " * 4, "a.token" * 8, "ä" * 32, ONE + "\n"])
@pytest.mark.parametrize("name", KEY_NAMES)
def test_what_is_no_key_is_refused_without_being_shown(bad: str, name: str) -> None:
    with pytest.raises(InputError) as caught:
        Keys(**{"primary": ONE, "secondary": TWO, name: bad})
    assert str(caught.value) == (
        f"the {name} key, which is not shown here, is none: it must have 32 to 256 letters, digits and -_~+/"
    )


def test_two_keys_that_are_one_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        Keys(ONE, ONE)
    assert str(caught.value) == "the primary and the secondary key are the same; regenerate one of them"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        Keys(ONE, TWO).regenerated("third")  # type: ignore[arg-type]
    assert str(caught.value) == "no key is called 'third'; a service has 'primary' and 'secondary'"


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_what_is_written_is_read_and_belongs_to_this_user_alone(tmp_path: Path, mask: int) -> None:
    keys, folder = Keys.generate(), tmp_path / "keys"
    before = os.umask(mask)
    try:
        write_keys(folder, keys)
        write_keys(folder, keys.regenerated("primary"))
        regenerate_key(folder, "secondary")
        write_keys(folder, keys)
    finally:
        os.umask(before)
    assert read_keys(folder) == keys
    assert sorted(path.name for path in folder.iterdir()) == ["primary", "secondary"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_regenerated_key_is_in_the_folder_and_the_other_file_is_not_touched(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    write_keys(folder, Keys(ONE, TWO))
    untouched = (folder / "primary").stat().st_ino
    new = regenerate_key(folder, "secondary")
    assert new == read_keys(folder)
    assert new.primary == ONE
    assert new.secondary != TWO
    assert (folder / "primary").stat().st_ino == untouched


def test_keys_of_a_mounted_secret_are_read_through_its_links(tmp_path: Path) -> None:
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..data").symlink_to("..2026")
    for name, key in zip(KEY_NAMES, (ONE, TWO), strict=True):
        (tmp_path / "..2026" / name).write_text(f"{key}\n")
        (tmp_path / name).symlink_to(f"..data/{name}")
    assert read_keys(tmp_path) == Keys(ONE, TWO)


def test_a_missing_folder_and_a_missing_key_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        read_keys(tmp_path / "none")
    assert str(caught.value) == f"no folder of keys {tmp_path}/none; it needs the files 'primary' and 'secondary'"
    (tmp_path / "primary").write_text(ONE)
    with pytest.raises(NotFoundError) as caught:
        read_keys(tmp_path)
    assert str(caught.value) == f"no secondary key in {tmp_path}; it needs the files 'primary' and 'secondary'"


def test_a_damaged_file_is_named_and_its_content_is_not(tmp_path: Path) -> None:
    (tmp_path / "primary").write_text(ONE)
    (tmp_path / "secondary").write_bytes(b"\xffsecret")
    with pytest.raises(InputError) as caught:
        read_keys(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: the secondary key, which is not shown here, is none: it must have 32 to 256 letters, digits "
        "and -_~+/"
    )


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_a_full_disk_leaves_no_half_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    # Each file is synced and then its folder; a folder that cannot be synced is no error.
    real, calls = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    if failing % 2:
        with pytest.raises(StorageError, match="No space left on device"):
            write_keys(tmp_path / "keys", Keys(ONE, TWO))
        assert list(tmp_path.iterdir()) == []
    else:
        write_keys(tmp_path / "keys", Keys(ONE, TWO))
        assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        write_keys(tmp_path / "none" / "keys", Keys(ONE, TWO))
    assert str(caught.value) == f"cannot write the keys to {tmp_path}/none/keys: No such file or directory"
