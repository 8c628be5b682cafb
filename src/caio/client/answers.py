"""What CAIO answers, typed. Fields that a newer server adds are ignored; ``raw``, where there is one, has them all.

Times are microseconds since the epoch; money is decimal.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T")

#: The states in which a run stays.
ENDED = frozenset({"succeeded", "failed", "cancelled"})


class Answer(Struct, frozen=True, kw_only=True):
    """The base of all of them."""


class ServiceVersion(Answer, frozen=True):
    id: str
    version: str


class Tokens(Answer, frozen=True):
    input_tokens: int = 0
    output_tokens: int = 0


class Cost(Answer, frozen=True):
    amount: Decimal
    currency: str


class Breach(Answer, frozen=True):
    """A clause of its contract that the answer broke."""

    clause: str
    required: str
    observed: str


class Orchestrated(Answer, frozen=True):
    """``receipt`` is its address, or the receipt itself where it was asked for. ``replayed`` says that this is
    the answer of an earlier call with the same idempotency key."""

    decision_id: str
    service: ServiceVersion
    output: Any
    usage: Tokens
    cost: Cost
    latency_ms: int
    attempts: int
    violations: list[Breach]
    receipt: str | dict[str, Any]
    replayed: bool = False


class Ranked(Answer, frozen=True):
    """A service that satisfies everything: its score (0 to 1,000,000,000) and its price at worst."""

    service: str
    version: str
    score: int
    worst_cost: Decimal


class Excluded(Answer, frozen=True):
    """The first clause that a service failed."""

    service_id: str
    version: str
    clause: str
    subject: str
    required: str
    offered: str
    message: str


class Routed(Answer, frozen=True):
    decision_id: str
    decision_hash: str
    service: Ranked
    ranked: list[Ranked]
    certificate: dict[str, Any]


class Discovered(Answer, frozen=True):
    ranked: list[Ranked]
    excluded: list[Excluded]


class Warned(Answer, frozen=True):
    pointer: str
    detail: str
    line: int | None = None


class Finding(Answer, frozen=True):
    """What the analysis of policies found."""

    code: str
    severity: str
    detail: str
    pointer: str
    policies: list[str]
    counterexample: dict[str, Any] | None = None


class Publication(Answer, frozen=True):
    """One version of a contract or policy. A further one is published with its ``revision``."""

    name: str
    version: str
    status: str
    revision: int
    digest: str
    published_at: int
    document: dict[str, Any]
    warnings: list[Warned] = []
    findings: list[Finding] = []


class Validation(Answer, frozen=True):
    digest: str
    document: dict[str, Any]
    warnings: list[Warned] = []
    findings: list[Finding] = []


class Page(Answer, Generic[T], frozen=True):
    """Ask for the next with its ``next``, until that is None."""

    items: list[T]
    next_after: str | None = None
    next_before: str | None = None

    @property
    def next(self) -> str | None:
        return self.next_after or self.next_before


class DecisionSummary(Answer, frozen=True):
    """``status`` is None while the call is running."""

    decision_id: str
    decided_at: int
    mode: str
    capability: str
    service: str | None
    principal: str
    status: str | None
    latency_ms: int | None
    charged: Decimal | None


class Decision(Answer, frozen=True):
    """``result`` is None until the call has ended."""

    decision_id: str
    decided_at: int
    mode: str
    decision_hash: str
    outcome: str
    certificate: dict[str, Any]
    result: dict[str, Any] | None


class Sums(Answer, frozen=True):
    calls: int
    failed: int
    input_tokens: int
    output_tokens: int
    compute_seconds: Decimal
    cost: Decimal
    breaches: int


class Group(Sums, frozen=True):
    """Of the dimensions, those that were asked for."""

    day: date | None = None
    principal: str | None = None
    service: str | None = None
    capability: str | None = None


class UsageStatement(Answer, frozen=True, rename={"since": "from", "until": "to"}):
    """Every call that was recorded before ``as_of`` is in it; ``waiting`` further entries are not yet."""

    since: date
    until: date
    group_by: list[str]
    currency: str
    as_of: int
    waiting: int
    groups: list[Group]
    total: Sums


class Step(Answer, frozen=True):
    """A step of a run. ``output`` is what it answered, ``error`` what went wrong."""

    id: str
    after: list[str]
    status: str
    max_cost: Decimal
    decision_id: str | None = None
    service_id: str | None = None
    charged: Decimal | None = None
    started_at: int | None = None
    finished_at: int | None = None
    output: Any = None
    error: dict[str, Any] | None = None


class Run(Answer, frozen=True):
    """A run of a workflow. ``code`` says why it failed; its steps are told by ``workflows.get`` alone."""

    run_id: str
    status: str
    principal_id: str
    plan_hash: str
    most_cost: Decimal
    created_at: int
    updated_at: int
    deadline_at: int
    code: str | None = None
    steps: list[Step] = []
    charged: Decimal | None = None
    result: Any = None
    error: dict[str, Any] | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


class RunEvent(Answer, frozen=True):
    """Something that happened to a run: ``kind`` is ``run.…`` or ``step.…``."""

    id: str
    kind: str
    at: int
    document: dict[str, Any]


class Model(Answer, frozen=True):
    id: str
    owned_by: str
    created: int = 0


class Models(Answer, frozen=True):
    data: list[Model]


class Routing(Answer, frozen=True):
    """Which decision an answer came of, and which service gave it, as ``id@version``."""

    decision_id: str
    service: str
    replayed: bool = False


class Message(Answer, frozen=True):
    role: str = "assistant"
    content: str | list[Any] | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class Choice(Answer, frozen=True):
    message: Message
    index: int = 0
    finish_reason: str | None = None


class ChatUsage(Answer, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Chat(Answer, frozen=True):
    """A chat completion. ``raw`` is all that the service answered."""

    choices: list[Choice]
    id: str = ""
    model: str | None = None
    usage: ChatUsage | None = None
    raw: dict[str, Any] = {}
    routing: Routing | None = None

    @property
    def text(self) -> str:
        """The first choice's text; empty where it has none."""
        content = self.choices[0].message.content if self.choices else None
        return content if isinstance(content, str) else ""


class Delta(Answer, frozen=True):
    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class ChunkChoice(Answer, frozen=True):
    delta: Delta = msgspec.field(default_factory=Delta)
    index: int = 0
    finish_reason: str | None = None


class ChatChunk(Answer, frozen=True):
    """A piece of a chat completion. ``raw`` is all of it."""

    choices: list[ChunkChoice] = []
    id: str = ""
    model: str | None = None
    usage: ChatUsage | None = None
    raw: dict[str, Any] = {}

    @property
    def text(self) -> str:
        return (self.choices[0].delta.content or "") if self.choices else ""


class Embedding(Answer, frozen=True):
    embedding: list[float] | str
    index: int = 0


class Embeddings(Answer, frozen=True):
    data: list[Embedding]
    model: str | None = None
    usage: ChatUsage | None = None
    raw: dict[str, Any] = {}
    routing: Routing | None = None
