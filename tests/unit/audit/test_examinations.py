"""Comparing logs with a slow anchor, beside the work on others: the sequencer over a real store and directory."""

import asyncio
import time

import pytest

from caio.audit import forks, publishing
from caio.audit import sequencer as sequencing
from caio.audit.anchor_directory import DirectoryAnchor
from caio.audit.checkpoint import Checkpoint, sign_checkpoint
from caio.foundation.errors import NotReady
from tests.support.logs import KEYRING, Faulty, append, origin_of, root, sequencer, signed_heads
from tests.support.tenants import add_bare_tenants, tenant_named

NEVER = 3600
MANY = [f"log{number:02}" for number in range(30)]


class Slow:
    """An anchor that answers what it has, but of a log only once that is let go."""

    def __init__(self, real):
        self._real = real
        self.free = set()
        self.asked = []
        self.freed = asyncio.Condition()

    async def put(self, origin, size, note):
        await self._real.put(origin, size, note)

    async def latest(self, origin):
        name = origin.rpartition("/")[2]
        self.asked.append(name)
        async with self.freed:
            await self.freed.wait_for(lambda: name in self.free)
        return await self._real.latest(origin)

    async def let_go(self, *names):
        async with self.freed:
            self.free.update(names)
            self.freed.notify_all()


@pytest.fixture
def anchor(tmp_path):
    return Slow(DirectoryAnchor(tmp_path / "anchors"))


@pytest.fixture
async def stores(stores):
    await add_bare_tenants(stores.tenants._database, *map(tenant_named, (*MANY, "forked")))
    return stores


@pytest.fixture
def watched(stores):
    return Faulty(stores.log)


@pytest.fixture
async def running(watched, anchor, monkeypatch):
    """A sequencer, started; stopped at the end."""
    started = []

    async def start(**options):
        one = sequencer(watched, **{"anchor": anchor, "anchor_every_seconds": NEVER, **options})
        started.append(one)
        await one.start()
        return one

    yield start
    monkeypatch.setattr(sequencing, "STOP_SECONDS", 0.1)
    monkeypatch.setattr(publishing, "STOP_SECONDS", 0.1)
    for one in started:
        await one.stop()
    assert not [task for task in asyncio.all_tasks() if task.get_name() in {"examination", "sequencer", "publisher"}]


async def sizes(stores):
    return {name: head.size for name, head in (await signed_heads(stores.log)).items()}


async def fill(stores, names):
    for name in names:
        await append(stores, name, 0, 2)


async def test_comparing_a_log_delays_no_other(stores, anchor, running, wait_for_async):
    await anchor.let_go("acme")
    one = await running()
    await append(stores, "acme", 0, 1)
    await one.take_in("acme")
    await fill(stores, MANY)
    await wait_for_async(lambda: len(anchor.asked) > 1)
    for size in range(1, 6):
        await append(stores, "acme", size, size + 1)
        await asyncio.wait_for(one.take_in("acme"), 20)
        assert await sizes(stores) == {"acme": size + 1}
    await anchor.let_go(*MANY[:3])
    for name in MANY[:3]:
        await asyncio.wait_for(one.take_in(name), 20)
    assert await sizes(stores) == {"acme": 6, **dict.fromkeys(MANY[:3], 2)}


async def test_nothing_is_signed_before_it_was_compared(stores, anchor, running, wait_for_async):
    """And it is when it was, whenever the next look is."""
    await anchor._real.put(
        origin_of("forked"), 1, sign_checkpoint(Checkpoint(origin_of("forked"), 1, bytes(32)), KEYRING.active)
    )
    await anchor._real.put(
        origin_of("acme"), 2, sign_checkpoint(Checkpoint(origin_of("acme"), 2, root("acme", 2)), KEYRING.active)
    )
    await fill(stores, ["acme", "forked", "other"])
    one = await running(every_seconds=NEVER, share=1, step=1)
    await wait_for_async(lambda: len(anchor.asked) >= 3)
    waiting = asyncio.create_task(one.take_in("forked"))
    await asyncio.sleep(0.15)
    assert await sizes(stores) == {}
    await anchor.let_go("acme", "forked", "other")

    async def settled():
        return set(await sizes(stores)) == {"acme", "other"} and "forked" in one.faults

    await wait_for_async(settled)
    await asyncio.wait_for(waiting, 20)
    await one.take_in("acme")
    assert (await sizes(stores))["acme"] == 2


async def test_who_is_asked_for_is_compared_first(stores, anchor, running, wait_for_async):
    await fill(stores, MANY)
    one = await running()
    await wait_for_async(lambda: len(anchor.asked) == forks.AT_ONCE)
    last = MANY[-1]
    waiting = asyncio.create_task(one.take_in(last))
    await asyncio.sleep(0.1)
    await anchor.let_go(anchor.asked[0], last)
    await asyncio.wait_for(waiting, 20)
    assert set(await sizes(stores)) <= {anchor.asked[0], last}
    assert anchor.asked.index(last) <= forks.AT_ONCE + 1


async def test_who_asks_is_let_go_in_the_end(stores, anchor, running, monkeypatch):
    monkeypatch.setattr(sequencing, "BACKLOG_SECONDS", 0.2)
    await fill(stores, ["acme"])
    one = await running(every_seconds=NEVER)
    began = time.monotonic()
    await one.take_in("acme")
    assert 0.1 < time.monotonic() - began < 2
    assert await sizes(stores) == {}


async def test_waiting_for_a_comparison_is_no_work(stores, anchor, running, watched, wait_for_async):
    await fill(stores, ["acme"])
    one = await running(every_seconds=NEVER)
    await wait_for_async(lambda: anchor.asked)
    waiting = asyncio.create_task(one.take_in("acme"))
    await asyncio.sleep(0.1)
    watched.calls.clear()
    await asyncio.sleep(0.3)
    assert watched.calls == []
    await anchor.let_go("acme")
    await asyncio.wait_for(waiting, 20)
    assert await sizes(stores) == {"acme": 2}


async def test_a_database_that_does_not_let_comparisons_end_is_not_pestered(stores, anchor, running, watched):
    await fill(stores, ["acme"])
    note = sign_checkpoint(Checkpoint(origin_of("acme"), 2, root("acme", 2)), KEYRING.active)
    await anchor._real.put(origin_of("acme"), 2, note)
    await anchor.let_go("acme")
    one = await running()
    await one.take_in("acme")
    await one.stop()
    await append(stores, "acme", 2, 3)
    attempts = 0

    async def tiles_of(*_):
        nonlocal attempts
        attempts += 1
        raise NotReady("busy")

    watched.__dict__["tiles_of"] = tiles_of
    two = await running()
    waiting = asyncio.create_task(two.take_in("acme"))
    await asyncio.sleep(0.3)
    assert attempts <= 3
    assert await sizes(stores) == {"acme": 2}  # the anchor answered: it is not grown uncompared
    del watched.__dict__["tiles_of"]
    await asyncio.wait_for(waiting, 20)
    assert await sizes(stores) == {"acme": 3}


async def test_logs_being_compared_lag(stores, anchor, running, wait_for_async):
    seconds = 0.0
    await fill(stores, ["acme"])
    one = await running(monotonic=lambda: time.monotonic() + seconds)
    await wait_for_async(lambda: anchor.asked)
    await asyncio.sleep(0.1)
    seconds = 40.0
    await asyncio.sleep(0.1)
    assert one.lag > 35
    assert "behind" in one.trouble


async def test_stopping_waits_for_comparisons(stores, anchor, running, wait_for_async):
    one = await running(every_seconds=NEVER, share=1, step=1)
    await asyncio.sleep(0.05)
    await fill(stores, MANY)
    stopping = asyncio.create_task(one.stop())
    await wait_for_async(lambda: len(anchor.asked) == forks.AT_ONCE)
    assert await sizes(stores) == {}
    await anchor.let_go(*MANY)
    await asyncio.wait_for(stopping, 20)
    assert await sizes(stores) == dict.fromkeys(MANY, 2)


async def test_stopping_waits_for_a_log_that_the_publisher_compares(stores, anchor, running, watched, wait_for_async):
    await anchor.let_go("acme")
    await append(stores, "acme", 0, 1)
    one = await running()
    await one.take_in("acme")
    await one.stop()
    await append(stores, "acme", 1, 3)
    begun, go_on = [], asyncio.Event()

    async def tiles_of(*asked):
        begun.append(asked)
        await go_on.wait()
        return await stores.log.tiles_of(*asked)

    watched.__dict__["tiles_of"] = tiles_of
    two = await running(every_seconds=NEVER)
    head = (await stores.log.heads("", 1))[0]
    behind = publishing._as_it_is(head)
    watched.away = NotReady("away")  # so that nothing but the examination below begins
    examining = asyncio.create_task(two._watch.examine(behind, behind.origin))
    await wait_for_async(lambda: begun)
    watched.away = None
    stopping = asyncio.create_task(two.stop())
    await asyncio.sleep(0.1)
    go_on.set()
    await asyncio.gather(stopping, examining)
    assert await sizes(stores) == {"acme": 3}


async def test_stopping_does_not_wait_for_comparisons_for_ever(stores, anchor, running, monkeypatch, wait_for_async):
    monkeypatch.setattr(sequencing, "STOP_SECONDS", 0.2)
    monkeypatch.setattr(publishing, "STOP_SECONDS", 0.1)
    await fill(stores, MANY)
    one = await running()
    await wait_for_async(lambda: anchor.asked)
    began = time.monotonic()
    await one.stop()
    assert 0.1 < time.monotonic() - began < 2
    assert await sizes(stores) == {}


async def test_a_silent_anchor_is_waited_for_once(stores, anchor, running, monkeypatch, wait_for_async):
    monkeypatch.setattr(forks, "ANSWER_SECONDS", 0.5)
    await fill(stores, MANY)
    one = await running()
    began = time.monotonic()

    async def all_are_signed():
        return await sizes(stores) == dict.fromkeys(MANY, 2)

    await wait_for_async(all_are_signed)
    assert time.monotonic() - began < 1.5  # by turns it would be four times 0.5 s
    assert len(anchor.asked) == forks.AT_ONCE
    one._watch._quiet_until = 0.0  # it is asked again, and is as silent as before
    one._watch._due.clear()
    for name in MANY:
        await append(stores, name, 2, 3)
    began = time.monotonic()
    await asyncio.gather(*map(one.take_in, MANY))
    assert time.monotonic() - began < 0.5
    assert len(anchor.asked) > forks.AT_ONCE
    assert await sizes(stores) == dict.fromkeys(MANY, 3)
    await anchor.let_go(*MANY)
    one._watch._quiet_until = 0.0
    await one._publisher.round()
    assert one.anchor_failing is None
    assert [await anchor._real.latest(origin_of(name)) is not None for name in MANY] == [True] * len(MANY)
