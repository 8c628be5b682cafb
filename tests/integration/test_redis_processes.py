"""Several real processes on one Redis: exactly the limit, exactly the budget, whatever is killed."""

import asyncio
import time

import pytest

from caio.gateway.ports import Actual
from caio.tenancy.ports import Outage
from caio.tenancy.rate_limit import HOUR
from tests.support.admissions import ask
from tests.support.admitting_processes import FileRecords, Work, admitting, most_in_any
from tests.support.redis_admissions import running_admission
from tests.support.redis_server import MISSING, PROGRAM, RedisServer

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)


def test_of_ten_times_as_many_calls_exactly_the_limit_is_admitted(redis_url, tmp_path):
    work = Work(redis_url, tmp_path / "calls", limit=40, span=HOUR, calls=100)
    with admitting(work, 4) as joined:
        assert [process.exitcode for process in joined()] == [0] * 4
    assert len(FileRecords(work.path).calls()) == 40


def test_no_rolling_window_holds_more_than_the_limit(redis_url, tmp_path):
    span, limit = 600_000, 30
    work = Work(redis_url, tmp_path / "calls", limit=limit, span=span, seconds=3.5, late=200_000)
    with admitting(work, 4) as joined:
        joined()
    calls = FileRecords(work.path).calls()
    assert most_in_any(calls, span) <= limit
    assert len(calls) > 2 * limit  # the windows moved on


@pytest.mark.parametrize("persistent", [False, True])
def test_a_killed_server_lends_nothing(persistent, tmp_path):
    span, limit = 2_500_000, 40
    with RedisServer(persistent=persistent) as server:
        work = Work(server.url, tmp_path / "calls", limit=limit, span=span, seconds=7, late=300_000)
        with admitting(work, 3) as joined:
            time.sleep(2)
            server.kill()
            time.sleep(0.1)
            server.start()
            joined()
    calls = FileRecords(work.path).calls()
    assert most_in_any(calls, span) <= limit
    assert len(calls) > limit


def test_never_a_unit_over_budget(redis_url, tmp_path):
    """Processes die in the midst of calls; what they reserved is held until somebody settles it."""
    work = Work(redis_url, tmp_path / "calls", 10**6, HOUR, calls=60, seconds=4, price=50, budget=1_000, deadly=4)
    with admitting(work, 4) as joined:
        joined()
    asyncio.run(_the_books_are_whole(work))


async def _the_books_are_whole(work):
    records = FileRecords(work.path)
    calls = records.calls()
    held = {call.name: call.price for call in calls if call.charged is None}
    spent = sum(call.charged or 0 for call in calls)
    assert spent + sum(held.values()) <= work.budget
    asked = ask("echo")
    async with running_admission(work.url, records, orphaned_after=100_000, durable=0.3, lasts=0.4) as worker:
        await asyncio.sleep(1)
        books = await worker.ledger(asked.scope, asked.period, time.time_ns() // 1000)
        assert books.sum == 0
        assert books.spent + books.reserved <= work.budget
        for orphan in await worker.orphans(0):
            records.write(name=orphan.grant_id, charged=0)
            await worker.release(orphan, Actual())
        books = await worker.ledger(asked.scope, asked.period, time.time_ns() // 1000)
        # A call whose process died between settling and writing is settled and not written.
        assert books.reserved == 0
        assert spent <= books.spent <= spent + sum(held.values())


@pytest.mark.long
@pytest.mark.parametrize("outage", list(Outage))
def test_limits_hold_while_the_server_comes_and_goes(outage, tmp_path):
    span, limit = 4_000_000, 60
    with RedisServer() as server:
        work = Work(server.url, tmp_path / "calls", limit, span, seconds=40, outage=outage, late=200_000)
        with admitting(work, 4) as joined:
            for pause in (4, 3, 5, 2):
                time.sleep(pause)
                server.kill()
                time.sleep(pause)
                server.start()
                time.sleep(pause)
                server.suspend()
                time.sleep(pause / 2)
                server.resume()
            joined()
    calls = FileRecords(work.path).calls()
    assert most_in_any(calls, span) <= limit
    assert len(calls) > 2 * limit
