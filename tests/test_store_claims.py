"""Tags that no two writers get, in whatever order their steps fall, and though some of them die."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence

import pytest

from fieldwave.errors import StorageError
from fieldwave.store.claims import LEASE_SECONDS, TAKE_SECONDS, claim


class KilledError(BaseException):
    """The writer is no more: it does nothing after this step."""


class Turns:
    """Lets one thread run at a time; a seed chooses the next at every step, in an order that can be repeated."""

    def __init__(self, seed: int, threads: int) -> None:
        self.random = random.Random(seed)
        self._waiting: list[threading.Event] = []
        self._lock = threading.Lock()
        self._missing = threads

    def step(self) -> None:
        turn = threading.Event()
        with self._lock:
            self._waiting.append(turn)
            self._next()
        turn.wait()

    def begin(self) -> None:
        turn = threading.Event()
        with self._lock:
            self._waiting.append(turn)
            self._missing -= 1
            if self._missing == 0:
                self._next()
        turn.wait()

    def end(self) -> None:
        with self._lock:
            self._next()

    def _next(self) -> None:
        if self._waiting:
            self._waiting.pop(self.random.randrange(len(self._waiting))).set()


class Shelf:
    """What a registry keeps: tags, and claims, which appear at once and are listed one by one."""

    def __init__(self) -> None:
        self.tags: list[str] = []
        self.claims: list[str] = []
        self.taken: list[str] = []


class Lists:
    """One writer's sight of a shelf; ``step`` is called before each change and between the entries of a list."""

    def __init__(self, shelf: Shelf, step: Callable[[], None], *, deletes: bool = True) -> None:
        self._shelf, self._step, self._deletes = shelf, step, deletes

    def tags(self) -> Sequence[str]:
        return self._listed(self._shelf.tags)

    def claims(self) -> Sequence[str]:
        return self._listed(self._shelf.claims)

    def put_claim(self, claim: str, writer: str) -> None:
        self._step()
        self._shelf.claims.append(claim)

    def clear_claims(self, writer: str) -> bool:
        self._step()
        if self._deletes:
            self._shelf.claims[:] = [each for each in self._shelf.claims if not each.endswith(f"_{writer}")]
        return self._deletes

    def take(self, tag: str) -> None:
        self._step()
        self._shelf.tags.append(tag)
        self._shelf.taken.append(tag)

    def _listed(self, entries: list[str]) -> list[str]:
        """What is there all the time is listed; what comes or goes meanwhile may be."""
        self._step()
        found, sure = [], list(entries)
        for count, entry in enumerate(sure):
            if count % 3 == 1:
                self._step()
            if entry in entries:
                found.append(entry)
        return found


def count_up(tags: Sequence[str]) -> str:
    return str(max((int(tag.removesuffix("d")) for tag in tags), default=0) + 1)


def race(turns: Turns, writers: Sequence[Callable[[], None]]) -> None:
    """Run the writers, one step of one at a time, until all have ended."""
    failures: list[BaseException] = []

    def write(writer: Callable[[], None]) -> None:
        turns.begin()
        try:
            writer()
        except KilledError:
            pass
        except BaseException as error:
            failures.append(error)
        turns.end()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a writer never ends"
    assert failures == []


def still() -> float:
    """A clock that stands: nothing may depend on it."""
    return 0.0


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("deletes", [True, False])
def test_no_order_of_steps_gives_a_tag_to_two_writers(seed: int, deletes: bool) -> None:
    turns, shelf = Turns(seed, 4), Shelf()
    won: list[str] = []

    def write() -> None:
        board = Lists(shelf, turns.step, deletes=deletes)
        won.extend(claim(board, count_up, clock=still, pause=lambda seconds: None) for _ in range(2))

    race(turns, [write] * 4)
    assert len(won) == len(set(won)) == 8
    assert sorted(won) == sorted(shelf.taken)
    assert bool(shelf.claims) != deletes


@pytest.mark.parametrize("seed", range(60))
def test_writers_that_die_at_any_step_cost_numbers_and_no_time(seed: int) -> None:
    turns, shelf = Turns(seed, 5), Shelf()
    won: list[str] = []

    def mortal() -> None:
        left = turns.random.randrange(1, 40)

        def step() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KilledError
            turns.step()

        claim(Lists(shelf, step), count_up, clock=still, pause=lambda seconds: None)

    def write() -> None:
        board = Lists(shelf, turns.step)
        won.extend(claim(board, count_up, clock=still, pause=lambda seconds: None) for _ in range(2))

    race(turns, [mortal, mortal, mortal, write, write])
    assert len(won) == 4
    assert len(shelf.taken) == len(set(shelf.taken))


@pytest.mark.parametrize("seed", range(60))
def test_a_number_is_not_given_again_though_its_version_went(seed: int) -> None:
    """As the registry deletes: it puts the mark "3d", takes "3" away, and then marks below the highest number."""
    turns, shelf = Turns(seed, 4), Shelf()

    def write() -> None:
        board = Lists(shelf, turns.step)
        for _ in range(3):
            claim(board, count_up, clock=still, pause=lambda seconds: None)

    def delete() -> None:
        for _ in range(12):
            turns.step()
            for number in [tag for tag in shelf.tags if tag.isdecimal()]:
                shelf.tags.append(f"{number}d")
                turns.step()
                shelf.tags.remove(number)
                turns.step()
                highest = max(int(tag.removesuffix("d")) for tag in shelf.tags)
                shelf.tags[:] = [tag for tag in shelf.tags if tag.isdecimal() or tag == f"{highest}d"]

    race(turns, [write, write, write, delete])
    assert len(shelf.taken) == len(set(shelf.taken)) == 9


class ChangedError(Exception):
    """Another writer was first."""


def after(seen: int) -> Callable[[Sequence[str]], str]:
    """The change that follows change ``seen``, and none other: there is nothing else to choose."""

    def next_tag(tags: Sequence[str]) -> str:
        if max(map(int, tags), default=0) > seen:
            raise ChangedError
        return str(seen + 1)

    return next_tag


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("deletes", [True, False])
def test_of_writers_who_want_the_same_tag_one_gets_it(seed: int, deletes: bool) -> None:
    turns, shelf = Turns(seed, 3), Shelf()

    def write() -> None:
        board = Lists(shelf, turns.step, deletes=deletes)
        done = 0
        while done < 2:
            seen = max(map(int, shelf.tags), default=0)
            try:
                claim(board, after(seen), clock=still, pause=lambda seconds: None)
            except ChangedError:
                continue
            done += 1

    race(turns, [write] * 3)
    assert shelf.taken == [str(number) for number in range(1, 7)]


@pytest.mark.parametrize("seed", range(40))
def test_one_at_a_time_holds_a_name(seed: int) -> None:
    turns, shelf = Turns(seed, 3), Shelf()
    inside = 0

    class Alone(Lists):
        def tags(self) -> Sequence[str]:
            return ()

        def take(self, tag: str) -> None:
            nonlocal inside
            assert inside == 0
            inside += 1
            turns.step()
            turns.step()
            inside -= 1
            shelf.taken.append(tag)

    def write() -> None:
        for _ in range(2):
            claim(Alone(shelf, turns.step), lambda tags: "index", clock=still, pause=lambda seconds: None)

    race(turns, [write] * 3)
    assert shelf.taken == ["index"] * 6


def test_who_died_is_passed_over_after_a_lease_where_there_is_no_other_tag() -> None:
    shelf, now = Shelf(), 0.0
    shelf.claims.append("1_0001_dead")

    def pause(seconds: float) -> None:
        nonlocal now
        now += seconds

    board = Lists(shelf, lambda: None)
    assert claim(board, after(0), clock=lambda: now, pause=pause) == "1"
    assert LEASE_SECONDS < now < LEASE_SECONDS + 2


def test_who_died_costs_a_number_where_there_are_others() -> None:
    shelf = Shelf()
    shelf.claims.append("1_0001_dead")
    assert claim(Lists(shelf, lambda: None), count_up, clock=still, pause=lambda seconds: None) == "2"
    assert claim(Lists(shelf, lambda: None), count_up, clock=still, pause=lambda seconds: None) == "3"


def test_a_writer_that_was_stopped_claims_anew() -> None:
    """Others may have passed it over meanwhile: so it does not take what it claimed long ago."""
    shelf, now = Shelf(), 0.0

    def step() -> None:
        nonlocal now
        if shelf.claims and not now:
            now = LEASE_SECONDS - TAKE_SECONDS + 1

    claims: list[str] = []

    class Watched(Lists):
        def put_claim(self, claim: str, writer: str) -> None:
            super().put_claim(claim, writer)
            claims.append(claim.rpartition("_")[0])

    assert claim(Watched(shelf, step), count_up, clock=lambda: now, pause=lambda seconds: None) == "1"
    assert claims == ["1_0001", "1_0002"]


def test_a_tag_that_may_yet_be_put_stays_claimed() -> None:
    class Failing(Lists):
        def take(self, tag: str) -> None:
            raise StorageError("no answer")

    shelf = Shelf()
    with pytest.raises(StorageError, match="no answer"):
        claim(Failing(shelf, lambda: None), count_up, clock=still, pause=lambda seconds: None)
    assert [each.split("_")[0] for each in shelf.claims] == ["1"]
    assert claim(Lists(shelf, lambda: None), count_up, clock=still, pause=lambda seconds: None) == "2"


def test_a_choice_that_fails_takes_its_claim_back() -> None:
    shelf = Shelf()

    def fail_later(tags: Sequence[str]) -> str:
        if shelf.claims:
            raise KeyError("changed")
        return "1"

    with pytest.raises(KeyError):
        claim(Lists(shelf, lambda: None), fail_later, clock=still, pause=lambda seconds: None)
    assert shelf.claims == shelf.tags == []
