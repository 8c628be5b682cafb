"""The published vectors and schema: unchanged, agreed with by a second reader, and by the schema."""

import base64
import hashlib
import hmac
import json

import jsonschema_rs
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from caio.audit.checkpoint import read_checkpoint
from caio.audit.signing import read_key_set
from caio.audit.verify import verify_receipt
from scripts.receipt_vectors import FILES, SCHEMAS, text_of
from tests.support.rfc_merkle import MTH, PATH

VECTORS = json.loads((SCHEMAS / "vectors" / "receipt-v1.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_up_to_date(name):
    message = "the receipt's form changed; if that is meant, run: python -m scripts.receipt_vectors"
    assert (SCHEMAS / name).read_text(encoding="utf-8") == text_of(FILES[name]()), message


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_each_vector_verifies_as_it_says(case):
    verification = verify_receipt(case["receipt"], read_key_set(VECTORS["key_set"]), case["evidence"])
    assert verification.ok == case["ok"]
    found = {claim.name: claim.proved for claim in verification.claims}
    assert {name: found.get(name, case["claims"][name]) for name in case["claims"]} == case["claims"]


def test_the_vectors_cover_every_claim_proved_and_refuted():
    seen: dict[str, set[bool | None]] = {}
    for case in CASES.values():
        for name, proved in case["claims"].items():
            seen.setdefault(name, set()).add(proved)
    assert {name: values for name, values in seen.items() if not {True, False} <= values} == {}
    assert {case["ok"] for case in CASES.values()} == {True, False}


def test_each_claim_is_refuted_alone_by_some_properly_signed_receipt():
    """Except that what no trusted key signed has no signature to check, and what has no form no claims at all."""
    alone = {tuple(name for name, proved in case["claims"].items() if proved is False) for case in CASES.values()}
    claims = {name for case in CASES.values() for name in case["claims"]} - {"trusted key"}
    assert {(name,) for name in claims} | {("trusted key", "signature")} <= alone


def test_the_log_of_the_vectors_is_the_one_its_checkpoints_sign():
    case = CASES["in a log of seven entries"]
    signed = read_checkpoint(case["receipt"]["log"]["checkpoint"]).checkpoint
    entries = [bytes.fromhex(entry) for entry in VECTORS["log"]["entries"]]
    assert (signed.origin, signed.size, signed.root) == (VECTORS["log"]["origin"], len(entries), MTH(entries))
    for part in ("decision", "outcome"):
        entry = case["receipt"][part]
        assert entries[entry["seq"]].hex() == entry["commitment"]
        assert case["receipt"]["log"][part] == [each.hex() for each in PATH(entry["seq"], entries)]


def test_the_schema_accepts_receipts_and_nothing_less():
    validator = jsonschema_rs.Draft202012Validator(json.loads((SCHEMAS / "receipt.schema.json").read_text("utf-8")))
    for case in CASES.values():
        assert validator.is_valid(case["receipt"]) == case["claims"]["form"]
    receipt = CASES["in a log of seven entries"]["receipt"]
    for member in set(receipt) - {"log"}:
        assert not validator.is_valid({name: value for name, value in receipt.items() if name != member})


def plain(value):
    """RFC 8785 for values without floats and with keys below U+D800, by the standard library alone."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case["claims"]["form"]], ids=lambda case: case["name"]
)
def test_a_second_implementation_from_the_reference_page_agrees(case):
    """docs/reference/receipt-format.md, sections "Signature" and "Commitments", written once more."""
    receipt, claims = case["receipt"], case["claims"]
    unsigned = {name: value for name, value in receipt.items() if name != "signature"}
    message = b"caio/receipt/v1\x00" + plain(unsigned)
    assert message.hex() == case["signed_bytes"]
    keys = {key["key_id"]: base64.b64decode(key["public_key"]) for key in VECTORS["key_set"]["keys"]}
    signed = receipt["key_id"] in keys
    if signed:
        try:
            Ed25519PublicKey.from_public_bytes(keys[receipt["key_id"]]).verify(
                base64.b64decode(receipt["signature"]), message
            )
        except InvalidSignature:
            signed = False
    assert signed == claims["signature"]
    for part in ("decision", "outcome"):
        entry = receipt[part]
        if entry is not None:
            computed = hmac.digest(bytes.fromhex(entry["salt"]), plain(entry["payload"]), "sha256").hex()
            assert (computed == entry["commitment"]) == claims[f"{part} commitment"]
    payload = receipt["decision"]["payload"]
    digest = hashlib.sha256(b"caio/decision/v2\x00" + plain(payload["certificate"])).hexdigest()
    assert (digest == payload["decision_hash"]) == claims["certificate"]
