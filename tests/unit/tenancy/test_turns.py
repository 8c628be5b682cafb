"""The laws of turns: one tenant's requests to the control plane take a bounded share of a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.foundation.errors import LimitExceeded
from caio.tenancy.ports import Quotas
from caio.tenancy.rate_limit import MINUTE
from caio.tenancy.turns import MOST_WAITING, PRINCIPAL_WINDOW, TENANT_WINDOW, Rates, Turns, Unserved, Weight
from tests.support.tenants import tenant_named

HEAVY = Weight.HEAVY.value[1]


def is_counted(rates: Rates, tenant: str, principal: str, now: int) -> str | None:
    """None, or the window that refused."""
    try:
        rates.count(tenant, principal, now)
    except LimitExceeded as error:
        return error.window
    return None


@given(st.lists(st.tuples(st.integers(0, MINUTE // 4), st.sampled_from("abcd")), max_size=150))
def test_no_minute_holds_more_requests_than_the_rate(steps: list[tuple[int, str]]) -> None:
    rates, now, counted = Rates(12), 0, list[tuple[int, str]]()
    for gap, principal in steps:
        now += gap
        window = is_counted(rates, "acme", principal, now)
        recent = [who for at, who in counted if at > now - MINUTE]
        expected = TENANT_WINDOW if len(recent) >= 12 else PRINCIPAL_WINDOW if recent.count(principal) >= 4 else None
        assert (window is None) == (expected is None)
        if window is None:
            counted.append((now, principal))


def test_a_principal_has_a_third_of_its_tenants_minute() -> None:
    rates = Rates(10)
    assert [is_counted(rates, "acme", "one", 0) for _ in range(5)] == [None] * 4 + [PRINCIPAL_WINDOW]
    assert [is_counted(rates, "acme", "two", 0) for _ in range(4)] == [None] * 4
    assert [is_counted(rates, "acme", "three", 0) for _ in range(3)] == [None] * 2 + [TENANT_WINDOW]
    assert is_counted(rates, "globex", "one", 0) is None
    with pytest.raises(LimitExceeded) as caught:
        rates.count("acme", "three", 20_000_000)
    assert (caught.value.limit, caught.value.span, caught.value.retry_after) == (10, 60, 40)


def test_a_tenant_fails_many_times_as_often_as_it_may_call() -> None:
    now = [0]
    unserved = Unserved(lambda: now[0], least=1)
    acme = replace(tenant_named("acme"), quotas=Quotas(per_minute=1))
    for _ in range(10):
        unserved.check(acme)
        unserved.count(acme)
        now[0] += 1_000_000
    with pytest.raises(LimitExceeded) as caught:
        unserved.check(acme)
    assert (caught.value.window, caught.value.limit, caught.value.retry_after) == ("minute unserved", 10, 50)
    unserved.check(tenant_named("globex"))
    unserved.check(replace(acme, quotas=Quotas(per_minute=2)))
    now[0] = MINUTE
    unserved.check(acme)
    now[0] = 2 * MINUTE
    unserved.check(acme)
    assert not unserved._windows


def test_failures_of_many_tenants_are_forgotten() -> None:
    unserved = Unserved(lambda: 0, most=3)
    for number in range(20):
        unserved.count(tenant_named(f"tenant-{number}"))
    assert len(unserved._windows) == 3


def test_memory_is_bounded() -> None:
    rates = Rates(10, most=3)
    for number in range(50):
        for _ in range(2):
            rates.count(f"tenant-{number}", "key", number)
        rates.count(f"tenant-{number}", "other", number)
    assert (len(rates._tenants), len(rates._principals)) == (3, 3)


class Crowd:
    """Requests that hold their turn until they are told to leave."""

    def __init__(self, wait_seconds: float = 5.0) -> None:
        self.turns = Turns(1_000, lambda: 0, wait_seconds)
        self.inside: list[str] = []
        self.most = 0
        self._leave: dict[str, asyncio.Event] = {}

    def come(self, name: str, tenant: str = "acme", weight: Weight = Weight.HEAVY) -> asyncio.Task[None]:
        self._leave[name] = asyncio.Event()

        async def stay() -> None:
            async with self.turns.turn(tenant, weight):
                self.inside.append(name)
                self.most = max(self.most, len(self.inside))
                try:
                    await self._leave[name].wait()
                finally:
                    self.inside.remove(name)

        return asyncio.create_task(stay())

    def leave(self, name: str) -> None:
        self._leave[name].set()


async def settled(times: int = 10) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def test_turns_are_given_in_the_order_of_coming() -> None:
    crowd = Crowd()
    tasks = [crowd.come(str(number)) for number in range(6)]
    await settled()
    for number in range(6):
        assert crowd.inside == [str(each) for each in range(number, min(number + HEAVY, 6))]
        crowd.leave(str(number))
        await settled()
    await asyncio.gather(*tasks)
    assert crowd.turns._rooms == {}


async def test_one_tenants_turns_are_no_others() -> None:
    crowd = Crowd()
    tasks = [crowd.come(str(number)) for number in range(HEAVY + 1)]
    tasks += [crowd.come("other", "globex"), crowd.come("light", "acme", Weight.ANY)]
    await settled()
    assert crowd.inside == ["0", "1", "other", "light"]
    for name in ("0", "1", "2", "other", "light"):
        crowd.leave(name)
    await asyncio.gather(*tasks)


async def test_who_waits_too_long_is_refused() -> None:
    crowd = Crowd(wait_seconds=0.05)
    tasks = [crowd.come(str(number)) for number in range(HEAVY)]
    await settled()
    with pytest.raises(LimitExceeded) as caught:
        await crowd.come("late")
    assert (caught.value.window, caught.value.limit) == ("control plane heavy", HEAVY)
    for number in range(HEAVY):
        crowd.leave(str(number))
    await asyncio.gather(*tasks)
    assert crowd.turns._rooms == {}


async def test_one_too_many_to_wait_is_refused_at_once() -> None:
    crowd = Crowd()
    tasks = [crowd.come(str(number)) for number in range(HEAVY + MOST_WAITING)]
    await settled()
    with pytest.raises(LimitExceeded):
        await asyncio.wait_for(crowd.come("late"), 0.5)
    for number in range(HEAVY + MOST_WAITING):
        crowd.leave(str(number))
    await asyncio.gather(*tasks)


def by_cancelling(task: asyncio.Task[None], crowd: Crowd, name: str) -> None:
    task.cancel()


def by_leaving(task: asyncio.Task[None], crowd: Crowd, name: str) -> None:
    crowd.leave(name)


def by_both(task: asyncio.Task[None], crowd: Crowd, name: str) -> None:
    crowd.leave(name)
    task.cancel()


ENDINGS = (by_cancelling, by_leaving, by_both)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(ENDINGS), st.integers(0, 3)), min_size=10, max_size=10))
def test_no_more_turns_at_once_than_there_are(ends: list[tuple[int, Callable[..., Any], int]]) -> None:
    async def scenario() -> None:
        crowd = Crowd()
        tasks = [crowd.come(str(number)) for number in range(10)]
        await settled()
        for who, end, pause in ends:
            end(tasks[who], crowd, str(who))
            await settled(pause)
            assert len(crowd.inside) <= HEAVY
        for number in range(10):
            crowd.leave(str(number))
        await asyncio.gather(*tasks, return_exceptions=True)
        assert crowd.most <= HEAVY
        assert crowd.turns._rooms == {}, "no turn was lost"

    asyncio.run(scenario())
