"""Tags that no two writers get, from a registry that cannot compare and swap.

A registry puts a tag where it is told to, whoever was there before. What it does promise is that a tag, once put,
is in every list that is asked for afterwards. So a writer first *claims* the tag that it wants, by a tag in a
repository beside, and looks who else claims it::

    look    list the claims, then the tags
    choose  put <tag>_<attempt>_<writer>: a tag after all that are taken or claimed; it replaces my claim before
    look    is it still the next one, and am I alone?   take it: put the tag, then clear my claims
            is it not, or was a smaller name here?      choose again, each rival another one
            am I the smallest here?                     look again, a few times, while the others choose

Of two claims for one tag the later one is put before its writer looks, so that writer sees the earlier one; hence
no two writers are alone. A claim goes only after its tag is there, and claims are listed before tags, so a tag
that is neither claimed nor there was not taken since the look began. No clock is read for this: a writer that
stops for an hour between two steps gets its tag or chooses another, and one that died costs the others a number.
This is renaming as by Attiya, Bar-Noy, Dolev, Peleg and Reischuk (JACM 37(3), 1990); the registry is the memory.

Where there is no other tag to choose (the next change of *this* version, after *these* changes) writers must wait
for each other, and one that died would be waited for in vain. Only there a claim that does not move for
:data:`LEASE_SECONDS` is passed over; a living writer has taken its tag by then, or has claimed it anew.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from fieldwave.errors import FieldwaveError

__all__ = ["LEASE_SECONDS", "TAKE_SECONDS", "Board", "claim"]

LEASE_SECONDS = 40.0
TAKE_SECONDS = 30.0
"""How long taking a tag may last; its claim is younger than the rest of the lease when that begins."""
_PAUSES = (0.05, 0.15, 0.3, 0.5)
_LOOKS = 5
"""How often a writer waits for others out of politeness: about a second and a half."""
_OUT = "out"


class Board(Protocol):
    """Where claims are put for all to see."""

    def tags(self) -> Sequence[str]:
        """The tags of the repository itself."""

    def claims(self) -> Sequence[str]:
        """All claims that were put and not cleared."""

    def put_claim(self, claim: str, writer: str) -> None:
        """Put one; it is in every list of claims that is asked for after this returns."""

    def clear_claims(self, writer: str) -> bool:
        """Take a writer's claims away, or return that the registry cannot do that."""

    def take(self, tag: str) -> None:
        """Put the tag itself; returns, or raises, within :data:`TAKE_SECONDS`."""


def claim(
    board: Board,
    next_tag: Callable[[Sequence[str]], str],
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Choose a tag by ``next_tag``, as the only writer to have it, and take it.

    ``next_tag`` is asked with the tags that are taken, and with those and the ones that others claim; what it
    raises for the former is raised. A tag whose taking failed stays claimed: the registry may still put it.
    """
    writer = _Writer(board, next_tag, clock, pause)
    try:
        while not writer.look():
            pass
    except BaseException:
        if not writer.taking:
            writer.clear()
        raise
    writer.clear()
    return writer.wanted


class _Writer:
    """One writer between its first look and its tag.

    Attributes:
        wanted: the tag that it claims; empty where it waits.
        taking: it has begun to put that tag.
    """

    def __init__(
        self,
        board: Board,
        next_tag: Callable[[Sequence[str]], str],
        clock: Callable[[], float],
        pause: Callable[[float], None],
    ) -> None:
        self.wanted = ""
        self.taking = False
        self._board, self._next_tag, self._clock, self._pause = board, next_tag, clock, pause
        self._name = secrets.token_hex(8)
        self._attempt = 0
        self._looks = 0
        self._put_at = 0.0
        self._passed: list[str] = []
        self._since: dict[tuple[str, int], float] = {}
        self._dead: set[tuple[str, int]] = set()

    def look(self) -> bool:
        """One look at the board and what follows from it; whether the tag is mine."""
        latest = {name: last for name, last in _latest(self._board.claims()).items() if name != self._name}
        tags = self._board.tags()
        free = self._next_tag(tags)
        others = {n: tag for n, (attempt, tag) in latest.items() if tag != _OUT and (n, attempt) not in self._dead}
        rivals = [name for name, tag in others.items() if tag == self.wanted]
        if self.wanted and self._after(tags, self._passed) == self.wanted:
            patient = self._looks < _LOOKS
            # Who takes a tag before the ones ahead of it makes their writers choose again, and leaves gaps.
            ahead = [tag for tag in others.values() if tag in self._passed and self._after(tags, [tag]) != free]
            if not rivals and not (ahead and patient):
                return self._take(tags)
            if patient and (not rivals or self._name < min(rivals)):
                self._wait()
                return False
        if not self._choose(tags, set(others.values()), sum(name < self._name for name in rivals)):
            self._bury([(name, attempt) for name, (attempt, _) in latest.items() if name in others])
            self._wait()
        return False

    def clear(self) -> None:
        """Take my claims off the board, or say on it that they are none."""
        # Whatever fails here: the tag is mine already, or a worse error is on its way.
        with contextlib.suppress(FieldwaveError):
            if self._attempt and not self._board.clear_claims(self._name):
                self._put(_OUT)

    def _take(self, tags: Sequence[str]) -> bool:
        # A list that is made while a version goes may show neither it nor the mark that it existed; the next one
        # shows the mark.
        if self._after([*tags, *self._board.tags()], self._passed) != self.wanted:
            return False
        if self._clock() - self._put_at > LEASE_SECONDS - TAKE_SECONDS:
            self._put(self.wanted)
            return False
        self.taking = True
        self._board.take(self.wanted)
        return True

    def _choose(self, tags: Sequence[str], claimed: Iterable[str], ahead: int) -> bool:
        """Claim a tag that nobody claims, if there is one; rivals who choose at once each choose another."""
        passed = sorted({tag for tag in claimed if tag not in tags})
        wanted = self._after(tags, passed)
        for _ in range(ahead - 1):  # the first of them stays
            if wanted is not None:
                passed.append(wanted)
                wanted = self._after(tags, passed)
        if wanted is None and self.wanted:
            self._put(_OUT)
        if wanted is not None:
            self._put(wanted)
        if (wanted or "") != self.wanted:
            self._looks = 0
        self.wanted, self._passed = wanted or "", passed
        return wanted is not None

    def _bury(self, waited_for: Iterable[tuple[str, int]]) -> None:
        """Pass over the claims that I have waited for all through a lease."""
        now = self._clock()
        for each in waited_for:
            if now - self._since.setdefault(each, now) > LEASE_SECONDS:
                self._dead.add(each)

    def _put(self, tag: str) -> None:
        self._attempt += 1
        self._put_at = self._clock()
        self._board.put_claim(f"{tag}_{self._attempt:04}_{self._name}", self._name)

    def _wait(self) -> None:
        self._pause(_PAUSES[min(self._looks, len(_PAUSES) - 1)])
        self._looks += 1

    def _after(self, tags: Sequence[str], passed: Iterable[str]) -> str | None:
        """The next tag if all of ``passed`` were taken; None if there is none then."""
        beside = [tag for tag in passed if tag not in tags]
        try:
            wanted = self._next_tag([*tags, *beside])
        except Exception:
            return None
        return None if wanted in beside else wanted


def _latest(claims: Iterable[str]) -> dict[str, tuple[int, str]]:
    """The last claim of each writer: its attempt, and the tag that it wants."""
    latest: dict[str, tuple[int, str]] = {}
    for each in claims:
        tag, attempt, name = each.rsplit("_", 2) if each.count("_") >= 2 else ("", "", "")
        if attempt.isdecimal():
            latest[name] = max(latest.get(name, (0, "")), (int(attempt), tag))
    return latest
