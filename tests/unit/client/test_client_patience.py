"""The laws of client.patience and client.exchange, with a clock that only waits move."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.client import (
    Answered,
    ClientError,
    Conflict,
    LimitReached,
    NotCaio,
    TimedOut,
    Unavailable,
    Unreachable,
    UpstreamFailed,
)
from caio.client import calls as client_calls
from caio.client.exchange import Attempt, Call, NoAnswer, Pause, Received, Repeats, exchange
from caio.client.patience import LEAST, Patience

chances = st.floats(0, 1, exclude_max=True)
lefts = st.floats(0, 1_000)
patiences = st.builds(Patience, st.integers(0, 8), st.floats(0.01, 2), st.floats(0.01, 60))

READ: Call[Received] = Call("GET", "/", lambda received: received)
CHANGE = replace(READ, method="POST", repeats=Repeats.TWICE)
STREAM = replace(READ, method="POST", repeats=Repeats.STREAM)

Outcome = Received | NoAnswer


class World:
    """Carries out a call's steps; each attempt takes what it is said to take, at most what it may."""

    def __init__(self, outcomes: list[tuple[Outcome, float]], chance: float = 0.5) -> None:
        self.outcomes = list(outcomes)
        self.chance = chance
        self.now = 100.0
        self.pauses: list[float] = []
        self.attempts = 0

    def run(self, call: Call[Any], timeout: float = 60.0, patience: Patience | None = None) -> Received:
        steps = exchange(call, timeout, patience or Patience(), lambda: self.now, lambda: self.chance)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                    self.now += step.seconds
                    step = steps.send(None)
                else:
                    outcome = self._attempt(step)
                    step = steps.throw(outcome) if isinstance(outcome, NoAnswer) else steps.send(outcome)
        except StopIteration as done:
            answered: Received = done.value
            return answered

    def _attempt(self, step: Attempt) -> Outcome:
        assert step.seconds > 0
        outcome, took = self.outcomes[min(self.attempts, len(self.outcomes) - 1)]
        self.attempts += 1
        self.now += min(took, step.seconds)
        return NoAnswer("no time", sent=True, late=True) if took > step.seconds else outcome


def refusal(status: int, code: str = "x", *, after: int | None = None, retryable: bool | None = None) -> Received:
    stated = {} if retryable is None else {"retryable": retryable}
    headers = {} if after is None else {"retry-after": str(after)}
    return Received(status, headers, msgspec.json.encode({"code": code, "detail": "no", **stated}))


OK = Received(200, {}, b"{}")
UNSENT = NoAnswer("refused", sent=False)
LOST = NoAnswer("reset", sent=True)
BUSY = refusal(503, "not_ready", retryable=True)


@given(patiences, st.integers(1, 10), lefts, st.none() | st.floats(0, 100), chances)
def test_waits_never_exceed_the_time_left(
    patience: Patience, failed: int, left: float, asked: float | None, chance: float
) -> None:
    wait = patience.wait(failed, left, asked, chance)
    assert wait is None or 0 <= wait <= left - LEAST


@given(patiences, st.integers(1, 10), lefts, st.floats(0, 2_000), chances)
def test_never_earlier_than_the_server_asked(
    patience: Patience, failed: int, left: float, asked: float, chance: float
) -> None:
    wait = patience.wait(failed, left, asked, chance)
    assert wait is None or wait >= asked


@given(patiences, lefts, st.floats(0, 100), chances)
def test_a_server_that_asks_for_more_time_than_is_left_ends_the_call_at_once(
    patience: Patience, left: float, beyond: float, chance: float
) -> None:
    assert patience.wait(1, left, left + beyond, chance) is None


@given(patiences, st.integers(1, 10), chances)
def test_never_more_retries_than_allowed(patience: Patience, failed: int, chance: float) -> None:
    assert (patience.wait(failed, 1e6, None, chance) is None) == (failed > patience.retries)


@given(chances)
def test_spans_double_up_to_their_cap_and_all_of_them_is_jitter(chance: float) -> None:
    spans = [Patience(9, 0.25, 2.0).wait(failed, 1e6, None, chance) for failed in range(1, 7)]
    assert spans == [chance * span for span in (0.25, 0.5, 1.0, 2.0, 2.0, 2.0)]


outcomes = st.lists(
    st.tuples(
        st.sampled_from([UNSENT, LOST, BUSY, OK, refusal(429, after=3), refusal(502), refusal(404)]), st.floats(0, 9)
    ),
    min_size=1,
    max_size=6,
)


@given(outcomes, st.floats(0.1, 30), patiences, chances, st.sampled_from([READ, CHANGE, STREAM]))
def test_a_call_takes_no_more_than_its_time(
    happens: list[tuple[Outcome, float]], timeout: float, patience: Patience, chance: float, call: Call[Any]
) -> None:
    world = World(happens, chance)
    with suppress(ClientError):
        world.run(call, timeout, patience)
    assert world.now - 100.0 <= timeout + 1e-6
    assert len(world.pauses) <= patience.retries
    assert world.attempts == len(world.pauses) + 1


@pytest.mark.parametrize("call", [READ, STREAM])
@pytest.mark.parametrize("bad", [UNSENT, BUSY, refusal(429), refusal(502), refusal(504)])
def test_what_may_get_better_is_tried_again(call: Call[Any], bad: Outcome) -> None:
    world = World([(bad, 0), (bad, 0), (OK, 0)])
    assert world.run(call) is OK
    assert world.attempts == 3


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 410, 412, 413, 422, 500])
def test_only_what_may_get_better_is_tried_again(status: int) -> None:
    world = World([(refusal(status), 0), (OK, 0)])
    with pytest.raises(Answered) as raised:
        world.run(READ)
    assert (world.attempts, raised.value.status) == (1, status)


def test_what_the_server_calls_final_is_not_tried_again() -> None:
    world = World([(refusal(503, retryable=False), 0), (OK, 0)])
    with pytest.raises(Unavailable):
        world.run(READ)
    assert world.attempts == 1


@pytest.mark.parametrize(
    ("call", "bad", "kind"),
    [
        (CHANGE, LOST, Unreachable),
        (CHANGE, BUSY, Unavailable),
        (CHANGE, refusal(502), UpstreamFailed),
        (STREAM, LOST, Unreachable),
    ],
)
def test_what_may_have_been_done_is_not_done_again(call: Call[Any], bad: Outcome, kind: type[ClientError]) -> None:
    world = World([(bad, 0), (OK, 0)])
    with pytest.raises(kind):
        world.run(call)
    assert world.attempts == 1


@pytest.mark.parametrize("bad", [UNSENT, refusal(429)])
def test_what_was_surely_not_done_is_tried_again(bad: Outcome) -> None:
    assert World([(bad, 0), (OK, 0)]).run(CHANGE) is OK


def test_a_first_attempt_that_is_still_running_is_waited_for() -> None:
    running = refusal(409, "idempotency_in_progress", retryable=False)
    assert World([(LOST, 0), (running, 0), (running, 0), (OK, 0)]).run(READ) is OK
    with pytest.raises(Conflict):  # somebody else's call with the same key
        World([(running, 0), (OK, 0)]).run(READ)


def test_a_wait_that_is_too_long_raises_at_once() -> None:
    world = World([(refusal(429, "rate_limited", after=3600), 0), (OK, 0)])
    with pytest.raises(LimitReached) as raised:
        world.run(READ)
    assert (raised.value.retry_after, world.pauses) == (3600.0, [])


def test_time_that_runs_out_is_told_as_such() -> None:
    with pytest.raises(TimedOut) as raised:
        World([(BUSY, 1), (OK, 61)]).run(READ)
    assert isinstance(raised.value.__cause__, Unavailable)


def test_what_is_no_caio_is_told_as_such() -> None:
    with pytest.raises(NotCaio):
        World([(Received(502, {}, b"<html>"), 0), (OK, 0)]).run(READ)


def test_a_repetition_says_that_it_is_one() -> None:
    """The key is part of the call, and every call without one gets its own."""
    make: Callable[..., Call[Any]] = client_calls.orchestrate
    first, second = (make("chat", {}, {}, idempotency_key=None, timeout=None, with_receipt=False) for _ in range(2))
    assert len({first.headers["idempotency-key"], second.headers["idempotency-key"]}) == 2
    assert first.repeats is Repeats.NOTHING
    stated = make("chat", {}, {}, idempotency_key="mine", timeout=None, with_receipt=False)
    assert stated.headers["idempotency-key"] == "mine"
