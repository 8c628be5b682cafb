"""The kernel's words: what a service offers, what a request needs, what was decided.

Everything here is frozen and made of strings, booleans, integers, tuples and frozen sets, so that
equal inputs are equal values. Quantities are nanos (``foundation.quantity``), prices pico-units,
amounts nano-units of the tenant's currency, durations milliseconds where a name says ``_ms``.

A *bound* is named ``property.statistic``: ``latency_ms.p95``, ``accuracy.min``, ``cost.max``. The
statistics p50 < p95 < p99 < max are upper bounds of growing strength, ``min`` is a lower bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from caio.contracts.vocabulary import LOCALITIES, STRENGTH, TERMS, TRUST_LEVELS, Effect, OnViolation
from caio.foundation import hashing
from caio.foundation.canonical import MAX_INTEGER
from caio.foundation.errors import Reason
from caio.foundation.money import Prices
from caio.foundation.quantity import MAX_NANOS, NANO, decimal_text, read_nanos
from caio.foundation.values import value

__all__ = [
    "CLASSIFICATIONS",
    "DEFAULT_WEIGHTS",
    "LOCALITIES",
    "SCALE",
    "STRENGTH",
    "TERMS",
    "TRUST_LEVELS",
    "Access",
    "Capability",
    "Decision",
    "Effect",
    "Exclusion",
    "History",
    "InconsistentInputs",
    "Offer",
    "OnViolation",
    "Policy",
    "Principal",
    "Privacy",
    "Ranked",
    "Request",
    "Track",
]

CLASSIFICATIONS = ("public", "internal", "confidential", "restricted")

#: Objective terms in their canonical order, with the weights used when nobody states any.
DEFAULT_WEIGHTS = (("margin", 1), ("cost", 2), ("performance", 2), ("reliability", 2), ("preference", 3))

#: Answers that one call may ask for, as OpenAI's ``n`` has it.
MAX_ANSWERS = 128

#: No term counts for more.
MAX_WEIGHT = 1000

#: Scores and terms are integers in [0, SCALE].
SCALE = 10**9


class InconsistentInputs(ValueError):
    """Two contracts or two policies claim the same id and version with different content or owners."""


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing a service can do. ``None`` limits are undeclared, and satisfy no stated need."""

    type: str
    features: frozenset[str] = frozenset()
    context_length: int | None = None
    max_tokens: int | None = None
    max_input_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Privacy:
    """Where data goes and how it is kept. ``regions`` is empty unless ``locality`` is ``regions``."""

    locality: str
    regions: frozenset[str] = frozenset()
    encrypted_in_transit: bool = False
    encrypted_at_rest: bool = False
    retention_days: int | None = None
    trains_on_data: bool = True
    compliance: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use a service. Empty permission sets ask for nothing."""

    all_of: frozenset[str] = frozenset()
    any_of: frozenset[str] = frozenset()
    trust_level: str = TRUST_LEVELS[0]
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """One service version as the kernel sees it.

    ``document`` is the contract's canonical content (what expressions read and evidence shows);
    ``variables`` is the same for expressions, with decimals as floats.
    """

    tenant_id: str
    service_id: str
    version: str
    contract_hash: str
    capabilities: Mapping[str, Capability]
    bounds: Mapping[str, int]
    prices: Prices
    privacy: Privacy
    access: Access
    protocol: str
    timeout_ms: int
    needs_internet: bool = False
    document: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    variables: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def key(self) -> tuple[str, str]:
        return (self.service_id, self.version)


@dataclass(frozen=True, slots=True)
class Policy:
    """One compiled-from-source rule. ``when`` reads request and principal, ``then`` the service.

    ``weights`` and ``on_violation`` hold while ``when`` does; of several, the first in policy
    order (``priority`` descending, then id) wins.
    """

    policy_id: str
    version: int
    priority: int
    effect: Effect
    when: str
    then: str
    message: str
    policy_hash: str
    weights: tuple[tuple[str, int], ...] | None = None
    on_violation: OnViolation | None = None
    document: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller, as far as a decision may depend on it."""

    principal_id: str
    kind: str
    roles: frozenset[str]
    permissions: frozenset[str]
    trust_level: str = TRUST_LEVELS[1]

    def document(self) -> dict[str, Any]:
        return {
            "id": self.principal_id,
            "kind": self.kind,
            "roles": sorted(self.roles),
            "permissions": sorted(self.permissions),
            "trust_level": self.trust_level,
        }

    @classmethod
    def from_document(cls, value: Mapping[str, Any]) -> Principal:
        return cls(
            value["id"], value["kind"], frozenset(value["roles"]), frozenset(value["permissions"]), value["trust_level"]
        )


@value(frozen=True, slots=True)
class Request:
    """What is needed, without the payload: only its size in bytes enters a decision. ``answers`` is how many the
    call asks for at once, each of up to ``max_tokens``."""

    tenant_id: str
    currency: str
    capabilities: tuple[str, ...]
    bounds: tuple[tuple[str, int], ...] = ()
    max_cost: int | None = None
    features: frozenset[str] = frozenset()
    context_length: int | None = None
    data_locality: str | None = None
    regions: frozenset[str] = frozenset()
    compliance: frozenset[str] = frozenset()
    classification: str = "internal"
    sensitive: bool = False
    egress: bool = True
    training: bool = True
    max_retention_days: int | None = None
    services: frozenset[str] = frozenset()
    excluded_services: frozenset[str] = frozenset()
    protocols: frozenset[str] = frozenset()
    stream: bool = False
    input_bytes: int = 0
    max_tokens: int | None = None
    answers: int = 1
    deadline_ms: int = 30_000
    labels: tuple[tuple[str, str], ...] = ()
    weights: tuple[tuple[str, int], ...] | None = None
    on_violation: OnViolation | None = None
    seed: str | None = None

    def __post_init__(self) -> None:
        if not (
            0 <= self.input_bytes <= MAX_INTEGER
            and 0 <= self.deadline_ms <= MAX_INTEGER
            and 0 <= (self.context_length or 0) <= MAX_INTEGER
            and 0 <= (self.max_tokens or 0) <= MAX_INTEGER
            and (self.max_retention_days or 0) <= MAX_INTEGER
        ):
            raise ValueError("a request's sizes and times are integers from 0 to 2**53 - 1")
        if not 1 <= self.answers <= MAX_ANSWERS:
            raise ValueError(f"a call asks for 1 to {MAX_ANSWERS} answers")
        if self.weights is not None and not all(0 <= weight <= MAX_WEIGHT for _, weight in self.weights):
            raise ValueError(f"weights are integers from 0 to {MAX_WEIGHT}")

    def document(self) -> dict[str, Any]:
        """The canonical content: what the request's hash covers and evidence shows. ``answers`` is part of it
        where there is more than one."""
        several = {} if self.answers == 1 else {"answers": self.answers}
        return several | {
            "tenant_id": self.tenant_id,
            "currency": self.currency,
            "capabilities": list(self.capabilities),
            "bounds": {name: decimal_text(value) for name, value in self.bounds},
            "max_cost": None if self.max_cost is None else decimal_text(self.max_cost),
            "features": sorted(self.features),
            "context_length": self.context_length,
            "data_locality": self.data_locality,
            "regions": sorted(self.regions),
            "compliance": sorted(self.compliance),
            "classification": self.classification,
            "sensitive": self.sensitive,
            "egress": self.egress,
            "training": self.training,
            "max_retention_days": self.max_retention_days,
            "services": sorted(self.services),
            "excluded_services": sorted(self.excluded_services),
            "protocols": sorted(self.protocols),
            "stream": self.stream,
            "input_bytes": self.input_bytes,
            "max_tokens": self.max_tokens,
            "deadline_ms": self.deadline_ms,
            "labels": dict(self.labels),
            "weights": None if self.weights is None else dict(self.weights),
            "on_violation": self.on_violation,
            "seed": self.seed,
        }

    @classmethod
    def from_document(cls, value: Mapping[str, Any]) -> Request:
        """The inverse of ``document``; raises KeyError, TypeError or ValueError on anything else."""
        plain = dict(value)
        plain["capabilities"] = tuple(value["capabilities"])
        plain["bounds"] = tuple(sorted((name, read_nanos(text)) for name, text in value["bounds"].items()))
        plain["max_cost"] = None if value["max_cost"] is None else read_nanos(value["max_cost"])
        for name in ("features", "regions", "compliance", "services", "excluded_services", "protocols"):
            plain[name] = frozenset(value[name])
        plain["labels"] = tuple(sorted(value["labels"].items()))
        plain["weights"] = None if value["weights"] is None else tuple(sorted(value["weights"].items()))
        plain["on_violation"] = None if value["on_violation"] is None else OnViolation(value["on_violation"])
        return cls(**plain)


@dataclass(frozen=True, slots=True)
class Track:
    """What was observed of one service: outcomes in the window and their 95th percentile latency."""

    calls: int
    successes: int
    p95_ms: int

    def __post_init__(self) -> None:
        if not (0 <= self.successes <= self.calls and 0 <= self.p95_ms <= MAX_NANOS // NANO):
            raise ValueError("a track has at most as many successes as calls, and a latency below 10**9 ms")


@dataclass(frozen=True, slots=True)
class History:
    """Observed reliability, as data: content-addressed, an argument of the decision.

    Only service ids with at least one outcome in the window appear. ``digest`` is computed when
    not given.
    """

    tracks: Mapping[str, Track] = field(default_factory=dict)
    digest: str = ""

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", hashing.digest_of(hashing.HISTORY, self.document()))

    def document(self) -> dict[str, Any]:
        return {name: [track.calls, track.successes, track.p95_ms] for name, track in self.tracks.items()}

    @classmethod
    def from_document(cls, value: Mapping[str, Any]) -> History:
        return cls({name: Track(*row) for name, row in value.items()})


@dataclass(frozen=True, slots=True)
class Exclusion:
    """The first clause that excluded one offer."""

    service_id: str
    version: str
    clause: str
    subject: str
    required: str
    offered: str
    message: str = ""

    def document(self) -> list[str]:
        return [self.service_id, self.version, self.clause, self.subject, self.required, self.offered]

    def reason(self) -> Reason:
        return Reason(
            self.service_id, self.version, self.clause, self.subject, self.required, self.offered, self.message
        )


class Ranked(msgspec.Struct, frozen=True, gc=False):
    """One feasible offer with its score in [0, SCALE] and its worst-case price in nano-units."""

    offer: Offer
    score: int
    worst_cost: int


@dataclass(slots=True)
class Decision:
    """The pure result: ``ranked`` is best first and empty for a refusal. It and ``exclusions``, in
    order of (id, version), are worked out as far as they are read.

    ``certificate_json`` is the certificate (``routing.certificate``) as canonical bytes; ``decision_hash``
    is its digest, and covers neither an id nor a time. ``request_json`` and ``principal_json`` are the
    documents whose hashes it holds, for its evidence.
    """

    ranked: Sequence[Ranked]
    exclusions: Sequence[Exclusion]
    certificate_json: bytes
    decision_hash: str
    on_violation: OnViolation
    request_json: bytes
    principal_json: bytes

    @property
    def winner(self) -> Ranked | None:
        try:
            return self.ranked[0]
        except IndexError:
            return None

    @property
    def certificate(self) -> Mapping[str, Any]:
        """The certificate, read from its bytes at each look."""
        certificate: dict[str, Any] = msgspec.json.decode(self.certificate_json)
        return certificate
