"""The runtime's wheels: from a folder, or by pip; each checked against its hash, and kept in a cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from fieldwave.errors import NotFoundError, StorageError
from fieldwave.images.lock import Pinned, pinned, pip_target
from fieldwave.store.body import digest_of_file

__all__ = ["Progress", "cache_folder", "copy_to", "wheels"]

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, 0 to 1."""


def cache_folder() -> Path:
    """Where downloaded wheels are kept: ``$XDG_CACHE_HOME/fieldwave/wheels``, by default under ``~/.cache``."""
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (configured if configured.is_absolute() else Path.home() / ".cache") / "fieldwave" / "wheels"


def wheels(
    architecture: str, folder: Path | None = None, *, progress: Progress = lambda what, share: None
) -> list[Path]:
    """The wheels of an architecture's runtime, in the lock file's order.

    Parameters:
        folder: take them from here, and nothing from the network; else what the cache lacks is downloaded by
            pip, from wherever pip is configured to.

    Raises:
        NotFoundError: the folder lacks some, or pip cannot get them; the message names them.
        InputError: there is no runtime for this architecture.
        StorageError: the cache cannot be written.
    """
    wanted = pinned(architecture)
    if folder is not None:
        return _from_folder(wanted, folder, architecture)
    cache = cache_folder()
    missing = [wheel for wheel in wanted if not _is_whole(cache, wheel)]
    if missing:
        progress(f"downloading {len(missing)} wheels", 0.0)
        _download(missing, architecture, cache)
    return [_cached(cache, wheel) for wheel in wanted]


def _from_folder(wanted: list[Pinned], folder: Path, architecture: str) -> list[Path]:
    """The files are found by their hashes; by their names only what is no use is left unread."""
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder} of wheels")
    names = {_plain(wheel.name) for wheel in wanted}
    files = [path for path in sorted(folder.glob("*.whl")) if _plain(path.name.split("-")[0]) in names]
    found = {digest_of_file(path)[0].removeprefix("sha256:"): path for path in files}
    missing = [wheel for wheel in wanted if wheel.sha256 not in found]
    if missing:
        raise NotFoundError(
            f"{folder} lacks {', '.join(wheel.id for wheel in missing)} for {architecture}, "
            "or holds other files of that name; fill it where there is a network: "
            "fieldwave images base --wheels FOLDER"
        )
    return [found[wheel.sha256] for wheel in wanted]


def _download(missing: list[Pinned], architecture: str, cache: Path) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".") as folder:
            requirements = Path(folder) / "requirements.txt"
            requirements.write_text("".join(f"{wheel.line}\n" for wheel in missing))
            _run_pip(requirements, Path(folder), architecture)
            found = {digest_of_file(path)[0]: path for path in Path(folder).glob("*.whl")}
            for wheel in missing:
                if f"sha256:{wheel.sha256}" not in found:
                    raise NotFoundError(
                        f"pip brought no {wheel.name}=={wheel.version} with the hash of the lock file"
                    )
                found[f"sha256:{wheel.sha256}"].replace(_cached(cache, wheel))
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"cannot write {cache}: {error.strerror or error}") from error


def _run_pip(requirements: Path, folder: Path, architecture: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--no-input"]
    command += [*pip_target(architecture), f"--dest={folder}", f"--requirement={requirements}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        if any("No module named pip" in line for line in lines):
            raise NotFoundError(
                f"{sys.executable} has no pip to download the runtime's wheels; install it (python -m ensurepip), "
                "or give a folder of wheels"
            )
        reason = next(
            (line for line in lines if line.startswith("ERROR:")), lines[-1] if lines else "no reason given"
        )
        raise NotFoundError(
            f"pip could not download the runtime's wheels: {reason.removeprefix('ERROR: ')}; "
            "without a network, give a folder of wheels"
        )


def _is_whole(cache: Path, wheel: Pinned) -> bool:
    path = _cached(cache, wheel)
    if not path.is_file():
        return False
    if digest_of_file(path)[0] == f"sha256:{wheel.sha256}":
        return True
    path.unlink(missing_ok=True)
    return False


def _cached(cache: Path, wheel: Pinned) -> Path:
    return cache / f"{_plain(wheel.name)}-{wheel.sha256}.whl"


def copy_to(folder: Path, architecture: str, progress: Progress = lambda what, share: None) -> list[Path]:
    """Put the wheels of a runtime into a folder, for a site without a network."""
    folder.mkdir(parents=True, exist_ok=True)
    places = []
    for path in wheels(architecture, progress=progress):
        places.append(folder / path.name)
        shutil.copyfile(path, places[-1])
    return places


def _plain(name: str) -> str:
    """A distribution's name as all its spellings have it (PEP 503), with underscores as file names have them."""
    return re.sub(r"[-_.]+", "_", name).lower()
