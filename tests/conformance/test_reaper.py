"""Calls whose process is gone are ended once, and no others."""

import asyncio

import pytest

from caio.audit.journal import Journal
from caio.audit.ports import DecisionRow, Leaf, LeafKind, Mode, OutcomeRow, Status
from caio.foundation.scope import TenantScope
from caio.gateway.interrupted import InterruptedCalls
from caio.gateway.ports import Actual, Orphan
from caio.gateway.reaper import LONGEST_CALL, Reaper
from tests.support.acts import acts_over

NOW = 1_700_000_000_000_000


class Limiter:
    """What a shared limiter would say of calls: who is gone, who is there, and what was settled."""

    def __init__(self, *orphans, living=()):
        self.gone = list(orphans)
        self.living = set(living)
        self.settled = []

    async def orphans(self):
        await asyncio.sleep(0)
        return list(self.gone)

    async def held(self, tenant_id, grant_ids):
        return self.living & set(grant_ids)

    async def end(self, scope, grant_id, actual):
        self.settled.append((scope.tenant_id, grant_id, actual))
        self.gone = [orphan for orphan in self.gone if orphan.grant_id != grant_id]


def decision(name, at=NOW, tenant="acme"):
    row = DecisionRow(name, at, Mode.ORCHESTRATE, "chat", "svc", "1.0.0", "user", "ab", True, 5)
    return Leaf(tenant, LeafKind.DECISION, name, at, bytes(32), b"sealed", row)


def outcome(name, charged=4):
    row = OutcomeRow(name, NOW, Status.OK, "svc", 7, 1, 2, charged, ())
    return Leaf("acme", LeafKind.OUTCOME, name, NOW, bytes(32), b"sealed", row)


def orphan(name, expires_at=NOW - 1, tenant="acme"):
    return Orphan(tenant, name, "dead", expires_at)


@pytest.fixture
async def reaper_of(stores):
    journal = Journal(stores.journal)
    await journal.start()
    vault = acts_over(stores, NOW)[1]

    def reaper(limiter, now=NOW):
        interrupted = InterruptedCalls(journal, vault, lambda: now, bytes)
        return Reaper(limiter, stores.journal, interrupted, stores.idempotency, lambda: now, TenantScope)

    yield reaper
    await journal.stop()


async def statuses(stores, scope):
    return {
        row.decision_id: ended and (ended.status, ended.charged)
        for row, ended in await stores.journal.decisions(scope, None, 100)
    }


INTERRUPTED = (Status.INTERRUPTED, 0)


async def test_an_orphan_ends_once(stores, reaper_of, acme, rival):
    await stores.journal.append([decision("dec_1"), decision("dec_2"), decision("dec_1", tenant="rival")])
    limiter = Limiter(orphan("dec_1"), orphan("dec_2"), orphan("dec_1", tenant="rival"))
    ended = await asyncio.gather(*(reaper_of(limiter).step() for _ in range(4)))
    assert sum(ended) == 3
    assert await statuses(stores, acme) == {"dec_1": INTERRUPTED, "dec_2": INTERRUPTED}
    assert await statuses(stores, rival) == {"dec_1": INTERRUPTED}
    assert {(*settled[:2], settled[2].charged) for settled in limiter.settled} == {
        ("acme", "dec_1", 0),
        ("acme", "dec_2", 0),
        ("rival", "dec_1", 0),
    }
    assert await reaper_of(limiter).step() == 0


async def test_a_living_call_is_never_ended(stores, reaper_of, acme):
    """Neither by the limiter's word before its time is over, nor by the journal's while a process holds it."""
    await stores.journal.append([decision("dec_slow", NOW - 2 * LONGEST_CALL), decision("dec_running")])
    limiter = Limiter(orphan("dec_running", NOW + 1), living={"dec_slow"})
    reaper = reaper_of(limiter)
    for _ in range(3):
        assert await reaper.step() == 0
    assert await statuses(stores, acme) == {"dec_slow": None, "dec_running": None}
    assert limiter.settled == []
    limiter.living.clear()
    assert await reaper.step() == 1, "what was held is looked at again"


async def test_what_was_charged_stays_charged(stores, reaper_of, acme):
    await stores.journal.append([decision("dec_1"), outcome("dec_1", charged=4)])
    limiter = Limiter(orphan("dec_1"))
    assert await reaper_of(limiter).step() == 0
    assert limiter.settled == [("acme", "dec_1", Actual(4, 3, 7))]
    assert await statuses(stores, acme) == {"dec_1": (Status.OK, 4)}


async def test_an_outcome_that_comes_meanwhile_is_what_is_settled(stores, reaper_of, acme, monkeypatch):
    await stores.journal.append([decision("dec_1")])
    limiter = Limiter(orphan("dec_1"))
    reaper = reaper_of(limiter)
    calls = stores.journal.calls

    async def and_then_it_ends(*arguments):
        found = await calls(*arguments)
        if found[0][1] is None:
            await stores.journal.append([outcome("dec_1", charged=4)])
        return found

    monkeypatch.setattr(stores.journal, "calls", and_then_it_ends)
    assert await reaper.step() == 0
    assert [settled[2].charged for settled in limiter.settled] == [4]


async def test_a_call_that_was_never_durable_is_let_go(stores, reaper_of, acme):
    limiter = Limiter(orphan("dec_unknown"))
    assert await reaper_of(limiter).step() == 0
    assert limiter.settled == [("acme", "dec_unknown", Actual())]
    assert await statuses(stores, acme) == {}


async def test_a_lost_limiter_hides_no_call(stores, reaper_of, acme):
    old, young = NOW - LONGEST_CALL - 1, NOW - LONGEST_CALL
    await stores.journal.append([decision("dec_old", old), decision("dec_young", young)])
    reaper = reaper_of(Limiter())
    assert await reaper.step() == 1
    assert await reaper.step() == 0
    assert await statuses(stores, acme) == {"dec_old": INTERRUPTED, "dec_young": None}


async def test_a_claim_outlives_every_call(stores, reaper_of, acme):
    idempotency = stores.idempotency
    assert await idempotency.claim(acme, "old", "hash", "dec_1", NOW - LONGEST_CALL - 1) is None
    assert await idempotency.claim(acme, "young", "hash", "dec_2", NOW - LONGEST_CALL) is None
    assert await reaper_of(Limiter()).step() == 1
    assert await idempotency.claim(acme, "old", "hash", "dec_3", NOW) is None
    held = await idempotency.claim(acme, "young", "hash", "dec_4", NOW)
    assert held is not None
    assert held.decision_id == "dec_2"
