from __future__ import annotations

from dataclasses import dataclass

import pytest

from fieldwave.serving.places import Place, Places
from fieldwave.serving.status import BusyError


@dataclass
class Caller:
    client: str
    active: bool = True

    def is_active(self) -> bool:
        return self.active

    def time_remaining(self) -> float | None:
        return 3.0


def test_whoever_comes_when_all_places_are_taken_is_refused() -> None:
    places = Places(2)
    first = places.enter(Caller("a"))
    places.enter(Caller("b"))
    with pytest.raises(BusyError) as caught:
        places.enter(Caller("c"))
    assert str(caught.value) == "2 predictions are in hand, no more are taken; try again later"
    assert len(places) == 2
    places.leave(first)
    assert places.enter(Caller("c")).is_active()


def test_a_newcomer_gets_the_latest_place_of_whom_has_more_than_its_share() -> None:
    taken: list[Place] = []
    places = Places(4, taken.append)
    greedy = [places.enter(Caller("greedy")) for _ in range(4)]
    with pytest.raises(BusyError):
        places.enter(Caller("greedy"))
    modest = [places.enter(Caller("modest"))]
    assert taken == [greedy[3]]
    modest.append(places.enter(Caller("modest")))
    assert taken == [greedy[3], greedy[2]]
    with pytest.raises(BusyError):  # two and two
        places.enter(Caller("modest"))
    assert [place.lost for place in greedy] == [False, False, True, True]
    assert not greedy[3].is_active()
    for place in (*greedy, *modest):
        places.leave(place)
    assert len(places) == 0


def test_a_place_asks_its_caller() -> None:
    caller = Caller("a")
    place = Places(1).enter(caller)
    assert place.is_active()
    assert place.time_remaining() == 3.0
    caller.active = False
    assert not place.is_active()
