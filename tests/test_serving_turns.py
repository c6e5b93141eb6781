from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from fieldwave.serving.turns import Turns


def all_of(turns: Turns[int]) -> list[int]:
    return [turns.take() for _ in range(len(turns))]


def test_clients_take_turns_and_each_is_served_in_its_order() -> None:
    turns: Turns[int] = Turns()
    for item in (10, 11, 12, 13):
        turns.put(item, "greedy")
    turns.put(20, "modest")
    turns.put(30, "other")
    turns.put(21, "modest")
    assert all_of(turns) == [10, 20, 30, 11, 21, 12, 13]


def test_what_is_put_first_comes_first_and_is_not_counted() -> None:
    turns: Turns[int] = Turns()
    turns.put(1, "a")
    turns.put_first(0)
    assert len(turns) == 1
    assert [turns.take(), turns.take()] == [0, 1]


def test_what_is_removed_is_not_taken() -> None:
    turns: Turns[int] = Turns()
    for item in (1, 2, 3):
        turns.put(item, "a")
    assert turns.waiting() == [("a", 1), ("a", 2), ("a", 3)]
    assert turns.remove(2, "a")
    assert not turns.remove(2, "a")
    assert not turns.remove(1, "b")
    assert all_of(turns) == [1, 3]
    turns.put(4, "a")
    assert turns.clear() == [4]
    turns.put(5, "b")
    assert turns.take() == 5


def test_taking_waits_until_something_is_put() -> None:
    turns: Turns[int] = Turns()
    taken: list[int] = []
    thread = threading.Thread(target=lambda: taken.append(turns.take()))
    thread.start()
    turns.put(7, "a")
    thread.join(10)
    assert taken == [7]


@given(st.lists(st.sampled_from("abc")))
def test_nobody_waits_for_two_of_another(clients: list[str]) -> None:
    turns: Turns[tuple[str, int]] = Turns()
    for number, client in enumerate(clients):
        turns.put((client, number), client)
    order = [turns.take() for _ in clients]
    assert sorted(number for _, number in order) == list(range(len(clients)))
    for client in set(clients):
        mine = [place for place, (whose, _) in enumerate(order) if whose == client]
        assert [order[place][1] for place in mine] == sorted(order[place][1] for place in mine)
        for start, end in zip([-1, *mine], mine, strict=False):
            between = [whose for whose, _ in order[start + 1 : end]]
            assert len(between) == len(set(between))
