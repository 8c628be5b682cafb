"""Which calls are traced, and who decides that."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.observability.tracing import Parent, Sampling, current, parent_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{SPAN}-01"
NOT_SAMPLED = f"00-{TRACE}-{SPAN}-00"


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_traceparent_is_read():
    assert parent_of(SAMPLED) == Parent(int(TRACE, 16), int(SPAN, 16), True)
    assert parent_of(NOT_SAMPLED) == Parent(int(TRACE, 16), int(SPAN, 16), False)
    later = f"cc-{TRACE}-{SPAN}-03-what-later-versions-say"
    assert parent_of(later) == Parent(int(TRACE, 16), int(SPAN, 16), True)


@pytest.mark.parametrize(
    "stated",
    [
        None,
        "",
        "garbage",
        SAMPLED.upper(),
        SAMPLED + "-more",
        SAMPLED + "\n",
        f"ff-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01x",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"{SAMPLED}, {SAMPLED}",
    ],
)
def test_what_is_no_traceparent_counts_for_nothing(stated):
    assert parent_of(stated) is None
    assert Sampling(0.0).takes(stated) == (False, None)
    assert Sampling(1.0).takes(stated) == (True, None)


@given(st.text())
def test_no_text_breaks_the_reading(stated):
    found = parent_of(stated)
    assert found is None or (found.trace_id and found.span_id)


def test_a_stranger_cannot_have_every_call_traced():
    clock = Clock()
    sampling = Sampling(0.01, monotonic=clock, chance=random.Random(7).random)
    taken = 0
    for _ in range(60_000):  # a thousand calls a second for a minute, each said to be traced
        clock.now += 0.001
        taken += sampling.takes(SAMPLED)[0]
    # One a second, and the hundredth that everybody has.
    assert 55 < taken < 60 + 600 * 1.2


def test_what_the_caller_does_not_trace_is_not_traced():
    sampling = Sampling(1.0)
    assert not any(sampling.takes(NOT_SAMPLED)[0] for _ in range(100))


def test_whoever_traces_seldom_is_traced_each_time():
    clock = Clock()
    sampling = Sampling(0.0, monotonic=clock)
    for _ in range(50):
        assert sampling.takes(SAMPLED) == (True, parent_of(SAMPLED))
        assert not sampling.takes(SAMPLED)[0]
        clock.now += 1.0


def test_a_share_is_a_share():
    sampling = Sampling(0.01, chance=random.Random(3).random)
    taken = sum(sampling.takes(None)[0] for _ in range(100_000))
    assert 850 < taken < 1150


def test_nobody_has_a_trace_to_begin_with():
    assert current() is None
