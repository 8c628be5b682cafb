"""What the events room needs of a store, of receivers and of the platform's own buses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from caio.events.envelope import Event
from caio.foundation.scope import TenantScope


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where a tenant wants its events. ``types`` are patterns as ``envelope.matches`` reads them, ``sealed`` the
    signing secrets. Times are microseconds since the epoch."""

    webhook_id: str
    tenant_id: str
    url: str
    types: tuple[str, ...]
    sealed: bytes = field(repr=False)
    created_at: int
    created_by: str
    disabled_at: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one destination: a webhook's id, or the name of a sink. ``due_at`` is None when
    it is over; it is *dead* when it is over and was not delivered."""

    tenant_id: str
    event_id: str
    destination: str
    attempts: int
    due_at: int | None
    delivered_at: int | None
    last_status: str

    @property
    def dead(self) -> bool:
        return self.due_at is None and self.delivered_at is None


@dataclass(frozen=True, slots=True)
class Due:
    """An event that the relay has leased, the deliveries of it that are due, and the tenant's webhooks among
    their destinations. One that is absent there was deleted or disabled."""

    event: Event
    deliveries: tuple[Delivery, ...]
    webhooks: Mapping[str, Webhook]


@dataclass(frozen=True, slots=True)
class Answered:
    """How one attempt went. ``status`` is said to the tenant; ``pause`` is what the receiver asked for, in
    microseconds; ``final`` is that no further attempt is wanted."""

    delivered: bool
    status: str
    pause: int = 0
    final: bool = False


class Outbox(Protocol):
    """The platform's side of the store: it works for all tenants and shows nothing to any."""

    async def claim(self, now: int, until: int, limit: int, share: int, busy: Collection[str]) -> Sequence[Due]:
        """Up to ``limit`` events that are due at ``now``, at most ``share`` of a tenant and none of the tenants in
        ``busy``, leased until ``until``: nobody else is given them before. Their deliveries exist from then on."""
        ...

    async def settle(self, event: Event, deliveries: Sequence[Delivery]) -> None:
        """Write what became of ``deliveries`` and free the event until the next of its own is due."""
        ...

    async def prune(self, before: int, limit: int) -> int:
        """Forget up to ``limit`` events that occurred before ``before`` and wait for nothing; returns how many."""
        ...


class EventStore(Protocol):
    """A tenant's side of the store."""

    async def page(
        self, scope: TenantScope, types: Sequence[str], after: int | None, before: int | None, since: int, limit: int
    ) -> Sequence[Event]:
        """Events that occurred at ``since`` or later and match ``types`` (all, when empty): with ``after``, those of
        a higher ``seq``, ascending; otherwise those of a lower ``seq`` than ``before``, newest first."""
        ...

    async def deliveries(
        self, scope: TenantScope, destination: str, before: str | None, limit: int
    ) -> Sequence[tuple[Event, Delivery]]:
        """What went to a destination, newest event first, from before the event ``before``."""
        ...

    async def delivered_since(self, scope: TenantScope, destination: str, since: int) -> bool:
        """Whether anything was delivered to a destination at ``since`` or later."""
        ...


class Receiver(Protocol):
    """Sends to addresses that tenants supplied."""

    def check(self, url: str) -> None:
        """Raises InvalidInput for an address that is not called, whatever it answers."""
        ...

    async def send(self, webhook: Webhook, headers: Mapping[str, str], body: bytes) -> Answered: ...


class Sink(Protocol):
    """A bus of the platform's own, which gets every tenant's events."""

    @property
    def name(self) -> str: ...

    async def send(self, events: Sequence[Event]) -> Sequence[Answered]:
        """How it went for each of ``events``, in their order. Raises nothing."""
        ...
