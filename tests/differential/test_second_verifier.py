"""Two verifiers of receipts agree, claim by claim: the product's, and one written from the reference page alone.

Where they differ, one of the two is wrong or the page can be read in two ways. Compared are the
vectors, receipts of generated records in logs of generated sizes, and what becomes of a receipt
when something in it is changed: as it is, and signed again, so that not only the signature speaks.
"""

import ast
import base64
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caio.audit.notes import NoteSignature, key_hash
from caio.audit.ports import Mode, Status
from caio.audit.receipt import issue_receipt, read_receipt, signed_bytes
from caio.audit.record import AttemptRecord, Commitment, OpenedLeaf
from caio.audit.signing import Keyring, SigningKey, key_set, read_key_set
from caio.audit.verify import verify_receipt
from caio.foundation.canonical import NotCanonical, canonical_json, read_canonical
from caio.foundation.errors import InvalidInput
from caio.foundation.money import Usage
from scripts.receipt_vectors import ORIGIN, SCHEMAS, log_entries, place_in, proof_of
from tests.audit_samples import CAREFUL, CLOUD, NOW, SWIFT, certificate, decision_record, outcome_record
from tests.support import second_verifier

Found = dict[str, bool | None]
UNREADABLE: Found = {"readable": False}

VECTORS = json.loads((SCHEMAS / "vectors" / "receipt-v1.json").read_text(encoding="utf-8"))
KEY, OTHER, STRANGER = (SigningKey.generate(seed * 32) for seed in (b"k", b"o", b"s"))
KEYS = key_set(Keyring(KEY, (OTHER.public_key,)))
TRUSTED = read_key_set(KEYS)


def opened(record: Any, seq: int) -> OpenedLeaf:
    payload = record.canonical()
    return OpenedLeaf(seq, read_canonical(payload), Commitment.to(payload, bytes([seq % 256]) * 32))


def plain(receipt: Any) -> dict[str, Any]:
    """As it is read from a file."""
    document: dict[str, Any] = json.loads(json.dumps(receipt))
    return document


def sample() -> dict[str, Any]:
    first, second = opened(decision_record(), 2), opened(outcome_record(), 5)
    return plain(issue_receipt(KEY, first, second, NOW, place_in(log_entries(7, first, second), 2, 5, KEY)))


SAMPLE = sample()


def resigned(document: dict[str, Any]) -> dict[str, Any]:
    return document | {"signature": base64.b64encode(KEY.sign(signed_bytes(document))).decode()}


def by_caio(raw: bytes) -> Found:
    try:
        claims = verify_receipt(read_receipt(raw), TRUSTED).claims
    except InvalidInput:
        return UNREADABLE
    return {claim.name: claim.proved for claim in claims}


def by_the_second(raw: bytes) -> Found:
    try:
        return second_verifier.verify(second_verifier.read(raw), second_verifier.trusted_keys(KEYS))
    except (ValueError, RecursionError):
        return UNREADABLE


def agreed(raw: bytes) -> Found:
    """What both say; fails when they differ."""
    found = by_caio(raw)
    assert by_the_second(raw) == found, raw.decode(errors="replace")
    return found


def test_it_imports_nothing_but_the_standard_library():
    tree = ast.parse(Path(second_verifier.__file__).read_text(encoding="utf-8"))
    named = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    rooms = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in named}
    assert rooms <= {
        *("__future__", "base64", "collections.abc", "decimal", "functools", "hashlib", "hmac"),
        "json",
        "re",
        "typing",
    }


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_both_agree_on_every_vector(case):
    found = second_verifier.verify(case["receipt"], second_verifier.trusted_keys(VECTORS["key_set"]))
    assert found | {"decision": None} == case["claims"] | {"decision": None}
    unsigned = {name: value for name, value in case["receipt"].items() if name != "signature"}
    assert f"{b'caio/receipt/v1'.hex()}00{second_verifier.canonical(unsigned).hex()}" == case["signed_bytes"]


def test_both_prove_the_sample():
    assert set(agreed(json.dumps(SAMPLE).encode()).values()) == {True, None}


rows = st.lists(st.sampled_from([SWIFT, CAREFUL, CLOUD]), max_size=3)
calls = st.lists(st.sampled_from([SWIFT, CAREFUL, CLOUD, ("unheard-of", "1.0.0")]), max_size=3)
money = st.sampled_from([0, 1, 100, 10**9, 1_500_000, 10**18, 10**18 + 1])
decisions = st.builds(
    lambda ranked, feasible, chosen, **changes: decision_record(
        certificate=certificate(*ranked, feasible=feasible), service_id=chosen[0], version=chosen[1], **changes
    ),
    rows,
    st.none() | st.integers(0, 4),
    st.sampled_from([SWIFT, CAREFUL, CLOUD, ("", "")]),
    admitted=st.booleans(),
    passed_over=st.integers(0, 4),
    reserved=money,
    mode=st.sampled_from(Mode),
    principal_id=st.sampled_from(["key_01aryz6s410000000000000001", "somebody"]),
    idempotency_key=st.none() | st.text(max_size=4),
    most_cost=money,
    most_tokens=st.integers(0, 9),
)
outcomes = st.builds(
    lambda called, **changes: outcome_record(
        attempts=tuple(AttemptRecord(name, version, 9, streamed=len(called) == 2) for name, version in called),
        **changes,
    ),
    calls,
    status=st.sampled_from(Status),
    charged=money,
    reserved=money,
    usage=st.builds(Usage, st.integers(0, 9), st.integers(0, 2**53 - 1), st.integers(0, 9)),
    answer=st.none() | st.just(Commitment.to(b"answer", b"r" * 32)),
    decision_id=st.just("dec_01aryz6s410000000000000000"),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_both_agree_on_generated_receipts(data):
    decision, outcome = data.draw(decisions), data.draw(st.none() | outcomes)
    size = data.draw(st.integers(1, 40))
    seq, later = data.draw(st.integers(0, size)), data.draw(st.integers(0, size + 1))
    first, second = opened(decision, seq), None if outcome is None else opened(outcome, later)
    placed = [leaf for leaf in (first, second) if leaf is not None and leaf.seq < size]
    entries = log_entries(size, *placed)
    key = data.draw(st.sampled_from([KEY, OTHER, STRANGER]))
    origin = data.draw(st.sampled_from([ORIGIN, ORIGIN, "log.example/x/acme", "log.example/other", "acme"]))
    place = place_in(
        entries, min(seq, size - 1), min(later, size - 1) if data.draw(st.booleans()) else None, key, origin
    )
    if data.draw(st.integers(0, 3)) == 0:
        place = replace(place, decision=proof_of(entries, data.draw(st.integers(0, size - 1))))
    receipt = issue_receipt(KEY, first, second, NOW, place if data.draw(st.booleans()) or size > 3 else None)
    agreed(json.dumps(plain(receipt)).encode())


@pytest.mark.parametrize("start", range(6))
def test_both_refute_the_same_of_a_flipped_byte(start):
    """Of the canonical form: as many places as there is time for, in six turns that cover other ones."""
    whole = canonical_json(SAMPLE)
    said = set()
    for place in range(start * 31, len(whole), 199):
        for bit in (0, 1, 2, 5):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            found = agreed(bytes(changed))
            assert False in found.values()
            said.add("unreadable" if found == UNREADABLE else "form" if not found["form"] else "claims")
    assert said == {"unreadable", "form", "claims"}


NUMBERS = (0, 1, 2, -1, 1.0, 1.5, 2**53, 2**53 - 1, -(2**53), 1e21, 1e-7, 9.007199254740994e15)
TEXTS = ("", "0", "0.50", "01", "10000000000", "9999999999", "acme", "other", "orchestrate", "dec_2", "é\ud7ff")
DIGESTS = ("a" * 64, f"{'a' * 64}\n", "A" * 64)
OTHERS: tuple[Any, ...] = (True, False, None, [], {}, [1], [[]], {"a": 1}, {"é": 1, "\U0001f600": 2, "\ufb33": 3})
odd = st.sampled_from([*NUMBERS, *TEXTS, *DIGESTS, *OTHERS])


def paths(document: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path for name, value in inner for path in [(*before, name), *paths(value, (*before, name))]]


def changed_at(document: Any, path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    copy = plain(document)
    place = copy
    for name in path[:-1]:
        place = place[name]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copy


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(paths(SAMPLE)), odd | st.just(...))
def test_both_refute_the_same_of_a_changed_member_that_was_signed_again(path, value):
    document = changed_at(SAMPLE, path, value)
    with suppress(NotCanonical):  # otherwise it stays as it was signed before, and neither may take it
        document = resigned(document)
    agreed(json.dumps(document).encode())


@pytest.mark.parametrize(
    "further",
    [
        {"é": [1.5, {"\U0001f600": None}]},
        {"\U0001f600": 1, "\ufb33": 2, "z": 3},
        {"x": [1e300, 1e21, 5e-324, 1e-7, 0.000001, -0.0, 123456789.125]},
        {"x": 2**53},
        {"x": 1e20},
        {"x": "\ud800"},
    ],
)
def test_both_take_the_same_further_members(further):
    document = SAMPLE | {"further": further}
    try:
        document = resigned(document)
    except NotCanonical:
        assert agreed(json.dumps(document).encode()) == {"form": False}
    else:
        assert False not in agreed(json.dumps(document).encode()).values()


@pytest.mark.parametrize(("levels", "form"), [(99, True), (100, False)])
def test_both_take_a_hundred_levels_and_no_more(levels, form):
    """The receipt is the first of them."""
    inner: Any = 0
    for _ in range(levels):
        inner = [inner]
    assert agreed(json.dumps(SAMPLE | {"further": inner}).encode())["form"] is form


NOTE = SAMPLE["log"]["checkpoint"]


def with_note(note: str) -> bytes:
    log = SAMPLE["log"] | {"checkpoint": note}
    return json.dumps(resigned(SAMPLE | {"log": log})).encode()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(NOTE) - 1), st.sampled_from(["", *"\nA0=+ /—\t\u00a0é1~\x7f", "\n\n"]), st.booleans())
def test_both_refute_the_same_of_a_changed_checkpoint(place, text, insert):
    agreed(with_note(NOTE[:place] + text + NOTE[place + (not insert) :]))


def line(name: str, digest: bytes, signature: bytes) -> str:
    return f"— {name} {base64.b64encode(digest + signature).decode()}\n"


def test_both_take_the_same_further_lines_of_a_checkpoint():
    body = NOTE.rpartition("\n\n")[0] + "\n"
    own = key_hash(ORIGIN, 1, KEY.public_key)
    others = {
        "a witness": line("witness.example", b"wwww", b"signature"),
        "the other trusted key": line(ORIGIN, key_hash(ORIGIN, 1, OTHER.public_key), OTHER.sign(body.encode())),
        "a trusted key that signed something else": line(ORIGIN, own, KEY.sign(b"else")),
        "a short signature of a trusted key": line(ORIGIN, own, b"short"),
        "no signature at all": line("witness.example", b"wwww", b""),
        "the same line again": NOTE.rpartition("\n\n")[2],
        "a name with a strange space": line("wit\u3000ness", b"wwww", b"signature"),
        "a name with a plus": line("wit+ness", b"wwww", b"signature"),
        "a hundred more": "".join(line(f"w{each}", b"wwww", b"x") for each in range(100)),
        "ninety-nine more": "".join(line(f"w{each}", b"wwww", b"x") for each in range(99)),
        "more than a note holds": line("w", b"wwww", b"x" * 750_000),
    }
    taken = {name for name, further in others.items() if agreed(with_note(NOTE + further))["checkpoint"]}
    assert taken == {"a witness", "the other trusted key", "ninety-nine more"}
    extended = SigningKey.generate(b"k" * 32)
    for extension in ("a further line\n", "\u00e9\n", "\x7f\n", "\n", "a\rb\n"):
        text = f"{body}{extension}"
        note = f"{text}\n{line(ORIGIN, own, extended.sign(text.encode()))}"
        assert agreed(with_note(note))["checkpoint"] == (extension not in ("\n", "a\rb\n"))


def test_note_signatures_are_built_here_as_the_product_builds_them():
    assert NoteSignature("w", b"wwww", b"x").line == line("w", b"wwww", b"x")
