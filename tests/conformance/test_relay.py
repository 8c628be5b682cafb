"""The relay over both databases, with receivers that are real servers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_network

import pytest

from caio.audit.acts import Act, Acts
from caio.audit.sealing import TenantVault
from caio.events import schedule
from caio.events.envelope import Event
from caio.events.ports import Answered, Delivery, Webhook
from caio.events.schedule import ATTEMPTS, LONGEST
from caio.foundation.scope import TenantScope
from caio.providers.outbound import OutboundClient
from caio.providers.webhooks import WebhookReceiver as Sender
from caio.routing.model import Principal
from caio.storage.sql.events import SqlEvents
from caio.storage.sql.stores import Stores
from caio.tenancy.principals import Caller
from caio.tenancy.webhooks import NewSecret, Webhooks
from caio.worker.relay import LEASE_SECONDS, Relay
from tests.support.acts import acts_over, acts_told
from tests.support.tenants import tenant_named
from tests.support.webhook_receiver import WebhookReceiver, verified, webhook_receiver

LOCAL = (ip_network("127.0.0.0/8"),)
SECOND = 1_000_000


class Bus:
    """A sink that fails for the events it is told to, and otherwise keeps what it is given."""

    name = "bus"

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.fails = 0

    async def send(self, events: Sequence[Event]) -> Sequence[Answered]:
        answers = []
        for event in events:
            self.fails -= 1
            if self.fails < 0:
                self.taken.append(event.event_id)
            answers.append(Answered(self.fails < 0, "taken" if self.fails < 0 else "InternalFailure"))
        return answers


class Installation:
    """A relay over ``stores`` whose clock is set by the test."""

    def __init__(self, stores: Stores, receiver: WebhookReceiver, outbound: OutboundClient) -> None:
        self.stores, self.receiver = stores, receiver
        self.now = 1_763_719_200_000_000
        self.acts, self.vault = self._acts()
        self.sender = Sender(outbound, LOCAL)
        ids = iter(range(10**9))
        self.webhooks = Webhooks(
            stores.webhooks,
            stores.acts,
            self.acts,
            self.vault,
            self.sender,
            lambda: self.now,
            lambda prefix: f"{prefix}_{next(ids):026}",
            os.urandom,
        )
        self.bus = Bus()
        self.relay = self.another_relay()

    def _acts(self) -> tuple[Acts, TenantVault]:
        acts, vault = acts_over(self.stores)
        acts._clock = lambda: self.now
        return acts, vault

    def another_relay(self, *, bus: bool = False) -> Relay:
        sinks = [self.bus] if bus else []
        outbox = SqlEvents(self.stores.events._database, [sink.name for sink in sinks])
        return Relay(outbox, self.stores.events, self.webhooks, sinks, lambda: self.now)

    def caller(self, scope: TenantScope) -> Caller:
        principal = Principal("key_1", "api_key", frozenset({"admin"}), frozenset(), "standard")
        return Caller(scope, tenant_named(scope.tenant_id), principal)

    async def subscribe(self, scope: TenantScope, path: str = "/", *types: str) -> NewSecret:
        made = await self.webhooks.create(self.caller(scope), self.receiver.url + path, types or ("caio.policy.",))
        self.now += 1
        return made

    async def happen(self, scope: TenantScope, count: int = 1) -> list[str]:
        ids = []
        for _ in range(count):
            leaf = await self.acts.leaf(scope, Act("policy.published", "key_1", "careful"))
            await self.stores.acts.record(scope, leaf)
            ids.append("evt_" + leaf.subject_id.removeprefix("act_"))
        return ids

    async def work(self, relay: Relay | None = None) -> int:
        """Everything that is due now."""
        relay, claimed = relay or self.relay, 0
        while some := await relay.step():
            claimed += some
            await relay.finish()
        return claimed

    async def deliveries(self, scope: TenantScope, webhook: NewSecret) -> list[Delivery]:
        found = await self.stores.events.deliveries(scope, webhook.webhook.webhook_id, None, 100)
        return [delivery for _, delivery in found]


@pytest.fixture
async def place(stores: Stores) -> AsyncIterator[Installation]:
    async with webhook_receiver() as receiver, OutboundClient(LOCAL) as outbound:
        yield Installation(stores, receiver, outbound)


async def test_every_event_reaches_its_destinations(place: Installation, acme: TenantScope, rival: TenantScope) -> None:
    first, second = await place.subscribe(acme, "/first"), await place.subscribe(acme, "/second")
    foreign = await place.subscribe(rival, "/rival")
    ids = await place.happen(acme, 30)
    theirs = await place.happen(rival, 2)
    await place.work()
    for made, path, expected in ((first, "/first", ids), (second, "/second", ids), (foreign, "/rival", theirs)):
        assert sorted(place.receiver.ids(path)) == sorted(expected)
        got = [each for each in place.receiver.received if each.path == path]
        assert all(verified(made.secret, each.headers, each.body) for each in got)
        assert {each.headers["Content-Type"] for each in got} == {"application/cloudevents+json"}
        assert [each.document["id"] for each in got] == [each.headers["webhook-id"] for each in got]
        assert {each.document["source"] for each in got} == {f"/tenants/{made.webhook.tenant_id}"}
    assert not verified(second.secret, place.receiver.received[0].headers, place.receiver.received[0].body) or (
        place.receiver.received[0].path == "/second"
    )
    assert await place.work() == 0, "nothing is delivered twice"
    assert all(each.delivered_at == place.now for each in await place.deliveries(acme, first))


async def test_a_hanging_receiver_holds_up_its_own_tenant_only(
    place: Installation, acme: TenantScope, rival: TenantScope, wait_for_async: Callable[..., Awaitable[object]]
) -> None:
    await place.subscribe(acme, "/hang")
    await place.subscribe(rival, "/rival")
    await place.work()
    theirs = await place.happen(acme, 3)
    await place.relay.step()
    await wait_for_async(lambda: place.receiver.ids("/hang"))
    ids = await place.happen(rival, 2)
    theirs += await place.happen(acme)
    await place.relay.step()
    await place.relay.step()  # leaves the tenant out whose deliveries are under way
    await wait_for_async(lambda: len(place.receiver.ids("/rival")) == 2, seconds=60)
    assert sorted(place.receiver.ids("/rival")) == sorted(ids)
    assert len(place.receiver.ids("/hang")) == 1
    place.receiver.hold.set()
    await place.relay.finish()
    await place.work()
    assert sorted(place.receiver.ids("/hang")) == sorted(theirs)


async def test_a_failure_is_tried_again_on_schedule(place: Installation, acme: TenantScope) -> None:
    made = await place.subscribe(acme)
    (event_id,) = await place.happen(acme)
    place.receiver.status = 500
    await place.work()
    (delivery,) = await place.deliveries(acme, made)
    assert (delivery.attempts, delivery.last_status) == (1, "500")
    expected = schedule.next_attempt(event_id, made.webhook.webhook_id, 1, place.now)
    assert delivery.due_at == expected
    assert expected is not None
    place.now = expected - 1
    assert await place.work() == 0
    place.now, place.receiver.status = expected, 204
    await place.work()
    assert place.receiver.ids() == [event_id] * 2
    bodies = {each.body for each in place.receiver.received}
    assert len(bodies) == 1, "every attempt sends the same bytes"
    (delivery,) = await place.deliveries(acme, made)
    assert (delivery.attempts, delivery.last_status, delivery.due_at) == (2, "204", None)


async def test_a_receiver_may_ask_for_a_pause(place: Installation, acme: TenantScope) -> None:
    made = await place.subscribe(acme)
    await place.happen(acme)
    place.receiver.status, place.receiver.answer = 503, {"Retry-After": "900"}
    await place.work()
    (delivery,) = await place.deliveries(acme, made)
    assert delivery.due_at == place.now + 900 * SECOND


async def test_what_is_behind_a_failure_is_put_off_with_it(place: Installation, acme: TenantScope) -> None:
    made = await place.subscribe(acme)
    await place.happen(acme, 5)
    place.receiver.status = 500
    await place.work()
    assert len(place.receiver.received) == 1
    found = await place.deliveries(acme, made)
    assert sorted(each.attempts for each in found) == [0, 0, 0, 0, 1]
    assert len({each.due_at for each in found}) == 1
    place.receiver.status = 200
    place.now += LONGEST
    await place.work()
    assert len(set(place.receiver.ids())) == 5


async def test_a_webhook_that_is_away_for_days_is_disabled(place: Installation, acme: TenantScope) -> None:
    made = await place.subscribe(acme)
    await place.happen(acme)
    place.receiver.status = 500
    for _ in range(ATTEMPTS):
        await place.work()
        place.now += 2 * LONGEST
    (delivery,) = await place.deliveries(acme, made)
    assert delivery.dead
    assert delivery.attempts == ATTEMPTS == len(place.receiver.received)
    webhook = await place.webhooks.get(acme, made.webhook.webhook_id)
    assert webhook.disabled_at is not None
    told = await acts_told(place.stores.journal, place.vault, acme)
    assert (told[-1]["action"], told[-1]["principal"], told[-1]["details"]) == (
        "webhook.disabled",
        "system",
        {"reason": "500"},
    )
    await place.happen(acme)
    place.now += LONGEST
    await place.work()
    assert len(place.receiver.received) == ATTEMPTS
    await place.webhooks.enable(place.caller(acme), webhook.webhook_id)
    place.receiver.status = 200
    await place.happen(acme)
    await place.work()
    assert len(place.receiver.received) == ATTEMPTS + 1


async def test_one_dead_delivery_among_others_disables_nothing(place: Installation, acme: TenantScope) -> None:
    made = await place.subscribe(acme)
    await place.happen(acme)
    for attempt in range(ATTEMPTS):
        place.receiver.status = 500
        await place.work()
        place.now += 2 * LONGEST
        if attempt == ATTEMPTS - 2:
            place.receiver.status = 200
            await place.stores.events.claim(place.now, place.now + 1, 10, 10, ())  # the first one is leased
            (other,) = await place.happen(acme)
            await place.work()
            assert place.receiver.ids()[-1] == other
            place.now += 1
    assert (await place.webhooks.get(acme, made.webhook.webhook_id)).disabled_at is None
    assert sum(each.dead for each in await place.deliveries(acme, made)) == 1


async def test_a_receiver_that_is_gone_for_good_says_so(place: Installation, acme: TenantScope) -> None:
    made = await place.subscribe(acme)
    await place.happen(acme)
    place.receiver.status = 410
    await place.work()
    (delivery,) = await place.deliveries(acme, made)
    assert delivery.dead
    assert (await place.webhooks.get(acme, made.webhook.webhook_id)).disabled_at is not None


async def test_a_deleted_webhook_gets_nothing_more(place: Installation, acme: TenantScope) -> None:
    made = await place.subscribe(acme)
    await place.happen(acme, 2)
    place.receiver.status = 500
    await place.work()
    await place.webhooks.delete(place.caller(acme), made.webhook.webhook_id)
    place.now += LONGEST
    await place.work()
    assert len(place.receiver.received) == 1
    found = await place.deliveries(acme, made)
    assert all(each.dead for each in found)
    assert {each.last_status for each in found} == {"not delivered: the destination was deleted"}


async def test_what_waits_for_a_disabled_webhook_is_dead(place: Installation, acme: TenantScope) -> None:
    made = await place.subscribe(acme)
    await place.happen(acme)
    place.receiver.status = 500
    await place.work()
    await place.webhooks.disable(acme, made.webhook.webhook_id, "by hand")
    place.now += LONGEST
    place.receiver.status = 200
    await place.work()
    assert len(place.receiver.received) == 1
    (delivery,) = await place.deliveries(acme, made)
    assert (delivery.dead, delivery.last_status) == (True, "not delivered: disabled")


async def test_redirects_are_not_followed_anywhere(place: Installation, acme: TenantScope) -> None:
    made = await place.subscribe(acme)
    await place.happen(acme)
    place.receiver.status, place.receiver.answer = 307, {"Location": "http://169.254.169.254/latest/meta-data"}
    await place.work()
    (delivery,) = await place.deliveries(acme, made)
    assert delivery.last_status == "307, a redirect, which is not followed"
    assert delivery.due_at is not None


async def test_a_killed_workers_events_come_back(place: Installation, acme: TenantScope) -> None:
    await place.subscribe(acme)
    ids = await place.happen(acme, 3)
    outbox = place.stores.events
    assert len(await outbox.claim(place.now, place.now + LEASE_SECONDS * SECOND, 10, 10, ())) == 3  # and is killed
    assert await place.work() == 0
    place.now += LEASE_SECONDS * SECOND
    await place.work()
    assert sorted(place.receiver.ids()) == sorted(ids)


async def test_two_relays_deliver_once(place: Installation, acme: TenantScope, rival: TenantScope) -> None:
    for scope in (acme, rival):
        await place.subscribe(scope)
    ids = [*await place.happen(acme, 60), *await place.happen(rival, 60)]
    await asyncio.gather(*(place.work(place.another_relay()) for _ in range(3)))
    assert sorted(place.receiver.ids()) == sorted(ids), "none twice while nobody is killed"


async def test_sinks_are_tried_again_entry_by_entry(place: Installation, acme: TenantScope) -> None:
    relay = place.another_relay(bus=True)
    ids = await place.happen(acme, 3)
    place.bus.fails = 2
    await place.work(relay)
    assert len(place.bus.taken) == 1
    place.bus.fails = 0
    place.now += LONGEST
    await place.work(relay)
    assert sorted(place.bus.taken) == sorted(ids)


async def test_a_secret_that_does_not_open_stops_its_own_webhook_only(place: Installation, acme: TenantScope) -> None:
    broken, good = await place.subscribe(acme, "/broken"), await place.subscribe(acme, "/good")
    leaf = await place.acts.leaf(acme, Act("webhook.rotated", "key_1", "x"))
    await place.stores.webhooks.reseal(
        acme, broken.webhook.webhook_id, broken.webhook.sealed, good.webhook.sealed, leaf
    )
    ids = await place.happen(acme)
    await place.work()
    assert place.receiver.ids("/good") == ids
    assert place.receiver.ids("/broken") == []
    (delivery,) = await place.deliveries(acme, broken)
    assert "does not open" in delivery.last_status


async def test_an_unexpected_error_stops_its_own_webhook_only(
    place: Installation, acme: TenantScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, good = await place.subscribe(acme, "/broken"), await place.subscribe(acme, "/good")
    send = place.sender.send

    async def failing(webhook: Webhook, headers: Mapping[str, str], body: bytes) -> Answered:
        if webhook.url.endswith("/broken"):
            raise UnicodeError("label too long")
        return await send(webhook, headers, body)

    monkeypatch.setattr(place.sender, "send", failing)
    ids = await place.happen(acme)
    await place.work()
    place.now += LEASE_SECONDS * SECOND
    await place.work()
    assert place.receiver.ids("/good") == ids, "delivered once, and noted"
    (delivery,) = await place.deliveries(acme, broken)
    assert (delivery.attempts, delivery.dead) == (2, False)
    assert (await place.deliveries(acme, good))[0].delivered_at is not None


async def test_old_events_are_forgotten(place: Installation, acme: TenantScope) -> None:
    await place.happen(acme, 2)
    await place.work()
    assert await place.relay.prune() == 0
    place.now += 30 * 86_400 * SECOND + 1
    assert await place.relay.prune() == 2
