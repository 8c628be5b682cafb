"""The published vectors of exports: unchanged, and each claim in them proved and refuted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from scripts.audit_export_vectors import PATH, vectors
from scripts.receipt_vectors import text_of
from tests.support.rfc_merkle import MTH

VECTORS = json.loads(PATH.read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}


def test_the_file_is_up_to_date():
    message = "the export's form changed; if that is meant, run: python -m scripts.audit_export_vectors"
    assert PATH.read_text(encoding="utf-8") == text_of(vectors()), message


def test_the_vectors_cover_every_claim_proved_and_refuted():
    seen: dict[str, set[bool | None]] = {}
    for case in CASES.values():
        for name, proved in case["claims"].items():
            seen.setdefault(name, set()).add(proved)
    assert {name: values for name, values in seen.items() if not {True, False} <= values} == {}
    alone = {tuple(name for name, proved in case["claims"].items() if proved is False) for case in CASES.values()}
    assert {(name,) for name in seen} <= alone


@pytest.mark.parametrize("name", ["a whole log", "rewritten and signed again"])
def test_the_page_suffices_for_another_verifier(name):
    """The hashes and signatures, worked out from the page with nothing of the product."""
    case = CASES[name]
    manifest, lines = json.loads(case["manifest.json"]), case["entries.jsonl"].splitlines()
    entries = [json.loads(line) for line in lines]
    assert hashlib.sha256(case["entries.jsonl"].encode()).hexdigest() == manifest["entries_sha256"]
    assert hashlib.sha256(case["checkpoint"].encode()).hexdigest() == manifest["checkpoint_sha256"]
    for entry, line in zip(entries, lines, strict=True):
        if "salt" in entry:
            payload = line.partition('"payload":')[2].rpartition(',"recorded_at":')[0].encode()
            salt = bytes.fromhex(entry["salt"])
            assert hmac.new(salt, payload, "sha256").hexdigest() == entry["commitment"]
    root = base64.b64encode(MTH([bytes.fromhex(entry["commitment"]) for entry in entries])).decode()
    origin, size, signed_root, _, signature = case["checkpoint"].splitlines()
    assert (origin, int(size), signed_root) == (manifest["origin"], len(entries), root)
    key = base64.b64decode(
        next(each["public_key"] for each in VECTORS["key_set"]["keys"] if each["key_id"] == manifest["key_id"])
    )
    public = Ed25519PublicKey.from_public_bytes(key)
    public.verify(base64.b64decode(signature.split()[2])[4:], f"{origin}\n{size}\n{signed_root}\n".encode())
    unsigned = {member: value for member, value in manifest.items() if member != "signature"}
    canonical = json.dumps(unsigned, sort_keys=True, separators=(",", ":")).encode()
    public.verify(base64.b64decode(manifest["signature"]), b"caio/audit-export/v1\0" + canonical)
