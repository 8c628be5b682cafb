"""Rows of past use: compact, and never such that a window holds a call for shorter."""

from random import Random

import pytest

from caio.gateway.past_use import PastUnits
from caio.gateway.ports import PastUse
from caio.tenancy.limits import Unit
from caio.tenancy.rate_limit import DAY, HOUR, MINUTE
from tests.support.admissions import NOW, past

UNITS = {
    Unit.REQUESTS: lambda call: 1,
    Unit.TOKENS: lambda call: call.tokens,
    Unit.COMPUTE_MS: lambda call: call.compute_ms,
}


def counted(rows, now, span):
    return sum(units for at, units in rows if at > now - span)


@pytest.mark.parametrize("seed", range(3))
def test_a_window_holds_what_it_held_and_lets_go_little_later(seed):
    rng = Random(seed)
    ages = sorted(rng.choice((rng.randrange(DAY), rng.randrange(HOUR), rng.randrange(MINUTE))) for _ in range(3_000))
    calls = [past("echo", NOW - age, tokens=rng.randrange(9), compute_ms=rng.randrange(9)) for age in reversed(ages)]
    units = PastUnits(PastUse(tuple(calls), 0), NOW)
    for unit, of in UNITS.items():
        exact = [(call.decided_at, of(call)) for call in calls]
        for subject in ("tenant", "key:key_1", "service:echo"):
            rows = list(units.of(subject, unit))
            assert sum(taken for _, taken in rows) == sum(taken for _, taken in exact)
            for span in (MINUTE, HOUR, DAY):
                for later in (0, 1, rng.randrange(span), span - 1):
                    held = counted(rows, NOW + later, span)
                    assert counted(exact, NOW + later, span) <= held
                    assert held <= counted(exact, NOW + later, span + span // 10_000)


def test_millions_of_calls_leave_some_ten_thousand_rows():
    calls = [past("echo", NOW - DAY + place * 400_000) for place in range(DAY // 400_000)]
    rows = list(PastUnits(PastUse(tuple(calls), 0), NOW).of("tenant", Unit.REQUESTS))
    assert len(calls) == 216_000
    assert len(rows) < 20_500
    assert sum(units for _, units in rows) == len(calls)


def test_a_call_that_runs_holds_its_most_from_when_it_was_read():
    running = past("echo", NOW - MINUTE, charged=None, tokens=7, compute_ms=9)
    units = PastUnits(PastUse((running,), 0), NOW)
    for subject in ("tenant", "key:key_1", "service:echo"):
        taken = [list(units.of(subject, unit)) for unit in UNITS]
        assert taken == [[(NOW - MINUTE, 1)], [(NOW, 7)], [(NOW, 9)]]
