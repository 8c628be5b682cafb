"""Events and their deliveries in SQL: the outbox that the relay empties, and what tenants may read of it.

Theory of operation
-------------------
An event's ``due_at`` says when the relay looks at it. Claiming moves that into the future, by the length of a
lease: a worker that is killed meanwhile has lost nothing, since its events are due again when the lease ends.
Rows that another worker is claiming are passed by (``SKIP LOCKED``); on SQLite the write lock keeps claims apart.
A claim gives each event its deliveries: the webhooks that matched and were in force when it occurred, and the
platform's sinks. Doing so again changes nothing, so that a kill in between does no harm. Events that nobody
wants are done with on the way, many at a time. A look at what is due sees only so many events: it is repeated
without the tenants that it saw, so that one who has more waiting hides nobody.

Laws (each has a test of the same name, for both databases)
-----------------------------------------------------------
- a_leased_event_is_nobody_elses: until the lease ends, and then it is everybody's again.
- no_tenant_takes_more_than_its_share: of one claim, however much it has waiting.
- nobodys_backlog_hides_another_tenant: of events that somebody wants, or that nobody does.
- a_webhook_gets_its_own_tenants_events_only, and none from before it was made.
- what_waits_is_never_pruned.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import structlog
from sqlalchemy import ColumnElement, Row, and_, delete, func, or_, select, true, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.events.envelope import Event, matches
from caio.events.ports import Delivery, Due, Webhook
from caio.foundation.errors import Misconfigured, NotReady
from caio.foundation.scope import PlatformScope, TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.places import PLATFORM, Place
from caio.storage.sql.tables_tenancy import deliveries, events
from caio.storage.sql.webhooks import webhooks_of

#: Due events that one look sees; how many of them it takes up, and how many of one tenant: wanted or not.
_LOOKED_AT, _TAKEN_UP, _OF_TENANT = 4_000, 2_000, 500

#: How long a tenant's own database that does not answer is left alone.
_ASIDE_SECONDS = 30.0

_logger = structlog.get_logger("caio.events")
_RELAY = PlatformScope("relay of events")
_KEY = tuple_(events.c.tenant_id, events.c.event_id)
_DELIVERY_KEY = tuple_(deliveries.c.tenant_id, deliveries.c.event_id)


class SqlEvents:
    """The ``Outbox`` and ``EventStore`` ports. ``sinks`` are the names of the buses that get every event."""

    def __init__(self, database: Database, sinks: Sequence[str] = ()) -> None:
        self._database = database
        self._sinks = tuple(sinks)
        self._aside: dict[Place, float] = {}

    # --- the relay's --------------------------------------------------------------------------

    async def claim(self, now: int, until: int, limit: int, share: int, busy: Collection[str]) -> Sequence[Due]:
        due: list[Due] = []
        for place in await self._places():
            with self._set_aside(place):
                left_out = set(busy)
                while len(due) < limit:
                    seen, found = await self._claim(place, now, until, limit - len(due), share, left_out)
                    due += found
                    if not seen:
                        break
                    left_out |= seen
        return due

    async def _claim(
        self, place: Place, now: int, until: int, limit: int, share: int, left_out: Collection[str]
    ) -> tuple[set[str], list[Due]]:
        """One look: the tenants that it saw, and what is claimed of them."""
        if not await self._anything_due(place, now, left_out):
            return set(), []  # asked first, so that an idle relay takes no write lock
        async with self._database.writing(_RELAY, place) as connection:
            seen = [_event(row) for row in await connection.execute(_due(now, left_out))]
            tenants = {event.tenant_id for event in seen}
            if not seen:
                return tenants, []
            known = await webhooks_of(connection, tenants)
            claimed, unwanted = self._sorted(seen, known, await _begun(connection, seen), limit, share)
            if claimed:
                await connection.execute(update(events).where(_KEY.in_(map(_key, claimed))).values(due_at=until))
                await self._spread(connection, claimed, known)
            waiting = await _waiting(connection, claimed, now)
            if over := [*unwanted, *(_key(event) for event in claimed if _key(event) not in waiting)]:
                await _free(connection, over)
        return tenants, [
            Due(event, tuple(found), {each.webhook_id: each for each in known.get(event.tenant_id, ())})
            for event in claimed
            if (found := waiting.get(_key(event)))
        ]

    def _sorted(
        self,
        seen: Sequence[Event],
        known: Mapping[str, Sequence[Webhook]],
        begun: Collection[tuple[str, str]],
        limit: int,
        share: int,
    ) -> tuple[list[Event], list[tuple[str, str]]]:
        """What is claimed of the events seen, at most ``limit`` and ``share`` of a tenant, and the keys of those
        that nobody wants. The others wait for the next claim."""
        claimed: list[Event] = []
        unwanted: list[tuple[str, str]] = []
        taken: Counter[str] = Counter()
        for event in seen:
            if not self._sinks and _key(event) not in begun and not _wanting(event, known.get(event.tenant_id, ())):
                unwanted.append(_key(event))
            elif len(claimed) < limit and taken[event.tenant_id] < share:
                taken[event.tenant_id] += 1
                claimed.append(event)
        return claimed, unwanted

    async def _spread(
        self, connection: AsyncConnection, claimed: Sequence[Event], known: dict[str, list[Webhook]]
    ) -> None:
        """Give each event a delivery for each of its destinations that it has none for."""
        rows = [
            {
                "tenant_id": event.tenant_id,
                "event_id": event.event_id,
                "destination": destination,
                "attempts": 0,
                "due_at": event.occurred_at,
                "delivered_at": None,
                "last_status": "",
            }
            for event in claimed
            for destination in (*_wanting(event, known.get(event.tenant_id, ())), *self._sinks)
        ]
        if rows:
            dialect = sqlite if self._database.dialect == "sqlite" else postgresql
            await connection.execute(dialect.insert(deliveries).on_conflict_do_nothing(), rows)

    async def settle(self, event: Event, settled: Sequence[Delivery]) -> None:
        place = await self._database.place_of(event.tenant_id)
        async with self._database.writing(_RELAY, place) as connection:
            for each in settled:
                # Whoever comes late, his lease having ended, must not undo what another attempt came to.
                await connection.execute(
                    update(deliveries)
                    .where(
                        _is(each),
                        deliveries.c.delivered_at.is_(None),
                        true() if each.delivered_at is not None else deliveries.c.attempts <= each.attempts,
                    )
                    .values(
                        attempts=each.attempts,
                        due_at=each.due_at,
                        delivered_at=each.delivered_at,
                        last_status=each.last_status,
                    )
                )
            await _free(connection, [(event.tenant_id, event.event_id)])

    async def _anything_due(self, place: Place, now: int, left_out: Collection[str]) -> bool:
        query = select(events.c.event_id).where(*_waiting_now(now, left_out)).limit(1)
        async with self._database.reading(_RELAY, place) as connection:
            return (await connection.execute(query)).first() is not None

    async def prune(self, before: int, limit: int) -> int:
        pruned = 0
        for place in await self._places():
            with self._set_aside(place):
                pruned += await self._prune(place, before, limit)
        return pruned

    async def _prune(self, place: Place, before: int, limit: int) -> int:
        old = select(events.c.tenant_id, events.c.event_id).where(
            events.c.occurred_at < before, events.c.due_at.is_(None)
        )
        async with self._database.writing(_RELAY, place) as connection:
            keys = [tuple(row) for row in await connection.execute(old.limit(limit))]
            if keys:
                await connection.execute(delete(deliveries).where(_DELIVERY_KEY.in_(keys)))
                await connection.execute(delete(events).where(_KEY.in_(keys)))
        return len(keys)

    async def _places(self) -> list[Place]:
        """Where events may be: not a tenant's own database that did not answer just now."""
        now = time.monotonic()
        return [place for place in await self._database.places() if self._aside.get(place, now) <= now]

    @contextmanager
    def _set_aside(self, place: Place) -> Iterator[None]:
        """Leave a tenant's own place alone for a while when it does not answer, so that the others go on."""
        try:
            yield
        except (NotReady, Misconfigured) as error:
            if place == PLATFORM:
                raise
            self._aside[place] = time.monotonic() + _ASIDE_SECONDS
            _logger.error("the events of a place wait", place=str(place), code=error.code, exc_info=error)

    # --- a tenant's ---------------------------------------------------------------------------

    async def page(
        self, scope: TenantScope, types: Sequence[str], after: int | None, before: int | None, since: int, limit: int
    ) -> Sequence[Event]:
        query = select(events).where(events.c.tenant_id == scope.tenant_id, events.c.occurred_at >= since)
        if types:
            query = query.where(or_(*map(_of_type, types)))
        if after is not None:
            query = query.where(events.c.seq > after).order_by(events.c.seq)
        else:
            query = query.order_by(events.c.seq.desc())
        if before is not None:
            query = query.where(events.c.seq < before)
        async with self._database.reading(scope) as connection:
            return [_event(row) for row in await connection.execute(query.limit(limit))]

    async def deliveries(
        self, scope: TenantScope, destination: str, before: str | None, limit: int
    ) -> Sequence[tuple[Event, Delivery]]:
        same = and_(events.c.tenant_id == deliveries.c.tenant_id, events.c.event_id == deliveries.c.event_id)
        query = (
            select(deliveries, events.c.seq, events.c.type, events.c.subject, events.c.occurred_at, events.c.data)
            .join_from(deliveries, events, same)
            .where(deliveries.c.tenant_id == scope.tenant_id, deliveries.c.destination == destination)
            .order_by(deliveries.c.event_id.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(deliveries.c.event_id < before)
        async with self._database.reading(scope) as connection:
            return [(_event(row), _delivery(row)) for row in await connection.execute(query)]

    async def delivered_since(self, scope: TenantScope, destination: str, since: int) -> bool:
        query = select(deliveries.c.event_id).where(
            deliveries.c.tenant_id == scope.tenant_id,
            deliveries.c.destination == destination,
            deliveries.c.delivered_at >= since,
        )
        async with self._database.reading(scope) as connection:
            return (await connection.execute(query.limit(1))).first() is not None


def _waiting_now(now: int, left_out: Collection[str]) -> list[ColumnElement[bool]]:
    return [events.c.due_at <= now, *([events.c.tenant_id.not_in(sorted(left_out))] if left_out else [])]


def _due(now: int, left_out: Collection[str]) -> Any:
    """The events to take up, locked: every tenant's oldest first, then every tenant's second, and so on."""
    waiting = select(events.c.tenant_id, events.c.event_id, events.c.due_at).where(*_waiting_now(now, left_out))
    first = waiting.order_by(events.c.due_at, events.c.event_id).limit(_LOOKED_AT).subquery()
    place = func.row_number().over(partition_by=first.c.tenant_id, order_by=(first.c.due_at, first.c.event_id))
    ranked = select(first.c.tenant_id, first.c.event_id, place.label("place")).subquery()
    return (
        select(events)
        .join(
            ranked,
            and_(events.c.tenant_id == ranked.c.tenant_id, events.c.event_id == ranked.c.event_id),
        )
        .where(ranked.c.place <= _OF_TENANT, events.c.due_at <= now)
        .order_by(ranked.c.place, events.c.due_at, events.c.event_id)
        .limit(_TAKEN_UP)
        .with_for_update(of=events, skip_locked=True)
    )


def _key(event: Event) -> tuple[str, str]:
    return event.tenant_id, event.event_id


async def _begun(connection: AsyncConnection, seen: Sequence[Event]) -> set[tuple[str, str]]:
    """Those of the events that have deliveries already."""
    query = select(deliveries.c.tenant_id, deliveries.c.event_id).where(_DELIVERY_KEY.in_(map(_key, seen))).distinct()
    return {(row.tenant_id, row.event_id) for row in await connection.execute(query)}


async def _waiting(
    connection: AsyncConnection, claimed: Sequence[Event], now: int
) -> dict[tuple[str, str], list[Delivery]]:
    """The deliveries of the events that are due, by event."""
    found: defaultdict[tuple[str, str], list[Delivery]] = defaultdict(list)
    query = select(deliveries).where(_DELIVERY_KEY.in_(map(_key, claimed)), deliveries.c.due_at <= now)
    for row in await connection.execute(query):
        found[row.tenant_id, row.event_id].append(_delivery(row))
    return found


def _wanting(event: Event, known: Sequence[Webhook]) -> list[str]:
    """The webhooks that an event goes to. What is said about a webhook itself does not go to it."""
    return [
        each.webhook_id
        for each in known
        if each.disabled_at is None
        and each.created_at <= event.occurred_at
        and each.webhook_id != event.subject
        and matches(each.types, event.type)
    ]


async def _free(connection: AsyncConnection, keys: Sequence[tuple[str, str]]) -> None:
    """Make events due with the next of their deliveries; with none that is, they wait for nothing."""
    mine = and_(deliveries.c.tenant_id == events.c.tenant_id, deliveries.c.event_id == events.c.event_id)
    next_due = select(func.min(deliveries.c.due_at)).where(mine).scalar_subquery()
    await connection.execute(update(events).where(_KEY.in_(keys)).values(due_at=next_due))


def _of_type(pattern: str) -> ColumnElement[bool]:
    if pattern.endswith("."):
        return events.c.type.startswith(pattern, autoescape=True)
    return events.c.type == pattern


def _is(each: Delivery) -> ColumnElement[bool]:
    return and_(
        deliveries.c.tenant_id == each.tenant_id,
        deliveries.c.event_id == each.event_id,
        deliveries.c.destination == each.destination,
    )


def _event(row: Row[Any]) -> Event:
    data = msgspec.json.decode(row.data)
    return Event(
        row.tenant_id,
        row.event_id,
        row.seq,
        row.type,
        row.subject,
        row.occurred_at,
        data["action"],
        data["principal"],
    )


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        row.tenant_id, row.event_id, row.destination, row.attempts, row.due_at, row.delivered_at, row.last_status
    )
