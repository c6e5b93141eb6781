"""Tags that no two writers get, from a registry that cannot compare and swap.

A registry puts a tag where it is told to, whoever was there before. What it does promise is that a tag, once put,
is in every list that is asked for afterwards. So a writer first *claims* a tag by another one, in a repository
beside, then looks who else claims it::

    claim   put  <tag>_<writer>
    look    am I alone?                          then the tag is mine
            is another writer's name smaller?    then put <tag>_<writer>_out, and try the next tag
            am I the smallest of several?        then wait until all others are out, or the tag is there: one of
                                                 them was alone when it looked, and I try the next tag

Of two claims for one tag, the later one is put before its writer looks, so that writer sees the earlier one; hence
no two writers are alone. A writer that died between its claim and its tag holds others up for a lease, in which a
living one has put its tag or has given up. The idea is that of Lamport's bakery (CACM 17(8), 1974).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Protocol

__all__ = ["LEASE_SECONDS", "Board", "claim"]

LEASE_SECONDS = 10.0
_POLL_SECONDS = 0.02
_OUT = "_out"


class Board(Protocol):
    """Where claims are put for all to see."""

    def tags(self) -> Sequence[str]:
        """The tags of the repository itself."""

    def claims(self) -> Sequence[str]:
        """All claims that were put and not cleared."""

    def put_claim(self, claim: str) -> None:
        """Put one; it is in every list of claims that is asked for after this returns."""

    def clear_claims(self, claims: Sequence[str]) -> None:
        """Take claims away, if the registry can do that."""

    def take(self, tag: str) -> None:
        """Put the tag itself; returns, or raises, within :data:`LEASE_SECONDS`."""


def claim(
    board: Board,
    next_tag: Callable[[Sequence[str]], str],
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Choose a tag by ``next_tag``, as the only writer to have it, and take it."""
    me = secrets.token_hex(8)
    passed: list[str] = []
    while True:
        wanted = next_tag([*board.tags(), *passed])
        board.put_claim(f"{wanted}_{me}")
        if _is_mine(board, wanted, me, clock, pause):
            board.take(wanted)
            board.clear_claims([each for each in board.claims() if each.startswith(f"{wanted}_")])
            return wanted
        board.put_claim(f"{wanted}_{me}{_OUT}")
        passed.append(wanted)


def _is_mine(
    board: Board, wanted: str, me: str, clock: Callable[[], float], pause: Callable[[float], None]
) -> bool:
    begin = clock()
    while True:
        # In this order: a rival that takes the tag and then clears the claims is seen by one of them.
        rivals = _live(board.claims(), wanted) - {me}
        if wanted in board.tags():
            return False
        if not rivals:
            return True
        if min(rivals) < me:
            return False
        if clock() - begin > LEASE_SECONDS:
            return True
        pause(_POLL_SECONDS)


def _live(claims: Sequence[str], wanted: str) -> set[str]:
    """The writers that claim the tag and are not out."""
    start = f"{wanted}_"
    marks = {each.removeprefix(start) for each in claims if each.startswith(start)}
    return {mark for mark in marks if not mark.endswith(_OUT) and f"{mark}{_OUT}" not in marks}
