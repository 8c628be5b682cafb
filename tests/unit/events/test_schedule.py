"""When a failed delivery is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.events.schedule import ATTEMPTS, LONGEST, PAUSES, next_attempt

IDS = st.text("abc123", min_size=1, max_size=8)


@given(IDS, IDS, st.integers(1, ATTEMPTS - 1), st.integers(0, 2**53))
def test_pauses_are_bounded(event: str, destination: str, attempts: int, now: int) -> None:
    again = next_attempt(event, destination, attempts, now)
    assert again is not None
    pause = PAUSES[attempts - 1]
    assert pause <= again - now < pause * 5 // 4


@given(IDS, st.integers(ATTEMPTS, ATTEMPTS + 5), st.integers(0, LONGEST))
def test_a_delivery_ends(event: str, attempts: int, wanted: int) -> None:
    assert next_attempt(event, "whk", attempts, 0, wanted) is None


def test_a_delivery_that_was_not_tried_has_no_next_attempt() -> None:
    with pytest.raises(ValueError, match="not tried"):
        next_attempt("evt", "whk", 0, 0)


def test_jitter_is_the_ids_own() -> None:
    places = {next_attempt(f"evt_{number}", "whk", 4, 0) for number in range(200)}
    assert len(places) > 190, "events that failed together do not come back together"
    assert next_attempt("evt_1", "whk", 4, 0) == next_attempt("evt_1", "whk", 4, 0)
    assert next_attempt("evt_1", "whk", 4, 0) != next_attempt("evt_1", "other", 4, 0)


@given(st.integers(0, 2 * LONGEST))
def test_a_receiver_may_ask_for_longer(wanted: int) -> None:
    plain = next_attempt("evt", "whk", 2, 0)
    assert plain is not None
    assert next_attempt("evt", "whk", 2, 0, wanted) == max(plain, min(wanted, LONGEST))


def test_several_days_pass_before_the_last_attempt() -> None:
    assert 2 * LONGEST < sum(PAUSES) < 5 * LONGEST
    assert list(PAUSES) == sorted(PAUSES)
