"""The receipt's form, once: what is read from outside is converted to it, and the JSON Schema in
``schemas/receipt.schema.json`` is generated from it.

Members that are not named here are kept, and covered by signature and commitments, but mean
nothing to this version: a later one may add some (docs/reference/receipt-format.md). Only form is
checked: no hash, no signature, and of a certificate only what the receipt's own claims read.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from caio.audit.ports import Mode, Status
from caio.foundation.errors import UpstreamFault

# A length, or a look-ahead, beside each pattern: in Python ``$`` also matches before a last newline.
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64, description="32 bytes in lower-case hexadecimal")]
Count = Annotated[int, Meta(ge=0)]
Micros = Annotated[int, Meta(ge=0, description="microseconds since 1970-01-01T00:00:00Z")]
Amount = Annotated[
    str,
    Meta(
        pattern=r"^(0|[1-9][0-9]{0,9})(\.[0-9]{0,8}[1-9])?$(?!\n)",
        description="shortest plain decimal, at most 9 places, in the tenant's currency",
    ),
]
KeyId = Annotated[
    str, Meta(pattern="^[0-9a-f]{16}$", max_length=16, description="start of SHA-256 over the raw public key")
]
Text = Annotated[str, Meta(min_length=1)]


class Feasible(Struct, frozen=True):
    count: Count
    hash: Digest


class Certificate(Struct, frozen=True):
    """The parts of a certificate (docs/reference/routing-rules.md) that a receipt's claims read."""

    v: Literal[2]
    tenant: Text
    request: Digest
    principal: Digest
    feasible: Feasible
    ranked: list[tuple[str, str, Any, Any]]


class AtMost(Struct, frozen=True):
    """What a call could take, whichever service it was handed on to."""

    cost: Amount
    tokens: Count
    compute_ms: Count


class Request(Struct, frozen=True):
    """The parts of a request that a receipt's claims read."""

    tenant_id: Text
    capabilities: list[str]


class Principal(Struct, frozen=True):
    """The parts of a principal that a receipt's claims read."""

    id: Text


class Decision(Struct, frozen=True):
    """What was decided. ``service`` and ``version`` are empty when no service was chosen."""

    v: Literal[1]
    kind: Literal["decision"]
    tenant: Text
    decision_id: Text
    decided_at: Micros
    mode: Mode
    capability: str
    principal: str
    request: Request
    principal_document: Principal
    certificate: Certificate
    decision_hash: Digest
    admitted: bool
    service: str
    version: str
    passed_over: Count
    reserved: Amount
    payload_commitment: Digest
    payload_salt: Digest
    idempotency_key: str | msgspec.UnsetType = msgspec.UNSET
    at_most: AtMost | msgspec.UnsetType = msgspec.UNSET


class Violation(Struct, frozen=True):
    clause: str
    required: str
    observed: str


class Attempt(Struct, frozen=True):
    """One call of one service. ``fault`` is absent when it answered as its protocol demands; with
    ``streamed``, the latency is the first token's."""

    service: Text
    version: Text
    latency_ms: Count
    violations: list[Violation]
    fault: UpstreamFault | msgspec.UnsetType = msgspec.UNSET
    http_status: int | msgspec.UnsetType = msgspec.UNSET
    streamed: Literal[True] | msgspec.UnsetType = msgspec.UNSET


class Usage(Struct, frozen=True):
    input_tokens: Count
    output_tokens: Count
    milliseconds: Count


class Outcome(Struct, frozen=True):
    """How the call ended. The answer's commitment is absent when nothing was answered."""

    v: Literal[1]
    kind: Literal["outcome"]
    tenant: Text
    decision_id: Text
    finished_at: Micros
    status: Status
    service: str
    latency_ms: Count
    attempts: list[Attempt]
    usage: Usage
    reserved: Amount
    charged: Amount
    answer_commitment: Digest | msgspec.UnsetType = msgspec.UNSET
    answer_salt: Digest | msgspec.UnsetType = msgspec.UNSET
    answer_from: Text | msgspec.UnsetType = msgspec.UNSET


class DecisionEntry(Struct, frozen=True):
    """A journal entry in clear: ``commitment`` is HMAC-SHA256(salt, canonical JSON of ``payload``)."""

    payload: Decision
    salt: Digest
    seq: Count
    commitment: Digest


class OutcomeEntry(Struct, frozen=True):
    payload: Outcome
    salt: Digest
    seq: Count
    commitment: Digest


class Log(Struct, frozen=True):
    """Where the tenant's Merkle log holds the entries. ``checkpoint`` is a signed note; the others are
    inclusion proofs (RFC 9162, section 2.1.3) in it, ``outcome`` null when it shows none."""

    checkpoint: Text
    decision: list[Digest]
    outcome: list[Digest] | None


class Receipt(Struct, frozen=True):
    """A signed extract of a tenant's journal about one decision. ``log`` is null, or absent from older
    receipts, when the log did not hold the decision yet."""

    v: Literal[1]
    kind: Literal["caio-receipt"]
    tenant: Text
    decision_id: Text
    issued_at: Micros
    decision: DecisionEntry
    outcome: OutcomeEntry | None
    key_id: KeyId
    signature: Annotated[str, Meta(pattern="^[A-Za-z0-9+/]{86}==$", max_length=88, description="Ed25519, base64")]
    log: Log | None = None


def receipt_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a receipt."""
    schema = msgspec.json.schema(Receipt)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "CAIO receipt, version 1", **schema}
