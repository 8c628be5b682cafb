"""The laws of lag, and a comparison with remembering when each single leaf was first known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.audit.lag import Lag
from caio.audit.ports import Behind


def behind(upcoming, size=0, name="acme"):
    return Behind(name, "", size, b"", "", upcoming)


def test_lag_is_the_age_of_the_oldest_leaf_not_taken_in():
    lag = Lag(0)
    for second in range(1, 100):  # a leaf a second, five seconds late
        lag.shown(second, [behind(second, max(0, second - 5))], all_of_them=True)
        lag.reached("acme", max(0, second - 4))
        assert lag.seconds(second) <= 5
    assert lag.seconds(99) == 3
    lag.reached("acme", 99)
    assert lag.seconds(99) == 0


def test_a_leaf_that_stays_grows_old_whatever_else_is_taken_in():
    lag = Lag(0)
    for second in range(100):
        lag.shown(second, [behind(1), behind(second + 1, second, "busy")], all_of_them=True)
        lag.reached("busy", second + 1)
        assert lag.seconds(second) == second


def test_lag_counts_from_the_last_look():
    lag = Lag(7)
    assert lag.seconds(9) == 2
    lag.shown(10, [], all_of_them=True)
    assert lag.seconds(14) == 4


def test_logs_shown_by_turns_do_not_lag():
    lag = Lag(0)
    names = [f"log{number}" for number in range(9)]
    for turn in range(60):
        three = [names[(3 * turn + place) % 9] for place in range(3)]
        lag.shown(turn, [behind(turn + 1, turn, name) for name in three], all_of_them=False)
        for name in three:
            lag.reached(name, turn + 1)
        assert lag.seconds(turn) <= 6
    assert lag.seconds(80) >= 20


def test_one_that_is_shown_no_more_by_turns_does_not_lag():
    lag = Lag(0)
    lag.shown(1, [behind(5, name="gone")], all_of_them=False)
    for second in range(2, 9):
        lag.shown(second, [behind(second, second - 1, "busy")], all_of_them=False)
        lag.reached("busy", second)
    assert lag.seconds(8) <= 2


def test_what_is_no_longer_shown_does_not_lag():
    lag = Lag(0)
    lag.shown(1, [behind(5)], all_of_them=True)
    assert lag.seconds(9) == 8
    lag.shown(9, [], all_of_them=True)
    assert lag.seconds(9) == 0


def test_a_log_that_stays_behind_for_a_day_needs_little():
    lag = Lag(0)
    for second in range(86_400):
        lag.shown(second, [behind(second + 1)], all_of_them=True)
    assert lag.seconds(86_400) == 86_400
    assert len(lag._marks["acme"]) < 120


@given(st.lists(st.tuples(st.sampled_from([0.1, 1, 7]), st.integers(0, 9), st.integers(0, 9)), max_size=60))
def test_it_is_at_most_a_little_more_than_the_truth(looks):
    lag, known, size, now = Lag(0), [], 0, 0.0
    for pause, came, taken in looks:
        now += pause
        known += [now] * came
        lag.shown(now, [behind(len(known), size)] if size < len(known) else [], all_of_them=True)
        size = min(size + taken, len(known))
        lag.reached("acme", size)
        truth = now - min(known[size:], default=now)
        assert truth - 1e-9 <= lag.seconds(now) <= truth + max(1, now / 8) + 1e-9


@pytest.mark.parametrize("size", [5, 6])
def test_a_log_that_somebody_else_has_grown_is_current(size):
    lag = Lag(0)
    lag.shown(1, [behind(5)], all_of_them=True)
    lag.shown(9, [behind(8, size)], all_of_them=True)
    assert lag.seconds(9) == 0
