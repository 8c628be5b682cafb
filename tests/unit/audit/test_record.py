"""Records, their leaves, and the clear columns beside them."""

import base64
import json
from dataclasses import replace

import msgspec
import pytest

from caio.audit import shapes
from caio.audit.ports import Attempt, DecisionRow, Mode, OutcomeRow, Status, StoredLeaf
from caio.audit.record import Commitment, leaf_of, open_leaf
from caio.audit.sealing import Sealer, sealing_context
from caio.foundation.canonical import read_canonical
from caio.foundation.errors import SealBroken
from caio.foundation.hashing import keyed
from caio.foundation.quantity import read_nanos
from tests.audit_samples import ANSWER, NOW, QUESTION, counted, decision_record, outcome_record
from tests.support.record_documents import document_of

SALT = b"s" * 32
RECORDS = [
    decision_record(),
    decision_record(idempotency_key="k-1", most_cost=7, most_tokens=8, most_compute_ms=9),
    outcome_record(),
    outcome_record(answer=None),
]


def sealer():
    return Sealer(b"k" * 32, counted())


@pytest.mark.parametrize("record", RECORDS)
def test_records_hold_no_payloads(record):
    payload = record.canonical()
    for secret in (QUESTION, ANSWER, b"James Madison", b"tenth paper"):
        for form in (secret, secret.hex().encode(), base64.b64encode(secret), json.dumps(secret.decode()).encode()):
            assert form not in payload


@pytest.mark.parametrize("record", RECORDS)
def test_a_leaf_opens_to_its_record(record):
    leaf = leaf_of(record, sealer(), SALT)
    opened = open_leaf(StoredLeaf(7, leaf), sealer())
    assert opened.seq == 7
    assert opened.document == document_of(record) == read_canonical(record.canonical())
    assert opened.commitment == Commitment(leaf.commitment, SALT)
    assert leaf.commitment == keyed(SALT, record.canonical())
    assert (leaf.tenant_id, leaf.kind, leaf.subject_id) == (record.tenant_id, record.kind, record.decision_id)


def test_the_salt_is_in_the_seal_only():
    leaf = leaf_of(decision_record(), sealer(), SALT)
    assert SALT not in leaf.sealed
    assert SALT.hex() not in repr(leaf)


@pytest.mark.parametrize(
    "change",
    [
        {"commitment": b"c" * 32},
        {"commitment": b""},
        {"subject_id": "dec_2"},
        {"tenant_id": "other"},
        {"sealed": sealer().seal(SALT + b"{}", sealing_context("acme", "outcome", "dec_1"))},
    ],
)
def test_a_changed_leaf_does_not_open(change):
    leaf = replace(leaf_of(decision_record(), sealer(), SALT), **change)
    with pytest.raises(SealBroken):
        open_leaf(StoredLeaf(0, leaf), sealer())


@pytest.mark.parametrize("payload", [b"", b"not json", b'{"a": 1}', b"[" * 5000])
def test_a_committed_payload_that_is_no_document_does_not_open(payload):
    leaf = leaf_of(decision_record(), sealer(), SALT)
    context = sealing_context(leaf.tenant_id, leaf.kind, leaf.subject_id)
    forged = replace(leaf, commitment=keyed(SALT, payload), sealed=sealer().seal(SALT + payload, context))
    with pytest.raises(SealBroken):
        open_leaf(StoredLeaf(0, forged), sealer())


def test_a_destroyed_key_leaves_a_commitment_that_tells_nothing():
    leaf = leaf_of(decision_record(), sealer(), SALT)
    with pytest.raises(SealBroken):
        open_leaf(StoredLeaf(0, leaf), Sealer(b"new" + b"k" * 29, counted()))
    # Guessing the whole payload does not help without the salt ...
    assert all(leaf.commitment != keyed(guess, leaf_payload()) for guess in (b"", b"\0" * 32, leaf.commitment))
    # ... and whoever kept salt and payload can still show what was committed to.
    assert Commitment(leaf.commitment, SALT).holds(leaf_payload())


def leaf_payload():
    return decision_record().canonical()


def decision_row(document):
    return DecisionRow(
        document["decision_id"],
        document["decided_at"],
        Mode(document["mode"]),
        document["capability"],
        document["service"],
        document["version"],
        document["principal"],
        document["decision_hash"],
        document["admitted"],
        read_nanos(document["reserved"]),
        read_nanos(document["at_most"]["cost"]) if "at_most" in document else 0,
        document.get("at_most", {}).get("tokens", 0),
        document.get("at_most", {}).get("compute_ms", 0),
    )


def outcome_row(document):
    return OutcomeRow(
        document["decision_id"],
        document["finished_at"],
        Status(document["status"]),
        document["service"],
        document["latency_ms"],
        document["usage"]["input_tokens"],
        document["usage"]["output_tokens"],
        read_nanos(document["charged"]),
        tuple(
            Attempt(
                one["service"],
                one["version"],
                "fault" not in one,
                one["latency_ms"],
                one.get("streamed", False),
                tuple(each["clause"] for each in one["violations"]),
            )
            for one in document["attempts"]
        ),
    )


@pytest.mark.parametrize("record", RECORDS)
def test_rows_follow_from_records(record):
    leaf = leaf_of(record, sealer(), SALT)
    document = open_leaf(StoredLeaf(0, leaf), sealer()).document
    assert leaf.projection == (decision_row if record.kind == "decision" else outcome_row)(document)
    assert leaf.recorded_at in (NOW, NOW + 250_000)


@pytest.mark.parametrize("record", RECORDS)
def test_records_have_the_published_form(record):
    shape = shapes.Decision if record.kind == "decision" else shapes.Outcome
    document = document_of(record)
    read = msgspec.convert(document, shape)
    # Every member that is written is named in the form, so that a verifier sees all of it.
    assert set(document) <= {field.name for field in msgspec.structs.fields(type(read))}


@pytest.mark.parametrize("salt", [b"", b"s" * 31, b"s" * 33])
def test_a_salt_has_32_bytes(salt):
    with pytest.raises(ValueError, match="32 bytes"):
        Commitment.to(b"data", salt)
