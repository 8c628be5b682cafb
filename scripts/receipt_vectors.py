"""Write ``schemas/receipt.schema.json`` and ``schemas/vectors/receipt-v1.json``.

    python -m scripts.receipt_vectors

Everything is fixed, the keys too, which are for these vectors alone: the files change only when the
format does, and a test compares them. A change of an existing vector is a new format version. The
first ones are from before receipts had a member ``log``, and still verify as they did.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from caio.audit.checkpoint import Checkpoint, read_checkpoint, sign_checkpoint
from caio.audit.merkle import inclusion_spans, leaf_hash, root_of
from caio.audit.notes import COSIGNATURE_V1, NoteSignature, key_hash, write_note
from caio.audit.ports import Mode, Status
from caio.audit.receipt import PlaceInLog, issue_receipt, signed_bytes
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
from caio.foundation.canonical import canonical_json, read_canonical
from caio.foundation.errors import UpstreamFault
from caio.foundation.money import Usage
from caio.routing.certificate import decision_hash
from caio.routing.checker import recompute
from caio.routing.model import Principal, Request

SCHEMAS = Path(__file__).parents[1] / "schemas"
KEY, STRANGER = SigningKey.generate(bytes(range(32))), SigningKey.generate(bytes(range(32, 64)))
RETIRED = SigningKey.generate(bytes(range(64, 96)))
ORIGIN = "caio.localhost/acme"
LOG_SIZE = 7
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
        request_json=canonical_json(evidence["request"]),
        principal_json=canonical_json(evidence["principal"]),
        certificate_json=canonical_json(certificate),
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
    payload = record.canonical()
    return OpenedLeaf(seq, read_canonical(payload), Commitment.to(payload, bytes([salt]) * 32))


def log_entries(size: int, *leaves: OpenedLeaf) -> list[bytes]:
    """A log of ``size`` entries: the leaves' commitments at their places, elsewhere 32 bytes of the place."""
    entries = [bytes([seq % 256]) * 32 for seq in range(size)]
    for leaf in leaves:
        entries[leaf.seq] = leaf.commitment.value
    return entries


def proof_of(entries: Sequence[bytes], seq: int) -> list[bytes]:
    hashes = [leaf_hash(entry) for entry in entries]
    return [root_of(hashes[start:end]) for start, end in inclusion_spans(seq, len(entries))]


def place_in(
    entries: Sequence[bytes], decision: int, outcome: int | None = None, key: SigningKey = KEY, origin: str = ORIGIN
) -> PlaceInLog:
    """What a receipt shows of the log of these entries."""
    root = root_of([leaf_hash(entry) for entry in entries])
    return PlaceInLog(
        sign_checkpoint(Checkpoint(origin, len(entries), root), key),
        proof_of(entries, decision),
        None if outcome is None else proof_of(entries, outcome),
    )


def _with_line(note: str, line: NoteSignature) -> str:
    """The note with one more signature below it."""
    read = read_checkpoint(note).note
    return write_note(read.text, [*read.signatures, line])


def _signed(decision: OpenedLeaf, outcome: OpenedLeaf | None = None, key: SigningKey = KEY) -> dict[str, Any]:
    """A receipt from before there was a log."""
    return _resigned(_without(issue_receipt(key, decision, outcome, issued_at=DECIDED_AT + 60_000_000), "log"), key)


def _placed(decision: OpenedLeaf, outcome: OpenedLeaf | None, place: PlaceInLog | None) -> dict[str, Any]:
    return issue_receipt(KEY, decision, outcome, DECIDED_AT + 60_000_000, place)


def _without(receipt: Mapping[str, Any], member: str) -> dict[str, Any]:
    return {name: value for name, value in receipt.items() if name != member}


def _resigned(receipt: Mapping[str, Any], key: SigningKey = KEY) -> dict[str, Any]:
    return {**receipt, "signature": base64.b64encode(key.sign(signed_bytes(receipt))).decode()}


def logged_entries() -> tuple[OpenedLeaf, OpenedLeaf]:
    """The decision and the outcome that the log of the vectors holds at 2 and 5."""
    record = sample_decision(EVIDENCE)
    return opened_entry(record, 2, 3), opened_entry(sample_outcome(record), 5, 4)


def _logged() -> dict[str, tuple[dict[str, Any], dict[str, Any] | None]]:
    """Receipts that show their place in a log."""
    decision, outcome = logged_entries()
    entries = log_entries(LOG_SIZE, decision, outcome)
    place = place_in(entries, 2, 5)
    note = place.checkpoint
    refusal = opened_entry(sample_decision(REFUSED), 0, 5)
    by_witness = NoteSignature(
        "witness.example", key_hash("witness.example", COSIGNATURE_V1, STRANGER.public_key), bytes(range(72))
    )
    by_nobody = NoteSignature(ORIGIN, key_hash(ORIGIN, 1, RETIRED.public_key), KEY.sign(b"something else"))
    resalted = replace(decision, commitment=replace(decision.commitment, salt=bytes([6]) * 32))
    places = {
        "in a log of seven entries": place,
        "the log does not hold the decision yet": None,
        "the log does not hold the outcome yet": place_in(entries[:4], 2),
        "the checkpoint was signed by a retired key": place_in(entries, 2, 5, RETIRED),
        "the checkpoint was signed by a witness too": replace(place, checkpoint=_with_line(note, by_witness)),
        "the checkpoint of another tenant's log": place_in(entries, 2, 5, origin="caio.localhost/other"),
        "the checkpoint was signed by a key that is not trusted": place_in(entries, 2, 5, STRANGER),
        "a trusted key's line below the checkpoint does not verify": replace(
            place, checkpoint=_with_line(note, by_nobody)
        ),
        "the checkpoint is not in canonical form": replace(place, checkpoint=f"{note}\n"),
        "the proof of another entry for the decision": replace(place, decision=proof_of(entries, 3)),
        "the proof of another entry for the outcome": replace(place, outcome=proof_of(entries, 4)),
        "a log too small for the outcome": replace(place_in(entries[:5], 2), outcome=proof_of(entries, 5)),
        "a log that holds another entry in the decision's place": place_in(log_entries(LOG_SIZE, outcome), 2, 5),
    }
    beyond = replace(decision, seq=1)
    only = log_entries(1, replace(decision, seq=0))
    return {name: (_placed(decision, outcome, where), None) for name, where in places.items()} | {
        "in a log of seven entries, with the evidence": (_placed(decision, outcome, place), EVIDENCE),
        "a refusal, the one entry of its log": (_placed(refusal, None, place_in(log_entries(1, refusal), 0)), REFUSED),
        "the place just beyond the log's end": (_placed(beyond, None, place_in(only, 0)), None),
        "the proof of an outcome that is not shown": (_placed(decision, None, place), None),
        "the salt of another entry": (_placed(resalted, outcome, place), None),
    }


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
            _signed(opened_entry(replace(record, principal_json=canonical_json(STRANGE_CALLER)), 41, 3)),
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
    keyring = Keyring(KEY, (RETIRED.public_key,))
    trusted = keyring.trusted_keys()
    cases = []
    for name, (receipt, evidence) in {**_receipts(), **_logged()}.items():
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
    log = {"origin": ORIGIN, "entries": [entry.hex() for entry in log_entries(LOG_SIZE, *logged_entries())]}
    return {"format": "caio/receipt/v1", "key_set": key_set(keyring), "log": log, "cases": cases}


FILES = {"receipt.schema.json": receipt_schema, "vectors/receipt-v1.json": vectors}


def text_of(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, make in FILES.items():
        path = SCHEMAS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_of(make()), encoding="utf-8")
