"""Write ``schemas/receipt.schema.json`` and ``schemas/vectors/receipt-v1.json``.

    python -m scripts.receipt_vectors

Everything is fixed, the keys too, which are for these vectors alone: the files change only when the
format does, and a test compares them. A change of an existing vector is a new format version.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from caio.audit.ports import Mode, Status
from caio.audit.receipt import issue_receipt, signed_bytes
from caio.audit.record import (
    AttemptRecord,
    Breach,
    Commitment,
    DecisionRecord,
    OpenedLeaf,
    OutcomeRecord,
)
from caio.audit.shapes import receipt_schema
from caio.audit.signing import Keyring, SigningKey, key_set
from caio.audit.verify import Verification, verify_receipt
from caio.foundation.errors import UpstreamFault
from caio.foundation.money import Usage
from caio.routing.certificate import decision_hash
from caio.routing.checker import recompute
from caio.routing.model import Principal, Request

SCHEMAS = Path(__file__).parents[1] / "schemas"
KEY, STRANGER = SigningKey.generate(bytes(range(32))), SigningKey.generate(bytes(range(32, 64)))
DECIDED_AT = 1_790_000_000_000_000


def _contract(service_id: str, accuracy: str, price: str, locality: str) -> dict[str, Any]:
    return {
        "service_id": service_id,
        "name": service_id,
        "version": "1.0.0",
        "tags": [],
        "capabilities": [{"type": "text.answer", "limits": {"max_tokens": 256}, "features": []}],
        "guarantees": {"accuracy": {"min": accuracy}, "latency_ms": {"max": "500"}},
        "constraints": {"requires": {"gpu": False, "internet": locality == "cloud"}},
        "cost": {"currency": "USD", "per_request": price},
        "privacy": {
            "data_locality": locality,
            "encryption": {"in_transit": False, "at_rest": False},
            "compliance": [],
        },
        "access": {"required_permissions": {"all_of": [], "any_of": []}, "visibility": "tenant"},
        "api": {"protocol": "http-json", "base_url": "http://127.0.0.1:8101", "endpoints": [], "timeout_ms": 3000},
    }


EVIDENCE: dict[str, Any] = {
    "request": Request(
        tenant_id="acme",
        currency="USD",
        capabilities=("text.answer",),
        bounds=(("accuracy.min", 600_000_000),),
        input_bytes=41,
        max_tokens=64,
        egress=False,
    ).document(),
    "principal": Principal(
        "key_01aryz6s410000000000000001", "api_key", frozenset({"developer"}), frozenset({"orchestrate"})
    ).document(),
    "services": [
        {"tenant": "acme", "contract": _contract("answer-swift", "0.65", "0.0001", "on_device")},
        {"tenant": "acme", "contract": _contract("answer-careful", "0.8", "0.0008", "on_device")},
        {"tenant": "acme", "contract": _contract("answer-cloud", "0.9", "0.002", "cloud")},
    ],
    "policies": [],
    "history": {},
}
STRANGE_CALLER = EVIDENCE["principal"] | {"id": "key_01aryz6s410000000000000002"}
REFUSED = EVIDENCE | {"services": EVIDENCE["services"][2:]}


def sample_decision(evidence: Mapping[str, Any]) -> DecisionRecord:
    certificate = recompute(evidence)
    winner = certificate["plan"][0] if certificate["plan"] else None
    return DecisionRecord(
        tenant_id="acme",
        decision_id="dec_01kzbn3nr00000000000000001",
        decided_at=DECIDED_AT,
        mode=Mode.ORCHESTRATE,
        capability="text.answer",
        principal_id="key_01aryz6s410000000000000001",
        request_document=evidence["request"],
        principal_document=evidence["principal"],
        certificate=certificate,
        decision_hash=decision_hash(certificate),
        admitted=winner is not None,
        service_id=winner["service"] if winner else "",
        version=winner["version"] if winner else "",
        passed_over=0,
        reserved=100_000 if winner else 0,
        payload=Commitment.to(b'{"question":"Who wrote the tenth paper?"}', bytes([1]) * 32),
    )


def sample_outcome(decision: DecisionRecord) -> OutcomeRecord:
    """The winner was overloaded, the next best service answered, later than it had promised."""
    return OutcomeRecord(
        tenant_id=decision.tenant_id,
        decision_id=decision.decision_id,
        finished_at=DECIDED_AT + 640_000,
        status=Status.VIOLATED,
        service_id="answer-careful",
        latency_ms=640,
        attempts=(
            AttemptRecord("answer-swift", "1.0.0", latency_ms=20, fault=UpstreamFault.OVERLOADED, http_status=503),
            AttemptRecord(
                "answer-careful",
                "1.0.0",
                latency_ms=610,
                http_status=200,
                breaches=(Breach("latency_ms.max", "<= 500", "610"),),
            ),
        ),
        usage=Usage(input_tokens=12, output_tokens=2, milliseconds=610),
        reserved=800_000,
        charged=800_000,
        answer=Commitment.to(b'{"answer":"James Madison"}', bytes([2]) * 32),
    )


def opened_entry(record: DecisionRecord | OutcomeRecord, seq: int, salt: int) -> OpenedLeaf:
    return OpenedLeaf(seq, record.document(), Commitment.to(record.canonical(), bytes([salt]) * 32))


def _signed(decision: OpenedLeaf, outcome: OpenedLeaf | None = None, key: SigningKey = KEY) -> dict[str, Any]:
    return issue_receipt(key, decision, outcome, issued_at=DECIDED_AT + 60_000_000)


def _resigned(receipt: Mapping[str, Any]) -> dict[str, Any]:
    return {**receipt, "signature": base64.b64encode(KEY.sign(signed_bytes(receipt))).decode()}


def _receipts() -> dict[str, tuple[dict[str, Any], dict[str, Any] | None]]:
    record = sample_decision(EVIDENCE)
    decision, outcome = opened_entry(record, 41, 3), opened_entry(sample_outcome(record), 44, 4)
    refusal = opened_entry(sample_decision(REFUSED), 7, 5)
    whole = _signed(decision, outcome)
    edited = replace(outcome, document={**outcome.document, "charged": "0"})
    renamed = replace(decision, document={**decision.document, "capability": "text.summary"})
    stray = AttemptRecord("answer-cloud", "1.0.0", latency_ms=610, http_status=200)
    passed = replace(record, passed_over=1, service_id="answer-careful", reserved=800_000)
    overcharged = opened_entry(replace(sample_outcome(record), charged=900_000), 44, 4)
    return {
        "a decision with its outcome, and the evidence": (whole, EVIDENCE),
        "a decision with its outcome, without evidence": (whole, None),
        "a refusal, which has no outcome": (_signed(refusal), REFUSED),
        "a decision that passed over a busy service": (
            _signed(opened_entry(passed, 41, 3)),
            EVIDENCE,
        ),
        "an unknown member is signed and means nothing": (_resigned({**whole, "inclusion": {"later": [1, 2]}}), None),
        "changed after signing": ({**whole, "issued_at": whole["issued_at"] + 1}, None),
        "signed by a key that is not trusted": (_signed(decision, outcome, STRANGER), None),
        "a decision that is not the one committed to": (_signed(renamed, outcome), None),
        "an outcome that is not the one committed to": (_signed(decision, edited), None),
        "a service was called that had been excluded": (
            _signed(decision, opened_entry(replace(sample_outcome(record), attempts=(stray,)), 44, 4)),
            None,
        ),
        "another caller than the decision was made for": (
            _signed(opened_entry(replace(record, principal_document=STRANGE_CALLER), 41, 3)),
            None,
        ),
        "the outcome stands before its decision": (_signed(decision, replace(outcome, seq=40)), None),
        "charged more than reserved": (_signed(decision, overcharged), None),
        "the evidence of another decision": (whole, REFUSED),
        "a certificate that is not the decision's": (
            _signed(opened_entry(replace(record, decision_hash="0" * 64), 41, 3)),
            None,
        ),
        "another service than the best was chosen": (
            _signed(opened_entry(replace(record, service_id="answer-careful"), 41, 3)),
            None,
        ),
        "no receipt": ({"v": 1, "kind": "caio-receipt"}, None),
    }


def _claims(verification: Verification) -> dict[str, bool | None]:
    """What was proved, by claim; the checker's own claims about the decision as one."""
    claims = {claim.name: claim.proved for claim in verification.claims}
    recomputed = [proved for name, proved in claims.items() if name.startswith("decision: ")]
    own = {name: proved for name, proved in claims.items() if not name.startswith("decision: ")}
    if recomputed:
        own["decision"] = all(recomputed)
    return own


def vectors() -> dict[str, Any]:
    keys = key_set(Keyring(KEY))
    trusted = {KEY.key_id: KEY.public_key}
    cases = []
    for name, (receipt, evidence) in _receipts().items():
        verification = verify_receipt(receipt, trusted, evidence)
        cases.append(
            {
                "name": name,
                "receipt": receipt,
                "evidence": evidence,
                "signed_bytes": signed_bytes(receipt).hex(),
                "ok": verification.ok,
                "claims": _claims(verification),
            }
        )
    return {"format": "caio/receipt/v1", "key_set": keys, "cases": cases}


FILES = {"receipt.schema.json": receipt_schema, "vectors/receipt-v1.json": vectors}


def text_of(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, make in FILES.items():
        path = SCHEMAS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_of(make()), encoding="utf-8")
