"""Verifying receipts: each claim can be proved and refuted, and nothing raises."""

import base64
import json
from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caio.audit.key_files import load_or_create, rotate
from caio.audit.ports import Mode
from caio.audit.receipt import issue_receipt, read_receipt, signed_bytes
from caio.audit.record import AttemptRecord, Commitment, OpenedLeaf
from caio.audit.signing import SigningKey, key_set, read_key_set
from caio.audit.verify import verify_receipt
from caio.foundation.canonical import NotCanonical, canonical_json, read_canonical
from caio.foundation.errors import InvalidInput
from caio.foundation.hashing import REQUEST, digest_of
from scripts.receipt_vectors import (
    EVIDENCE,
    REFUSED,
    log_entries,
    opened_entry,
    place_in,
    sample_decision,
    sample_outcome,
)
from tests.audit_samples import (
    CAREFUL,
    CLOUD,
    NOW,
    PRINCIPAL_DOCUMENT,
    REQUEST_DOCUMENT,
    SWIFT,
    certificate,
    decision_record,
    outcome_record,
)

KEY, STRANGER = SigningKey.generate(b"k" * 32), SigningKey.generate(b"s" * 32)
TRUSTED = {KEY.key_id: KEY.public_key}


def opened(record, seq=0):
    payload = record.canonical()
    return OpenedLeaf(seq, read_canonical(payload), Commitment.to(payload, bytes([seq]) * 32))


def receipt(decision=None, outcome=None, key=KEY):
    """A signed receipt of the sample decision, with the sample outcome, in a log of five entries."""
    first, second = opened(decision or decision_record()), opened(outcome or outcome_record(), 1)
    return issue_receipt(key, first, second, NOW, place_in(log_entries(5, first, second), 0, 1, key))


def without_outcome(**changes):
    return issue_receipt(KEY, opened(decision_record(**changes)), None, NOW)


def request_of_another_tenant():
    request = REQUEST_DOCUMENT | {"tenant_id": "other"}
    made = certificate(SWIFT, CAREFUL, CLOUD) | {"request": digest_of(REQUEST, request)}
    return decision_record(request=request, certificate=made)


def resigned(document):
    """The document signed again as it is: what an operator with the key could pass on."""
    return document | {"signature": base64.b64encode(KEY.sign(signed_bytes(document))).decode()}


def edited(*path, value):
    """The sample receipt with one member replaced, and signed again."""
    document = json.loads(canonical_json(receipt()))
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return resigned(document)


def verdicts(document, evidence=None):
    return {claim.name: claim.proved for claim in verify_receipt(document, TRUSTED, evidence).claims}


def refuted(document, evidence=None):
    return {name for name, proved in verdicts(document, evidence).items() if proved is False}


def test_the_sample_proves_everything_but_the_decision():
    found = verdicts(receipt())
    assert found.pop("decision") is None
    assert set(found.values()) == {True}
    assert verify_receipt(receipt(), TRUSTED).ok


def test_issued_receipts_verify(tmp_path):
    first = load_or_create(tmp_path)
    before = receipt(key=first.active)
    after = receipt(key=rotate(tmp_path).active)
    trusted = read_key_set(key_set(load_or_create(tmp_path)))
    assert verify_receipt(before, trusted).ok
    assert verify_receipt(after, trusted).ok
    assert not verify_receipt(after, first.trusted_keys()).ok


def test_nothing_inside_is_trusted():
    document = receipt(key=STRANGER) | {"public_key": base64.b64encode(STRANGER.public_key).decode()}
    assert {"trusted key", "signature"} <= refuted(document)
    # A stranger who takes a trusted key's id gains nothing.
    unsigned = receipt() | {"key_id": KEY.key_id}
    forged = unsigned | {"signature": base64.b64encode(STRANGER.sign(signed_bytes(unsigned))).decode()}
    assert refuted(forged) == {"signature"}
    assert not verify_receipt(receipt(), {}).ok


LOGGED = receipt()
other_decision = "dec_01aryz6s410000000000000009"


@pytest.mark.parametrize(
    ("claim", "document"),
    [
        ("form", edited("v", value=2)),
        ("form", edited("kind", value="another")),
        ("form", edited("decision", "payload", "certificate", value=None)),
        ("trusted key", receipt(key=STRANGER)),
        ("signature", receipt() | {"issued_at": NOW + 1}),
        ("decision commitment", edited("decision", "payload", "capability", value="text.summary")),
        ("decision commitment", edited("decision", "salt", value="1" * 64)),
        ("outcome commitment", edited("outcome", "payload", "charged", value="0")),
        ("outcome commitment", edited("outcome", "commitment", value="0" * 64)),
        ("identity", edited("decision_id", value=other_decision)),
        ("identity", edited("tenant", value="other")),
        ("identity", receipt(decision_record(tenant_id="acme", certificate=certificate(SWIFT) | {"tenant": "other"}))),
        ("identity", edited("outcome", "payload", "decision_id", value=other_decision)),
        ("identity", edited("outcome", "seq", value=0)),
        ("identity", receipt(request_of_another_tenant())),
        ("certificate", receipt(decision_record(decision_hash="0" * 64))),
        ("inputs", receipt(decision_record(request=REQUEST_DOCUMENT | {"input_bytes": 7}))),
        ("inputs", receipt(decision_record(principal=PRINCIPAL_DOCUMENT | {"kind": "person"}))),
        ("inputs", receipt(decision_record(principal_id="somebody"))),
        ("inputs", receipt(decision_record(capability="text.summary"))),
        ("choice", receipt(decision_record(passed_over=0))),
        ("choice", receipt(decision_record(passed_over=3))),
        ("choice", receipt(decision_record(service_id="unheard-of"))),
        ("choice", receipt(decision_record(version="9.9.9"))),
        ("choice", without_outcome(service_id="", version="")),
        ("choice", without_outcome(certificate=certificate())),
        ("calls", receipt(outcome=outcome_record(attempts=(AttemptRecord("unheard-of", "1.0.0", 5),)))),
        ("calls", receipt(decision_record(admitted=False))),
        ("charge", receipt(outcome=outcome_record(charged=1_500_001))),
        ("charge", receipt(outcome=outcome_record(charged=10 * 10**9, reserved=9 * 10**9))),
        ("form", edited("decision", "salt", value=f"{'00' * 32}\n")),
        ("form", edited("log", value={})),
        ("form", edited("log", "decision", 0, value="0" * 63)),
        ("form", edited("log", "decision", 0, value="A" * 64)),
        ("checkpoint", edited("log", "checkpoint", value="no note")),
        ("checkpoint", edited("log", "checkpoint", value=LOGGED["log"]["checkpoint"].replace("\n5\n", "\n05\n"))),
        ("checkpoint", edited("tenant", value="other")),
        ("decision inclusion", edited("log", "decision", 0, value="0" * 64)),
        ("decision inclusion", edited("log", "decision", value=[])),
        ("decision inclusion", edited("decision", "seq", value=5)),
        ("decision inclusion", edited("decision", "seq", value=2**53 - 1)),
        ("outcome inclusion", edited("outcome", "seq", value=2)),
        ("outcome inclusion", edited("log", "outcome", value=LOGGED["log"]["decision"])),
        ("outcome inclusion", edited("outcome", value=None)),
    ],
)
def test_each_claim_can_fail(claim, document):
    assert claim in refuted(document)
    assert not verify_receipt(document, TRUSTED).ok


@pytest.mark.parametrize(
    ("claim", "document"),
    [
        ("outcome commitment", without_outcome()),
        ("outcome inclusion", edited("log", "outcome", value=None)),
        ("calls", without_outcome()),
        ("charge", without_outcome()),
        ("decision", receipt()),
        (
            "choice",
            without_outcome(certificate=certificate(SWIFT, CAREFUL, feasible=3), service_id="third", passed_over=2),
        ),
        ("calls", receipt(decision_record(certificate=certificate(SWIFT, CAREFUL, feasible=6)))),
    ],
)
def test_what_cannot_be_checked_is_neither_proved_nor_refuted(claim, document):
    assert verdicts(document)[claim] is None
    assert verify_receipt(document, TRUSTED).ok


@pytest.mark.parametrize("document", [without_outcome(), edited("log", value=None)])
def test_a_receipt_without_its_place_is_still_one(document):
    older = resigned({name: value for name, value in document.items() if name != "log"})
    for each in (document, older):
        found = verdicts(each)
        assert [found.pop(name) for name in ("checkpoint", "decision inclusion", "outcome inclusion")] == [None] * 3
        assert False not in found.values()
        assert verify_receipt(each, TRUSTED).ok


def test_the_checkpoint_may_have_any_trusted_key_but_no_other():
    document = edited("log", "checkpoint", value=place_in(log_entries(5), 0, key=STRANGER).checkpoint)
    assert "checkpoint" in refuted(document)
    found = {
        claim.name: claim.proved
        for claim in verify_receipt(document, {**TRUSTED, STRANGER.key_id: STRANGER.public_key}).claims
    }
    assert found["checkpoint"]
    assert not found["decision inclusion"], "it is another log"


@pytest.mark.parametrize(
    "changes",
    [
        {"certificate": certificate(), "admitted": False, "service_id": "", "version": "", "passed_over": 0},
        {"admitted": False, "service_id": "", "version": ""},
        {"admitted": False, "mode": Mode.ROUTE, "service_id": SWIFT[0], "version": SWIFT[1], "passed_over": 0},
        {"service_id": CLOUD[0], "version": CLOUD[1], "passed_over": 2},
    ],
)
def test_refusals_routes_and_later_choices_are_consistent(changes):
    assert refuted(without_outcome(**changes)) == set()


def test_evidence_recomputes_the_decision():
    record = sample_decision(EVIDENCE)
    decision, outcome = opened_entry(record, 0, 1), opened_entry(sample_outcome(record), 1, 2)
    place = place_in(log_entries(2, decision, outcome), 0, 1, KEY)
    document = issue_receipt(KEY, decision, outcome, NOW, place)
    verification = verify_receipt(document, TRUSTED, EVIDENCE)
    assert verification.ok
    assert sum(claim.name.startswith("decision: ") for claim in verification.claims) > 5
    assert all(claim.proved for claim in verification.claims)
    other = EVIDENCE | {"principal": EVIDENCE["principal"] | {"id": "key_2"}}
    for evidence in (REFUSED, other):
        failed = refuted(document, evidence)
        assert failed
        assert all(name.startswith("decision: ") for name in failed)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
paths = st.lists(st.integers(0, 30), min_size=1, max_size=6)


def replaced(document, path, value):
    """The document with the member at ``path`` (by position) replaced or, for ``...``, removed."""
    names = list(document) if isinstance(document, dict) else range(len(document))
    if not names:
        return value
    name = names[path[0] % len(names)]
    copy = dict(document) if isinstance(document, dict) else list(document)
    inner = copy[name]
    if len(path) > 1 and isinstance(inner, dict | list) and inner:
        copy[name] = replaced(inner, path[1:], value)
    elif value is ...:
        del copy[name]
    else:
        copy[name] = value
    return copy


@given(paths, json_values | st.just(...), st.booleans())
def test_verify_never_raises(path, value, with_evidence):
    original = json.loads(canonical_json(receipt()))
    document = replaced(original, path, value)
    evidence = EVIDENCE if with_evidence else None
    verification = verify_receipt(document, TRUSTED, evidence)
    if document != original:
        assert not verification.ok
    try:
        again = resigned(document)
    except NotCanonical:
        return
    assert verify_receipt(again, TRUSTED, evidence).claims


@pytest.mark.parametrize("document", [None, [], {}, "receipt", 7, {"v": 1}, {1: 2}, b"", {"a": float("nan")}, object()])
@pytest.mark.parametrize("evidence", [None, [], "evidence", {"principal": []}])
def test_what_is_no_receipt_is_said_so(document, evidence):
    verification = verify_receipt(document, TRUSTED, evidence)
    assert [claim.name for claim in verification.claims] == ["form"]
    assert not verification.ok


@pytest.mark.parametrize("evidence", [[], "evidence", {}, {"principal": []}, {"principal": {"id": []}}, 7])
def test_evidence_of_no_form_is_refuted(evidence):
    assert "decision: evidence" in refuted(receipt(), evidence)


def test_deep_nesting_is_said_so():
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    assert refuted(receipt() | {"extra": deep}) == {"form"}


def test_any_mapping_is_accepted():
    assert verify_receipt(MappingProxyType(receipt()), MappingProxyType(TRUSTED)).ok


@settings(max_examples=100)
@given(st.integers(0, 10**6), st.integers(0, 7))
def test_any_flipped_byte_is_refused(place, bit):
    raw = bytearray(canonical_json(receipt()))
    raw[place % len(raw)] ^= 1 << bit
    try:
        document = read_canonical(bytes(raw))
    except NotCanonical:
        try:  # laid out in another way it may still be read: then the content must not verify
            document = read_receipt(bytes(raw))
        except InvalidInput:
            return
    assert not verify_receipt(document, TRUSTED).ok


def test_every_byte_of_the_signature_counts():
    document = receipt()
    for place in range(len(document["signature"])):
        for char in "A", "B", "z", "/", "=", " ":
            text = document["signature"][:place] + char + document["signature"][place + 1 :]
            assert verify_receipt(document | {"signature": text}, TRUSTED).ok == (text == document["signature"])


def test_one_receipt_has_one_reading():
    raw = json.dumps(receipt(), indent=2).encode()
    assert verify_receipt(read_receipt(raw), TRUSTED).ok
    twice = raw.replace(b'"v": 1,', b'"v": 1, "v": 1,', 1)
    for other in (twice, raw.replace(b'"seq": 0', b'"seq": NaN'), b"[]", b"", b"\xff", b"[" * 100_000, raw + b"x"):
        with pytest.raises(InvalidInput):
            read_receipt(other)


def test_an_outcome_belongs_to_its_own_decision():
    with pytest.raises(ValueError, match="its own decision"):
        receipt(outcome=outcome_record(decision_id=other_decision))


def test_a_receipt_is_signed_anew_and_the_entries_stay():
    first = issue_receipt(KEY, opened(decision_record()), None, NOW)
    later = issue_receipt(KEY, opened(decision_record()), opened(outcome_record(), 1), NOW + 5)
    assert first["decision"] == later["decision"]
    assert first["signature"] != later["signature"]
    assert replace(opened(decision_record())).document == first["decision"]["payload"]
