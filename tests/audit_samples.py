"""Records, keys and certificates for the audit tests: small, valid, and the same at every run."""

from __future__ import annotations

import hashlib
from itertools import count
from typing import Any

from caio.audit.ports import Mode, Status
from caio.audit.record import AttemptRecord, Breach, Commitment, DecisionRecord, OutcomeRecord
from caio.audit.sealing import Entropy
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import UpstreamFault
from caio.foundation.hashing import PRINCIPAL, REQUEST, digest_of
from caio.foundation.money import Usage
from caio.routing.certificate import decision_hash
from caio.routing.model import Principal, Request

TENANT = "acme"
NOW = 1_790_000_000_000_000
QUESTION = b'{"question":"Who wrote the tenth paper?"}'
ANSWER = b'{"answer":"James Madison"}'
REQUEST_DOCUMENT = Request(TENANT, "USD", ("text.answer",), input_bytes=len(QUESTION)).document()
PRINCIPAL_DOCUMENT = Principal(
    "key_01aryz6s410000000000000001", "api_key", frozenset({"developer"}), frozenset({"orchestrate"})
).document()


def counted() -> Entropy:
    """Entropy that never repeats and is the same in every run: SHA-256 over a counter."""
    calls = count()

    def entropy(length: int) -> bytes:
        blocks = (hashlib.sha256(f"{next(calls)}".encode()).digest() for _ in range(-(-length // 32)))
        return b"".join(blocks)[:length]

    return entropy


def certificate(*ranked: tuple[str, str], feasible: int | None = None) -> dict[str, Any]:
    """A certificate of the right form for these ranked services; its hashes stand for nothing."""
    winner = [{"service": name, "version": version, "contract": "c" * 64} for name, version in ranked[:1]]
    return {
        "v": 2,
        "tenant": TENANT,
        **dict.fromkeys(("services", "policies", "history", "verdicts"), "a" * 64),
        "request": digest_of(REQUEST, REQUEST_DOCUMENT),
        "principal": digest_of(PRINCIPAL, PRINCIPAL_DOCUMENT),
        "service_count": 7,
        "seed": "seed",
        "weights": {"margin": 1, "cost": 2, "performance": 2, "reliability": 2, "preference": 3},
        "on_violation": "report",
        "feasible": {"count": len(ranked) if feasible is None else feasible, "hash": "b" * 64},
        "ranked": [[name, version, 900 - rank, 100] for rank, (name, version) in enumerate(ranked)],
        "excluded": [{"clause": "cost", "count": 1}],
        "plan": winner,
        "guarantees": {},
    }


SWIFT, CAREFUL, CLOUD = ("answer-swift", "1.0.0"), ("answer-careful", "2.1.0"), ("answer-cloud", "1.0.0")
CERTIFICATE = certificate(SWIFT, CAREFUL, CLOUD)


def decision_record(**changes: Any) -> DecisionRecord:
    """``request``, ``principal`` and ``certificate`` are documents."""
    record: dict[str, Any] = {
        "tenant_id": TENANT,
        "decision_id": "dec_01aryz6s410000000000000000",
        "decided_at": NOW,
        "mode": Mode.ORCHESTRATE,
        "capability": "text.answer",
        "principal_id": "key_01aryz6s410000000000000001",
        "request": REQUEST_DOCUMENT,
        "principal": PRINCIPAL_DOCUMENT,
        "certificate": CERTIFICATE,
        "admitted": True,
        "service_id": CAREFUL[0],
        "version": CAREFUL[1],
        "reserved": 1_250_000,
        "passed_over": 1,
        "payload": Commitment.to(QUESTION, b"q" * 32),
    } | changes
    record = {"decision_hash": decision_hash(record["certificate"])} | record
    for name in ("request", "principal", "certificate"):
        record[f"{name}_json"] = canonical_json(record.pop(name))
    return DecisionRecord(**record)


def outcome_record(**changes: Any) -> OutcomeRecord:
    record: dict[str, Any] = {
        "tenant_id": TENANT,
        "decision_id": "dec_01aryz6s410000000000000000",
        "finished_at": NOW + 250_000,
        "status": Status.VIOLATED,
        "service_id": CLOUD[0],
        "latency_ms": 240,
        "attempts": (
            AttemptRecord(*CAREFUL, latency_ms=90, fault=UpstreamFault.OVERLOADED, http_status=503),
            AttemptRecord(
                *CLOUD, latency_ms=140, http_status=200, breaches=(Breach("latency_ms.max", "<= 100", "140"),)
            ),
        ),
        "usage": Usage(41, 3, 140),
        "reserved": 1_500_000,
        "charged": 1_100_000,
        "answer": Commitment.to(ANSWER, b"r" * 32),
    }
    return OutcomeRecord(**record | changes)
