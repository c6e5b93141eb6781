"""Bringing an image to a box: what the box lacks, and no byte twice, over a link that may break at any time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from fieldwave.deploy.edge.archive import Archive, Blob
from fieldwave.deploy.edge.box import Box
from fieldwave.errors import HostError, InputError, StorageError

__all__ = ["Progress", "bring", "send"]

Progress = Callable[[str, float], None]
"""What is being done, and the part of it that is done, 0 to 1."""

BLOCK = 65536
CHUNK = 64 * BLOCK
"""Bytes sent by one command: how much a broken link loses, and how often progress is told."""
_SLOW_SECONDS = 600.0  # for a slow link's chunk, and for a slow disk
_ATTEMPTS = 3
_UNPACKED = 3
"""Podman keeps layers unpacked; this times the packed size is what our own take, rounded up."""


def bring(
    box: Box,
    archive: Archive,
    reference: str,
    token: str,
    progress: Progress = lambda what, done: None,
) -> int:
    """See to it that podman on the box has the image, by the name ``reference``; the bytes that were sent.

    A blob is sent from where an earlier attempt ended, of whoever. When the link breaks another is opened and the
    sending goes on. Everything is checked against its digest there before podman reads it.

    Parameters:
        token: of the deployment that wants it, which keeps it from being cleared away meanwhile.

    Raises:
        InputError: the image is for another processor.
        StorageError: there is no room for it.
        HostError: the link broke and did not come back in time; what has arrived stays there for the next attempt.
    """
    facts = box.facts()
    if archive.machine != facts.machine:
        raise InputError(
            f"{archive.path.name} is for {archive.machine} and {box.name} is {facts.machine}; "
            f"build the image on a base for {facts.machine}"
        )
    sent = 0
    if not box.has_image(reference):
        _check_room(box, archive, facts.folder, facts.store)
        sent = send(box, archive.path, archive.blobs, progress)
        progress(f"unpacking on {box.name}", 1.0)
    names = "".join(f"{blob.hex}\n" for blob in archive.blobs).encode()
    box.call("load", archive.blobs[0].hex, reference, token, stdin=names, timeout=_SLOW_SECONDS)
    return sent


def send(box: Box, path: Path, blobs: Sequence[Blob], progress: Progress = lambda what, done: None) -> int:
    """Send what the box lacks of a file's parts, and have it checked there; the bytes sent. See `bring`."""
    names, size = [blob.hex for blob in blobs], sum(blob.size for blob in blobs)
    there: dict[str, int] = {}  # bytes of each blob that are known to be on the box
    sent = 0
    try:
        with path.open("rb") as file:
            for attempt in range(_ATTEMPTS):
                for blob, has in zip(blobs, box.call("have", *names).text.split(), strict=True):
                    there[blob.hex] = blob.size if has == "whole" else min(int(has), blob.size) // BLOCK * BLOCK
                for blob in blobs:
                    while (start := there[blob.hex]) < blob.size:
                        data = _read(file, blob, start)
                        box.call("put", blob.hex, str(start // BLOCK), stdin=data, timeout=_SLOW_SECONDS)
                        there[blob.hex] += len(data)
                        sent += len(data)
                        progress(f"copying to {box.name}", sum(there.values()) / size)
                if not box.call("settle", *names, timeout=_SLOW_SECONDS).text:
                    return sent
                # What came from an earlier attempt was not whole; it is gone there, and sent again from its start.
                progress("a part was damaged and is sent again", attempt / _ATTEMPTS)
    except HostError as error:
        raise HostError(
            f"{error}; {sent / 1e6:.1f} MB were sent and stay there; the same command goes on from there"
        ) from error
    raise StorageError(f"{box.name}: what is written there reads back as something else; is its disk sound?")


def _read(file: IO[bytes], blob: Blob, start: int) -> bytes:
    file.seek(blob.offset + start)
    data = file.read(min(CHUNK, blob.size - start))
    if not data:
        raise StorageError(f"the file {file.name} became shorter while it was sent")
    return data


def _check_room(box: Box, archive: Archive, *places: str) -> None:
    there = box.call("have", *(blob.hex for blob in archive.blobs)).text.split()
    lacking = sum(
        blob.size - (blob.size if has == "whole" else min(int(has), blob.size))
        for blob, has in zip(archive.blobs, there, strict=True)
    )
    needed = lacking * (1 + _UNPACKED)
    free = min(int(kib) * 1024 for kib in box.call("room", *filter(None, places)).text.split())
    if free < needed:
        raise StorageError(
            f"{box.name}: {free / 1e6:.0f} MB are free there and the image needs about {needed / 1e6:.0f} MB; "
            "delete a service, or what 'podman image prune' would remove"
        )
