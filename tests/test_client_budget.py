"""How often a client tries again: the budget by itself, and what a service in trouble sees of it."""

from __future__ import annotations

import threading

import grpc
import pytest

from fieldwave.client import PredictionClient
from fieldwave.client.budget import RetryBudget
from fieldwave.errors import ServiceError
from tests.scripted import failing, scripted


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("fieldwave.client.budget.time.monotonic", lambda: now[0])
    return now


def test_tries_are_spent_and_come_back_with_time(clock: list[float]) -> None:
    budget = RetryBudget(most=3.0, per_second=2.0)
    assert [budget.take() for _ in range(4)] == [True, True, True, False]
    clock[0] += 0.5
    assert [budget.take(), budget.take()] == [True, False]
    clock[0] += 100
    assert [budget.take() for _ in range(4)] == [True, True, True, False]


def test_answers_earn_a_part_and_give_back_what_was_tried_with_success(clock: list[float]) -> None:
    budget = RetryBudget(most=1.0, per_second=1.0, per_answer=0.25)
    budget.answered(retried=False)  # no more than there may be
    assert budget.take()
    for _ in range(3):
        budget.answered(retried=False)
    assert not budget.take()
    budget.answered(retried=False)
    assert budget.take()
    budget.answered(retried=True)
    assert [budget.take(), budget.take()] == [True, False]


def test_many_threads_do_not_hammer_a_service_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty threads for 0.4 s: without a budget each would try four times."""
    monkeypatch.setattr(RetryBudget.__init__, "__defaults__", (5.0, 10.0, 0.2))
    refuse = failing(grpc.StatusCode.UNAVAILABLE, "loading")
    with scripted(Predict=refuse) as script, PredictionClient("127.0.0.1", script.port) as client:

        def score() -> None:
            with pytest.raises(ServiceError):
                client.score_image(b"x", timeout=0.4)

        threads = [threading.Thread(target=score) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 40 <= len(script.requests) <= 40 + 5 + 25  # each once, the budget, and 10 a second
