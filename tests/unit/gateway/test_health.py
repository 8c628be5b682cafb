"""The laws of a breaker, beside a log of everything that was reported of it."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.gateway.health import (
    FAILED_OF_WINDOW,
    FIRST_WAIT,
    FIRST_WAIT_FOR_CREDENTIALS,
    IN_A_ROW,
    LONGEST,
    LONGEST_BACK_OFF,
    PROBE_LASTS,
    SECOND,
    WINDOW,
    Breaker,
    Cause,
    Leave,
    State,
)

NOW = 1_700_000_000_000_000


def fault(kind: UpstreamFault = UpstreamFault.UPSTREAM, retry_after: float | None = None) -> UpstreamFailed:
    return UpstreamFailed("no", kind, status=500, retry_after=retry_after)


def opened(at: int = NOW) -> Breaker:
    breaker = Breaker()
    for _ in range(IN_A_ROW):
        breaker.failed(fault(), at)
    return breaker


def test_faults_in_a_row_open() -> None:
    breaker = Breaker()
    for _ in range(IN_A_ROW - 1):
        assert not breaker.failed(fault(), NOW)
    assert breaker.leave(NOW) is Leave.FREE
    assert breaker.failed(fault(), NOW)
    assert (breaker.leave(NOW), breaker.state(NOW), breaker.cause) == (Leave.SHUT, State.OPEN, Cause.IN_A_ROW)
    interrupted = Breaker()
    for _ in range(IN_A_ROW - 1):
        interrupted.failed(fault(), NOW)
    interrupted.succeeded(NOW)
    interrupted.failed(fault(), NOW)
    assert interrupted.leave(NOW) is Leave.FREE


def test_a_failing_share_ejects() -> None:
    breaker = Breaker()
    for number in range(FAILED_OF_WINDOW):
        assert breaker.leave(NOW) is Leave.FREE
        breaker.succeeded(NOW)
        assert breaker.failed(fault(), NOW) is (number == FAILED_OF_WINDOW - 1)
    assert (breaker.leave(NOW), breaker.cause) == (Leave.EJECTED, Cause.FAILING_SHARE)
    sparse = Breaker()
    for _ in range(50):  # one in three: never ten among twenty
        sparse.failed(fault(), NOW)
        sparse.succeeded(NOW)
        sparse.succeeded(NOW)
    assert sparse.leave(NOW) is Leave.FREE


def test_open_until_the_back_off_is_over() -> None:
    breaker, now, wait = opened(), NOW, FIRST_WAIT
    for _ in range(12):
        assert breaker.wait(now) == wait
        assert breaker.leave(now + wait - 1) is Leave.SHUT
        now += wait
        assert (breaker.leave(now), breaker.state(now)) == (Leave.PROBE, State.HALF_OPEN)
        breaker.take_probe(now)
        assert breaker.failed(fault(), now, probe=True)
        wait = min(2 * wait, LONGEST_BACK_OFF)
    assert wait == LONGEST_BACK_OFF


@pytest.mark.parametrize(("asked", "held"), [(0.5, FIRST_WAIT), (7.5, 7_500_000), (86_400.0, LONGEST)])
def test_retry_after_is_honoured(asked: float, held: int) -> None:
    breaker = Breaker()
    assert breaker.failed(fault(UpstreamFault.QUOTA, asked), NOW)
    assert breaker.wait(NOW) == held
    # Another call that was under way when it opened is told to stay away for longer.
    longer = breaker.failed(fault(UpstreamFault.QUOTA, 10.0), NOW + 1)
    assert longer is (held < 10 * SECOND)
    assert breaker.until == max(NOW + held, NOW + 1 + 10 * SECOND)


def test_a_refusal_of_credentials_or_quota_opens_at_once() -> None:
    refused, spent = Breaker(), Breaker()
    assert refused.failed(fault(UpstreamFault.AUTH), NOW)
    assert (refused.cause, refused.wait(NOW)) == (Cause.CREDENTIALS, FIRST_WAIT_FOR_CREDENTIALS)
    assert spent.failed(fault(UpstreamFault.QUOTA), NOW)
    assert (spent.cause, spent.wait(NOW)) == (Cause.QUOTA, FIRST_WAIT)


def test_one_probe_at_a_time() -> None:
    breaker = opened()
    now = NOW + FIRST_WAIT
    assert breaker.leave(now) is Leave.PROBE
    breaker.take_probe(now)
    assert breaker.leave(now) is Leave.SHUT
    assert breaker.leave(now + PROBE_LASTS - 1) is Leave.SHUT
    assert breaker.leave(now + PROBE_LASTS) is Leave.PROBE
    breaker.give_back_probe()
    assert breaker.leave(now) is Leave.PROBE
    breaker.take_probe(now)
    assert breaker.succeeded(now, probe=True)
    assert breaker.leave(now) is Leave.FREE


def test_only_a_probe_closes() -> None:
    breaker = opened()
    before = breaker.until
    assert not breaker.succeeded(NOW + 1)
    assert not breaker.failed(fault(), NOW + 1)
    assert (breaker.until, breaker.leave(NOW + 1)) == (before, Leave.SHUT)
    assert not breaker.succeeded(before)  # half-open, but not the probe
    assert breaker.state(before) is State.HALF_OPEN


@pytest.mark.parametrize(
    "kind",
    [UpstreamFault.INVALID, UpstreamFault.CONTENT_FILTER, UpstreamFault.VIOLATION, UpstreamFault.BLOCKED],
)
def test_the_requests_own_faults_never_count(kind: UpstreamFault) -> None:
    breaker = Breaker()
    for _ in range(3 * WINDOW):
        assert not breaker.failed(fault(kind), NOW)
        assert not breaker.failed(UpstreamFailed("no secret is stored", UpstreamFault.AUTH), NOW)
    assert breaker.forgettable
    probing = opened()
    probing.take_probe(probing.until)
    assert not probing.failed(fault(kind), probing.until, probe=True)
    assert probing.leave(probing.until) is Leave.PROBE  # the probe told nothing: another one may go


def test_a_service_that_went_well_is_forgotten() -> None:
    breaker = opened()
    breaker.take_probe(breaker.until)
    breaker.succeeded(breaker.until, probe=True)
    for _ in range(WINDOW - 2):
        breaker.succeeded(NOW)
        assert not breaker.forgettable
    assert breaker.times == 1
    breaker.succeeded(NOW)
    assert breaker.forgettable


def test_a_relapse_waits_longer() -> None:
    breaker = opened()
    at = breaker.until
    breaker.take_probe(at)
    breaker.succeeded(at, probe=True)
    for _ in range(IN_A_ROW):
        breaker.failed(fault(), at)
    assert breaker.wait(at) == 2 * FIRST_WAIT


def test_the_later_change_counts() -> None:
    opening, closing = (Cause.IN_A_ROW, NOW + 9, 3, NOW + 1), (None, 0, 0, NOW + 2)
    forward, backward = Breaker(), Breaker()
    assert forward.adopt(*opening)
    assert forward.leave(NOW) is Leave.SHUT
    assert forward.adopt(*closing)
    assert backward.adopt(*closing)
    assert not backward.adopt(*opening)
    assert (forward.cause, forward.until) == (backward.cause, backward.until) == (None, 0)


class Life(RuleBasedStateMachine):
    """A breaker and the plain log of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.now = Breaker(), NOW
        self.ended: list[bool] = []  # since it last closed; whether each went well
        self.probing = False
        self.shut_until = 0

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * SECOND
        self.probing = self.probing and self.now < self.breaker.probe_until

    @precondition(lambda self: self.breaker.cause is None)
    @rule()
    def goes_well(self) -> None:
        assert not self.breaker.succeeded(self.now)
        self.ended.append(True)

    @precondition(lambda self: self.breaker.cause is None)
    @rule()
    def fails(self) -> None:
        self.ended.append(False)
        opens = self.breaker.failed(fault(), self.now)
        in_a_row = len(self.ended) >= IN_A_ROW and not any(self.ended[-IN_A_ROW:])
        share = self.ended[-WINDOW:].count(False) >= FAILED_OF_WINDOW
        assert opens == (in_a_row or share)
        self.shut_until = self.breaker.until if opens else 0

    @precondition(lambda self: self.breaker.leave(self.now) is Leave.PROBE)
    @rule(well=st.booleans())
    def is_probed(self, well: bool) -> None:
        assert not self.probing
        assert self.now >= self.shut_until
        self.breaker.take_probe(self.now)
        self.probing = True
        if well:
            assert self.breaker.succeeded(self.now, probe=True)
            self.ended = [False, True]
        else:
            assert self.breaker.failed(fault(), self.now, probe=True)
            self.shut_until = self.breaker.until
            assert self.shut_until >= self.now + FIRST_WAIT
        self.probing = False

    @precondition(lambda self: self.breaker.leave(self.now) is Leave.PROBE)
    @rule()
    def is_probed_without_report(self) -> None:
        self.breaker.take_probe(self.now)
        self.probing = True

    @invariant()
    def nobody_goes_before_time(self) -> None:
        if self.now < self.shut_until and self.breaker.cause is not None:
            assert self.breaker.leave(self.now) in (Leave.SHUT, Leave.EJECTED)
        if self.probing:
            assert self.breaker.leave(self.now) is not Leave.PROBE


TestLife = Life.TestCase
