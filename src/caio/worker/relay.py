"""The relay: takes events out of the outbox and delivers each to everybody who wanted it.

Theory of operation
-------------------
A step claims what is due, starts delivering it, and does not wait for the receivers: each tenant's claim is a
task of its own, and a tenant whose task still runs is left out of the next claims. A receiver that hangs thus
holds up its own tenant and nobody else. Within a tenant each destination is a sequence: when one delivery to it
fails for its being away, those behind it in the claim are put off with it instead of being tried in vain.

A claim is a lease. What a killed worker had claimed is due again when its lease ends, and is then delivered with
the same id and body; what was delivered and not yet noted is delivered again. Nothing is lost, and nothing but
deliveries is done twice.

A delivery that failed too often is dead, and its status says why. A webhook whose delivery died, and which took
nothing since that event occurred, is disabled and told of by an act.

Laws (each has a test of the same name)
---------------------------------------
- every_event_reaches_its_destinations: at least once, whatever is killed when.
- a_hanging_receiver_holds_up_its_own_tenant_only.
- a_failure_is_tried_again_on_schedule: until it is delivered or dead.
- a_webhook_that_is_away_for_days_is_disabled: and an act tells of it.
- a_deleted_webhook_gets_nothing_more.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from caio.events.ports import Answered, Delivery, Due, EventStore, Outbox, Sink, Webhook
from caio.events.schedule import next_attempt
from caio.foundation.errors import CaioError, Erased, NotFound
from caio.foundation.scope import TenantScope
from caio.tenancy.webhooks import Webhooks

_logger = structlog.get_logger("caio.events")

SECOND = 1_000_000

#: How long claimed events are nobody else's. Longer than what one claim of a tenant can take: its share, each
#: delivery of which may take ten seconds.
LEASE_SECONDS = 120
#: Events of one claim, and of one tenant in it; tenants that are being delivered to at a time.
CLAIM, SHARE, TENANTS = 500, 10, 64

#: How long a step waits for deliveries under way when there is nothing to claim.
_WAIT_SECONDS = 0.2

#: How long events are kept once nothing waits for them.
KEPT_DAYS = 30
_PRUNED_AT_ONCE = 1_000


class Relay:
    """The one of a process; several processes may have one each. ``clock`` gives microseconds."""

    def __init__(
        self,
        outbox: Outbox,
        history: EventStore,
        webhooks: Webhooks,
        sinks: Sequence[Sink],
        clock: Callable[[], int],
        *,
        lease_seconds: int = LEASE_SECONDS,
        kept_days: int = KEPT_DAYS,
    ) -> None:
        self._outbox = outbox
        self._history = history
        self._webhooks = webhooks
        self._sinks: Mapping[str, Sink] = {sink.name: sink for sink in sinks}
        self._clock = clock
        self._lease = lease_seconds * SECOND
        self._kept = kept_days * 86_400 * SECOND
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def step(self) -> int:
        """Claim what is due and start delivering it. Returns 0 when nothing was claimed, and no tenant's deliveries
        ended that might have more waiting."""
        if len(self._under_way) >= TENANTS:
            await asyncio.wait(list(self._under_way.values()), return_when=asyncio.FIRST_COMPLETED)
        now = self._clock()
        claimed = await self._outbox.claim(now, now + self._lease, CLAIM, SHARE, list(self._under_way))
        by_tenant: defaultdict[str, list[Due]] = defaultdict(list)
        for due in claimed:
            by_tenant[due.event.tenant_id].append(due)
        for tenant_id, dues in by_tenant.items():
            task = asyncio.create_task(self._deliver(TenantScope(tenant_id), dues), name=f"relay {tenant_id}")
            self._under_way[tenant_id] = task
            task.add_done_callback(lambda _, name=tenant_id: self._under_way.pop(name, None))  # type: ignore[misc]
        if not claimed and self._under_way:
            ended, _ = await asyncio.wait(
                list(self._under_way.values()), timeout=_WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            return len(ended)
        return len(claimed)

    async def finish(self) -> None:
        """Wait for the deliveries under way; whoever is cancelled while waiting cuts them off."""
        under_way = list(self._under_way.values())
        try:
            if under_way:
                await asyncio.wait(under_way)
        except asyncio.CancelledError:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            raise

    async def prune(self) -> int:
        """Forget events that were kept long enough; returns how many."""
        return await self._outbox.prune(self._clock() - self._kept, _PRUNED_AT_ONCE)

    async def _deliver(self, scope: TenantScope, dues: Sequence[Due]) -> None:
        """Deliver a tenant's claim. An error of the store leaves what it concerns to the lease's end."""
        queues: defaultdict[str, list[tuple[Due, Delivery]]] = defaultdict(list)
        for due in dues:
            for delivery in due.deliveries:
                queues[delivery.destination].append((due, delivery))
        settled: defaultdict[str, list[Delivery]] = defaultdict(list)
        try:
            for done in await asyncio.gather(*(self._queue(scope, *each) for each in queues.items())):
                for delivery in done:
                    settled[delivery.event_id].append(delivery)
            for due in dues:
                await self._outbox.settle(due.event, settled[due.event.event_id])
            for delivery in (each for done in settled.values() for each in done if each.dead):
                await self._disable_if_away(scope, dues, delivery)
        except CaioError as error:
            _logger.error("deliveries stopped", tenant=scope.tenant_id, code=error.code, exc_info=error)
        except Exception as error:
            _logger.error("deliveries stopped", tenant=scope.tenant_id, exc_info=error)

    async def _queue(
        self, scope: TenantScope, destination: str, queue: Sequence[tuple[Due, Delivery]]
    ) -> list[Delivery]:
        """What became of the deliveries to one destination."""
        if (sink := self._sinks.get(destination)) is not None:
            answers = await sink.send([due.event for due, _ in queue])
            return [self._after(delivery, each) for (_, delivery), each in zip(queue, answers, strict=True)]
        settled: list[Delivery] = []
        for due, delivery in queue:
            webhook = due.webhooks.get(destination)
            if webhook is None or webhook.disabled_at is not None:
                why = "not delivered: the destination was deleted" if webhook is None else "not delivered: disabled"
                settled.append(replace(delivery, due_at=None, last_status=why))
                continue
            if settled and settled[-1].delivered_at is None and settled[-1].due_at is not None:
                settled.append(replace(delivery, due_at=settled[-1].due_at))  # it is away: not tried in vain
                continue
            settled.append(self._after(delivery, await self._send(scope, webhook, due)))
        return settled

    async def _send(self, scope: TenantScope, webhook: Webhook, due: Due) -> Answered:
        try:
            return await self._webhooks.send(scope, webhook, due.event)
        except Erased:
            return Answered(delivered=False, status="not delivered: the tenant was erased", final=True)
        except CaioError as error:
            return Answered(delivered=False, status=error.message)
        except Exception as error:  # a fault of ours, with this one; the others' deliveries are noted all the same
            _logger.error("a delivery failed", tenant=scope.tenant_id, webhook=webhook.webhook_id, exc_info=error)
            return Answered(delivered=False, status="not delivered: an unexpected error of the platform's")

    def _after(self, delivery: Delivery, answer: Answered) -> Delivery:
        now, attempts = self._clock(), delivery.attempts + 1
        if answer.delivered:
            return replace(delivery, attempts=attempts, due_at=None, delivered_at=now, last_status=answer.status)
        again = None
        if not answer.final:
            again = next_attempt(delivery.event_id, delivery.destination, attempts, now, answer.pause)
        return replace(delivery, attempts=attempts, due_at=again, last_status=answer.status)

    async def _disable_if_away(self, scope: TenantScope, dues: Sequence[Due], dead: Delivery) -> None:
        """Disable the webhook of a dead delivery if it took nothing since the event occurred."""
        due = next(each for each in dues if each.event.event_id == dead.event_id)
        webhook = due.webhooks.get(dead.destination)
        if webhook is None or webhook.disabled_at is not None or dead.attempts == 0:
            return
        if await self._history.delivered_since(scope, dead.destination, due.event.occurred_at):
            return
        try:
            await self._webhooks.disable(scope, dead.destination, dead.last_status)
        except (NotFound, Erased):
            return  # deleted meanwhile
