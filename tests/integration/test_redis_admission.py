"""What only the Redis adapter of admission can get wrong: outages, restarts, promotions, and the time of steps."""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest

from caio.foundation.errors import BudgetExhausted, LimitExceeded, Misconfigured, NotReady
from caio.gateway.ports import Actual, Grant, Meter, ServiceBusy, Slots
from caio.storage.redis.answers import AnswersInRedis
from caio.storage.redis.client import Client, ServerAway
from caio.storage.redis.heartbeats import Heartbeats
from caio.storage.redis.scripts import BEAT, ORPHANS, account_keys
from caio.tenancy.limits import Unit, Window
from caio.tenancy.rate_limit import HOUR
from tests.support.admissions import NOW, Records, ask, compute, granted, past, requests, tokens
from tests.support.durable_calls import SHORT, Ledger, asking, back, eventually
from tests.support.redis_admissions import redis_boxes, running_admission
from tests.support.redis_server import MISSING, PROGRAM, RedisServer

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)


@pytest.fixture
def server():
    with RedisServer() as started:
        yield started


# --- time ---------------------------------------------------------------------------------------


async def test_a_step_is_bounded(server):
    """And away_costs_nothing, and a step that comes late takes nothing."""
    records = Ledger()
    async with running_admission(server.url, records, step_seconds=0.05, **SHORT) as admission:
        await eventually(lambda: records.call(admission, asking()))
        server.suspend()
        begun = time.monotonic()
        with pytest.raises(NotReady) as caught:
            await admission.admit(asking(), 0)
        assert time.monotonic() - begun < 0.4  # fifty milliseconds, on a machine that does more than this
        assert caught.value.code == "limiter_unavailable"
        begun = time.monotonic()
        for _ in range(100):
            with suppress(NotReady):
                await admission.admit(asking(), 0)
        assert time.monotonic() - begun < 0.2
        assert admission.degraded() == "the shared limiter does not answer"
        server.resume()
        await back(admission)
        taken = sum([await records.call(admission, asking()) is not None for _ in range(20)])
        assert taken == 9


async def test_a_step_that_fails_by_itself_fails_alone(server):
    """An account that is not what it should be: its tenant waits, the others do not notice."""
    records = Ledger()
    async with running_admission(server.url, records, **SHORT) as admission:
        await eventually(lambda: records.call(admission, asking(tenant="sound")))
        account, _, _ = account_keys("broken")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"SET {account} nonsense\r\n".encode())
        assert (await reader.readline()).startswith(b"+OK")
        writer.close()
        await writer.wait_closed()
        with pytest.raises(NotReady) as caught:
            await admission.admit(asking(tenant="broken"), 0)
        assert caught.value.code == "limiter_unavailable"
        assert admission.degraded() is None
        assert await records.call(admission, asking(tenant="sound")) is not None


async def test_a_step_is_bounded_that_the_server_does_not_take_in(server):
    client = Client(server.url)
    await client.connect()
    server.suspend()
    begun = time.monotonic()
    with pytest.raises(ServerAway):
        await client.try_to_run(BEAT, (), ("x" * 40_000_000,))
    assert time.monotonic() - begun < 2
    assert (client.away, client.timeouts) == (True, 1)
    server.resume()
    await client.close()


async def test_a_dropped_connection_keeps_nobody(server):
    client = Client(server.url, step_seconds=5)
    await client.connect()
    server.suspend()
    steps = [asyncio.create_task(client.try_to_run(BEAT, (), ("", "", ""))) for _ in range(3)]
    await asyncio.sleep(0.05)
    begun = time.monotonic()
    await client.close()
    assert [type(each) for each in await asyncio.gather(*steps, return_exceptions=True)] == [ServerAway] * 3
    assert time.monotonic() - begun < 1


async def test_a_busy_process_is_not_an_outage(server):
    records = Ledger()
    async with running_admission(server.url, records, step_seconds=0.05, **SHORT) as admission:
        await eventually(lambda: records.call(admission, asking()))
        step = asyncio.create_task(admission.admit(asking(), 0))
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 -- this is what the test is about
        assert isinstance(await step, Grant)


async def test_nothing_is_admitted_where_nothing_answers(free_port):
    async with running_admission(f"redis://127.0.0.1:{free_port()}/0", Records(), **SHORT) as admission:
        with pytest.raises(NotReady):
            await admission.admit(asking(), 0)
        assert admission.degraded()


# --- which server may be used ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [({"maxmemory_policy": "allkeys-lru"}, "noeviction"), ({"cluster_enabled": "yes"}, "cluster mode disabled")],
)
async def test_a_server_that_evicts_is_refused(options, message):
    with RedisServer(**options) as server, pytest.raises(Misconfigured, match=message):
        async with running_admission(server.url, Records()):
            pass


async def test_an_unusable_url_is_refused():
    with pytest.raises(Misconfigured, match="CAIO_REDIS_URL"):
        Client("redis://host:notaport/0")


async def test_an_unusable_url_is_not_quoted():
    """What stands where the port would be is a part of a password with a slash in it."""
    with pytest.raises(Misconfigured) as caught:
        Client("redis://:s3cret/word@host:6379/0")
    assert "s3cret" not in caught.value.message
    with pytest.raises(Misconfigured) as caught:
        AnswersInRedis("redis://:s3cret/word@host:6379/0")
    assert "s3cret" not in caught.value.message


# --- heartbeats -----------------------------------------------------------------------------------


async def counted(server):
    client = Client(server.url, step_seconds=5)
    await client.connect()
    _, now, live, _ = await client.try_to_run(BEAT, (), ("", "", ""))
    await client.close()
    return int(live), int(now)


async def test_gone_means_gone(server):
    beats = Heartbeats(Client(server.url, step_seconds=5), "one", lasts=0.4, every=0.1, margin=0.1)
    await beats.start()
    assert not beats.gone()
    assert (await counted(server))[0] == 1
    assert beats._task
    beats._task.cancel()
    while not beats.gone():
        await asyncio.sleep(0.01)
    assert (await counted(server))[0] == 0
    await beats.client.close()


async def test_who_starts_is_not_gone_before_whom_it_replaces(free_port):
    begun = time.monotonic()
    beats = Heartbeats(Client(f"redis://127.0.0.1:{free_port()}/0"), "two", lasts=0.4, every=0.1, margin=0.1)
    await beats.start()
    while not beats.gone():
        await asyncio.sleep(0.01)
    assert time.monotonic() - begun >= 0.5
    await beats.stop()


async def test_counted_before_here(server):
    """However long the counting takes, and also when it fails."""
    beats = Heartbeats(Client(server.url, step_seconds=5), "one", lasts=0.4, every=0.1, margin=0.1)
    answers: list[tuple[int, bool]] = []

    async def slowly():
        for _ in range(8):
            await asyncio.sleep(0.1)
            answers.append(((await counted(server))[0], beats.gone()))
        if len(answers) == 8:
            raise ServerAway

    beats.before_return = slowly
    while not beats.gone():
        await asyncio.sleep(0.01)
    await beats.start()
    failed = time.monotonic()
    assert answers == [(0, False)] * 8
    assert not beats.gone()  # what was admitted before is not durable yet
    await eventually(lambda: asyncio.sleep(0, len(answers) == 16 and not beats.client.away))
    assert answers == [(0, False)] * 16
    assert time.monotonic() - failed < 8
    assert (await counted(server))[0] == 1
    await beats.stop()
    await beats.client.close()


async def test_a_late_beat_counts_for_nothing(server):
    client = Client(server.url, step_seconds=5)
    await client.connect()
    _, now = await counted(server)
    await client.try_to_run(BEAT, (), ("one", str(now - 1), ""))
    assert (await counted(server))[0] == 0
    await client.try_to_run(BEAT, (), ("one", str(now + 5_000_000), ""))
    assert (await counted(server))[0] == 1
    await client.close()


# --- loss ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("persistent", [False, True])
async def test_a_restart_lends_nothing(persistent):
    with RedisServer(persistent=persistent) as server:
        records = Ledger()
        async with running_admission(server.url, records, **SHORT | {"durable": 1.5}) as admission:
            await eventually(lambda: records.call(admission, asking()))
            assert await records.fill(admission, 5) == 5
            server.kill()
            assert await records.fill(admission, 3) == 0
            server.start()
            await back(admission)
            with pytest.raises(LimitExceeded) as caught:
                await admission.admit(asking(), time.time_ns() // 1000)
            assert caught.value.window == "recovering"
            await eventually(lambda: records.call(admission, asking()))
            assert await records.fill(admission, 20) == 3


async def test_a_promotion_lends_nothing():
    """The replica has not seen the last calls when it takes over."""
    with RedisServer() as primary, RedisServer(replica_of=primary) as replica:
        records = Ledger()
        async with running_admission(primary.url, records, **SHORT) as admission:
            await eventually(lambda: records.call(admission, asking()))
            held = Client(replica.url, step_seconds=5)

            async def replicated():
                await held.connect()
                with suppress(ServerAway):
                    return await held.members("caio:accounts")

            assert await eventually(replicated) == ["acme"]
            await held.close()
            replica.suspend()
            assert await records.fill(admission, 6) == 6
            primary.kill()
            replica.resume()
        async with running_admission(replica.url, records, **SHORT) as admission:
            assert admission.degraded()  # a replica admits nothing
            assert await records.fill(admission, 2) == 0
            assert replica.ask("REPLICAOF", "NO", "ONE") == "+OK"
            await back(admission)
            await eventually(lambda: records.call(admission, asking()))
            assert await records.fill(admission, 20) == 2


async def test_a_server_that_was_emptied_lends_nothing(server):
    records = Ledger()
    async with running_admission(server.url, records, **SHORT) as admission:
        await eventually(lambda: records.call(admission, asking()))
        server.ask("FLUSHALL")
        await eventually(lambda: records.call(admission, asking()))
        assert await records.fill(admission, 20) == 8


async def test_of_processes_that_rebuild_at_once_one_reads(server):
    records = Ledger([past("echo", time.time_ns() // 1000)])
    async with (
        running_admission(server.url, records, **SHORT) as one,
        running_admission(server.url, records, **SHORT) as two,
    ):
        await asyncio.sleep(SHORT["durable"])
        answers = await asyncio.gather(*(records.call(each, asking()) for each in (one, two) * 10))
        assert sum(answer is not None for answer in answers) == 9
        assert one.rebuilt + two.rebuilt == 1
        assert records.reads == 1


async def test_a_window_asked_for_later_is_filled_from_the_present_building(server):
    """Also by a process that has read the records for an account that was lost since."""
    records = Ledger([past("svc", time.time_ns() // 1000)])
    limited = requests("service:svc", minute=2)
    async with (
        running_admission(server.url, records, **SHORT) as one,
        running_admission(server.url, records, **SHORT) as two,
    ):
        await eventually(lambda: records.call(one, asking()))
        assert await records.call(one, ask("svc", limited))
        server.ask("FLUSHALL")
        await eventually(lambda: records.call(two, asking()))
        assert await records.call(one, ask("svc", limited)) is None


async def test_no_call_is_an_orphan_because_the_server_restarted():
    with RedisServer(persistent=True) as server:
        records = Ledger()
        async with running_admission(server.url, records, orphaned_after=3_000_000, **SHORT) as admission:
            assert await eventually(lambda: records.call(admission, asking()))
            server.kill()
            assert await records.fill(admission, 1) == 0
            server.start()
            client = Client(server.url, step_seconds=5)
            await client.connect()
            assert await client.try_to_run(ORPHANS, account_keys("acme"), ("", "3000000")) == []
            await client.close()
            await back(admission)
            assert await admission.orphans(0) == []


async def test_a_lost_settling_is_made_up(server):
    records = Ledger()
    async with running_admission(server.url, records, step_seconds=0.2, **SHORT) as admission:
        asked = asking(price=7, budget=10)
        grant = await eventually(lambda: records.call(admission, asked))
        server.suspend()
        begun = time.monotonic()
        await records.end(admission, grant, 4)
        assert time.monotonic() - begun < 0.5
        server.resume()

        async def settled():
            with suppress(NotReady, LimitExceeded):
                books = await admission.ledger(asked.scope, asked.period, time.time_ns() // 1000)
                return (books.reserved, books.spent) == (0, 4)

        await eventually(settled)


async def test_a_settling_between_loss_and_rebuilding_is_made_up(server):
    """The records may still say that the call runs when the account is read from them."""
    records = Ledger()
    async with running_admission(server.url, records, step_seconds=0.2, **SHORT) as admission:
        asked = asking(price=7, budget=10)
        grant = await eventually(lambda: records.call(admission, asked))
        server.kill()
        assert await records.fill(admission, 1) == 0
        server.start()
        await back(admission)
        await admission.settle(grant, Actual(4))

        async def settled():
            with suppress(NotReady, LimitExceeded):
                books = await admission.ledger(asked.scope, asked.period, time.time_ns() // 1000)
                return (books.reserved, books.spent) == (0, 4)

        await eventually(settled)


async def test_calls_that_run_keep_their_slots(redis_url):
    """Whoever runs them may still be there when the account is rebuilt."""
    running = past("echo", NOW - 1_000_000, charged=None, reserved=5)
    for subject in ("tenant", "key:key_1", "service:echo"):
        async with redis_boxes(redis_url)(Records([running])) as box:
            slots = (Slots(subject, 2),)
            await granted(box.admission, ask("echo", slots=slots))
            with suppress(LimitExceeded):
                assert isinstance(await box.admission.admit(ask("echo", slots=slots), NOW), ServiceBusy)
            await box.admission.settle(Grant(ask("echo", grant=running.decision_id)), Actual())
            await granted(box.admission, ask("echo", slots=slots))


@pytest.mark.parametrize("ends_first", [False, True])
@pytest.mark.parametrize("asked_at_once", [False, True])
async def test_calls_that_run_give_back_what_they_do_not_use(redis_url, ends_first, asked_at_once):
    """Also of windows that are asked for only later, before they end or after."""
    running = [past("echo", NOW - 1_000_000, charged=None, reserved=5, tokens=50, compute_ms=400) for _ in range(2)]
    meters = tokens("key:key_1", 1, day=102), compute("service:echo", 1, hour=802)
    async with redis_boxes(redis_url)(Records(running)) as box:
        await granted(box.admission, ask("echo", *(meters if asked_at_once else ())))
        later = NOW if asked_at_once else NOW + HOUR // 2
        if not ends_first:
            await granted(box.admission, ask("echo", *meters), later)
        if asked_at_once or not ends_first:
            for meter in meters:
                with suppress(LimitExceeded):
                    most = replace(meter, amount=2)
                    assert isinstance(await box.admission.admit(ask("echo", most), later), ServiceBusy)
        await box.admission.settle(Grant(ask(grant=running[0].decision_id)), Actual(0, 20, 150))
        taken = asked_at_once + (not ends_first)
        left = 102 - taken - 50 - 20, 802 - taken - 400 - 150
        for meter, units in zip(meters, left, strict=True):
            with suppress(LimitExceeded):
                more = replace(meter, amount=units + 1)
                assert isinstance(await box.admission.admit(ask("echo", more), later), ServiceBusy)
            await granted(box.admission, ask("echo", replace(meter, amount=units)), later)


async def test_money_is_exact_beyond_what_a_double_holds(redis_url):
    async with redis_boxes(redis_url)(Records()) as box:
        budget = 2**60 + 1
        with pytest.raises(BudgetExhausted):
            await box.admission.admit(ask("echo", price=budget + 1, budget=budget), NOW)
        grant = await granted(box.admission, ask("echo", price=budget, budget=budget))
        with pytest.raises(BudgetExhausted):
            await box.admission.admit(ask("echo", price=1, budget=budget), NOW)
        await box.admission.settle(grant, Actual(budget - 1))
        assert await granted(box.admission, ask("echo", price=1, budget=budget))


# --- orphans ------------------------------------------------------------------------------------------


async def test_calls_of_dead_processes_are_found_and_released(server):
    records = Ledger()
    asked = asking(price=7, budget=10)
    async with running_admission(server.url, records, orphaned_after=100_000, **SHORT) as worker:
        async with running_admission(server.url, records, **SHORT) as dying:
            await eventually(lambda: records.call(dying, asked))
            assert await worker.orphans(0) == []
        (orphan,) = await eventually(lambda: worker.orphans(0))
        assert (orphan.tenant_id, orphan.grant_id, orphan.reserved) == ("acme", asked.grant_id, 7)
        assert await records.call(worker, asking(price=7, budget=10)) is None
        await worker.release(orphan, Actual())
        assert await records.call(worker, asking(price=7, budget=10))
        assert await worker.orphans(0) == []


# --- memory -------------------------------------------------------------------------------------------


async def test_memory_is_bounded(redis_url):
    """However small what is given back leaves the blocks, and however the limit changes."""
    rng, now = Random(7), NOW
    async with redis_boxes(redis_url)(Records()) as box:
        grants = []
        for number in range(700):
            now += rng.randrange(1, 2_000)
            limit = 10**6 if number < 600 else 10**4
            meters = (
                requests("tenant", minute=limit),
                tokens("tenant", 15_000, minute=10**6 if number < 600 else 10**5),
                compute("key:key_1", 10_000, minute=10**9),
            )
            with suppress(LimitExceeded):
                grants.append(await granted(box.admission, ask("echo", *meters), now))
            if len(grants) > 5:
                await box.admission.settle(grants.pop(rng.randrange(5)), Actual(0, 1, 1))
        client = Client(redis_url, step_seconds=5)
        await client.connect()
        epoch = (await client.fields("{caio:acme}:account"))["epoch"]
        for name in ("tenant|requests|minute", "tenant|tokens|minute", "key:key_1|compute_ms|minute"):
            length = await client._ask("LLEN", f"{{caio:acme}}:account:{epoch}:{name}")
            assert 2 <= length <= 2 * 100 + 2, name
            if "tokens" in name:
                assert length < 200  # what was given back left neighbours that one block holds
        await client.close()


async def test_windows_of_any_span(redis_url):
    async with redis_boxes(redis_url)(Records()) as box:
        asked = [ask("echo", Meter("tenant", Unit.REQUESTS, 1, (Window("moment", 2, 1_000),))) for _ in range(4)]
        assert isinstance(await box.admission.admit(asked[0], NOW), Grant)
        assert isinstance(await box.admission.admit(asked[1], NOW + 999), Grant)
        with pytest.raises(LimitExceeded, match="2 requests per moment"):
            await box.admission.admit(asked[2], NOW + 999)
        assert isinstance(await box.admission.admit(asked[3], NOW + 1_000), Grant)
