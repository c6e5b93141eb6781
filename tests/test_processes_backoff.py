from __future__ import annotations

from fieldwave.processes.backoff import Backoff


def test_a_process_that_never_comes_up_is_tried_every_ten_seconds_in_the_end() -> None:
    backoff = Backoff()
    assert [backoff.after(None) for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_one_that_was_ready_waits_a_second_at_most_however_often_it_dies() -> None:
    backoff = Backoff()
    assert [backoff.after(0.1) for _ in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_thirty_seconds_of_health_start_the_count_afresh() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.after(None)
    assert backoff.after(29.9) == 1.0
    assert backoff.after(30.0) == 0.2
    assert backoff.after(1.0) == 0.4


def test_a_month_of_deaths_overflows_nothing() -> None:
    backoff = Backoff()
    assert {backoff.after(None) for _ in range(300_000)} == {0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0}
