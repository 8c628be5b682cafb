"""What every adapter of the Admission port does, case by case; ``test_admission_laws`` tries whole histories."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from caio.foundation.errors import BudgetExhausted, LimitExceeded, NotReady
from caio.gateway.ports import Actual, Grant, ServiceBusy, Slots, Standing
from caio.metering.ledger import TOTAL, period_start
from caio.tenancy.rate_limit import DAY, HOUR, MINUTE
from tests.support.admissions import NOW, Box, Records, ask, compute, granted, past, requests, tokens

SPANS = [("minute", MINUTE), ("hour", HOUR), ("day", DAY)]


@pytest.fixture
async def box(opening):
    async with opening(Records()) as opened:
        yield opened


@pytest.fixture
def admission(box):
    return box.admission


async def books(box: Box, asked) -> tuple[int, int]:
    ledger = await box.books(asked)
    assert ledger.sum == 0
    return ledger.reserved, ledger.spent


async def refused(admission, asked, now=NOW) -> LimitExceeded:
    with pytest.raises(LimitExceeded) as caught:
        await admission.admit(asked, now)
    return caught.value


async def test_a_grant_is_the_asks(admission):
    asked = ask()
    grant = await granted(admission, asked)
    assert (grant.ask, grant.grant_id) == (asked, asked.grant_id)
    with pytest.raises(ValueError, match="admitted already"):
        await admission.admit(asked, NOW)


@pytest.mark.parametrize(("window", "span"), SPANS)
async def test_the_tenants_windows_refuse_the_tenant(admission, window, span):
    meter = requests("tenant", **{window: 2})
    await granted(admission, ask("echo", meter))
    await granted(admission, ask("other", meter))
    refusal = await refused(admission, ask("third", meter), NOW + 1)
    assert (refusal.window, refusal.limit, refusal.retry_after) == (window, 2, span // 1_000_000)
    assert refusal.message == f"the tenant's limit of 2 requests per {window} is reached"
    await refused(admission, ask("echo", meter), NOW + span - 1)
    await granted(admission, ask("echo", meter, tenant="rival"), NOW + span - 1)
    await granted(admission, ask("echo", meter), NOW + span)


async def test_a_keys_windows_refuse_the_key_alone(admission):
    meters = requests("key:one", minute=1), tokens("key:one", 6, hour=10)
    await granted(admission, ask("echo", *meters, key="one"))
    refusal = await refused(admission, ask("echo", meters[0], key="one"))
    assert (refusal.window, refusal.limit, refusal.retry_after) == ("key minute", 1, 60)
    refusal = await refused(admission, ask("echo", meters[1], key="one"))
    assert (refusal.window, refusal.limit, refusal.retry_after) == ("key hour tokens", 10, 3600)
    await granted(admission, ask("echo", requests("key:two", minute=1), key="two"))


@pytest.mark.parametrize(("window", "span"), SPANS)
async def test_a_services_windows_refuse_the_service_alone(admission, window, span):
    meter = requests("service:echo", **{window: 1})
    await granted(admission, ask("echo", meter))
    assert await admission.admit(ask("echo", meter), NOW + 1) == ServiceBusy(f"echo {window}", 1, span // 1_000_000)
    await granted(admission, ask("other", requests("service:other", **{window: 1})), NOW + 1)
    await granted(admission, ask("echo", meter, tenant="rival"), NOW + 1)
    await granted(admission, ask("echo", meter), NOW + span)


async def test_a_call_larger_than_a_limit_is_told_so(admission):
    refusal = await refused(admission, ask("echo", tokens("tenant", 11, minute=10)))
    assert (refusal.window, refusal.limit) == ("minute tokens", 10)
    assert "may take 11, more than the tenant's limit of 10 tokens per minute ever allows" in refusal.message
    busy = await admission.admit(ask("echo", compute("service:echo", 2_000, day=1_000)), NOW)
    assert isinstance(busy, ServiceBusy)
    assert (busy.window, busy.limit) == ("echo day compute_ms", 1_000)


async def test_what_is_the_tenants_is_told_before_what_is_the_services(admission):
    meters = requests("tenant", minute=1), requests("service:echo", minute=1)
    slots = (Slots("tenant", 1), Slots("service:echo", 1))
    await granted(admission, ask("echo", *meters, slots=slots))
    assert (await refused(admission, ask("echo", *meters))).window == "minute"
    assert (await refused(admission, ask("echo", meters[1], slots=slots))).window == "concurrent"


@pytest.mark.parametrize(
    ("subject", "window"), [("tenant", "concurrent"), ("key:key_1", "key concurrent"), ("service:echo", "")]
)
async def test_a_slot_comes_back(admission, subject, window):
    slots = (Slots(subject, 2),)
    first, second = [await granted(admission, ask(slots=slots)) for _ in range(2)]
    if window:
        assert (await refused(admission, ask(slots=slots))).window == window
    else:
        assert await admission.admit(ask(slots=slots), NOW) == ServiceBusy("echo concurrent", 2, 1)
    await granted(admission, ask("other", tenant="rival", slots=slots))
    await admission.settle(first, Actual())
    third = await granted(admission, ask(slots=slots))
    for grant in (second, third):
        await admission.settle(grant, Actual())
    assert all([await granted(admission, ask(slots=slots)) for _ in range(2)])
    with suppress(LimitExceeded):
        assert isinstance(await admission.admit(ask(slots=slots), NOW), ServiceBusy)


async def test_a_new_limit_of_calls_at_once_knows_those_that_run(admission):
    running = [await granted(admission, ask()) for _ in range(2)]
    assert isinstance(await admission.admit(ask(slots=(Slots("service:echo", 2),)), NOW), ServiceBusy)
    await admission.settle(running[0], Actual())
    await granted(admission, ask(slots=(Slots("service:echo", 2),)))


async def test_the_last_unit_of_the_budget(box, admission):
    first, _ = [await granted(admission, ask(budget=25)) for _ in range(2)]
    with pytest.raises(BudgetExhausted, match=r"may cost 0\.000000006, and 0\.000000005 of the budget is left"):
        await admission.admit(ask(price=6, budget=25), NOW)
    await granted(admission, ask(price=5, budget=25))
    await admission.settle(first, Actual(3))
    assert await books(box, ask(budget=25)) == (15, 3)
    with pytest.raises(BudgetExhausted):
        await admission.admit(ask(price=8, budget=25), NOW)
    await granted(admission, ask(price=7, budget=25))
    await granted(admission, ask(price=0, budget=25))
    assert await books(box, ask(tenant="rival")) == (0, 0)


async def test_a_changed_budget_holds_at_once(admission):
    await granted(admission, ask(price=10, budget=10))
    with pytest.raises(BudgetExhausted):
        await admission.admit(ask(price=1, budget=10), NOW)
    await granted(admission, ask(price=1, budget=11))
    with pytest.raises(BudgetExhausted):
        await admission.admit(ask(price=1, budget=5), NOW)
    await granted(admission, ask(price=0, budget=5))
    await granted(admission, ask(price=10**17))


async def test_amounts_are_exact_beyond_what_a_double_holds(box, admission):
    budget = 2**53 + 3
    first = await granted(admission, ask(price=2**53, budget=budget))
    await granted(admission, ask(price=3, budget=budget))
    with pytest.raises(BudgetExhausted):
        await admission.admit(ask(price=1, budget=budget), NOW)
    await admission.settle(first, Actual(2**53 - 1))
    await granted(admission, ask(price=1, budget=budget))
    assert await books(box, ask(budget=budget)) == (4, 2**53 - 1)


async def test_no_sum_is_larger_than_books_can_hold(box, admission):
    """A tenant sets its services' prices; others must not feel what they add up to."""
    dearest = 10**18
    grants = [await granted(admission, ask(price=dearest)) for _ in range(9)]
    for price in (dearest, 1):
        with pytest.raises(BudgetExhausted):
            await admission.admit(ask(price=price), NOW)
    for grant in grants:
        await admission.settle(grant, Actual(dearest))
    with pytest.raises(BudgetExhausted):
        await admission.admit(ask(price=1), NOW)
    free = await granted(admission, ask(price=0))
    with pytest.raises(BudgetExhausted):
        await admission.move(free, ask("dear", price=1, grant=free.grant_id), NOW)
    await granted(admission, ask(price=dearest, tenant="rival"))
    assert await books(box, ask()) == (0, 9 * dearest)


async def test_what_records_hold_beyond_that_is_rebuilt(opening):
    before = [past("echo", NOW - 5, charged=charged, reserved=10**18) for charged in (None, 10**18) for _ in range(10)]
    async with opening(Records(before)) as box:
        with pytest.raises(BudgetExhausted):
            await box.admission.admit(ask(price=1), NOW)
        await granted(box.admission, ask(price=0))


async def test_a_month_begins_with_its_whole_budget(box, admission):
    """What was admitted in October is charged to October, however late it ends."""
    november = period_start("2026-11")
    october = ask(price=10, budget=10, period="2026-10")
    late = await granted(admission, october, november - 1)
    with pytest.raises(BudgetExhausted):
        await admission.admit(ask(price=1, budget=10, period="2026-10"), november - 1)
    new = ask(price=10, budget=10, period="2026-11")
    grant = await granted(admission, new, november)
    await admission.settle(late, Actual(9))
    assert await books(box, new) == (10, 0)
    with pytest.raises(BudgetExhausted):
        await admission.admit(ask(price=1, budget=10, period="2026-11"), november + 1)
    await admission.settle(grant, Actual(2))
    assert await books(box, new) == (0, 2)


REFUSALS = {
    "tenant": ask("echo", requests("tenant", minute=2)),
    "key": ask("echo", tokens("key:key_1", 5, minute=10)),
    "service": ask("echo", requests("service:echo", minute=2)),
    "compute": ask("echo", compute("service:echo", 50, minute=100)),
    "tenant concurrency": ask(slots=(Slots("tenant", 2),)),
    "concurrency": ask(slots=(Slots("service:echo", 2),)),
    "money": ask(price=10, budget=20),
}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_all_or_nothing(box, admission, kind):
    """A refusal, whatever refused, takes no window, no slot and no money: a hundred of them change nothing."""
    narrow = REFUSALS[kind]
    others = [
        meter
        for meter in (
            requests("tenant", day=4),
            tokens("tenant", 5, day=20),
            requests("key:key_1", day=4),
            requests("service:echo", day=4),
            compute("service:echo", 50, day=200),
        )
        if (meter.subject, meter.unit) not in {(each.subject, each.unit) for each in narrow.meters}
    ]
    slots = tuple(
        Slots(name, 4) for name in ("tenant", "service:echo") if name not in {s.subject for s in narrow.slots}
    )
    every = sorted(
        [*narrow.meters, *others], key=lambda meter: ("tenant", "key", "service").index(meter.subject.split(":")[0])
    )

    def again():
        return replace(ask(), meters=tuple(every), slots=(*narrow.slots, *slots), price=10, budget=narrow.budget or 40)

    grants = [await granted(admission, again()) for _ in range(2)]
    for _ in range(100):
        with suppress(LimitExceeded, BudgetExhausted):
            assert isinstance(await admission.admit(again(), NOW), ServiceBusy)
    assert await books(box, again()) == (20, 0)
    for grant in grants:
        await admission.settle(grant, Actual(0, 5, 50))
    # A minute later two of the four a day are taken of each, no slot and no money.
    for grant in [await granted(admission, again(), NOW + MINUTE) for _ in range(2)]:
        await admission.settle(grant, Actual(0, 5, 50))
    assert await books(box, again()) == (0, 0)
    with suppress(LimitExceeded):
        assert isinstance(await admission.admit(again(), NOW + 2 * MINUTE), ServiceBusy)
        raise AssertionError


async def test_what_was_not_used_is_given_back(admission):
    def asked():
        return ask("echo", tokens("tenant", 8, minute=10), compute("service:echo", 900, hour=1_000))

    grant = await granted(admission, asked())
    await refused(admission, asked())
    await admission.settle(grant, Actual(0, 2, 50))
    second = await granted(admission, asked(), NOW + 1)
    await admission.settle(second, Actual(0, 8, 50))
    assert (await refused(admission, asked(), NOW + 2)).window == "minute tokens"
    third = await granted(admission, asked(), NOW + MINUTE + 1)
    await admission.settle(third, Actual(0, 0, 900))
    busy = await admission.admit(ask("echo", compute("service:echo", 1, hour=1_000)), NOW + MINUTE + 1)
    assert busy == ServiceBusy("echo hour compute_ms", 1_000, 3540)


async def test_more_than_was_reserved_is_not_booked(box, admission):
    asked = ask("echo", tokens("tenant", 5, minute=10), price=10)
    await admission.settle(await granted(admission, asked), Actual(11, 50, 50))
    assert await books(box, asked) == (0, 10)
    await granted(admission, ask("echo", tokens("tenant", 5, minute=10)))
    await refused(admission, ask("echo", tokens("tenant", 1, minute=10)))


async def test_a_request_is_used_whatever_came_of_it(admission):
    asked = requests("tenant", minute=1)
    await admission.settle(await granted(admission, ask("echo", asked)), Actual())
    await refused(admission, ask("echo", asked))


async def test_settling_again_changes_nothing(box, admission):
    asked = ask("echo", tokens("tenant", 5, minute=20), budget=20, slots=(Slots("service:echo", 2),))
    grant, other = await granted(admission, asked), await granted(admission, replace(asked, grant_id="other"))
    for _ in range(3):
        await admission.settle(grant, Actual(4, 1))
        assert await books(box, asked) == (10, 4)
    with pytest.raises(NotReady) as caught:
        await admission.move(grant, replace(asked, service_id="new"), NOW)
    assert caught.value.code == "grant_ended"
    # One slot, 6 tokens and one reservation are taken, not fewer.
    await granted(admission, ask("echo", tokens("tenant", 14, minute=20), price=0, slots=asked.slots))
    assert isinstance(await admission.admit(ask("echo", price=0, slots=asked.slots), NOW), ServiceBusy)
    assert (await refused(admission, ask("echo", tokens("tenant", 1, minute=20), price=0))).window == "minute tokens"
    await admission.settle(other, Actual())


async def test_a_move_keeps_the_tenants_place(box, admission):
    """The tenant and the key are not charged a second call; the new service is; the old one's slot is free."""
    both = requests("tenant", minute=1), requests("key:key_1", minute=1)
    old = ask("old", *both, price=10, budget=30, slots=(Slots("service:old", 1),))
    new = replace(
        old,
        service_id="new",
        price=30,
        meters=(*both, requests("service:new", minute=1)),
        slots=(Slots("service:new", 1),),
    )
    moved = await admission.move(await granted(admission, old), new, NOW + 1)
    assert isinstance(moved, Grant)
    assert moved.ask == new
    assert await books(box, new) == (30, 0)
    await granted(admission, ask("old", price=0, slots=old.slots))
    assert isinstance(await admission.admit(ask("new", price=0, slots=new.slots), NOW + 1), ServiceBusy)
    assert await admission.admit(ask("new", new.meters[2], price=0), NOW + 1) == ServiceBusy("new minute", 1, 60)
    await admission.settle(moved, Actual(29))
    assert await books(box, new) == (0, 29)
    assert (await refused(admission, ask("old", both[0]), NOW + 2)).window == "minute"
    await granted(admission, ask("old", both[0], price=1, budget=30), NOW + MINUTE)


async def test_a_move_takes_the_new_worst_case(admission):
    """Less is given back, more is taken; the old service's tokens are free and its request is used."""

    def asked(service, amount):
        meters = (
            tokens("tenant", amount, minute=10),
            requests(f"service:{service}", minute=1),
            tokens(f"service:{service}", amount, minute=8),
        )
        return ask(service, *meters, grant="moving")

    grant = await granted(admission, asked("a", 4))
    grant = await admission.move(grant, asked("b", 8), NOW + 1)
    await granted(admission, ask("a", tokens("tenant", 2, minute=10), tokens("service:a", 8, minute=8)), NOW + 1)
    await refused(admission, ask("a", tokens("tenant", 1, minute=10)), NOW + 1)
    assert isinstance(await admission.admit(ask("a", requests("service:a", minute=1)), NOW + 1), ServiceBusy)
    grant = await admission.move(grant, asked("c", 1), NOW + 2)
    assert isinstance(grant, Grant)
    await granted(admission, ask("b", tokens("tenant", 7, minute=10), tokens("service:b", 8, minute=8)), NOW + 2)
    await refused(admission, ask("b", tokens("tenant", 1, minute=10)), NOW + 2)


async def test_a_repeat_takes_the_services_request_again_and_one_slot(admission):
    asked = ask(
        "echo", requests("tenant", minute=1), requests("service:echo", minute=2), slots=(Slots("service:echo", 1),)
    )
    grant = await admission.move(await granted(admission, asked), asked, NOW + 1)
    assert isinstance(grant, Grant)
    assert await admission.move(grant, asked, NOW + 2) == ServiceBusy("echo minute", 2, 60)
    await admission.settle(grant, Actual())
    await granted(admission, ask("echo", slots=asked.slots))


async def test_a_refused_move_leaves_the_grant(box, admission):
    slots = {name: (Slots(f"service:{name}", 1),) for name in ("old", "busy")}
    holder = await granted(admission, ask("busy", price=0, slots=slots["busy"]))
    old = ask("old", tokens("tenant", 4, minute=10), budget=30, slots=slots["old"])
    grant = await granted(admission, old)
    assert isinstance(
        await admission.move(grant, replace(old, service_id="busy", slots=slots["busy"]), NOW), ServiceBusy
    )
    with pytest.raises(BudgetExhausted):
        await admission.move(grant, replace(old, service_id="dear", price=31, slots=()), NOW)
    with pytest.raises(LimitExceeded):
        await admission.move(grant, replace(old, service_id="long", meters=(tokens("tenant", 11, minute=10),)), NOW)
    assert await books(box, old) == (10, 0)
    assert isinstance(await admission.admit(ask("old", slots=slots["old"]), NOW), ServiceBusy)
    await granted(admission, ask("x", tokens("tenant", 6, minute=10), price=0))
    await admission.settle(grant, Actual(10, 4))
    await admission.settle(holder, Actual())
    assert await books(box, old) == (0, 10)
    await granted(admission, ask("old", slots=slots["old"]))


async def test_a_changed_limit_keeps_what_was_admitted(admission):
    def asked(**limits):
        return ask("echo", requests("service:echo", **limits))

    await granted(admission, asked(minute=5))
    await granted(admission, asked(minute=5, hour=9))
    assert isinstance(await admission.admit(asked(minute=2), NOW), ServiceBusy)
    await granted(admission, asked(minute=3))
    await granted(admission, asked(minute=3), NOW + MINUTE)


async def test_of_concurrent_asks_exactly_as_many_as_fit_are_admitted(box, admission):
    def asked(number):
        service = f"s{number % 3}"
        return ask(service, requests("tenant", minute=70), budget=500, slots=(Slots(f"service:{service}", 40),))

    async def one(number):
        try:
            return await admission.admit(asked(number), NOW)
        except (LimitExceeded, BudgetExhausted):
            return None

    answers = await asyncio.gather(*(one(number) for number in range(200)))
    assert sum(isinstance(answer, Grant) for answer in answers) == 50
    assert await books(box, asked(0)) == (500, 0)


async def test_a_clock_that_steps_back_lends_nothing(admission):
    meter = requests("tenant", minute=2)
    await granted(admission, ask("echo", meter), NOW + MINUTE)
    await granted(admission, ask("echo", meter), NOW)
    await refused(admission, ask("echo", meter), NOW + 2 * MINUTE - 1)
    await granted(admission, ask("echo", meter), NOW + 2 * MINUTE)


async def test_a_grant_tells_how_the_tenant_stands(admission):
    meters = requests("tenant", minute=10, hour=12), requests("key:key_1", minute=3)
    assert (await granted(admission, ask("echo", *meters))).standing == Standing("minute", 10, 60, 9, 60)
    await granted(admission, ask("echo", *meters), NOW + 5_000_000)
    grant = await granted(admission, ask("echo", *meters), NOW + MINUTE)
    assert grant.standing == Standing("minute", 10, 60, 8, 5)
    for _ in range(8):
        grant = await granted(admission, ask("echo", meters[0]), NOW + 4 * MINUTE)
    assert grant.standing == Standing("hour", 12, 3600, 1, 3360)


# --- after a restart ----------------------------------------------------------------------------------


async def test_what_was_admitted_before_a_restart_counts(opening):
    before = [
        past("echo", NOW - HOUR),
        past("echo", NOW - MINUTE + 5, tokens=60, charged=15),
        past("other", NOW - 7, key="key_2", compute_ms=700, charged=0),
    ]
    async with opening(Records(before)) as box:
        tenant = requests("tenant", minute=3, day=6)
        assert await books(box, ask(budget=35)) == (0, 15)
        assert (
            await refused(box.admission, ask("echo", tokens("key:key_1", 41, hour=100)))
        ).window == "key hour tokens"
        busy = await box.admission.admit(ask("other", compute("service:other", 301, hour=1_000)), NOW)
        assert busy == ServiceBusy("other hour compute_ms", 1_000, 3600)
        # The service's own window: two of two an hour are taken; of the tenant's minute two of three.
        limited = requests("service:echo", hour=2)
        await granted(box.admission, ask("echo", tenant, limited, budget=35))
        assert (await refused(box.admission, ask("echo", tenant, budget=35))).window == "minute"
        assert await box.admission.admit(ask("echo", limited), NOW + 5) == ServiceBusy("echo hour", 2, 3540)
        await granted(box.admission, ask("free", tenant, budget=35), NOW + 5)
        with pytest.raises(BudgetExhausted):
            await box.admission.admit(ask("free", price=1, budget=35), NOW + MINUTE)
        await granted(box.admission, ask("free", tenant, price=0), NOW + MINUTE + 6)
        assert (await refused(box.admission, ask("free", tenant, price=0), NOW + HOUR)).window == "day"


async def test_fallbacks_count_for_their_services_after_a_restart(opening):
    moved = past("first", NOW - 50, further=(("second", NOW - 20), ("third", NOW - 10)), tokens=9)
    async with opening(Records([moved])) as box:
        for service in ("first", "second", "third"):
            meter = requests(f"service:{service}", minute=1)
            assert isinstance(await box.admission.admit(ask(service, meter), NOW), ServiceBusy)
        assert isinstance(
            await box.admission.admit(ask("third", tokens("service:third", 1, minute=9)), NOW), ServiceBusy
        )
        await granted(box.admission, ask("first", tokens("service:first", 9, minute=9)))
        await granted(box.admission, ask("x", requests("tenant", minute=2)))
        await refused(box.admission, ask("x", requests("tenant", minute=2)))


async def test_what_has_not_ended_holds_its_worst_price(opening):
    running = past("echo", NOW - 5, charged=None, reserved=12)
    async with opening(Records([running], spent=3)) as box:
        with pytest.raises(BudgetExhausted):
            await box.admission.admit(ask(price=6, budget=20), NOW)
        await granted(box.admission, ask(price=5, budget=20))


async def test_what_has_not_ended_holds_its_most(opening):
    """Until it ends: tokens and compute of the tenant, the caller and the service, from when they were looked up."""
    running = past("echo", NOW - 30_000_000, charged=None, tokens=60, compute_ms=700)
    for subject, window in (("tenant", "minute tokens"), ("key:key_1", "key minute tokens")):
        async with opening(Records([running])) as box:
            assert (await refused(box.admission, ask("x", tokens(subject, 41, minute=100)))).window == window
            await granted(box.admission, ask("x", tokens(subject, 40, minute=100)), NOW + MINUTE - 1)
    async with opening(Records([running])) as box:
        busy = await box.admission.admit(ask("echo", compute("service:echo", 301, minute=1_000)), NOW)
        assert busy == ServiceBusy("echo minute compute_ms", 1_000, 60)
        await granted(box.admission, ask("echo", compute("service:echo", 300, minute=1_000)), NOW + MINUTE - 1)


async def test_a_restart_reads_the_month_alone(opening):
    november = period_start("2026-11")
    before = [past("echo", november - 1, charged=90), past("echo", november, charged=4)]
    async with opening(Records(before)) as box:
        asked = ask(price=6, budget=10, period="2026-11")
        await granted(box.admission, asked, november + 1)
        assert await books(box, asked) == (6, 4)


async def test_another_kind_of_period_begins_with_what_was_spent(opening):
    now = period_start("2026-11") + DAY
    records = Records([past("echo", now - 2 * DAY, charged=50), past("echo", now - HOUR, charged=4)])
    async with opening(records) as box:
        running = ask(price=3, budget=100, period=TOTAL)
        grant = await granted(box.admission, running, now)
        monthly = ask(price=3, budget=10, period="2026-11")
        await granted(box.admission, monthly, now)
        with pytest.raises(BudgetExhausted):
            await box.admission.admit(ask(price=1, budget=10, period="2026-11"), now)
        await box.admission.settle(grant, Actual(3))


async def test_a_period_that_is_returned_to_knows_what_was_spent_in_it(opening):
    """The budget's kind of period may be changed and changed back, and a clock may step back over a month's end."""
    october, november = period_start("2026-10") + DAY, period_start("2026-11")
    records = Records()
    async with opening(records) as box:
        spent = [("2026-10", october), ("2026-11", november), (TOTAL, november), ("2026-11", november)]
        for period, now in [*spent, ("2026-10", november - 1)]:
            asked = ask(price=50, budget=1_000 if period != "2026-11" else 150, period=period)
            await box.admission.settle(await granted(box.admission, asked, now), Actual(50))
            records.calls["acme"].append(replace(past("echo", now, charged=50), decision_id=asked.grant_id))
        with pytest.raises(BudgetExhausted):
            await box.admission.admit(ask(price=1, budget=150, period="2026-11"), november + 1)


async def test_tenants_that_are_idle_are_not_read(opening):
    records = Records([past("echo", NOW)])
    async with opening(records) as box:
        assert records.reads == 0
        await asyncio.gather(*(granted(box.admission, ask(tenant="rival")) for _ in range(10)))
        assert records.reads == 1
