"""What the gateway needs of the outside: services to call, admission, kept answers, secrets, time.

Ports live beside their consumer; adapters are in ``providers`` and ``storage``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from caio.foundation.money import Usage
from caio.foundation.scope import TenantScope

#: Microseconds since the epoch.
Clock = Callable[[], int]

#: A fresh id for a prefix: ``new_id("dec")``.
NewId = Callable[[str], str]


#: The protocols that a provider speaks; a request is routed to services of these only.
PROTOCOLS = frozenset({"http-json", "openai"})


class Operation(StrEnum):
    """The shape of a call. JSON is a plain document in and out (``/api/v1/orchestrate``)."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how to call a service: read off its contract once, when it is compiled.

    ``path`` and ``method`` are the endpoint's for the wanted capability. ``model`` replaces the
    client's model name for OpenAI-shaped calls. ``secret_ref`` names a secret of the tenant;
    ``auth_scheme`` is ``bearer``, ``header:<Name>`` or ``none``.
    """

    service_id: str
    protocol: str
    base_url: str
    path: str
    method: str
    model: str | None
    auth_scheme: str
    secret_ref: str | None


@dataclass(frozen=True, slots=True)
class Call:
    """One call to make. ``body`` is the JSON value to send, of any kind; ``timeout`` is in seconds."""

    operation: Operation
    body: Any
    stream: bool
    timeout: float
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """A complete answer. ``usage`` is None when the service reported none."""

    body: Any
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """One event of a stream, as the JSON text the service sent (OpenAI shape, without ``data:``).

    ``has_content`` says whether it carries something a person would see; ``text`` is that; the
    chunk that carries usage has it in ``usage``.
    """

    data: bytes
    has_content: bool
    text: str = ""
    usage: Usage | None = None
    finish_reason: str | None = None


class Provider(Protocol):
    """Calls services of one protocol. Adapters raise UpstreamFailed with a fault of the taxonomy
    (never a library's own error) and pass one conformance suite."""

    async def call(self, target: Target, call: Call) -> ProviderAnswer: ...

    def stream(self, target: Target, call: Call) -> AsyncIterator[Chunk]:
        """Yield the stream's chunks. Ending without the protocol's own end mark raises
        UpstreamFailed: a cut stream never looks complete. Closing the iterator cancels the call."""
        ...


@dataclass(frozen=True, slots=True)
class Ask:
    """What admission is asked for: one call of ``service_id`` for a tenant, at worst ``price``.

    ``max_concurrent``, ``per_minute`` and ``per_hour`` are the service's own limits by contract.
    """

    tenant_id: str
    principal_id: str
    service_id: str
    price: int
    max_concurrent: int | None = None
    per_minute: int | None = None
    per_hour: int | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """An admitted call: a reservation to be settled or released exactly once."""

    grant_id: str
    ask: Ask


@dataclass(frozen=True, slots=True)
class ServiceBusy:
    """A service-scoped refusal: the next ranked service may still be admitted."""

    window: str
    limit: int
    retry_after: int


class Admission(Protocol):
    """All windows, the service's limits and the money, taken in one atomic step or not at all.

    Tenant-scoped refusals raise LimitExceeded (429) or BudgetExhausted (402).
    """

    async def admit(self, ask: Ask, now: int) -> Grant | ServiceBusy: ...

    async def move(self, grant: Grant, ask: Ask, now: int) -> Grant | ServiceBusy:
        """Hand an admitted call on to another service (a fallback): the tenant's windows are not
        taken again, the reservation becomes the new worst case. ServiceBusy leaves ``grant`` as it was."""
        ...

    async def settle(self, grant: Grant, charged: int) -> None:
        """Charge at most what was reserved, release the rest and the concurrency slot."""
        ...


@dataclass(frozen=True, slots=True)
class KeptCall:
    """What an idempotency key stands for. ``sealed`` is None while the first call is running."""

    request_hash: str
    decision_id: str
    sealed: bytes | None


class IdempotencyStore(Protocol):
    """Keys live for 24 hours, per tenant."""

    async def claim(
        self, scope: TenantScope, key: str, request_hash: str, decision_id: str, now: int
    ) -> KeptCall | None:
        """Take the key for this call (None), or say what already holds it. Durable and atomic: of
        concurrent claims exactly one gets None. The answer is completed by the outcome's leaf."""
        ...

    async def release(self, scope: TenantScope, key: str, decision_id: str) -> None:
        """Give up a claim whose call ended without an answer worth keeping."""
        ...

    async def release_unfinished(self) -> None:
        """Give up every tenant's claims that hold no answer: what a crashed process left behind.
        For start-up, before the first call, where one process serves alone."""
        ...


class SecretStore(Protocol):
    """Provider keys, sealed at rest."""

    async def sealed(self, scope: TenantScope, name: str) -> bytes:
        """Raises NotFound."""
        ...
