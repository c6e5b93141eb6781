"""One file over HTTP, resumed where it broke off; the standard library alone."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from fieldwave.errors import FieldwaveError, NotFoundError, ServiceError, StorageError
from fieldwave.version import __version__

__all__ = ["download"]

Progress = Callable[[float], None]

_ATTEMPTS = 3
_CHUNK = 2**18


def download(url: str, part: Path, *, advice: str, progress: Progress, timeout: float = 30.0) -> None:
    """Fetch ``url`` into the file ``part``, which may hold the beginning from last time.

    The beginning is kept only if the server says, by If-Range (RFC 9110, 13.1.5), that the file is still the
    one it began with; a server that knows no ranges sends all, and all is taken anew. A connection that breaks
    off is taken up again, twice; what has come stays for the next time.

    Args:
        url: http or https.
        part: beside it lies ``part.json``, which remembers which file it is the beginning of.
        advice: what to do without a network, added to the message.
        progress: called with the share that is there, 0 to 1.
        timeout: seconds without a byte until the connection is given up.

    Raises:
        NotFoundError: the server has no such file.
        ServiceError: the server cannot be reached, answers with an error, or breaks off.
        StorageError: the disk is full or the folder cannot be written.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        before = _size(part)
        try:
            _fetch(url, part, progress, timeout)
            return
        except (TimeoutError, ConnectionError, http.client.HTTPException, urllib.error.URLError, _Broken) as error:
            failure = _failure(url, part, error, advice)
        except OSError as error:
            raise StorageError(f"cannot write {part}: {error.strerror or error}") from error
        # Only a connection that brought something is worth another try at once.
        if attempt == _ATTEMPTS or _size(part) <= before:
            raise failure


class _Broken(Exception):
    """The answer ended before its end."""


def _fetch(url: str, part: Path, progress: Progress, timeout: float) -> None:
    begun = _size(part)
    known = _remembered(part, url)
    request = urllib.request.Request(url, headers={"User-Agent": f"fieldwave/{__version__}"})
    if begun and known:
        request.add_header("Range", f"bytes={begun}-")
        request.add_header("If-Range", known)
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or not begun:
            raise
        # Nothing behind the end: whole already, or another file; the digest of a fresh one will tell.
        _forget(part)
        return _fetch(url, part, progress, timeout)
    with answer:
        resumed = answer.status == 206 and _range_start(answer) == begun
        if answer.status == 206 and not resumed:
            if not begun:
                raise _Broken("the server sends a part that was not asked for")
            _forget(part)
            return _fetch(url, part, progress, timeout)
        if not resumed:
            begun = 0
            _remember(part, url, answer.headers)
        length = answer.headers.get("Content-Length")
        total = begun + int(length) if length is not None and length.isdecimal() else None
        with part.open("ab" if resumed else "wb") as file:
            _copy(answer, file, begun, total, progress)


def _copy(answer: Any, file: IO[bytes], done: int, total: int | None, progress: Progress) -> None:
    while chunk := answer.read(_CHUNK):
        file.write(chunk)
        done += len(chunk)
        if total:
            progress(min(done / total, 1.0))
    file.flush()
    os.fsync(file.fileno())
    if total is not None and done != total:
        raise _Broken(f"{done} of {total} bytes came")


def _range_start(answer: Any) -> int | None:
    """Of ``Content-Range: bytes 7-20/21``, 7."""
    unit, _, span = answer.headers.get("Content-Range", "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdecimal() else None


def _remember(part: Path, url: str, headers: Any) -> None:
    etag = headers.get("ETag", "")
    # A weak tag does not promise the same bytes.
    validator = etag if etag.startswith('"') else headers.get("Last-Modified", "")
    _note(part).write_text(json.dumps({"url": url, "validator": validator}))


def _remembered(part: Path, url: str) -> str:
    try:
        note = json.loads(_note(part).read_text())
        return str(note["validator"]) if note["url"] == url else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0


def _failure(url: str, part: Path, error: Exception, advice: str) -> FieldwaveError:
    if isinstance(error, urllib.error.HTTPError):
        if error.code in (404, 410):
            return NotFoundError(f"{url} is not there ({error.code} {error.reason}); {advice}")
        return ServiceError(f"{url}: the server answers {error.code} {error.reason}; try again later, or {advice}")
    if isinstance(error, urllib.error.URLError):
        reason = error.reason
        text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        return ServiceError(f"no way to {url} ({text}): without a network, {advice}")
    kind = "no byte came any more" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return ServiceError(
        f"{url} broke off after {_size(part)} bytes ({kind}): run it again to go on from there, or {advice}"
    )
