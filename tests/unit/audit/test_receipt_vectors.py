"""The published vectors and schema: unchanged, and agreed with by the schema and the page.

A second verifier reads them in tests/differential/test_second_verifier.py.
"""

import base64
import hashlib
import json
import re

import jsonschema_rs
import pytest

from caio.audit.checkpoint import read_checkpoint
from caio.audit.notes import key_hash
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


def test_the_numbers_on_the_page_are_those_of_the_vectors():
    page = (SCHEMAS.parent / "docs" / "reference" / "receipt-format.md").read_text(encoding="utf-8")
    shown = page.partition("### An example")[2].partition("```text")[2].partition("```")[0]
    entries = [bytes.fromhex(entry) for entry in VECTORS["log"]["entries"]]
    note = CASES["in a log of seven entries"]["receipt"]["log"]["checkpoint"]
    public_key = base64.b64decode(VECTORS["key_set"]["keys"][0]["public_key"])
    spans = [(seq, seq + 1) for seq in range(7)] + [(0, 2), (2, 4), (4, 6), (0, 4), (4, 7), (0, 7)]
    roots = {f"[{start},{end})": MTH(entries[start:end]).hex() for start, end in spans}
    assert dict(re.findall(r"(\[\d,\d\)) +([0-9a-f]{64})", shown)) == roots
    assert dict(re.findall(r"^ *(?:entries)? +(\d) +([0-9a-f]{64})$", shown, re.MULTILINE)) == {
        seq: entries[int(seq)].hex() for seq in "25"
    }
    for seq, spelt in re.findall(r"proof of (\d) +(.+)", shown):
        assert [roots[span] for span in spelt.split()] == [each.hex() for each in PATH(int(seq), entries)]
    for each in (
        public_key,
        hashlib.sha256(public_key).digest()[:8],
        key_hash(VECTORS["log"]["origin"], 1, public_key),
    ):
        assert f" {each.hex()}\n" in shown
    lines = shown[shown.index("checkpoint") :].splitlines()
    assert "".join(f"{line[18:]}\n" for line in lines) == note


def test_the_schema_accepts_receipts_and_nothing_less():
    validator = jsonschema_rs.Draft202012Validator(json.loads((SCHEMAS / "receipt.schema.json").read_text("utf-8")))
    for case in CASES.values():
        assert validator.is_valid(case["receipt"]) == case["claims"]["form"]
    receipt = CASES["in a log of seven entries"]["receipt"]
    for member in set(receipt) - {"log"}:
        assert not validator.is_valid({name: value for name, value in receipt.items() if name != member})
