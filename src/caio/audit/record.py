"""What the journal records of a decision and of its outcome, and how a record becomes a leaf.

Theory of operation
-------------------
A record is a canonical JSON document (docs/reference/receipt-format.md). Its leaf carries a salted
commitment to the document, and salt and document sealed with the tenant's key. The salt lives
nowhere else: with the key it is gone, and the commitment tells nothing any more, not even to
somebody who guesses the document.

What callers sent and services answered is never part of a record; commitments to them are.

What a call makes here is made by position, in the order in which it is declared: by name it would take three times
as long.

Laws (each has a test of the same name)
---------------------------------------
- records_hold_no_payloads: neither the question nor the answer, in no encoding.
- a_leaf_opens_to_its_record: and to nothing when its commitment does not match.
- rows_follow_from_records: every clear column can be recomputed from the sealed document.
- records_are_canonical: a record's bytes are the canonical JSON of its document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import UNSET, Raw, UnsetType

from caio.audit.ports import (
    ActRow,
    Attempt,
    DecisionRow,
    KeptAnswer,
    Leaf,
    LeafKind,
    Mode,
    OutcomeRow,
    Status,
    StoredLeaf,
)
from caio.audit.sealing import Sealer, sealing_context
from caio.foundation.canonical import Form, NotCanonical, exact, read_canonical
from caio.foundation.errors import Erased, SealBroken, UpstreamFault
from caio.foundation.hashing import DIGEST_BYTES, keyed, same
from caio.foundation.money import Usage
from caio.foundation.quantity import decimal_text
from caio.foundation.values import value

RECORD_VERSION = 1
SALT_BYTES = 32


@value(frozen=True, slots=True)
class Commitment:
    """A salted commitment to bytes: HMAC-SHA256(salt, data). Binding, and hiding while ``salt`` is secret."""

    value: bytes
    salt: bytes

    @classmethod
    def to(cls, data: bytes, salt: bytes) -> Commitment:
        """Raises ValueError unless ``salt`` has 32 bytes; that they are random is the caller's part."""
        if len(salt) != SALT_BYTES:
            raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
        return cls(keyed(salt, data), salt)

    def holds(self, data: bytes) -> bool:
        return same(keyed(self.salt, data), self.value)


class _DecisionForm(Form, frozen=True):
    admitted: bool
    at_most: Mapping[str, int | str] | UnsetType
    capability: str
    certificate: Raw
    decided_at: int
    decision_hash: str
    decision_id: str
    idempotency_key: str | UnsetType
    kind: str
    mode: str
    passed_over: int
    payload_commitment: str
    payload_salt: str
    principal: str
    principal_document: Raw
    request: Raw
    reserved: str
    service: str
    tenant: str
    v: int
    version: str


@value(frozen=True, slots=True)
class DecisionRecord:
    """A decision as it is journalled. Times in microseconds since the epoch, ``reserved`` in nano-units.

    ``service_id`` and ``version`` name the chosen service and are empty when there is none;
    ``passed_over`` counts the better ranked services that had no room, were left alone or could not take the
    payload. The call may take at most ``most_cost``, tokens and milliseconds, also when it is handed on to another
    service. The certificate, and request and principal as its evidence, are canonical bytes. ``payload`` commits to
    what the caller sent.
    """

    tenant_id: str
    decision_id: str
    decided_at: int
    mode: Mode
    capability: str
    principal_id: str
    request_json: bytes
    principal_json: bytes
    certificate_json: bytes
    decision_hash: str
    admitted: bool
    service_id: str
    version: str
    passed_over: int
    reserved: int
    payload: Commitment
    idempotency_key: str | None = None
    most_cost: int = 0
    most_tokens: int = 0
    most_compute_ms: int = 0

    kind = LeafKind.DECISION

    @property
    def recorded_at(self) -> int:
        return self.decided_at

    @property
    def subject_id(self) -> str:
        return self.decision_id

    def canonical(self) -> bytes:
        exact(self.decided_at, self.most_tokens, self.most_compute_ms)
        bounded = self.most_cost or self.most_tokens or self.most_compute_ms
        form = _DecisionForm(
            self.admitted,
            UNSET if not bounded else self._at_most(),
            self.capability,
            Raw(self.certificate_json),
            self.decided_at,
            self.decision_hash,
            self.decision_id,
            UNSET if self.idempotency_key is None else self.idempotency_key,
            LeafKind.DECISION,
            self.mode,
            self.passed_over,
            self.payload.value.hex(),
            self.payload.salt.hex(),
            self.principal_id,
            Raw(self.principal_json),
            Raw(self.request_json),
            decimal_text(self.reserved),
            self.service_id,
            self.tenant_id,
            RECORD_VERSION,
            self.version,
        )
        return form.canonical()

    def _at_most(self) -> Mapping[str, int | str]:
        cost = decimal_text(self.most_cost)
        return {"compute_ms": self.most_compute_ms, "cost": cost, "tokens": self.most_tokens}

    def row(self) -> DecisionRow:
        return DecisionRow(
            self.decision_id,
            self.decided_at,
            self.mode,
            self.capability,
            self.service_id,
            self.version,
            self.principal_id,
            self.decision_hash,
            self.admitted,
            self.reserved,
            self.most_cost,
            self.most_tokens,
            self.most_compute_ms,
        )


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise that an answer did not keep: the clause, the bound and what was seen, as text."""

    clause: str
    required: str
    observed: str


class _AttemptForm(Form, frozen=True):
    fault: str | UnsetType
    http_status: int | UnsetType
    latency_ms: int
    service: str
    streamed: bool | UnsetType
    version: str
    violations: Sequence[Mapping[str, str]]


@value(frozen=True, slots=True)
class AttemptRecord:
    """One call of one service. ``fault`` is None when it answered as its protocol demands;
    ``http_status`` is what it answered with, if it spoke HTTP at all. ``latency_ms`` is the time to
    the whole answer; of a stream (``streamed``) to its first content."""

    service_id: str
    version: str
    latency_ms: int
    fault: UpstreamFault | None = None
    http_status: int | None = None
    breaches: tuple[Breach, ...] = ()
    streamed: bool = False

    def form(self) -> Form:
        exact(self.latency_ms, self.http_status or 0)
        return _AttemptForm(
            UNSET if self.fault is None else self.fault,
            UNSET if self.http_status is None else self.http_status,
            self.latency_ms,
            self.service_id,
            self.streamed or UNSET,
            self.version,
            [{"clause": one.clause, "observed": one.observed, "required": one.required} for one in self.breaches],
        )

    def row(self) -> Attempt:
        clauses = tuple([one.clause for one in self.breaches])
        return Attempt(self.service_id, self.version, self.fault is None, self.latency_ms, self.streamed, clauses)


class _OutcomeForm(Form, frozen=True):
    answer_commitment: str | UnsetType
    answer_from: str | UnsetType
    answer_salt: str | UnsetType
    attempts: Sequence[Form]
    charged: str
    decision_id: str
    finished_at: int
    kind: str
    latency_ms: int
    reserved: str
    service: str
    status: str
    tenant: str
    usage: Mapping[str, int]
    v: int


@value(frozen=True, slots=True)
class OutcomeRecord:
    """How an admitted call ended. ``reserved`` is the last reservation (a fallback may have changed
    it); ``answer`` commits to what was sent to the caller, None when nothing was. ``answer_from`` is the decision
    whose answer was given again, without calling anybody."""

    tenant_id: str
    decision_id: str
    finished_at: int
    status: Status
    service_id: str
    latency_ms: int
    attempts: tuple[AttemptRecord, ...]
    usage: Usage
    reserved: int
    charged: int
    answer: Commitment | None
    answer_from: str | None = None

    kind = LeafKind.OUTCOME

    @property
    def recorded_at(self) -> int:
        return self.finished_at

    @property
    def subject_id(self) -> str:
        return self.decision_id

    def canonical(self) -> bytes:
        used, answer = self.usage, self.answer
        exact(self.finished_at, self.latency_ms, used.input_tokens, used.output_tokens, used.milliseconds)
        form = _OutcomeForm(
            UNSET if answer is None else answer.value.hex(),
            UNSET if self.answer_from is None else self.answer_from,
            UNSET if answer is None else answer.salt.hex(),
            [attempt.form() for attempt in self.attempts],
            decimal_text(self.charged),
            self.decision_id,
            self.finished_at,
            LeafKind.OUTCOME,
            self.latency_ms,
            decimal_text(self.reserved),
            self.service_id,
            self.status,
            self.tenant_id,
            {
                "input_tokens": used.input_tokens,
                "milliseconds": used.milliseconds,
                "output_tokens": used.output_tokens,
            },
            RECORD_VERSION,
        )
        return form.canonical()

    def row(self) -> OutcomeRow:
        return OutcomeRow(
            self.decision_id,
            self.finished_at,
            self.status,
            self.service_id,
            self.latency_ms,
            self.usage.input_tokens,
            self.usage.output_tokens,
            self.charged,
            tuple([one.row() for one in self.attempts]),
        )


class Record(Protocol):
    """What the journal can take: a document, whose and about what it is, and its clear columns."""

    @property
    def tenant_id(self) -> str: ...
    @property
    def kind(self) -> LeafKind: ...
    @property
    def subject_id(self) -> str: ...
    @property
    def recorded_at(self) -> int: ...

    def canonical(self) -> bytes: ...

    def row(self) -> DecisionRow | OutcomeRow | ActRow: ...


def leaf_of(record: Record, sealer: Sealer, salt: bytes, kept_answer: KeptAnswer | None = None) -> Leaf:
    """The journal's leaf of ``record``. ``salt`` is 32 random bytes, used once and kept nowhere else."""
    payload, tenant_id, kind, subject_id = record.canonical(), record.tenant_id, record.kind, record.subject_id
    return Leaf(
        tenant_id,
        kind,
        subject_id,
        record.recorded_at,
        Commitment.to(payload, salt).value,
        sealer.seal(salt + payload, sealing_context(tenant_id, kind, subject_id)),
        record.row(),
        kept_answer,
    )


@dataclass(frozen=True, slots=True)
class OpenedLeaf:
    """A leaf's content in clear, checked against its commitment."""

    seq: int
    document: Mapping[str, Any]
    commitment: Commitment


def open_leaf(stored: StoredLeaf, sealer: Sealer) -> OpenedLeaf:
    """Read a leaf back. Raises Erased when its content is gone, and SealBroken when it was changed or
    moved, or when what was sealed is not what its commitment says."""
    leaf = stored.leaf
    if not leaf.sealed:
        raise Erased("The content of this journal entry was erased; only its commitment is left.")
    opened = sealer.open(leaf.sealed, sealing_context(leaf.tenant_id, leaf.kind, leaf.subject_id))
    commitment = Commitment(leaf.commitment, opened[:SALT_BYTES])
    payload = opened[SALT_BYTES:]
    if len(leaf.commitment) != DIGEST_BYTES or not commitment.holds(payload):
        raise SealBroken("A journal entry does not match its commitment: one of the two was changed.")
    try:
        return OpenedLeaf(stored.seq, read_canonical(payload), commitment)
    except NotCanonical as error:
        raise SealBroken("A journal entry is not a canonical document.") from error
