"""What the journal records of a decision and of its outcome, and how a record becomes a leaf.

Theory of operation
-------------------
A record is a canonical JSON document (docs/reference/receipt-format.md). Its leaf carries a salted
commitment to the document, and salt and document sealed with the tenant's key. The salt lives
nowhere else: with the key it is gone, and the commitment tells nothing any more, not even to
somebody who guesses the document.

What callers sent and services answered is never part of a record; commitments to them are.

Laws (each has a test of the same name)
---------------------------------------
- records_hold_no_payloads: neither the question nor the answer, in no encoding.
- a_leaf_opens_to_its_record: and to nothing when its commitment does not match.
- rows_follow_from_records: every clear column can be recomputed from the sealed document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

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
from caio.foundation.canonical import NotCanonical, canonical_json, read_canonical
from caio.foundation.errors import Erased, SealBroken, UpstreamFault
from caio.foundation.hashing import DIGEST_BYTES, keyed, same
from caio.foundation.money import Usage
from caio.foundation.quantity import decimal_text

RECORD_VERSION = 1
SALT_BYTES = 32


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision as it is journalled. Times in microseconds since the epoch, ``reserved`` in nano-units.

    ``service_id`` and ``version`` name the chosen service and are empty when there is none;
    ``passed_over`` counts the better ranked services that had no room. The call may take at most ``most_cost``,
    tokens and milliseconds, also when it is handed on to another service. The two documents are the
    certificate's inputs, kept for its evidence. ``payload`` commits to what the caller sent.
    """

    tenant_id: str
    decision_id: str
    decided_at: int
    mode: Mode
    capability: str
    principal_id: str
    request_document: Mapping[str, Any]
    principal_document: Mapping[str, Any]
    certificate: Mapping[str, Any]
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

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "v": RECORD_VERSION,
            "kind": self.kind,
            "tenant": self.tenant_id,
            "decision_id": self.decision_id,
            "decided_at": self.decided_at,
            "mode": self.mode,
            "capability": self.capability,
            "principal": self.principal_id,
            "request": self.request_document,
            "principal_document": self.principal_document,
            "certificate": self.certificate,
            "decision_hash": self.decision_hash,
            "admitted": self.admitted,
            "service": self.service_id,
            "version": self.version,
            "passed_over": self.passed_over,
            "reserved": decimal_text(self.reserved),
            "payload_commitment": self.payload.value.hex(),
            "payload_salt": self.payload.salt.hex(),
        }
        if self.idempotency_key is not None:
            document["idempotency_key"] = self.idempotency_key
        if self.most_cost or self.most_tokens or self.most_compute_ms:
            document["at_most"] = {
                "cost": decimal_text(self.most_cost),
                "tokens": self.most_tokens,
                "compute_ms": self.most_compute_ms,
            }
        return document

    def canonical(self) -> bytes:
        return canonical_json(self.document())

    def row(self) -> DecisionRow:
        return DecisionRow(
            decision_id=self.decision_id,
            decided_at=self.decided_at,
            mode=self.mode,
            capability=self.capability,
            service_id=self.service_id,
            service_version=self.version,
            principal_id=self.principal_id,
            decision_hash=self.decision_hash,
            admitted=self.admitted,
            reserved=self.reserved,
            most_cost=self.most_cost,
            most_tokens=self.most_tokens,
            most_compute_ms=self.most_compute_ms,
        )


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise that an answer did not keep: the clause, the bound and what was seen, as text."""

    clause: str
    required: str
    observed: str


@dataclass(frozen=True, slots=True)
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

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "service": self.service_id,
            "version": self.version,
            "latency_ms": self.latency_ms,
            "violations": [
                {"clause": one.clause, "required": one.required, "observed": one.observed} for one in self.breaches
            ],
        }
        if self.fault is not None:
            document["fault"] = self.fault
        if self.http_status is not None:
            document["http_status"] = self.http_status
        if self.streamed:
            document["streamed"] = True
        return document

    def row(self) -> Attempt:
        clauses = tuple(one.clause for one in self.breaches)
        return Attempt(self.service_id, self.version, self.fault is None, self.latency_ms, self.streamed, clauses)


@dataclass(frozen=True, slots=True)
class OutcomeRecord:
    """How an admitted call ended. ``reserved`` is the last reservation (a fallback may have changed
    it); ``answer`` commits to what was sent to the caller, None when nothing was."""

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

    kind = LeafKind.OUTCOME

    @property
    def recorded_at(self) -> int:
        return self.finished_at

    @property
    def subject_id(self) -> str:
        return self.decision_id

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "v": RECORD_VERSION,
            "kind": self.kind,
            "tenant": self.tenant_id,
            "decision_id": self.decision_id,
            "finished_at": self.finished_at,
            "status": self.status,
            "service": self.service_id,
            "latency_ms": self.latency_ms,
            "attempts": [attempt.document() for attempt in self.attempts],
            "usage": {
                "input_tokens": self.usage.input_tokens,
                "output_tokens": self.usage.output_tokens,
                "milliseconds": self.usage.milliseconds,
            },
            "reserved": decimal_text(self.reserved),
            "charged": decimal_text(self.charged),
        }
        if self.answer is not None:
            document["answer_commitment"] = self.answer.value.hex()
            document["answer_salt"] = self.answer.salt.hex()
        return document

    def canonical(self) -> bytes:
        return canonical_json(self.document())

    def row(self) -> OutcomeRow:
        return OutcomeRow(
            decision_id=self.decision_id,
            finished_at=self.finished_at,
            status=self.status,
            service_id=self.service_id,
            latency_ms=self.latency_ms,
            input_tokens=self.usage.input_tokens,
            output_tokens=self.usage.output_tokens,
            charged=self.charged,
            attempts=tuple(one.row() for one in self.attempts),
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
    payload = record.canonical()
    context = sealing_context(record.tenant_id, record.kind, record.subject_id)
    return Leaf(
        tenant_id=record.tenant_id,
        kind=record.kind,
        subject_id=record.subject_id,
        recorded_at=record.recorded_at,
        commitment=Commitment.to(payload, salt).value,
        sealed=sealer.seal(salt + payload, context),
        projection=record.row(),
        kept_answer=kept_answer,
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
