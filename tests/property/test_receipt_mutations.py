"""Every byte of a receipt counts: what notices a change, wherever it is made.

A receipt is changed in its canonical form, at each byte, and verified: as its holder could pass it on,
with the signature it had, and as an operator with the key could, signed again. The second shows what
the claims notice apart from the signature, by the part of the receipt that was changed; only the time
of issue has nothing but the signer's word. Then what could be written in another way is written so.
"""

import base64
import json

import pytest

from caio.audit.receipt import issue_receipt, read_receipt, signed_bytes
from caio.audit.record import Commitment, OpenedLeaf
from caio.audit.signing import SigningKey
from caio.audit.verify import verify_receipt
from caio.foundation.canonical import canonical_json, read_canonical
from caio.foundation.errors import InvalidInput
from scripts.receipt_vectors import log_entries, place_in
from tests.audit_samples import NOW, decision_record, outcome_record

KEY = SigningKey.generate(b"k" * 32)
TRUSTED = {KEY.key_id: KEY.public_key}


def opened(record, seq):
    payload = record.canonical()
    return OpenedLeaf(seq, read_canonical(payload), Commitment.to(payload, bytes([0xA0 + seq]) * 32))


def signed(document):
    return document | {"signature": base64.b64encode(KEY.sign(signed_bytes(document))).decode()}


DECISION, OUTCOME = opened(decision_record(), 6), opened(outcome_record(), 7)
PLACE = place_in(log_entries(11, DECISION, OUTCOME), 6, 7, KEY)
RECEIPT = read_receipt(canonical_json(issue_receipt(KEY, DECISION, OUTCOME, NOW, PLACE)))
WHOLE = canonical_json(RECEIPT)

#: What notices a change when the receipt was signed again, by the part that was changed. Each flip of a
#: bit there is noticed by one of these, or breaks the form; and each of these notices some flip.
BOTH_INCLUSIONS = {"decision inclusion", "outcome inclusion"}
NOTICED = {
    "v": set(),
    "kind": set(),
    "tenant": {"identity", "checkpoint"},
    "decision_id": {"identity"},
    "issued_at": {"the signer's word"},
    "key_id": {"trusted key", "signature"},
    "decision.payload": {"decision commitment", "identity", "certificate", "inputs", "choice", "calls"},
    "decision.salt": {"decision commitment"},
    "decision.seq": {"decision inclusion", "identity"},
    "decision.commitment": {"decision commitment", "decision inclusion"},
    "outcome.payload": {"outcome commitment", "identity", "calls", "charge"},
    "outcome.salt": {"outcome commitment"},
    "outcome.seq": {"outcome inclusion", "identity"},
    "outcome.commitment": {"outcome commitment", "outcome inclusion"},
    "log.checkpoint": {"checkpoint", *BOTH_INCLUSIONS},
    "log.decision": {"decision inclusion"},
    "log.outcome": {"outcome inclusion"},
}


def parts(document, before=""):
    """(bytes, part) of the canonical form, in order; names of members and what is between them too."""
    for position, name in enumerate(sorted(document)):
        path = f"{before}{name}"
        yield (b"," if position else b"{") + canonical_json(name) + b":", path
        if path in ("decision", "outcome", "log"):
            yield from parts(document[name], f"{path}.")
        else:
            yield canonical_json(document[name]), path
    yield b"}", before.rstrip(".") or "v"


WHERE = [part for text, part in parts(RECEIPT) for _ in text]


def flips(bit):
    """Each place of the canonical form, and what is read when a bit of it is flipped; None when nothing is."""
    for place in range(len(WHOLE)):
        changed = bytearray(WHOLE)
        changed[place] ^= bit
        try:
            yield place, read_receipt(bytes(changed))
        except InvalidInput:
            yield place, None


def refuted(document):
    return {claim.name for claim in verify_receipt(document, TRUSTED).claims if claim.proved is False}


def test_the_parts_are_those_of_the_receipt():
    assert b"".join(text for text, _ in parts(RECEIPT)) == WHOLE
    assert set(WHERE) - {"signature", "decision", "outcome", "log"} == set(NOTICED)
    assert refuted(RECEIPT) == set()


def test_every_flipped_byte_is_noticed():
    """By the signature at least, if there is still a receipt to be read."""
    for place, document in flips(0x20):
        assert document is None or refuted(document) & {"form", "signature"}, (place, WHERE[place])


def test_every_byte_signed_again_is_noticed_by_the_claims_about_its_part():
    found: dict[str, set[str]] = {part: set() for part in NOTICED}
    for place, document in flips(0x01):
        part = WHERE[place]
        if document is None or part not in found or "form" in (claims := refuted(signed(document))):
            continue
        assert claims or part == "issued_at", (place, part)
        found[part] |= claims or {"the signer's word"}
    assert found == NOTICED


NOTE = RECEIPT["log"]["checkpoint"]
BODY, SIGNATURES = NOTE.split("\n\n")
ROOT = BODY.split("\n")[2]


def stray(text):
    """Base64 of the same bytes with other bits behind them."""
    place = len(text.rstrip("=")) - 1
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return f"{text[:place]}{alphabet[alphabet.index(text[place]) + 1]}{text[place + 1 :]}"


@pytest.mark.parametrize(
    ("said", "otherwise"),
    [
        (ROOT, stray(ROOT)),
        (ROOT, ROOT.rstrip("=")),
        (ROOT, ROOT.replace("+", "-").replace("/", "_").rstrip("=")),
        (ROOT, f"{ROOT} "),
        (ROOT, f" {ROOT}"),
        ("\n11\n", "\n011\n"),
        ("\n11\n", "\n+11\n"),
        ("\n11\n", "\n11.0\n"),
        ("\n11\n", "\n1_1\n"),
        ("\n11\n", "\n\u0661\u0661\n"),
        ("\n11\n", "\n11\r\n"),
        ("\n11\n", "\n11\u2028"),
        (SIGNATURES, stray(SIGNATURES[:-1]) + "\n"),
        (SIGNATURES, SIGNATURES[:-1]),
        (SIGNATURES, f"{SIGNATURES}\n"),
        (SIGNATURES, f"{SIGNATURES}{SIGNATURES}"),
        (SIGNATURES, SIGNATURES.replace("\u2014", "-")),
        (SIGNATURES, SIGNATURES.replace("\u2014 ", "\u2014")),
        (SIGNATURES, SIGNATURES.replace("\u2014 ", "\u2014  ")),
        (SIGNATURES, f"{SIGNATURES[:-1]} \n"),
        (BODY, f"\ufeff{BODY}"),
    ],
)
def test_a_checkpoint_has_one_text(said, otherwise):
    note = NOTE.replace(said, otherwise)
    assert note != NOTE
    document = signed(RECEIPT | {"log": RECEIPT["log"] | {"checkpoint": note}})
    assert refuted(document) - BOTH_INCLUSIONS == {"checkpoint"}


@pytest.mark.parametrize("path", [("decision", "salt"), ("outcome", "commitment"), ("log", "decision", 0), ("key_id",)])
@pytest.mark.parametrize("otherwise", [str.upper, "{}\n".format, " {}".format, "0x{}".format, "{}00".format])
def test_a_digest_has_one_text(path, otherwise):
    document = json.loads(WHOLE)
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = otherwise(place[path[-1]])
    assert refuted(signed(document)) == {"form"}


@pytest.mark.parametrize(
    "otherwise",
    [stray, lambda text: text.rstrip("="), "{}\n".format, " {}".format, lambda text: f"{text[:4]}\n{text[4:]}"],
)
def test_a_signature_has_one_text(otherwise):
    assert refuted(RECEIPT | {"signature": otherwise(RECEIPT["signature"])}) in ({"form"}, {"signature"})


@pytest.mark.parametrize(
    ("said", "otherwise"),
    [
        (b'"seq":6', b'"seq":6.0'),
        (b'"seq":6', b'"seq":6e0'),
        (b'"seq":6', b'"seq":"6"'),
        (b'"seq":6', b'"seq":06'),
        (b'"seq":6', b'"seq":6,"seq":6'),
        (b'"kind":"caio-receipt"', b'"kind":"caio-receipt","kind":"caio-receipt"'),
        (b'"v":1}', b'"v":true}'),
    ],
)
def test_a_number_has_one_text_and_a_member_one_value(said, otherwise):
    assert said in WHOLE
    try:
        document = read_receipt(WHOLE.replace(said, otherwise, 1))
    except InvalidInput:
        return
    assert refuted(signed(document)) == {"form"}
