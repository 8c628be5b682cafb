"""Whoever was just refused is refused at once, exactly as long as that is sure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from caio.foundation.errors import LimitExceeded
from caio.foundation.scope import TenantScope
from caio.gateway.doors import DOORS_KEPT, LONGEST_SECONDS, Doors
from caio.gateway.ports import Meter
from caio.gateway.refusals import KEY, TENANT, recovering, window_full
from caio.routing.model import Principal
from caio.tenancy.limits import Unit, Window
from caio.tenancy.ports import Outage
from caio.tenancy.principals import Caller
from tests.support.tenants import tenant_named


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def doors(clock: Clock) -> Doors:
    return Doors(clock)


def caller(tenant: str = "acme", key: str = "key_1") -> Caller:
    return Caller(TenantScope(tenant), tenant_named(tenant), Principal(key, "api_key", frozenset(), frozenset()))


def refusal(subject: str = TENANT, unit: Unit = Unit.REQUESTS, wait: int = 2_500_000) -> LimitExceeded:
    window = Window("minute", 60_000_000, 10)
    with pytest.raises(LimitExceeded) as caught:
        window_full(Meter(subject, unit, 1, (window,)), window, wait)
    return caught.value


def is_shut(doors: Doors, who: Caller) -> bool:
    try:
        doors.check(who)
    except LimitExceeded:
        return True
    return False


def test_a_door_opens_when_the_window_has_room(doors, clock) -> None:
    doors.shut(caller(), refusal(wait=2_500_000), doors.now())
    clock.seconds += 0.3
    with pytest.raises(LimitExceeded) as caught:
        doors.check(caller())
    again, first = caught.value, refusal()
    assert (again.message, again.window, again.limit, again.span) == (
        first.message,
        first.window,
        first.limit,
        first.span,
    )
    assert again.retry_after == 3
    clock.seconds += 2.1
    assert is_shut(doors, caller())
    clock.seconds += 0.1
    assert not is_shut(doors, caller())


def test_the_time_counts_from_the_asking(doors, clock) -> None:
    asked_at = doors.now()
    clock.seconds += 2.5  # the limiter took its time
    doors.shut(caller(), refusal(wait=2_500_000), asked_at)
    assert not is_shut(doors, caller())


def test_a_door_shuts_out_nobody_else(doors) -> None:
    doors.shut(caller(), refusal(), doors.now())
    assert is_shut(doors, caller(key="key_2")), "the tenant's window is everybody's"
    assert not is_shut(doors, caller("rival"))
    doors.shut(caller("rival"), refusal(KEY + "key_1"), doors.now())
    assert is_shut(doors, caller("rival"))
    assert not is_shut(doors, caller("rival", "key_2"))


def test_other_limits_open_the_door(doors) -> None:
    doors.shut(caller(), refusal(), doors.now())
    raised = replace(caller().tenant, quotas=replace(caller().tenant.quotas, per_minute=2_000))
    assert not is_shut(doors, replace(caller(), tenant=raised))
    assert not is_shut(doors, caller()), "and it stays open"


def test_no_door_is_shut_for_long(doors, clock) -> None:
    doors.shut(caller(), refusal(wait=3_600_000_000), doors.now())
    clock.seconds += LONGEST_SECONDS - 0.01
    with pytest.raises(LimitExceeded) as caught:
        doors.check(caller())
    assert caught.value.retry_after == 3_596
    clock.seconds += 0.01
    assert not is_shut(doors, caller())


def test_limits_that_change_with_the_processes_shut_no_door(doors) -> None:
    alone = replace(caller(), tenant=replace(caller().tenant, outage=Outage.LOCAL))
    doors.shut(alone, refusal(), doors.now())
    assert not is_shut(doors, alone)


@pytest.mark.parametrize("unit", [Unit.TOKENS, Unit.COMPUTE_MS])
def test_what_is_given_back_shuts_no_door(doors, unit) -> None:
    doors.shut(caller(), refusal(unit=unit), doors.now())
    doors.shut(caller(), recovering(2), doors.now())
    assert not is_shut(doors, caller())


def test_doors_are_kept_within_bounds(doors) -> None:
    for number in range(DOORS_KEPT + 1):
        doors.shut(caller(f"t{number}"), refusal(), doors.now())
    assert not is_shut(doors, caller("t0"))
    assert is_shut(doors, caller("t1"))
