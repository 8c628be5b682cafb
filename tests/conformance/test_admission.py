"""What every adapter of the Admission port does."""

import asyncio
from bisect import bisect_right
from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from caio.foundation.errors import BudgetExhausted, LimitExceeded
from caio.gateway.ports import Ask, Grant, ServiceBusy
from caio.storage.memory.admission import InProcessAdmission
from caio.tenancy.ports import Quotas, Tenant, TenantStatus
from caio.tenancy.rate_limit import DAY, HOUR, MINUTE

NOW = 1_700_000_000_000_000
ADAPTERS = [InProcessAdmission]


def opened(adapter, restored=(), spent=0, **quotas):
    admission = adapter()
    for name in ("acme", "rival"):
        admission.open(Tenant(name, name, TenantStatus.ACTIVE, "USD", Quotas(**quotas), NOW))
    admission.restore("acme", restored, spent)
    return admission


def ask(service="echo", price=10, tenant="acme", **limits):
    return Ask(tenant, "key_1", service, price, **limits)


async def granted(admission, asked, now=NOW):
    grant = await admission.admit(asked, now)
    assert isinstance(grant, Grant), grant
    return grant


def books(admission, tenant="acme"):
    ledger = admission.ledger(tenant)
    assert ledger.sum == 0
    return ledger.reserved, ledger.spent


@pytest.fixture(params=ADAPTERS)
def adapter(request):
    return request.param


async def test_a_grant_names_what_was_asked(adapter):
    admission = opened(adapter)
    asked = ask()
    grants = [await granted(admission, asked) for _ in range(3)]
    assert {grant.ask for grant in grants} == {asked}
    assert len({grant.grant_id for grant in grants}) == 3


@pytest.mark.parametrize(("window", "span"), [("minute", MINUTE), ("hour", HOUR), ("day", DAY)])
async def test_the_tenants_windows_refuse_the_tenant(adapter, window, span):
    admission = opened(adapter, **{f"per_{window}": 2})
    await granted(admission, ask("echo"))
    await granted(admission, ask("other"))
    with pytest.raises(LimitExceeded) as caught:
        await admission.admit(ask("third"), NOW + 1)
    assert (caught.value.window, caught.value.limit, caught.value.retry_after) == (window, 2, span // 1_000_000)
    with pytest.raises(LimitExceeded):
        await admission.admit(ask(), NOW + span - 1)
    await granted(admission, ask(tenant="rival"), NOW + 1)
    await granted(admission, ask(), NOW + span)


@pytest.mark.parametrize(("window", "span"), [("minute", MINUTE), ("hour", HOUR)])
async def test_a_services_windows_refuse_the_service_alone(adapter, window, span):
    admission, limited = opened(adapter), ask(**{f"per_{window}": 1})
    await granted(admission, limited)
    busy = await admission.admit(limited, NOW + 1)
    assert busy == ServiceBusy(f"echo {window}", 1, span // 1_000_000)
    await granted(admission, ask("other"), NOW + 1)
    await granted(admission, replace(limited, tenant_id="rival"), NOW + 1)
    await granted(admission, limited, NOW + span)


async def test_concurrency_is_a_slot_that_comes_back(adapter):
    admission, limited = opened(adapter), ask(max_concurrent=2)
    first, second = [await granted(admission, limited) for _ in range(2)]
    assert await admission.admit(limited, NOW) == ServiceBusy("echo concurrent", 2, 1)
    await granted(admission, ask("other", max_concurrent=2))
    await admission.settle(first, 0)
    third = await granted(admission, limited)
    assert isinstance(await admission.admit(limited, NOW), ServiceBusy)
    for grant in (second, third):
        await admission.settle(grant, 0)
    assert all([await granted(admission, limited) for _ in range(2)])
    assert isinstance(await admission.admit(limited, NOW), ServiceBusy)


async def test_the_last_unit_of_the_budget(adapter):
    admission = opened(adapter, budget=25)
    first, _ = [await granted(admission, ask()) for _ in range(2)]
    with pytest.raises(BudgetExhausted, match=r"may cost 0\.000000006, and 0\.000000005 of the budget is left"):
        await admission.admit(ask(price=6), NOW)
    await granted(admission, ask(price=5))
    await admission.settle(first, 3)
    assert books(admission) == (15, 3)
    with pytest.raises(BudgetExhausted):
        await admission.admit(ask(price=8), NOW)
    await granted(admission, ask(price=7))
    await granted(admission, ask(price=0))
    assert books(admission, "rival") == (0, 0)


REFUSALS = {
    "tenant": (ask(), {"per_minute": 2}),
    "service": (ask(per_minute=2), {}),
    "concurrency": (ask(max_concurrent=2), {}),
    "money": (ask(price=10), {"budget": 20}),
}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_all_or_nothing(adapter, kind):
    """A refusal, whatever refused, takes no window, no slot and no money: a hundred of them change nothing."""
    asked, quotas = REFUSALS[kind]
    admission = opened(adapter, **quotas)
    full = replace(asked, per_minute=asked.per_minute or 4, per_hour=4, max_concurrent=asked.max_concurrent or 4)
    grants = [await granted(admission, full) for _ in range(2)]
    for _ in range(100):
        with suppress(LimitExceeded, BudgetExhausted):
            assert isinstance(await admission.admit(full, NOW), ServiceBusy)
    assert books(admission) == (2 * asked.price, 0)
    for grant in grants:
        await admission.settle(grant, 0)
    # A minute later: two of the four an hour are taken, no slot and no money.
    again = [await granted(admission, full, NOW + MINUTE) for _ in range(2)]
    assert books(admission) == (2 * asked.price, 0)
    for grant in again:
        await admission.settle(grant, 0)
    busy = await admission.admit(full, NOW + 2 * MINUTE)
    assert isinstance(busy, ServiceBusy)
    assert busy.window == "echo hour"


async def test_a_move_keeps_the_tenants_place(adapter):
    """The tenant is not charged a second call; the new service is; the old one's slot is free again."""
    admission = opened(adapter, per_minute=1, budget=30)
    old, new = ask("old", 10, max_concurrent=1), ask("new", 30, max_concurrent=1, per_minute=1)
    grant = await granted(admission, old)
    moved = await admission.move(grant, new, NOW + 1)
    assert moved == Grant(grant.grant_id, new)
    assert books(admission) == (30, 0)
    await admission.settle(moved, 29)
    assert books(admission) == (0, 29)
    with pytest.raises(LimitExceeded):
        await admission.admit(old, NOW + 1)
    await granted(admission, replace(old, price=1), NOW + MINUTE)


async def test_a_move_takes_the_new_services_windows(adapter):
    admission = opened(adapter)
    new = ask("new", per_minute=1)
    await admission.settle(await admission.move(await granted(admission, ask("old")), new, NOW), 0)
    assert isinstance(await admission.admit(new, NOW + 1), ServiceBusy)


async def test_a_moved_call_holds_one_slot(adapter):
    admission = opened(adapter)
    old, new = ask("old", max_concurrent=1), ask("new", max_concurrent=1, per_minute=5)
    moved = await admission.move(await granted(admission, old), new, NOW)
    assert isinstance(moved, Grant)
    assert isinstance(await admission.admit(new, NOW), ServiceBusy)
    other = await granted(admission, old)
    assert isinstance(await admission.admit(old, NOW), ServiceBusy)
    await admission.settle(moved, 0)
    assert isinstance(await admission.admit(old, NOW), ServiceBusy)
    await granted(admission, new)
    await admission.settle(other, 0)
    await granted(admission, old)


async def test_a_refused_move_leaves_the_grant(adapter):
    admission = opened(adapter, budget=30)
    old, busy = ask("old", max_concurrent=1), ask("busy", 0, max_concurrent=1)
    holder = await granted(admission, busy)
    grant = await granted(admission, old)
    assert isinstance(await admission.move(grant, busy, NOW), ServiceBusy)
    with pytest.raises(BudgetExhausted):
        await admission.move(grant, ask("dear", 31), NOW)
    assert books(admission) == (10, 0)
    assert isinstance(await admission.admit(old, NOW), ServiceBusy)
    await admission.settle(grant, 10)
    await admission.settle(holder, 0)
    assert books(admission) == (0, 10)
    await granted(admission, old)


async def test_a_move_to_a_cheaper_service_frees_money(adapter):
    admission = opened(adapter, budget=30)
    grant = await granted(admission, ask(price=30))
    moved = await admission.move(grant, ask("cheap", 5), NOW)
    assert isinstance(moved, Grant)
    await granted(admission, ask(price=25))
    with pytest.raises(ValueError, match="not within the 5 reserved"):
        await admission.settle(moved, 6)


async def test_a_grant_is_settled_exactly_once(adapter):
    admission = opened(adapter, budget=20)
    grant, other = [await granted(admission, ask(max_concurrent=2)) for _ in range(2)]
    await admission.settle(grant, 4)
    with pytest.raises(KeyError):
        await admission.settle(grant, 4)
    with pytest.raises(KeyError):
        await admission.move(grant, ask("other"), NOW)
    assert books(admission) == (10, 4)
    # The second settling gave back no second slot: of two, one is still taken.
    await granted(admission, ask(price=0, max_concurrent=2))
    assert isinstance(await admission.admit(ask(price=0, max_concurrent=2), NOW), ServiceBusy)
    await admission.settle(other, 0)


async def test_a_charge_above_the_reservation_is_refused_and_ends_nothing(adapter):
    admission = opened(adapter)
    grant = await granted(admission, ask(max_concurrent=1))
    with pytest.raises(ValueError, match="not within"):
        await admission.settle(grant, 11)
    assert books(admission) == (10, 0)
    assert isinstance(await admission.admit(ask(max_concurrent=1), NOW), ServiceBusy)
    await admission.settle(grant, 10)
    assert books(admission) == (0, 10)


async def test_what_was_admitted_before_a_restart_counts(adapter):
    before = [("echo", NOW - HOUR), ("echo", NOW - MINUTE + 5), ("other", NOW - 7)]
    admission = opened(adapter, restored=before, spent=15, per_minute=3, per_day=6, budget=35)
    assert books(admission) == (0, 15)
    # The service's own window: two of three an hour, one of two a minute.
    limited = ask(per_minute=2, per_hour=2)
    await granted(admission, limited)
    with pytest.raises(LimitExceeded, match="3 requests per minute"):
        await admission.admit(ask(), NOW)
    busy = await admission.admit(limited, NOW + 5)
    assert busy == ServiceBusy("echo hour", 2, 3540)
    await granted(admission, ask("free"), NOW + 5)
    with pytest.raises(BudgetExhausted):
        await admission.admit(ask("free", 1), NOW + MINUTE)
    await granted(admission, ask("free", 0), NOW + MINUTE)
    with pytest.raises(LimitExceeded, match="6 requests per day"):
        await admission.admit(ask("free", 0), NOW + HOUR)


async def test_a_new_version_of_a_contract_keeps_what_was_admitted(adapter):
    admission = opened(adapter)
    await granted(admission, ask(per_minute=5))
    await granted(admission, ask(per_minute=5, per_hour=9))
    assert isinstance(await admission.admit(ask(per_minute=2), NOW), ServiceBusy)
    await granted(admission, ask(per_minute=3))
    assert isinstance(await admission.admit(ask(per_minute=3, max_concurrent=3), NOW + MINUTE), ServiceBusy)


async def test_of_concurrent_asks_exactly_as_many_as_fit_are_admitted(adapter):
    admission = opened(adapter, per_minute=70, budget=500)

    async def one(number):
        try:
            return await admission.admit(ask(f"s{number % 3}", max_concurrent=40), NOW + number)
        except (LimitExceeded, BudgetExhausted):
            return None

    answers = await asyncio.gather(*(one(number) for number in range(200)))
    assert sum(isinstance(answer, Grant) for answer in answers) == 50
    assert books(admission) == (500, 0)


@pytest.mark.parametrize("adapter", ADAPTERS)
@settings(max_examples=20, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_never_over_admits_nor_over_spends(adapter, seed):
    """A tenant's afternoon with failures at every step: never more calls than a window allows, never
    more money than the budget, and books that sum to zero."""
    asyncio.run(_afternoon(adapter, Random(seed)))


async def _afternoon(adapter, rng):
    quotas = {
        "per_minute": rng.choice((3, 10)),
        "per_hour": rng.choice((20, 100)),
        "budget": rng.choice((50, 500)),
    }
    admission, now = opened(adapter, **quotas), NOW
    admitted, running, charged = [], [], 0
    for _ in range(250):
        now += rng.choice((0, 1, 100_000, MINUTE // 20, MINUTE - 1))
        asked = ask(rng.choice("abc"), rng.choice((0, 1, 7, 40)), max_concurrent=3, per_minute=rng.choice((4, 6)))
        chance = rng.random()
        with suppress(LimitExceeded, BudgetExhausted):
            if chance < 0.5:
                answer = await admission.admit(asked, now)
                if isinstance(answer, Grant):
                    admitted.append(now)
                    running.append(answer)
            elif running and chance < 0.7:
                place = rng.randrange(len(running))
                answer = await admission.move(running[place], asked, now)
                if isinstance(answer, Grant):
                    running[place] = answer
            elif running:
                grant = running.pop(rng.randrange(len(running)))
                charge = rng.choice((0, grant.ask.price, rng.randint(0, grant.ask.price)))
                await admission.settle(grant, charge)
                charged += charge
        for span, limit in ((MINUTE, quotas["per_minute"]), (HOUR, quotas["per_hour"])):
            assert len(admitted) - bisect_right(admitted, now - span) <= limit
        reserved = sum(grant.ask.price for grant in running)
        assert books(admission) == (reserved, charged)
        assert reserved + charged <= quotas["budget"]
        for name in "abc":
            assert sum(grant.ask.service_id == name for grant in running) <= 3
