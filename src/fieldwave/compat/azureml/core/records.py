"""What the legacy interface must remember and the native rooms have no place for: a file in the workspace."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fieldwave.errors import StorageError
from fieldwave.files import write_atomically
from fieldwave.workspace import Workspace

__all__ = ["changed", "read"]

Records = dict[str, dict[str, Any]]


def read(workspace: Workspace, kind: str) -> Records:
    """The records of a kind, by name.

    Raises:
        StorageError: the file is damaged.
    """
    path = workspace.folder / "azureml" / f"{kind}.json"
    try:
        records: Records = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        raise StorageError(f"{path} is damaged; delete it, nothing but the legacy names in it is lost") from None
    return records


@contextmanager
def changed(workspace: Workspace, kind: str) -> Iterator[Records]:
    """The records of a kind, to be changed; two who do so at once come one after the other."""
    folder = workspace.create_services_folder().parent / "azureml"
    folder.mkdir(exist_ok=True)
    with (folder / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        records = read(workspace, kind)
        yield records
        write_atomically(folder / f"{kind}.json", json.dumps(records, indent=2).encode() + b"\n")
