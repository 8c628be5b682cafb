"""What the gateway needs of the outside: services to call, admission, kept answers, secrets, time.

Ports live beside their consumer; adapters are in ``providers`` and ``storage``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from caio.foundation.errors import Violation
from caio.foundation.money import Usage
from caio.foundation.scope import TenantScope
from caio.gateway.health import Change
from caio.tenancy.limits import Unit, Window
from caio.tenancy.ports import Outage

#: Microseconds since the epoch.
Clock = Callable[[], int]

#: A fresh id for a prefix: ``new_id("dec")``.
NewId = Callable[[str], str]


class Operation(StrEnum):
    """The shape of a call. JSON is a plain document in and out (``/api/v1/orchestrate``)."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    JSON = "json"


#: The protocols that a provider speaks for each operation; a request is routed to services of these only. A JSON
#: call of a service that speaks a chat protocol carries an OpenAI chat body, as its payload.
PROTOCOLS_OF: Mapping[Operation, frozenset[str]] = {
    Operation.CHAT: frozenset({"openai", "anthropic", "bedrock", "process"}),
    Operation.EMBEDDINGS: frozenset({"openai", "bedrock"}),
    Operation.JSON: frozenset({"openai", "anthropic", "bedrock", "http-json", "process"}),
}

#: All of them.
PROTOCOLS = frozenset[str]().union(*PROTOCOLS_OF.values())


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how to call a service: read off its contract once, when it is compiled.

    ``path`` and ``method`` are the endpoint's for the wanted capability. ``model`` replaces the
    client's model name for OpenAI-shaped calls. ``secret_ref`` names a secret of the tenant;
    ``auth_scheme`` is ``bearer``, ``header:<Name>``, ``aws`` (signatures for ``region``) or ``none``.
    ``max_tokens`` is the most that the contract lets one answer of the capability hold; ``command`` is the
    operator's name of what a ``process`` service runs.
    """

    service_id: str
    protocol: str
    base_url: str
    path: str
    method: str
    model: str | None
    auth_scheme: str
    secret_ref: str | None
    max_tokens: int | None = None
    region: str | None = None
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call to make. ``body`` is the JSON value to send, of any kind; ``timeout`` is in seconds, for all of it;
    ``traceparent`` is for the service to continue the trace with, None for a call that is not traced.
    ``take`` may be offered a stream's chunks as they arrive, while the stream is waited for: those that it does not
    take, False, are yielded."""

    operation: Operation
    body: Any
    stream: bool
    timeout: float
    secret: str | None = None
    traceparent: str | None = None
    take: Callable[[Sequence[Chunk]], bool] | None = None


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """A complete answer. ``usage`` is None when the service reported none."""

    body: Any
    usage: Usage | None


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """One event of a stream, as the JSON text the service sent (OpenAI shape, without ``data:``).

    ``has_content`` says whether it carries something a person would see or a program act on; ``text`` is all
    that the model wrote of it (``chats.produced``); the chunk that carries usage has it in ``usage``.
    """

    data: bytes
    has_content: bool
    text: str = ""
    usage: Usage | None = None
    finish_reason: str | None = None


class Provider(Protocol):
    """Calls services of one protocol. Adapters raise UpstreamFailed with a fault of the taxonomy
    (never a library's own error) and pass one conformance suite."""

    async def call(self, target: Target, call: Call) -> ProviderAnswer:
        """Raises UpstreamFailed TIMEOUT when ``call.timeout`` is over: nobody else watches the time."""
        ...

    def stream(self, target: Target, call: Call) -> AsyncIterator[Sequence[Chunk]]:
        """Yield the stream's chunks: together those, one at least, that came at once, and none that was taken.

        Ending without the protocol's own end mark raises UpstreamFailed: a cut stream never looks complete. Closing
        the iterator cancels the call."""
        ...


@runtime_checkable
class Translator(Protocol):
    """A provider whose protocol has no words for some of what a chat may ask for."""

    def unsaid(self, target: Target, operation: Operation, body: Any) -> tuple[Violation, ...]:
        """Why the body cannot be said to the target's service; empty when it can. Calls nobody."""
        ...


@dataclass(frozen=True, slots=True)
class Meter:
    """One subject's limits in one unit, and what the call takes of it: one request, the worst case of
    tokens, the worst case of milliseconds. A subject is ``tenant``, ``key:<principal id>`` or
    ``service:<service id>``; a meter has at least one window."""

    subject: str
    unit: Unit
    amount: int
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Slots:
    """At most ``limit`` calls of a subject at once."""

    subject: str
    limit: int


@dataclass(slots=True)  # nobody changes one; but freezing it would cost each call more than all the rest of making it
class Ask:
    """What admission is asked for: one call of ``service_id``, at worst ``price`` nano-units.

    ``grant_id`` is the decision's id. ``budget`` is the tenant's for ``period``, the name of the present one
    (``metering.ledger``), or None. Meters and slots of the tenant come first, then those of the key or member,
    then the service's; none is named twice. After ``expires_at``, microseconds, the call has surely ended.
    """

    scope: TenantScope
    grant_id: str
    principal_id: str
    service_id: str
    price: int
    budget: int | None
    period: str
    meters: tuple[Meter, ...]
    slots: tuple[Slots, ...]
    expires_at: int
    outage: Outage

    @property
    def tenant_id(self) -> str:
        return self.scope.tenant_id


class Actual(NamedTuple):
    """What a call used in the end. Of neither is more booked than was reserved."""

    charged: int = 0
    tokens: int = 0
    compute_ms: int = 0


class Standing(NamedTuple):
    """How the tenant's tightest window of requests stands after a call was admitted: ``remaining`` of
    ``limit`` in any ``span`` seconds; some of what is used is free again in ``reset`` seconds at the latest."""

    window: str
    limit: int
    span: int
    remaining: int
    reset: int


@dataclass(slots=True)
class Grant:
    """An admitted call: a reservation, to be settled once. ``ask`` is what holds now, after a move the new one."""

    ask: Ask
    standing: Standing | None = field(default=None, compare=False)

    @property
    def grant_id(self) -> str:
        return self.ask.grant_id


@dataclass(frozen=True, slots=True)
class ServiceBusy:
    """A service-scoped refusal: the next ranked service may still be admitted."""

    window: str
    limit: int
    retry_after: int


#: A decision that is not durable within this time of its admission is abandoned by the gateway, so that a
#: limiter that lost its state and waits as long finds every call that goes on in the durable records.
GRANT_DURABLE_SECONDS = 2.0


class Admission(Protocol):
    """Every meter, slot and the money, taken in one atomic step or not at all; the laws are those of
    ``tests/conformance/test_admission.py``. Refusals are made by ``gateway.refusals``, and cost nothing."""

    async def admit(self, ask: Ask, now: int) -> Grant | ServiceBusy:
        """Raises LimitExceeded or BudgetExhausted for what is the tenant's or the caller's, and NotReady when
        nothing can be admitted at the moment. A grant id admitted twice is a ValueError."""
        ...

    async def move(self, grant: Grant, ask: Ask, now: int) -> Grant | ServiceBusy:
        """Hand an admitted call on: to another service (a fallback), or to the same once more.

        The request is not taken again from the tenant and the caller. What the call takes at worst of their
        tokens and compute, and of money (in the period in which it was admitted), becomes what ``ask`` says:
        less is given back, more is taken at ``now``. The new service's meters and slot are taken; the old one's
        slot, tokens and compute are free, its request is used. A refusal (as ``admit`` has them) leaves
        ``grant`` as it was. NotReady ``grant_ended`` for a call that has ended, or that the limiter lost.
        """
        ...

    async def settle(self, grant: Grant, actual: Actual) -> None:
        """End a call: book what it used, free the rest and its slots. Settling again changes nothing."""
        ...

    def settling(self, grant: Grant, actual: Actual) -> asyncio.Future[None] | None:
        """``settle``, begun and not waited for: None where it is done already, else what to wait for."""
        ...


@dataclass(frozen=True, slots=True)
class PastCall:
    """An admitted call as the journal tells it. ``services`` are those it called and when, first to last;
    tokens and compute belong to the last. ``charged`` is None while the call has not ended: then ``reserved``,
    tokens and compute are the most that it may hold, and of the services only the first is known."""

    decision_id: str
    principal_id: str
    decided_at: int
    services: tuple[tuple[str, int], ...]
    reserved: int
    charged: int | None
    tokens: int
    compute_ms: int


@dataclass(frozen=True, slots=True)
class PastUse:
    """The calls since a time, oldest first, and what the calls made since the budget's period began were
    charged; those that have not ended are not part of ``spent``."""

    calls: tuple[PastCall, ...]
    spent: int


class AdmissionRecords(Protocol):
    """The durable truth that admission is rebuilt from."""

    async def since(self, scope: TenantScope, since: int, period_start: int) -> PastUse:
        """Calls admitted at ``since`` or later, and the money of those admitted at ``period_start`` or later."""
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

    async def kept(self, scope: TenantScope, key: str) -> KeptCall | None:
        """What the key stands for, without taking it."""
        ...

    async def release(self, scope: TenantScope, key: str, decision_id: str) -> None:
        """Give up a claim whose call ended without an answer worth keeping."""
        ...

    async def release_unfinished(self, before: int | None = None) -> int:
        """Give up every tenant's claims that hold no answer, how many: what a crashed process left behind. Only those
        claimed ``before`` that time, where others serve; all of them before the first call of one that serves
        alone."""
        ...


@dataclass(frozen=True, slots=True)
class Orphan:
    """A call that a shared limiter holds although its process, by name, has been gone for a while; the name is
    empty where the limiter lost it. Times in microseconds."""

    tenant_id: str
    grant_id: str
    process: str
    expires_at: int


class HeldCalls(Protocol):
    """What a shared limiter holds of calls that have not been settled."""

    async def orphans(self) -> Sequence[Orphan]: ...

    async def held(self, tenant_id: str, grant_ids: Collection[str]) -> Collection[str]:
        """Those that a process holds which is still there."""
        ...

    async def end(self, scope: TenantScope, grant_id: str, actual: Actual) -> None:
        """Settle one by its id; one that is not held changes nothing."""
        ...


class SharedHealth(Protocol):
    """Where processes tell each other of breakers that open and close, by tenant. NotReady while it is away."""

    async def tell(self, changes: Sequence[Change]) -> None: ...

    async def told(self) -> Sequence[Change]:
        """What anybody, this process too, has told since it was asked last, and perhaps some of what was told
        before; of each breaker the last, oldest first. At first all that is kept."""
        ...


class OperatorKeys(Protocol):
    """Credentials of the operator's own, for services that the operator has named."""

    def secret(self, owner: str, target: Target) -> str:
        """What the ``owner`` tenant's service is called with, in the form of a stored secret. Raises UpstreamFailed
        AUTH."""
        ...


class SecretStore(Protocol):
    """Provider keys, sealed at rest."""

    async def sealed(self, scope: TenantScope, name: str) -> bytes:
        """Raises NotFound."""
        ...
