"""One request on its way: what is wanted, what was decided, what has been tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import msgspec

from caio.audit.record import AttemptRecord, Breach
from caio.foundation.errors import CaioError, NotReady, UpstreamFailed
from caio.foundation.money import Usage
from caio.foundation.values import value
from caio.gateway.frames import ChatFrames, Frames
from caio.gateway.most import Most
from caio.gateway.ports import Grant, Operation, Standing
from caio.registry.views import Reference
from caio.routing.model import Decision, Ranked, Request
from caio.tenancy.principals import Caller

#: Bytes taken for one token where a service reports no usage.
BYTES_PER_TOKEN = 4


@dataclass(slots=True)  # not frozen: what the surface sends is put in once the rest is there
class Answer:
    """A complete answer, released: its decision and its outcome are durable. ``content`` is what the
    surface sends for it, and what the outcome commits to; ``answer_from`` is the decision whose answer was given again
    (``answer_cache``); ``standing`` is how the tenant stood at its admission,
    None for an answer that was kept."""

    decision_id: str
    service_id: str
    version: str
    body: Any
    latency_ms: int
    usage: Usage
    charged: int
    breaches: tuple[Breach, ...] = ()
    attempts: int = 1
    content: bytes = b""
    replayed: bool = False
    answer_from: str | None = None
    standing: Standing | None = None


def body_alone(answer: Answer) -> bytes:
    """The service's own answer as JSON: what a surface sends that adds nothing."""
    return msgspec.json.encode(answer.body)


@value(frozen=True, slots=True)
class Wanted:
    """A call as a surface hands it over.

    ``body`` is the document for the service, ``payload`` the bytes that the caller sent, for the
    commitment; ``fingerprint`` identifies the whole HTTP request for its idempotency key; ``render``
    says what the surface will send, and ``frames`` what it will send of a stream. An answer to an equal request that is
    ``cache_seconds`` old at most will do as well; None for a new one.
    """

    caller: Caller
    request: Request
    operation: Operation
    body: Any
    payload: bytes
    policies: Sequence[Reference] = ()
    idempotency_key: str | None = None
    fingerprint: str = ""
    frames: Callable[[], Frames] = ChatFrames
    render: Callable[[Answer], bytes] = body_alone
    cache_seconds: int | None = None


@dataclass(slots=True)  # nobody changes one; freezing it would cost each call more than the rest of making it
class Tried:
    """One attempt: who, how long (until the first content, when ``streamed``), and either a fault or
    an answer with its breaches."""

    ranked: Ranked
    latency_ms: int
    fault: UpstreamFailed | None = None
    body: Any = None
    usage: Usage = field(default_factory=Usage)
    cost: int = 0
    breaches: tuple[Breach, ...] = ()
    streamed: bool = False

    @property
    def outcome(self) -> str:
        """How it ended: ``ok``, ``violated``, or the fault."""
        if self.fault is not None:
            return self.fault.fault.value
        return "violated" if self.breaches else "ok"

    def record(self) -> AttemptRecord:
        """What the outcome records of it; no payload."""
        return AttemptRecord(
            self.ranked.offer.service_id,
            self.ranked.offer.version,
            self.latency_ms,
            None if self.fault is None else self.fault.fault,
            None if self.fault is None else self.fault.status,
            self.breaches,
            self.streamed,
        )


@dataclass(slots=True)
class Run:
    """An admitted request and its course through the ranked services. It ``waited`` so many seconds before it was
    admitted; ``candidate`` is the service that it is admitted for, the one ranked at ``position``; ``probe`` says
    whether its present attempt is its service's probe (``health``)."""

    wanted: Wanted
    decision: Decision
    decision_id: str
    decided_at: int
    grant: Grant
    position: int
    candidate: Ranked
    most: Most
    tried: list[Tried] = field(default_factory=list)
    started: float = field(default_factory=monotonic)
    waited: float = 0.0
    probe: bool = False

    @property
    def remaining(self) -> float:
        """Seconds until the request's deadline; may be negative."""
        return self.wanted.request.deadline_ms / 1000 - self.waited - (monotonic() - self.started)

    @property
    def elapsed_ms(self) -> int:
        return int((self.waited + monotonic() - self.started) * 1000)


def named(error: CaioError, decision_id: str) -> CaioError:
    """``error`` with the id of the decision that it belongs to, for the caller. One NotReady may be raised for many
    calls at once, as the journal does for a whole group, so each call is told by one of its own."""
    if isinstance(error, NotReady):
        error = NotReady(error.message, code=error.code, retry_after=error.retry_after)
    error.decision_id = decision_id
    return error


def estimated_tokens(size: int) -> int:
    """Tokens taken for ``size`` bytes of text where nobody counted them."""
    return -(-size // BYTES_PER_TOKEN)
