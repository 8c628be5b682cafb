"""What the journal's records say, as plain documents: the slow, obvious truth beside their canonical bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from caio.audit.record import RECORD_VERSION, AttemptRecord, DecisionRecord, OutcomeRecord
from caio.foundation.quantity import decimal_text

Document = dict[str, Any]


def document_of(record: DecisionRecord | OutcomeRecord) -> Document:
    document = _decision(record) if isinstance(record, DecisionRecord) else _outcome(record)
    document |= {"v": RECORD_VERSION, "kind": record.kind, "tenant": record.tenant_id, "service": record.service_id}
    return document | {"decision_id": record.decision_id, "reserved": decimal_text(record.reserved)}


def _decision(record: DecisionRecord) -> Document:
    document: Document = {
        "decided_at": record.decided_at,
        "mode": record.mode,
        "capability": record.capability,
        "principal": record.principal_id,
        "request": msgspec.json.decode(record.request_json),
        "principal_document": msgspec.json.decode(record.principal_json),
        "certificate": msgspec.json.decode(record.certificate_json),
        "decision_hash": record.decision_hash,
        "admitted": record.admitted,
        "version": record.version,
        "passed_over": record.passed_over,
        "payload_commitment": record.payload.value.hex(),
        "payload_salt": record.payload.salt.hex(),
    }
    if record.idempotency_key is not None:
        document["idempotency_key"] = record.idempotency_key
    most = {"tokens": record.most_tokens, "compute_ms": record.most_compute_ms}
    if record.most_cost or any(most.values()):
        document["at_most"] = {"cost": decimal_text(record.most_cost), **most}
    return document


def _outcome(record: OutcomeRecord) -> Document:
    document: Document = {
        "finished_at": record.finished_at,
        "status": record.status,
        "latency_ms": record.latency_ms,
        "attempts": [_attempt(each) for each in record.attempts],
        "usage": {
            "input_tokens": record.usage.input_tokens,
            "output_tokens": record.usage.output_tokens,
            "milliseconds": record.usage.milliseconds,
        },
        "charged": decimal_text(record.charged),
    }
    if record.answer is not None:
        document["answer_commitment"] = record.answer.value.hex()
        document["answer_salt"] = record.answer.salt.hex()
    if record.answer_from is not None:
        document["answer_from"] = record.answer_from
    return document


def _attempt(record: AttemptRecord) -> Document:
    broken = [{"clause": one.clause, "required": one.required, "observed": one.observed} for one in record.breaches]
    document: Document = {
        "service": record.service_id,
        "version": record.version,
        "latency_ms": record.latency_ms,
        "violations": broken,
    }
    if record.fault is not None:
        document["fault"] = record.fault
    if record.http_status is not None:
        document["http_status"] = record.http_status
    if record.streamed:
        document["streamed"] = True
    return document
