"""What pods see of Secrets: folders of files, changed all at once."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

__all__ = ["show_secret"]


def show_secret(folder: Path, data: Mapping[str, str], mode: int, group: int) -> None:
    """Put the content of a Secret into a folder; readers see the old content or the new one, as with a kubelet.

    The files are links into a folder that is a link itself, which is replaced.
    """
    content = folder / f"..{secrets.token_hex(4)}"
    content.mkdir(parents=True)
    for name, text in data.items():
        path = content / name
        path.write_bytes(base64.b64decode(text))
        os.chown(path, -1, group)
        path.chmod(mode)
    new, data_link = folder / "..new", folder / "..data"
    before = data_link.resolve() if data_link.is_symlink() else None
    new.symlink_to(content.name)
    new.replace(data_link)
    for name in data:
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}")
    if before is not None:
        for path in before.iterdir():
            path.unlink()
        before.rmdir()
