"""What every store of idempotency keys and secrets does."""

import asyncio

import pytest

from caio.audit.ports import DecisionRow, KeptAnswer, Leaf, LeafKind, Mode, OutcomeRow, Status
from caio.foundation.errors import NotFound
from caio.gateway.ports import KeptCall
from tests.support.acts import act_leaf

NOW = 1_700_000_000_000_000
DAY = 24 * 60 * 60 * 1_000_000


async def finish(stores, decision_id, key, sealed, tenant_id="acme"):
    """Record a decision and, with its outcome, the answer kept for ``key``."""
    decision = DecisionRow(decision_id, NOW, Mode.ORCHESTRATE, "chat", "s", "1", "p", "00", admitted=True, reserved=0)
    outcome = OutcomeRow(decision_id, NOW, Status.OK, "s", 1, 0, 0, 0, ())
    kept = KeptAnswer(key, decision_id, sealed)
    await stores.journal.append(
        [
            Leaf(tenant_id, LeafKind.DECISION, decision_id, NOW, bytes(32), b"", decision),
            Leaf(tenant_id, LeafKind.OUTCOME, decision_id, NOW, bytes(32), b"", outcome, kept),
        ]
    )


async def test_of_concurrent_claims_one_wins(stores_of_two_processes, acme):
    calls = [
        stores.idempotency.claim(acme, "k", "hash", f"dec_{number}", NOW)
        for number, stores in enumerate(stores_of_two_processes * 5)
    ]
    results = await asyncio.gather(*calls)
    winners = [number for number, kept in enumerate(results) if kept is None]
    assert len(winners) == 1
    assert {kept for kept in results if kept is not None} == {KeptCall("hash", f"dec_{winners[0]}", None)}


async def test_claims_and_releases_never_leave_a_caller_without_an_answer(stores_of_two_processes, acme):
    async def claim_and_release(stores, decision_id):
        won = 0
        for _ in range(5):
            if await stores.idempotency.claim(acme, "k", "hash", decision_id, NOW) is None:
                won += 1
                await stores.idempotency.release(acme, "k", decision_id)
        return won

    won = await asyncio.gather(*(claim_and_release(s, f"dec_{n}") for n, s in enumerate(stores_of_two_processes * 2)))
    assert sum(won) >= 5
    assert await stores_of_two_processes[0].idempotency.claim(acme, "k", "hash", "dec_9", NOW) is None


async def test_keys_belong_to_their_tenant(stores, acme, rival):
    assert await stores.idempotency.claim(acme, "k", "hash", "dec_1", NOW) is None
    assert await stores.idempotency.claim(rival, "k", "other", "dec_2", NOW) is None
    await stores.idempotency.release(rival, "k", "dec_1")
    await stores.idempotency.release(rival, "k", "dec_2")
    assert await stores.idempotency.claim(acme, "k", "hash", "dec_3", NOW) == KeptCall("hash", "dec_1", None)


async def test_the_outcomes_leaf_completes_the_answer(stores, acme, rival):
    await stores.idempotency.claim(acme, "k", "hash", "dec_1", NOW)
    await stores.idempotency.claim(rival, "k", "hash", "dec_1", NOW)
    await finish(stores, "dec_1", "k", b"sealed answer")
    assert await stores.idempotency.claim(acme, "k", "x", "dec_2", NOW + DAY - 1) == KeptCall(
        "hash", "dec_1", b"sealed answer"
    )
    assert (await stores.idempotency.claim(rival, "k", "x", "dec_2", NOW)).sealed is None


async def test_an_answer_fills_in_only_its_own_calls_claim(stores, acme):
    await stores.idempotency.claim(acme, "k", "hash", "dec_2", NOW)
    await finish(stores, "dec_1", "k", b"of another call")
    assert await stores.idempotency.claim(acme, "k", "x", "dec_3", NOW) == KeptCall("hash", "dec_2", None)


async def test_a_release_gives_up_only_an_unanswered_claim_of_its_own(stores, acme):
    await stores.idempotency.claim(acme, "k", "hash", "dec_1", NOW)
    await stores.idempotency.release(acme, "k", "dec_2")
    assert await stores.idempotency.claim(acme, "k", "hash", "dec_3", NOW) is not None
    await finish(stores, "dec_1", "k", b"answer")
    await stores.idempotency.release(acme, "k", "dec_1")
    assert (await stores.idempotency.claim(acme, "k", "hash", "dec_3", NOW)).sealed == b"answer"


async def test_a_key_lives_for_a_day(stores_of_two_processes, acme):
    stores = stores_of_two_processes[0]
    await stores.idempotency.claim(acme, "k", "hash", "dec_1", NOW)
    await finish(stores, "dec_1", "k", b"answer")
    assert await stores.idempotency.claim(acme, "k", "new", "dec_2", NOW + DAY - 1) is not None
    calls = [
        each.idempotency.claim(acme, "k", "new", f"dec_{number}", NOW + DAY)
        for number, each in enumerate(stores_of_two_processes * 3)
    ]
    results = await asyncio.gather(*calls)
    assert results.count(None) == 1
    assert all(kept is None or (kept.request_hash, kept.sealed) == ("new", None) for kept in results)


async def test_expired_keys_are_cleared_away_beside_new_claims(stores, acme):
    for number in range(5):
        await stores.idempotency.claim(acme, f"old-{number}", "hash", "dec_1", NOW)
    assert await stores.idempotency.claim(acme, "new", "hash", "dec_2", NOW + DAY) is None
    # Asked about a time at which they were still alive, the old keys are gone; the new one is not.
    assert await stores.idempotency.claim(acme, "old-0", "hash", "dec_3", NOW) is None
    assert await stores.idempotency.claim(acme, "new", "hash", "dec_3", NOW + DAY) is not None


async def test_secrets_are_stored_replaced_listed_and_deleted_per_tenant(stores, acme, rival):
    await stores.secrets.put(acme, "openai", b"\x00old", 1, act_leaf(acme))
    await stores.secrets.put(acme, "openai", b"\x00new", 2, act_leaf(acme))
    await stores.secrets.put(acme, "Anthropic", b"a", 3, act_leaf(acme))
    await stores.secrets.put(rival, "openai", b"theirs", 4, act_leaf(rival))
    assert await stores.secrets.sealed(acme, "openai") == b"\x00new"
    assert list(await stores.secrets.names(acme)) == ["Anthropic", "openai"]
    await stores.secrets.delete(acme, "openai", act_leaf(acme))
    for call in (stores.secrets.sealed(acme, "openai"), stores.secrets.delete(acme, "openai", act_leaf(acme))):
        with pytest.raises(NotFound):
            await call
    assert await stores.secrets.sealed(rival, "openai") == b"theirs"
    with pytest.raises(NotFound):
        await stores.secrets.delete(rival, "Anthropic", act_leaf(rival))
