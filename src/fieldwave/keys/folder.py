"""The folder of a service's keys: a file for each, as Kubernetes mounts a Secret.

::

    keys/              0700
        primary        0600, one line
        secondary      0600, one line

Whoever serves reads the files again when they change.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path

from fieldwave.errors import InputError, NotFoundError, StorageError
from fieldwave.files import write_atomically
from fieldwave.keys.keys import KEY_NAMES, KeyName, Keys, check_name

__all__ = ["read_keys", "regenerate_key", "write_keys"]

_LARGEST = 4096


def read_keys(folder: str | os.PathLike[str]) -> Keys:
    """The keys in ``folder``; space around them is no part of them.

    Raises:
        NotFoundError: there is no such folder, or one of the files is missing.
        InputError: a file holds no key; the message never shows what it holds.
        StorageError: a file cannot be read.
    """
    path = Path(folder)
    found = {name: _read(path, name) for name in KEY_NAMES}
    try:
        return Keys(**found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def write_keys(folder: str | os.PathLike[str], keys: Keys) -> None:
    """Write ``keys`` to ``folder``, readable for this user alone.

    A folder that is not there yet appears with both files or not at all; in one that is, each file is replaced
    whole.

    Raises:
        StorageError: they cannot be written.
    """
    path = Path(folder)
    if path.is_dir():
        for name in KEY_NAMES:
            _write(path, name, keys)
        return
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        new.mkdir(mode=0o700)
        for name in KEY_NAMES:
            _write(new, name, keys)
        new.rename(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            shutil.rmtree(new)
        if not isinstance(error, OSError) or isinstance(error, StorageError):
            raise
        raise StorageError(f"cannot write the keys to {path}: {error.strerror or error}") from error


def regenerate_key(folder: str | os.PathLike[str], which: KeyName) -> Keys:
    """Put a new key into the place of ``which`` and return both; the other one is not touched.

    Raises:
        NotFoundError, InputError, StorageError: as `read_keys` and `write_keys`.
    """
    check_name(which)
    keys = read_keys(folder).regenerated(which)
    _write(Path(folder), which, keys)
    return keys


def _read(folder: Path, name: KeyName) -> str:
    path = folder / name
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        what = f"no {name} key in {folder}" if folder.is_dir() else f"no folder of keys {folder}"
        raise NotFoundError(f"{what}; it needs the files 'primary' and 'secondary'") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    return data.decode("ascii", errors="replace").strip()


def _write(folder: Path, name: KeyName, keys: Keys) -> None:
    write_atomically(folder / name, getattr(keys, name).encode() + b"\n", mode=0o600)
