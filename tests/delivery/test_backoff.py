"""How long a unit waits before the next try, as docs/fleet.md promises to brokers."""

import random

import pytest

from maskedge.delivery.backoff import Backoff

LENGTHS = [0.5, 1, 2, 4, 8, 15, 15]


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.5), (0.5, 1.0), (1.0, 1.5)])
def test_waits_double_and_are_drawn_from_half_to_one_and_a_half_of_their_length(
    chance, share, monkeypatch
):
    monkeypatch.setattr(random, "random", lambda: chance)
    backoff = Backoff()
    assert [backoff.next() for _ in LENGTHS] == [share * length for length in LENGTHS]
    backoff.reset()
    assert backoff.next() == share * LENGTHS[0]


def test_a_thousand_units_come_back_at_a_thousand_moments():
    waits = sorted(Backoff(first=10.0).next() for _ in range(1000))
    each_second = [sum(second <= wait < second + 1 for wait in waits) for second in range(5, 15)]
    assert waits[0] >= 5
    assert waits[-1] <= 15
    assert max(each_second) < 200  # 100 on average


def test_where_a_quick_try_does_harm_the_wait_begins_later(monkeypatch):
    monkeypatch.setattr(random, "random", lambda: 0.0)
    backoff = Backoff(first=0.5, longest=15.0)
    assert [backoff.next(at_least=30.0) for _ in range(5)] == [30, 30, 60, 120, 150]
