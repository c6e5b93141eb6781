"""Bringing an image to a box: what the box lacks, and no byte twice, over a link that may break at any time."""

from __future__ import annotations

import time
from collections.abc import Callable
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
PATIENCE_SECONDS = 120.0
"""How long a link may stay broken before it is given up."""
_UNPACKED = 3
"""Podman keeps layers unpacked; this times the packed size is what our own take, rounded up."""


def bring(
    box: Box,
    archive: Archive,
    reference: str,
    token: str,
    progress: Progress = lambda what, done: None,
    patience: float = PATIENCE_SECONDS,
) -> int:
    """See to it that podman on the box has the image, by the name ``reference``; the bytes that were sent.

    A blob is sent from where an earlier attempt ended, of whoever. When the link breaks another is opened and the
    sending goes on. Everything is checked against its digest there before podman reads it.

    Parameters:
        token: of the deployment that wants it, which keeps it from being cleared away meanwhile.
        patience: seconds without a byte until it is given up.

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
    if box.ssh.run(["podman", "image", "exists", reference], timeout=60).code != 0:
        _check_room(box, archive, facts.folder, facts.store)
        sent = send(box, archive, progress, patience)
        progress(f"unpacking on {box.name}", 1.0)
    names = "".join(f"{blob.hex}\n" for blob in archive.blobs).encode()
    box.call("load", archive.blobs[0].hex, reference, token, stdin=names, timeout=600)
    return sent


def send(
    box: Box, archive: Archive, progress: Progress = lambda what, done: None, patience: float = PATIENCE_SECONDS
) -> int:
    """Send what the box lacks of an image, and have it checked there; the bytes that were sent. See `bring`."""
    return _Sending(box, archive, progress, patience).send()


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


class _Sending:
    """The state of one sending: what was sent, and since when nothing was."""

    def __init__(self, box: Box, archive: Archive, progress: Progress, patience: float) -> None:
        self._box = box
        self._archive = archive
        self._progress = progress
        self._patience = patience
        self._alive = time.monotonic()
        self._sent = 0
        self._there: dict[str, int] = {}  # bytes of each blob that are known to be on the box

    def send(self) -> int:
        with self._archive.path.open("rb") as file:
            for attempt in range(3):
                for blob in self._archive.blobs:
                    self._persist(blob, file)
                if not self._damaged():
                    return self._sent
                # What arrived from an earlier attempt was not whole; it is gone, and sent again from its start.
                self._progress("a part was damaged and is sent again", attempt / 3)
        raise StorageError(
            f"{self._box.name}: what is written there reads back as something else; is its disk sound?"
        )

    def _persist(self, blob: Blob, file: IO[bytes]) -> None:
        """Send a blob, however often the link breaks."""
        while True:
            try:
                self._send(blob, file)
                return
            except HostError as error:
                if time.monotonic() - self._alive > self._patience:
                    done = (
                        f"{self._sent / 1e6:.1f} MB were sent and stay there; the same command goes on from there"
                    )
                    raise HostError(f"{error}; {done}") from error
                time.sleep(min(1.0, self._patience / 10))

    def _send(self, blob: Blob, file: IO[bytes]) -> None:
        [there] = self._box.call("have", blob.hex).text.split()
        start = blob.size if there == "whole" else min(int(there), blob.size) // BLOCK * BLOCK
        self._there[blob.hex] = start
        while start < blob.size:
            file.seek(blob.offset + start)
            data = file.read(min(CHUNK, blob.size - start))
            if not data:
                raise StorageError(f"{self._archive.path} became shorter while it was sent")
            self._box.call("put", blob.hex, str(start // BLOCK), stdin=data, timeout=600)
            start += len(data)
            self._there[blob.hex] = start
            self._sent += len(data)
            self._alive = time.monotonic()
            self._progress(f"copying to {self._box.name}", sum(self._there.values()) / self._archive.size)

    def _damaged(self) -> bool:
        """Have the box check what has arrived and remove what is not what it should be; whether it did."""
        names = [blob.hex for blob in self._archive.blobs]
        self._alive = time.monotonic()
        while True:
            try:
                return bool(self._box.call("settle", *names, timeout=600).text)
            except HostError:
                if time.monotonic() - self._alive > self._patience:
                    raise
                time.sleep(min(1.0, self._patience / 10))
