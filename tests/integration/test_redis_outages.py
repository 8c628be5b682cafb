"""What processes admit on their own while they do not reach Redis, and that it is counted once they do."""

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from caio.foundation.errors import LimitExceeded, NotReady
from caio.storage.redis.local import LocalAdmission
from caio.storage.redis.scripts import account_keys
from caio.tenancy.ports import Outage
from caio.tenancy.rate_limit import DAY, MINUTE
from tests.support.admissions import NOW, Records, ask, past, requests, tokens
from tests.support.durable_calls import SHORT, Ledger, asking, back, eventually
from tests.support.partitions import way_to
from tests.support.redis_admissions import running_admission
from tests.support.redis_server import MISSING, PROGRAM, RedisServer

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)


@pytest.fixture
def server():
    with RedisServer() as started:
        yield started


async def test_a_process_on_its_own_admits_its_share(server):
    """Of two processes one is cut off: it admits its share, the other what is left, and after its return both
    together the limit."""
    records, parts = Ledger(), {"limit": 40, "outage": Outage.LOCAL}
    async with AsyncExitStack() as stack:
        way = await stack.enter_async_context(way_to(server.port))
        cut_off = await stack.enter_async_context(running_admission(way.url, records, processes=2, **SHORT))
        other = await stack.enter_async_context(running_admission(server.url, records, processes=2, **SHORT))
        await eventually(lambda: records.call(other, asking(**parts)))
        assert await records.fill(cut_off, 3, **parts) == 3
        assert await records.fill(other, 2, **parts) == 2
        way.cut()
        assert await records.fill(cut_off, 3, **parts) == 0  # it may still be counted as here

        async def on_its_own():
            return await records.fill(cut_off, 1, **parts)

        assert await eventually(on_its_own) == 1
        assert await records.fill(cut_off, 40, **parts) == 13  # a share of 20, and 6 were admitted before
        assert await records.fill(cut_off, 3, limit=40) == 0  # a tenant that is closed
        assert await records.fill(other, 40, **parts) == 14
        way.heal()
        await back(cut_off)
        await eventually(lambda: records.call(other, asking(**parts)))
        assert await records.fill(cut_off, 40, **parts) == 40 - 6 - 14 - 14 - 1


async def test_a_process_on_its_own_spends_its_share(server):
    records, parts = Ledger(), {"limit": 1_000, "outage": Outage.LOCAL, "price": 10, "budget": 100}
    async with AsyncExitStack() as stack:
        way = await stack.enter_async_context(way_to(server.port))
        cut_off = await stack.enter_async_context(running_admission(way.url, records, processes=2, **SHORT))
        other = await stack.enter_async_context(running_admission(server.url, records, processes=2, **SHORT))
        await eventually(lambda: records.call(other, asking(**parts)))
        assert await records.fill(cut_off, 1, **parts) == 1
        way.cut()

        async def on_its_own():
            return await records.fill(cut_off, 1, **parts)

        assert await eventually(on_its_own) == 1
        assert await records.fill(cut_off, 10, **parts) == 2  # a share of 50, and 20 were reserved before
        assert await records.fill(other, 10, **parts) == 3
        way.heal()
        await back(cut_off)
        await eventually(lambda: records.call(other, asking(**parts)))
        assert await records.fill(cut_off, 10, **parts) == 1


async def test_a_process_that_died_on_its_own_is_counted(server):
    """Whoever takes its place brings its share back, and what it admitted."""
    records, parts = Ledger(), {"limit": 40, "outage": Outage.LOCAL}
    async with AsyncExitStack() as stack:
        way = await stack.enter_async_context(way_to(server.port))
        other = await stack.enter_async_context(running_admission(server.url, records, processes=2, **SHORT))
        async with running_admission(way.url, records, processes=2, **SHORT) as dying:
            await eventually(lambda: records.call(other, asking(**parts)))
            way.cut()

            async def on_its_own():
                return await records.fill(dying, 1, **parts)

            assert await eventually(on_its_own) == 1
            assert await records.fill(dying, 40, **parts) == 18
        await stack.enter_async_context(running_admission(server.url, records, processes=2, **SHORT))
        await eventually(lambda: records.call(other, asking(**parts)))
        assert await records.fill(other, 40, **parts) == 40 - 21


async def test_a_process_that_was_called_while_it_returned_counts_what_came_since(server):
    """A twin is of one absence: calls that come in the midst of a return open none that would last to the next."""
    records, parts = Ledger(), {"limit": 40, "outage": Outage.LOCAL}

    async def calls_that_are_too_large():
        more: Any = {"expires_at": NOW + 10**15, "outage": Outage.LOCAL}
        while True:
            with suppress(LimitExceeded, NotReady):
                await cut_off.admit(ask("echo", tokens("tenant", 5, minute=4), **more), time.time_ns() // 1000)
            await asyncio.sleep(0)

    async def on_its_own(tenant):
        return await records.call(cut_off, asking(tenant=tenant, **parts)) is not None

    admitted = 0

    async def all_that_two_may():
        nonlocal admitted  # half of it, whenever the one that returned is late with a heartbeat
        admitted += await records.fill(other, 28 - admitted, **parts)
        return admitted == 28

    async with AsyncExitStack() as stack:
        way = await stack.enter_async_context(way_to(server.port))
        cut_off = await stack.enter_async_context(running_admission(way.url, records, processes=2, **SHORT))
        other = await stack.enter_async_context(running_admission(server.url, records, processes=2, **SHORT))
        await eventually(lambda: records.call(other, asking(**parts)))
        calling = asyncio.create_task(calls_that_are_too_large())
        way.cut()
        assert await eventually(lambda: on_its_own("first"))
        way.heal()
        await back(cut_off)
        await eventually(lambda: records.call(other, asking(**parts)))
        assert await eventually(all_that_two_may)
        way.cut()
        assert await eventually(lambda: on_its_own("second"))
        assert await records.fill(cut_off, 3, **parts) == 0  # a share of 20, and 30 were admitted before
        calling.cancel()


async def test_a_damaged_account_keeps_no_process_away(server):
    """What was admitted for its tenant cannot be marked; the account is read anew, and nothing of that is forgotten."""
    records, parts = Ledger(), {"limit": 40, "outage": Outage.LOCAL}
    async with AsyncExitStack() as stack:
        way = await stack.enter_async_context(way_to(server.port))
        cut_off = await stack.enter_async_context(running_admission(way.url, records, processes=2, **SHORT))
        other = await stack.enter_async_context(running_admission(server.url, records, processes=2, **SHORT))
        await eventually(lambda: records.call(other, asking(**parts)))
        await eventually(lambda: records.call(other, asking(**parts, tenant="sound")))
        way.cut()

        async def on_its_own(tenant):
            return await records.fill(cut_off, 1, **parts, tenant=tenant)

        for tenant in ("acme", "sound"):
            assert await eventually(lambda tenant=tenant: on_its_own(tenant)) == 1
        account, _, _ = account_keys("acme")
        server.ask("DEL", account)
        server.ask("SET", account, "nonsense")
        way.heal()
        await back(cut_off)
        for tenant in ("acme", "sound"):
            assert await eventually(lambda tenant=tenant: records.call(cut_off, asking(**parts, tenant=tenant)))
            assert await records.fill(cut_off, 40, **parts, tenant=tenant) == 40 - 3


async def test_reading_a_ledger_takes_nobodys_share(server):
    """An account that is rebuilt for reading has counted who died on its own, too: nobody rebuilds it after that."""
    records, parts = Ledger(), {"limit": 40, "outage": Outage.LOCAL}
    durable = {**SHORT, "durable": 1.0}
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(running_admission(server.url, records, processes=2, **durable))
        asked = asking(**parts)
        await eventually(lambda: records.call(one, asked))
        await asyncio.sleep(durable["durable"])
        server.ask("DEL", *account_keys("acme"))
        await stack.enter_async_context(running_admission(server.url, records, processes=2, **durable))
        joined = time.monotonic()

        async def read():
            with suppress(LimitExceeded):
                return await one.ledger(asked.scope, asked.period, time.time_ns() // 1000)

        await eventually(read)
        assert time.monotonic() - joined >= durable["durable"] - 0.1


async def test_calls_of_a_day_ago_count_to_the_end():
    """Whose time in the records is earlier than a day, and whose admission may not be."""
    late = 3_000_000
    local = LocalAdmission(Records([past("echo", NOW - DAY - late + 1)]), 2, lambda: True, late=late)
    assert local.open()
    with pytest.raises(LimitExceeded):
        await local.admit(ask("echo", requests("tenant", day=2)), lambda: NOW)
    assert await local.admit(ask("echo", requests("tenant", day=2)), lambda: NOW + 1)


async def test_a_rebuilding_reads_calls_of_a_day_ago_to_the_end(server):
    def of_a_day_ago(seconds):
        return past("echo", time.time_ns() // 1000 - DAY - seconds * 1_000_000)

    parts = {**SHORT, "late": 60_000_000}
    records = Ledger([of_a_day_ago(40), of_a_day_ago(30)])
    async with running_admission(server.url, records, **parts) as admission:

        async def rebuilt():
            with suppress(NotReady, LimitExceeded):
                await admission.admit(ask("echo", expires_at=time.time_ns() // 1000 + DAY), time.time_ns() // 1000)
            return admission.rebuilt

        await eventually(rebuilt)
        daily = ask("echo", requests("tenant", day=2), expires_at=time.time_ns() // 1000 + DAY)
        with pytest.raises(LimitExceeded):
            await admission.admit(daily, time.time_ns() // 1000)


async def test_a_twin_counts_late_admissions():
    """A call that was admitted ``late`` after its time in the records is in the window for as long after."""
    late = 3_000_000
    local = LocalAdmission(Records([past("echo", NOW)]), 2, lambda: True, late=late)
    assert local.open()

    async def admitted_at(now):
        with suppress(LimitExceeded):
            return await local.admit(ask("echo", requests("tenant", minute=2)), lambda: now)

    assert await admitted_at(NOW + MINUTE) is None
    assert await admitted_at(NOW + MINUTE + late - 1) is None
    assert await admitted_at(NOW + MINUTE + late)


async def test_a_twin_counts_no_admission_later_than_it_was_read():
    local = LocalAdmission(Records([past("echo", NOW)]), 2, lambda: True, late=3_000_000)
    assert local.open()
    asked = ask("echo", requests("tenant", minute=2))
    with pytest.raises(LimitExceeded):
        await local.admit(asked, lambda: NOW + 1)
    assert await local.admit(asked, lambda: NOW + 1 + MINUTE)


async def test_reading_takes_time():
    """What a twin admits counts from when it was admitted, not from when the records began to be read."""
    times = iter([NOW, NOW + 2_000_000])
    local = LocalAdmission(Records(), 2, lambda: True)
    assert local.open()
    asked = ask("echo", requests("tenant", minute=2))
    assert await local.admit(asked, lambda: next(times))
    with pytest.raises(LimitExceeded):
        await local.admit(ask("echo", requests("tenant", minute=2)), lambda: NOW + MINUTE + 1_999_999)
    assert await local.admit(ask("echo", requests("tenant", minute=2)), lambda: NOW + MINUTE + 2_000_000)


async def test_records_that_are_read_for_too_long_admit_nothing(free_port):
    """The call would be dated earlier than a rebuilding looks for; the next one finds them read."""

    class Slow(Ledger):
        async def since(self, scope, since, period_start):
            await asyncio.sleep(0.2)
            return await super().since(scope, since, period_start)

    records, parts = Slow(), {"limit": 4, "outage": Outage.LOCAL}
    url = f"redis://127.0.0.1:{free_port()}/0"
    async with running_admission(url, records, processes=2, **SHORT | {"late": 100_000}) as admission:

        async def read():
            return await records.call(admission, asking(**parts)) is not None or records.reads

        await eventually(read)
        assert not records.calls["acme"]
        assert admission.counters.void == 1
        assert await records.fill(admission, 3, **parts) == 1  # a share of two, one of them given up
