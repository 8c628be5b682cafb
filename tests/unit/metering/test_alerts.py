"""Thresholds of budgets, against the arithmetic that everybody can follow."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.foundation.ids import is_id
from caio.metering.alerts import alert_id, passed, reached

BUDGETS = st.integers(0, 2**62)
THRESHOLDS = st.lists(st.integers(1, 200), max_size=6)


@given(BUDGETS, THRESHOLDS, st.lists(st.integers(0, 2**61), max_size=8))
def test_thresholds_between_two_sums_are_passed_once(budget: int, thresholds: list[int], steps: list[int]) -> None:
    told: list[int] = []
    before = 0
    for step in steps:
        told += passed(budget, thresholds, before, before + step)
        before += step
    assert len(told) == len(set(told))
    assert sorted(told) == list(reached(budget, thresholds, before)) == list(passed(budget, thresholds, 0, before))


@given(st.integers(1, 2**62), st.integers(1, 200), st.integers(1, 2**62))
def test_a_threshold_is_reached_exactly(budget: int, threshold: int, charged: int) -> None:
    exactly = Fraction(charged, budget) >= Fraction(threshold, 100)
    assert (reached(budget, [threshold], charged) == (threshold,)) == exactly
    least = -(-budget * threshold // 100)
    assert reached(budget, [threshold], least) == (threshold,)
    assert reached(budget, [threshold], least - 1) == ()


def test_nothing_is_reached_by_nothing() -> None:
    assert reached(0, [50, 100], 0) == ()
    assert reached(0, [100, 50, 50], 1) == (50, 100)


@pytest.mark.parametrize(
    "other",
    [
        ("rival", "2026-11", 5, 100, 80),
        ("acme", "2026-12", 5, 100, 80),
        ("acme", "2026-11", 5, 101, 80),
        ("acme", "2026-11", 5, 100, 8),
        ("acme", "total", 5, 100, 80),
    ],
)
def test_an_identity_is_of_one_threshold(other: tuple[str, str, int, int, int]) -> None:
    mine = alert_id("acme", "2026-11", 5, 100, 80)
    assert is_id("act", mine)
    assert mine == alert_id("acme", "2026-11", 5, 100, 80)
    assert mine != alert_id(*other)
