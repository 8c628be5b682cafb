"""The group-commit writer: its laws over a store whose timing the test controls, then over SQLite."""

import asyncio
import os

import pytest

from caio.audit.journal import FAILING_SECONDS, Durable, Journal
from caio.audit.ports import LeafKind
from caio.audit.record import leaf_of, open_leaf
from caio.audit.sealing import Sealer
from caio.foundation.errors import Conflict, NotReady
from caio.foundation.scope import TenantScope
from tests.audit_samples import counted, decision_record, outcome_record

SEALER = Sealer(b"k" * 32, counted())


def leaf(number, **changes):
    record = decision_record(decision_id=f"dec_{number:04}", **changes)
    return leaf_of(record, SEALER, b"s" * 32)


class HeldStore:
    """An in-memory ``append`` that keeps the port's promises, and waits at the gate before it writes."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.groups = []
        self.written = []
        self.down = None

    async def append(self, leaves):
        self.groups.append([one.subject_id for one in leaves])
        self.entered.set()
        await self.gate.wait()
        if self.down is not None:
            raise self.down
        known = set(self.written)
        for one in leaves:
            if one.subject_id in known:
                raise Conflict("This decision is recorded already.")
            known.add(one.subject_id)
        start = len(self.written)
        self.written.extend(one.subject_id for one in leaves)
        return list(range(start, start + len(leaves)))


@pytest.fixture
def store():
    return HeldStore()


@pytest.fixture
async def journal(store):
    journal = Journal(store, capacity=8, largest_group=4)
    await journal.start()
    yield journal
    store.gate.set()
    await journal.stop()


async def held(store, journal, number=0):
    """Start one append and return when the store is busy with it."""
    store.gate.clear()
    store.entered.clear()
    first = asyncio.create_task(journal.append(leaf(number)))
    await store.entered.wait()
    return first


def appends(journal, numbers):
    return [asyncio.create_task(journal.append(leaf(number))) for number in numbers]


async def test_durable_before_return(store, journal):
    first = await held(store, journal)
    await asyncio.sleep(0.01)
    assert not first.done()
    store.gate.set()
    assert await first == 0
    assert store.written == ["dec_0000"]


async def test_waiting_leaves_share_a_write(store, journal):
    first = await held(store, journal)
    others = appends(journal, range(1, 7))
    await asyncio.sleep(0)
    store.gate.set()
    assert await asyncio.gather(first, *others) == list(range(7))
    assert [len(group) for group in store.groups] == [1, 4, 2]


async def test_callers_are_told_during_the_next_write(store, journal):
    first = await held(store, journal)
    second = appends(journal, [1])[0]
    await asyncio.sleep(0)
    store.entered.clear()
    store.gate.set()
    await store.entered.wait()  # the second write has begun …
    store.gate.clear()
    assert await asyncio.wait_for(first, 20) == 0  # … and does not keep the first caller waiting
    store.gate.set()
    assert await second == 1


async def test_an_idle_journal_writes_at_once(store, journal):
    for number in range(3):
        assert await journal.append(leaf(number)) == number
    assert [len(group) for group in store.groups] == [1, 1, 1]


async def test_leaves_keep_their_order(store, journal):
    first = await held(store, journal)
    others = appends(journal, [5, 3, 6, 1, 2, 4])
    await asyncio.sleep(0)
    store.gate.set()
    await asyncio.gather(first, *others)
    assert store.written == [f"dec_000{number}" for number in (0, 5, 3, 6, 1, 2, 4)]


async def test_one_bad_leaf_fails_alone(store, journal):
    first = await held(store, journal)
    others = appends(journal, [1, 0, 2])  # dec_0000 is being written already
    await asyncio.sleep(0)
    store.gate.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert [results[0], results[1], results[3]] == [0, 1, 2]
    assert isinstance(results[2], Conflict)
    assert store.written == ["dec_0000", "dec_0001", "dec_0002"]
    assert not journal.failing


async def test_a_bad_leaf_among_many_costs_few_writes(store):
    journal = Journal(store)
    await journal.start()
    first = await held(store, journal, number=700)
    others = appends(journal, range(1024))
    await asyncio.sleep(0)
    store.gate.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert [number for number, result in enumerate(results[1:]) if isinstance(result, Conflict)] == [700]
    assert store.written[1:] == [f"dec_{number:04}" for number in range(1024) if number != 700]
    assert len(store.groups) < 25
    await journal.stop()


async def test_a_cancelled_caller_changes_nothing(store, journal):
    first = await held(store, journal)
    second, third = appends(journal, [1, 2])
    await asyncio.sleep(0)
    first.cancel()  # its leaf is in the store's hands
    second.cancel()  # its leaf is still waiting
    await asyncio.sleep(0)
    store.gate.set()
    assert await third == 2
    assert store.written == ["dec_0000", "dec_0001", "dec_0002"]


@pytest.mark.parametrize("down", [None, NotReady("away")])
async def test_whoever_waits_for_a_durable_leaf_is_held_when_cancelled(store, journal, down):
    store.gate.clear()
    store.down, written = down, Durable(loop=asyncio.get_running_loop())
    journal.hand_in(leaf(0), written)

    async def waiting():
        await written

    waits = asyncio.create_task(waiting())
    await store.entered.wait()
    for _ in range(2):  # once more, to those who insist
        waits.cancel()
        await asyncio.sleep(0)
        assert not waits.done()
    assert not written.cancel()
    store.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waits, 20)
    assert (written.exception(), store.written) == (down, [] if down else ["dec_0000"])


async def test_the_queue_is_bounded(store, journal):
    first = await held(store, journal)
    accepted = appends(journal, range(1, 9))
    await asyncio.sleep(0)
    with pytest.raises(NotReady) as refused:
        await journal.append(leaf(9))
    assert refused.value.code == "journal_overloaded"
    assert refused.value.retryable
    store.gate.set()
    assert await asyncio.gather(first, *accepted) == list(range(9))
    assert await journal.append(leaf(9)) == 9


async def test_stop_flushes(store, journal):
    first = await held(store, journal)
    others = appends(journal, range(1, 7))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(journal.stop())
    await asyncio.sleep(0)
    with pytest.raises(NotReady) as refused:
        await journal.append(leaf(9))
    assert refused.value.code == "journal_stopped"
    assert not stopping.done()
    store.gate.set()
    await stopping
    assert [task.result() for task in (first, *others)] == list(range(7))
    await journal.stop()


async def test_an_outage_fails_the_group_once_and_shows_in_readiness(store):
    now = [0.0]
    journal = Journal(store, monotonic=lambda: now[0])
    failing = [journal.failing]
    await journal.start()
    assert [*failing, journal.failing] == [True, False]
    first = await held(store, journal)
    others = appends(journal, [1, 2])
    await asyncio.sleep(0)
    store.down = NotReady("The database does not answer.")
    store.gate.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert results == [store.down] * 3
    assert [len(group) for group in store.groups] == [1, 2]  # not tried again leaf by leaf
    failing = [journal.failing]
    now[0] = FAILING_SECONDS  # traffic may come back and try
    failing.append(journal.failing)
    with pytest.raises(NotReady):
        await journal.append(leaf(3))
    failing.append(journal.failing)
    store.down = None
    assert await journal.append(leaf(3)) == 0
    failing.append(journal.failing)
    await journal.stop()
    assert [*failing, journal.failing] == [True, False, True, False, True]


async def test_an_error_of_the_store_fails_readiness_and_one_of_the_leaf_does_not(store, journal):
    await journal.append(leaf(0))
    with pytest.raises(Conflict):
        await journal.append(leaf(0))
    assert not journal.failing
    store.down = OSError("disk")
    with pytest.raises(OSError, match="disk"):
        await journal.append(leaf(1))
    assert journal.failing


async def test_a_journal_that_breaks_leaves_nobody_waiting(store):
    journal = Journal(store)
    await journal.start()
    first = await held(store, journal)
    others = appends(journal, [1, 2])
    await asyncio.sleep(0)
    assert journal._writer is not None
    journal._writer.cancel()
    results = await asyncio.wait_for(asyncio.gather(first, *others, return_exceptions=True), 20)
    assert [result.code for result in results if isinstance(result, NotReady)] == ["journal_stopped"] * 3
    assert journal.failing


async def test_it_starts_once(journal):
    with pytest.raises(RuntimeError, match="already started"):
        await journal.start()


@pytest.mark.parametrize("sizes", [{"capacity": 0}, {"largest_group": 0}])
def test_sizes_are_positive(store, sizes):
    with pytest.raises(ValueError, match="positive"):
        Journal(store, **sizes)


async def test_over_sqlite_every_acknowledged_leaf_reads_back(stores):
    journal = Journal(stores.journal)
    await journal.start()
    sealers = {name: Sealer(os.urandom(32), os.urandom) for name in ("acme", "other")}

    def decision(tenant, number):
        record = decision_record(tenant_id=tenant, decision_id=f"dec_{number:04}")
        return leaf_of(record, sealers[tenant], os.urandom(32))

    async def one_call(tenant, number):
        seq = await journal.append(decision(tenant, number))
        outcome = outcome_record(tenant_id=tenant, decision_id=f"dec_{number:04}")
        return seq, await journal.append(leaf_of(outcome, sealers[tenant], os.urandom(32)))

    calls = [(tenant, number) for number in range(60) for tenant in sealers]
    places = await asyncio.gather(*(one_call(*call) for call in calls))
    twice = await asyncio.gather(
        journal.append(decision("acme", 0)), journal.append(decision("acme", 99)), return_exceptions=True
    )
    await journal.stop()
    assert isinstance(twice[0], Conflict)
    assert twice[1] == 120
    for tenant, sealer in sealers.items():
        own = [place for (name, _), place in zip(calls, places, strict=True) if name == tenant]
        assert all(decided < ended for decided, ended in own)
        assert sorted(seq for pair in own for seq in pair) == list(range(120))
        for number, (decided, ended) in enumerate(own):
            for kind, seq in ((LeafKind.DECISION, decided), (LeafKind.OUTCOME, ended)):
                stored = await stores.journal.read(TenantScope(tenant), kind, f"dec_{number:04}")
                opened = open_leaf(stored, sealer)
                assert opened.seq == seq
                assert opened.document["decision_id"] == f"dec_{number:04}"
