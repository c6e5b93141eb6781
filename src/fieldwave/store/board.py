"""Claims in a registry: tags of a repository beside the one that they are about."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fieldwave.store.claims import TAKE_SECONDS, claim
from fieldwave.store.content import IMAGE_MANIFEST, Descriptor, Manifest
from fieldwave.store.protocol import NOTHING
from fieldwave.store.repository import Repository

__all__ = ["CLAIMS", "DELETED", "ClaimBoard", "list_referrer"]

CLAIMS = "claims"
"""The last part of the name of the repository beside."""
DELETED = (200, 202)
"""What a registry answers that has deleted something."""
_TRIES = 5
_CLAIM = "application/vnd.fieldwave.claim.v1"


class ClaimBoard:
    """A :class:`fieldwave.store.claims.Board`.

    Parameters:
        beside: the repository for claims.
        tags: lists the tags that are claimed.
        take: puts one.
    """

    def __init__(self, beside: Repository, tags: Callable[[], Sequence[str]], take: Callable[[str], None]) -> None:
        self._beside, self._tags, self._take = beside, tags, take

    def tags(self) -> Sequence[str]:
        return self._tags()

    def claims(self) -> Sequence[str]:
        return self._beside.tags()

    def put_claim(self, claim: str, writer: str) -> None:
        self._beside.add(NOTHING)
        self._beside.put(claim, _of(writer).to_json(), IMAGE_MANIFEST)

    def clear_claims(self, writer: str) -> bool:
        # All claims of a writer are tags of one manifest, and nobody else's: they go with it.
        for _ in range(_TRIES):
            status = self._beside.delete(_of(writer).descriptor().digest)
            if status != 404:
                return status in DELETED
            # Docker's registry forgets the manifest, but keeps its tags, when other tags go at the same moment.
            self.put_claim(f"out_9999_{writer}", writer)
        return False

    def take(self, tag: str) -> None:
        self._take(tag)


def list_referrer(repository: Repository, beside: Repository, subject: str, referrer: Descriptor) -> None:
    """Add a referrer to the list under a tag, as the only writer who does so."""

    def add(tag: str) -> None:
        repository.list_referrer(subject, referrer, TAKE_SECONDS / 2)

    claim(ClaimBoard(beside, lambda: (), add), lambda tags: subject.replace(":", "-"))


def _of(writer: str) -> Manifest:
    return Manifest(_CLAIM, annotations={"dev.fieldwave.writer": writer})
