"""The outbox on both databases: events beside their acts, leases, shares, pages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from caio.audit.ports import LeafKind
from caio.events.envelope import Event
from caio.events.ports import Due, Webhook
from caio.foundation.errors import Conflict, NotFound
from caio.foundation.scope import TenantScope
from caio.storage.sql.events import SqlEvents
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.stores import Stores
from caio.storage.sql.tables_tenancy import deliveries, events
from tests.support.acts import act_leaf

LATER = 10_000


async def happen(stores: Stores, scope: TenantScope, count: int = 1, action: str = "contract.published") -> None:
    for _ in range(count):
        async with stores.events._database.writing(scope) as connection:
            await append_within(connection, act_leaf(scope, action))


async def failing_change(stores: Stores, scope: TenantScope) -> None:
    async with stores.events._database.writing(scope) as connection:
        await append_within(connection, act_leaf(scope))
        raise RuntimeError("the change failed")


async def everything(stores: Stores, scope: TenantScope) -> Sequence[Event]:
    return await stores.events.page(scope, (), None, None, 0, 1_000)


async def waiting(stores: Stores, scope: TenantScope) -> int:
    query = select(func.count()).where(events.c.tenant_id == scope.tenant_id, events.c.due_at.is_not(None))
    async with stores.events._database.reading(scope) as connection:
        return int((await connection.execute(query)).scalar_one())


async def subscribe(stores: Stores, scope: TenantScope, webhook_id: str, created_at: int = 0, *types: str) -> Webhook:
    webhook = Webhook(
        webhook_id, scope.tenant_id, "https://example.com", types or ("caio.",), b"sealed", created_at, "me"
    )
    await stores.webhooks.add(scope, webhook, 20, act_leaf(scope, "webhook.created", webhook_id))
    return webhook


async def claim(stores: Stores, now: int, until: int = LATER, **options: Any) -> Sequence[Due]:
    wanted: dict[str, Any] = {"limit": 100, "share": 100, "busy": ()} | options
    return await stores.events.claim(now, until, **wanted)


async def test_an_event_is_written_with_its_act(stores: Stores, acme: TenantScope) -> None:
    await happen(stores, acme)
    with pytest.raises(RuntimeError):
        await failing_change(stores, acme)
    (event,) = await everything(stores, acme)
    (leaf,) = await stores.journal.page(acme, -1, 10)
    assert event.event_id == "evt_" + leaf.leaf.subject_id.removeprefix("act_")
    assert (event.seq, event.type, event.action) == (leaf.seq, "caio.contract.published", "contract.published")
    assert (event.subject, event.principal_id, event.occurred_at) == ("summarizer", "key_1", 1)


async def test_reading_is_told_to_nobody(stores: Stores, acme: TenantScope) -> None:
    await happen(stores, acme, action="audit.read")
    assert await everything(stores, acme) == []
    assert len(await stores.journal.page(acme, -1, 10)) == 1


async def test_an_act_is_recorded_once(stores: Stores, acme: TenantScope, rival: TenantScope) -> None:
    leaf = act_leaf(acme, "budget.threshold")
    assert await stores.acts.record(acme, leaf)
    assert not await stores.acts.record(acme, leaf)
    assert await stores.acts.record(rival, replace(leaf, tenant_id="rival"))
    assert len(await everything(stores, acme)) == 1
    assert await stores.journal.latest_act(acme, LeafKind.BUDGET, ("budget.threshold",)) is not None


async def test_a_leased_event_is_nobody_elses(
    stores_of_two_processes: tuple[Stores, Stores], acme: TenantScope
) -> None:
    one, two = stores_of_two_processes
    await subscribe(one, acme, "whk_1")
    await claim(one, 2)  # the webhook's own creation, which goes nowhere
    await happen(one, acme, 3)
    taken = await claim(one, 2, 50)
    assert len(taken) == 3
    assert await claim(two, 49, 99) == []
    again = await claim(two, 50, 99)
    assert [each.event for each in again] == [each.event for each in taken]
    assert await claim(one, 98, 200) == []


async def test_claims_at_once_share_nothing(stores_of_two_processes: tuple[Stores, Stores], acme: TenantScope) -> None:
    one, two = stores_of_two_processes
    await subscribe(one, acme, "whk_1")
    await claim(one, 2)
    await happen(one, acme, 30)
    claims = await asyncio.gather(*(claim(each, 2, 50, limit=4) for each in (one, two) * 4))
    ids = [due.event.event_id for each in claims for due in each]
    assert len(ids) == len(set(ids))
    assert len(ids) >= 4


async def test_no_tenant_takes_more_than_its_share(stores: Stores, acme: TenantScope, rival: TenantScope) -> None:
    for scope in (acme, rival):
        await subscribe(stores, scope, "whk_1")
    await claim(stores, 2)
    await happen(stores, acme, 9)
    await happen(stores, rival, 2)
    counted = [due.event.tenant_id for due in await claim(stores, 2, share=3)]
    assert sorted(counted) == ["acme"] * 3 + ["rival"] * 2
    assert [due.event.tenant_id for due in await claim(stores, 2, share=3, busy=["rival"])] == ["acme"] * 3
    assert await claim(stores, 2, busy=["acme", "rival"]) == []
    assert len(await claim(stores, 2, limit=2)) == 2


async def pile_up(stores: Stores, scope: TenantScope, count: int) -> None:
    """Events that have waited for longer than any other."""
    row = {"tenant_id": scope.tenant_id, "type": "caio.contract.published", "subject": "summarizer", "occurred_at": 0}
    data = '{"action":"contract.published","principal":"key_1"}'
    rows = [row | {"event_id": f"evt_z{n:025}", "seq": 9 + n, "data": data, "due_at": 0} for n in range(count)]
    async with stores.events._database.writing(scope) as connection:
        await connection.execute(insert(events), rows)


async def test_nobodys_backlog_hides_another_tenant(stores: Stores, acme: TenantScope, rival: TenantScope) -> None:
    await subscribe(stores, rival, "whk_1")
    await claim(stores, 2)
    await pile_up(stores, acme, 4_500)  # more than one look sees
    await happen(stores, rival, 3)
    assert [due.event.tenant_id for due in await claim(stores, 2, share=2)] == ["rival"] * 2
    left = await waiting(stores, acme)
    assert left <= 4_000, "what nobody wants is done with, many at a time"
    for _ in range(left // 500 + 1):
        await claim(stores, 2)
    assert await waiting(stores, acme) == 0


async def test_a_backlog_of_wanted_events_hides_nobody_either(
    stores: Stores, acme: TenantScope, rival: TenantScope
) -> None:
    for scope in (acme, rival):
        await subscribe(stores, scope, "whk_1")
    await claim(stores, 2)
    await pile_up(stores, acme, 4_500)
    await happen(stores, rival, 3)
    counted = [due.event.tenant_id for due in await claim(stores, 2, share=2)]
    assert sorted(counted) == ["acme"] * 2 + ["rival"] * 2
    assert await waiting(stores, acme) == 4_500, "the rest waits for the next claims"


async def test_a_webhook_gets_its_own_tenants_events_only(
    stores: Stores, acme: TenantScope, rival: TenantScope
) -> None:
    await subscribe(stores, acme, "whk_acme")
    await subscribe(stores, rival, "whk_rival")
    await subscribe(stores, acme, "whk_picky", 0, "caio.key.")
    await subscribe(stores, acme, "whk_late", 2)
    await claim(stores, 2)
    await happen(stores, acme)
    await happen(stores, rival)
    found = {
        (due.event.tenant_id, delivery.tenant_id, delivery.destination)
        for due in await claim(stores, 2)
        for delivery in due.deliveries
    }
    assert found == {("acme", "acme", "whk_acme"), ("rival", "rival", "whk_rival")}


async def test_what_is_said_about_a_webhook_does_not_go_to_it(stores: Stores, acme: TenantScope) -> None:
    await subscribe(stores, acme, "whk_1")
    assert await claim(stores, 2) == []
    await subscribe(stores, acme, "whk_2")
    (due,) = await claim(stores, 2)
    assert [each.destination for each in due.deliveries] == ["whk_1"]


async def test_sinks_get_every_event(stores: Stores, acme: TenantScope) -> None:
    await happen(stores, acme)
    outbox = SqlEvents(stores.events._database, ["bus"])
    (due,) = await outbox.claim(2, 5, 10, 10, ())
    assert [each.destination for each in due.deliveries] == ["bus"]


async def test_events_that_nobody_wants_wait_for_nothing(stores: Stores, acme: TenantScope) -> None:
    await happen(stores, acme, 5)
    assert await waiting(stores, acme) == 5
    assert await claim(stores, 1) == []
    assert await waiting(stores, acme) == 0
    assert len(await everything(stores, acme)) == 5


async def test_settling_frees_the_event_until_its_next_attempt(stores: Stores, acme: TenantScope) -> None:
    await subscribe(stores, acme, "whk_1")
    await subscribe(stores, acme, "whk_2")
    for due in await claim(stores, 1):  # whk_2's creation goes to whk_1
        await stores.events.settle(due.event, [replace(each, due_at=None) for each in due.deliveries])
    await happen(stores, acme)
    (due,) = await claim(stores, 2, 50)
    first, second = sorted(due.deliveries, key=lambda each: each.destination)
    delivered = replace(first, attempts=1, due_at=None, delivered_at=3, last_status="200")
    failed = replace(second, attempts=1, due_at=60, last_status="500")
    await stores.events.settle(due.event, [delivered, failed])
    assert await claim(stores, 59) == []
    (again,) = await claim(stores, 60, 100)
    assert list(again.deliveries) == [failed]
    # Whoever comes late, after the lease, cannot undo what another attempt came to.
    await stores.events.settle(again.event, [replace(failed, attempts=2, due_at=None, delivered_at=61)])
    await stores.events.settle(again.event, [replace(failed, attempts=2, due_at=70, last_status="500")])
    assert await claim(stores, LATER) == []
    async with stores.events._database.reading(acme) as connection:
        rows = await connection.execute(select(deliveries.c.destination, deliveries.c.delivered_at))
        assert {("whk_1", 3), ("whk_2", 61)} <= set(map(tuple, rows))
    assert await stores.events.delivered_since(acme, "whk_2", 61)
    assert not await stores.events.delivered_since(acme, "whk_2", 62)
    assert not await stores.events.delivered_since(TenantScope("rival"), "whk_2", 0)


async def test_what_waits_is_never_pruned(stores: Stores, acme: TenantScope) -> None:
    await subscribe(stores, acme, "whk_1", 0, "caio.contract.")
    await happen(stores, acme, 2)
    await happen(stores, acme, 3, "key.created")
    claimed = await claim(stores, 1, 5)
    assert await stores.events.prune(1, 100) == 0, "nothing is that old"
    assert await stores.events.prune(2, 2) == 2
    assert await stores.events.prune(2, 100) == 2
    assert {event.type for event in await everything(stores, acme)} == {"caio.contract.published"}
    for due in claimed:
        await stores.events.settle(due.event, [replace(each, due_at=None, delivered_at=2) for each in due.deliveries])
    assert await stores.events.prune(2, 100) == 2
    assert await everything(stores, acme) == []


async def test_readers_by_seq_miss_no_event(stores: Stores, acme: TenantScope, rival: TenantScope) -> None:
    await happen(stores, acme, 3)
    await happen(stores, acme, 2, "key.created")
    await happen(stores, rival, 1)
    assert [event.seq for event in await everything(stores, acme)] == [4, 3, 2, 1, 0]
    assert [event.seq for event in await stores.events.page(acme, (), 1, None, 0, 2)] == [2, 3]
    assert [event.seq for event in await stores.events.page(acme, (), None, 2, 0, 10)] == [1, 0]
    assert [event.seq for event in await stores.events.page(acme, ("caio.key.",), -1, None, 0, 10)] == [3, 4]
    assert await stores.events.page(acme, ("caio.ke_.", "caio.key"), -1, None, 0, 10) == []
    assert await stores.events.page(acme, (), -1, None, 2, 10) == [], "older than asked for"


async def test_webhooks_are_their_tenants(stores: Stores, acme: TenantScope, rival: TenantScope) -> None:
    webhook = await subscribe(stores, acme, "whk_1")
    assert await stores.webhooks.get(acme, "whk_1") == webhook
    assert await stores.webhooks.all(acme) == [webhook]
    assert await stores.webhooks.all(rival) == []
    leaf = act_leaf(rival, "webhook.deleted")
    with pytest.raises(NotFound):
        await stores.webhooks.get(rival, "whk_1")
    with pytest.raises(NotFound):
        await stores.webhooks.delete(rival, "whk_1", leaf)
    with pytest.raises(NotFound):
        await stores.webhooks.switch(rival, "whk_1", 5, leaf)
    assert not await stores.webhooks.reseal(rival, "whk_1", b"sealed", b"mine", leaf)
    assert await stores.webhooks.get(acme, "whk_1") == webhook
    assert await everything(stores, rival) == []


async def test_the_number_of_webhooks_is_exact(
    stores_of_two_processes: tuple[Stores, Stores], acme: TenantScope
) -> None:
    async def add(number: int) -> str:
        stores = stores_of_two_processes[number % 2]
        webhook = Webhook(f"whk_{number}", "acme", "https://example.com", ("caio.",), b"", 1, "me")
        try:
            await stores.webhooks.add(acme, webhook, 3, act_leaf(acme, "webhook.created", webhook.webhook_id))
        except Conflict as error:
            return error.code
        return "added"

    answers = await asyncio.gather(*map(add, range(8)))
    assert sorted(answers) == ["added"] * 3 + ["quota_exceeded"] * 5
    assert len(await stores_of_two_processes[0].webhooks.all(acme)) == 3


async def test_a_webhook_is_changed_with_its_act(stores: Stores, acme: TenantScope) -> None:
    await subscribe(stores, acme, "whk_1")

    async def told() -> int:
        return len(await everything(stores, acme))

    assert (await stores.webhooks.switch(acme, "whk_1", 5, act_leaf(acme, "webhook.disabled"))).disabled_at == 5
    assert await told() == 2
    assert (await stores.webhooks.switch(acme, "whk_1", 6, act_leaf(acme, "webhook.disabled"))).disabled_at == 5
    assert await told() == 2, "what is so already is told to nobody"
    assert (await stores.webhooks.switch(acme, "whk_1", None, act_leaf(acme, "webhook.enabled"))).disabled_at is None
    assert await stores.webhooks.reseal(acme, "whk_1", b"sealed", b"other", act_leaf(acme, "webhook.rotated"))
    assert not await stores.webhooks.reseal(acme, "whk_1", b"sealed", b"third", act_leaf(acme, "webhook.rotated"))
    assert (await stores.webhooks.get(acme, "whk_1")).sealed == b"other"
    await stores.webhooks.delete(acme, "whk_1", act_leaf(acme, "webhook.deleted"))
    assert await told() == 5
    with pytest.raises(NotFound):
        await stores.webhooks.delete(acme, "whk_1", act_leaf(acme, "webhook.deleted"))
    assert await told() == 5


async def test_a_late_failure_does_not_undo_a_later_one(stores: Stores, acme: TenantScope) -> None:
    await subscribe(stores, acme, "whk_1")
    await claim(stores, 2)
    await happen(stores, acme)
    (due,) = await claim(stores, 2)
    (delivery,) = due.deliveries
    dead = replace(delivery, attempts=3, due_at=None, last_status="500")
    await stores.events.settle(due.event, [dead])
    await stores.events.settle(due.event, [replace(delivery, attempts=2, due_at=5, last_status="503")])
    assert await claim(stores, LATER) == []
    ((_, left),) = await stores.events.deliveries(acme, "whk_1", None, 10)
    assert left == dead
