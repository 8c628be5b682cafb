"""Checkpoints: every changed byte is noticed, and only the log itself signs."""

import base64
import json
from pathlib import Path

import pytest

from caio.audit.checkpoint import (
    MAX_ORIGIN,
    MAX_SIZE,
    Checkpoint,
    log_key,
    read_checkpoint,
    sign_checkpoint,
)
from caio.audit.notes import NoteSignature, key_hash, read_note, read_verifier_key, write_note
from caio.audit.signing import SigningKey
from caio.foundation.errors import InvalidInput
from scripts.checkpoint_vectors import FILE, text_of, vectors

ORIGIN = "caio.localhost/acme"
ROOT = bytes(range(200, 232))
KEY, OTHER = SigningKey.generate(bytes(32)), SigningKey.generate(b"\1" * 32)
TRUSTED = {KEY.key_id: KEY.public_key}
CHECKPOINT = Checkpoint(ORIGIN, 1234, ROOT)
NOTE = sign_checkpoint(CHECKPOINT, KEY)
VECTORS = json.loads(FILE.read_text(encoding="utf-8"))


def accepted_as(raw: bytes) -> str | None:
    """Whose checkpoint ``raw`` is; None when it is refused in whatever way."""
    try:
        return read_checkpoint(raw).signed_by(TRUSTED)
    except InvalidInput:
        return None


def with_lines(*lines: str) -> str:
    """A note of these lines, properly signed as the log, whatever they are."""
    text = "".join(f"{line}\n" for line in lines).encode()
    mine = key_hash(ORIGIN, 1, KEY.public_key)
    return write_note(text, [NoteSignature(ORIGIN, mine, KEY.sign(text))])


def test_checkpoints_round_trip():
    signed = read_checkpoint(NOTE)
    assert signed.checkpoint == CHECKPOINT
    assert signed == read_checkpoint(NOTE.encode())
    assert str(signed.note) == NOTE
    assert signed.signed_by(TRUSTED) == KEY.key_id
    extended = Checkpoint(ORIGIN, 0, ROOT, ("more", "— and more: Ä"))
    again = read_checkpoint(sign_checkpoint(extended, KEY))
    assert (again.checkpoint, again.signed_by(TRUSTED)) == (extended, KEY.key_id)


def test_the_text_is_origin_size_and_root():
    assert CHECKPOINT.text() == f"{ORIGIN}\n1234\n{base64.b64encode(ROOT).decode()}\n".encode()


def test_any_changed_byte_is_noticed():
    raw = NOTE.encode()
    assert accepted_as(raw) == KEY.key_id
    for place, byte in enumerate(raw):
        others = {byte ^ 1 << bit for bit in range(8)} | set(b"\n\r\t 0129+/=AZ\x00\x7f\xff") - {byte}
        for other in others:
            changed = raw[:place] + bytes([other]) + raw[place + 1 :]
            assert accepted_as(changed) is None, (place, other)
        assert accepted_as(raw[:place] + raw[place + 1 :]) is None, place
        assert accepted_as(raw[:place]) is None, place
        for more in b"\n\r 0A=+":
            assert accepted_as(raw[:place] + bytes([more]) + raw[place:]) is None, (place, more)
    for more in b"\n\r 0A=+":
        assert accepted_as(raw + bytes([more])) is None


def test_only_its_own_log_signs_a_checkpoint():
    text = CHECKPOINT.text()
    mine, signature = key_hash(ORIGIN, 1, KEY.public_key), KEY.sign(text)

    def signer(*signatures: NoteSignature, trusted: dict[str, bytes] = TRUSTED) -> str | None:
        return read_checkpoint(write_note(text, signatures)).signed_by(trusted)

    own = NoteSignature(ORIGIN, mine, signature)
    strange = NoteSignature("witness.example", b"\1\2\3\4", b"whatever")
    broken = NoteSignature(ORIGIN, mine, bytes([signature[0] ^ 1]) + signature[1:])
    assert signer(own) == signer(own, strange) == signer(strange, own) == KEY.key_id
    # The same key under another log's name, or as a witness', is not this log's.
    elsewhere = "caio.localhost/other"
    assert signer(NoteSignature(elsewhere, key_hash(elsewhere, 1, KEY.public_key), signature)) is None
    assert signer(NoteSignature(elsewhere, mine, signature)) is None
    assert signer(NoteSignature(ORIGIN, key_hash(ORIGIN, 4, KEY.public_key), signature)) is None
    assert signer(NoteSignature(ORIGIN, mine, OTHER.sign(text))) is None
    assert signer(strange) is None
    # One failing line of a trusted key spoils the note, wherever it stands.
    assert signer(own, broken) is None
    assert signer(broken, own) is None
    both = {**TRUSTED, OTHER.key_id: OTHER.public_key}
    others = NoteSignature(ORIGIN, key_hash(ORIGIN, 1, OTHER.public_key), OTHER.sign(text))
    assert signer(own, others, trusted=both) == KEY.key_id
    assert signer(broken, others, trusted=both) is None
    assert signer(own, trusted={}) is None
    assert signer(own, trusted={OTHER.key_id: OTHER.public_key}) is None


def test_the_first_trusted_key_is_named():
    text = CHECKPOINT.text()
    signatures = [NoteSignature(ORIGIN, key_hash(ORIGIN, 1, key.public_key), key.sign(text)) for key in (OTHER, KEY)]
    signed = read_checkpoint(write_note(text, signatures))
    assert signed.signed_by({KEY.key_id: KEY.public_key, OTHER.key_id: OTHER.public_key}) == KEY.key_id
    assert signed.signed_by({OTHER.key_id: OTHER.public_key, KEY.key_id: KEY.public_key}) == OTHER.key_id
    assert signed.signed_by(TRUSTED) == KEY.key_id


def test_trusted_keys_of_a_wrong_length_prove_nothing():
    text = CHECKPOINT.text()
    for key in (b"", KEY.public_key[1:]):
        line = NoteSignature(ORIGIN, key_hash(ORIGIN, 1, key), KEY.sign(text))
        assert read_checkpoint(write_note(text, [line])).signed_by({"x": key}) is None


ROOT_TEXT = base64.b64encode(ROOT).decode()
NOT_CANONICAL = {
    "leading zero": (ORIGIN, "01234", ROOT_TEXT),
    "two zeros": (ORIGIN, "00", ROOT_TEXT),
    "plus": (ORIGIN, "+1234", ROOT_TEXT),
    "minus": (ORIGIN, "-1234", ROOT_TEXT),
    "minus zero": (ORIGIN, "-0", ROOT_TEXT),
    "underscore": (ORIGIN, "1_234", ROOT_TEXT),
    "space before": (ORIGIN, " 1234", ROOT_TEXT),
    "space behind": (ORIGIN, "1234 ", ROOT_TEXT),
    "other digits": (ORIGIN, "١٢٣٤", ROOT_TEXT),
    "superscript": (ORIGIN, "12³", ROOT_TEXT),
    "hexadecimal": (ORIGIN, "0x12", ROOT_TEXT),
    "exponent": (ORIGIN, "1e3", ROOT_TEXT),
    "no size": (ORIGIN, "", ROOT_TEXT),
    "size above": (ORIGIN, str(2**63), ROOT_TEXT),
    "size far above": (ORIGIN, "9" * 5000, ROOT_TEXT),
    "31 bytes": (ORIGIN, "1234", base64.b64encode(ROOT[1:]).decode()),
    "33 bytes": (ORIGIN, "1234", base64.b64encode(ROOT + b"x").decode()),
    "no root": (ORIGIN, "1234"),
    "empty root": (ORIGIN, "1234", ""),
    "no padding": (ORIGIN, "1234", ROOT_TEXT[:-1]),
    "stray bits": (ORIGIN, "1234", ROOT_TEXT[:-2] + chr(ord(ROOT_TEXT[-2]) + 1) + "="),
    "URL alphabet": (ORIGIN, "1234", base64.urlsafe_b64encode(b"\xff" * 32).decode()),
    "hexadecimal root": (ORIGIN, "1234", ROOT.hex()),
    "empty extension": (ORIGIN, "1234", ROOT_TEXT, ""),
    "empty extension before another": (ORIGIN, "1234", ROOT_TEXT, "", "more"),
    "no origin": ("", "1234", ROOT_TEXT),
    "space in origin": ("caio localhost", "1234", ROOT_TEXT),
    "origin alone": (ORIGIN,),
}


def test_the_table_differs_from_a_checkpoint_in_one_thing_only():
    assert accepted_as(with_lines(ORIGIN, "1234", ROOT_TEXT).encode()) == KEY.key_id
    assert base64.b64decode(NOT_CANONICAL["stray bits"][2]) == ROOT


@pytest.mark.parametrize("lines", NOT_CANONICAL.values(), ids=list(NOT_CANONICAL))
def test_numbers_and_roots_have_one_text(lines):
    note = with_lines(*lines)
    read_note(note)
    with pytest.raises(InvalidInput, match="not a checkpoint"):
        read_checkpoint(note)


@pytest.mark.parametrize(
    "origin",
    ["", " ", "a b", "a\tb", "a\nb", "a\rb", "a+b", "a\x00b", "a\x7fb", "a\u00a0b", "a\u200bb", "\u0430cme", "é",
     "\ud800", "a" * (MAX_ORIGIN + 1), "a\n"],
)  # fmt: skip
def test_impossible_origins_do_not_construct(origin):
    with pytest.raises(InvalidInput, match="origin"):
        Checkpoint(origin, 0, ROOT)


@pytest.mark.parametrize("size", [-1, 2**63, 10**30])
def test_impossible_sizes_do_not_construct(size):
    with pytest.raises(InvalidInput, match="size"):
        Checkpoint(ORIGIN, size, ROOT)


@pytest.mark.parametrize("root", [b"", ROOT[1:], ROOT + b"\0"])
def test_impossible_roots_do_not_construct(root):
    with pytest.raises(InvalidInput, match="root"):
        Checkpoint(ORIGIN, 0, root)


@pytest.mark.parametrize("line", ["", "a\nb", "a\rb", "\x00", "\ud800", "x" * 1_000_001])
def test_impossible_extensions_do_not_construct(line):
    with pytest.raises(InvalidInput, match="extension"):
        Checkpoint(ORIGIN, 0, ROOT, ("fine", line))


def test_the_bounds_are_themselves_checkpoints():
    for checkpoint in (Checkpoint("a", 0, ROOT), Checkpoint("~" * MAX_ORIGIN, MAX_SIZE, ROOT)):
        assert read_checkpoint(sign_checkpoint(checkpoint, KEY)).checkpoint == checkpoint


def test_the_verifier_key_finds_the_signature():
    key = log_key(ORIGIN, KEY.public_key)
    [signature] = read_checkpoint(NOTE).note.signatures
    assert (signature.name, signature.key_hash) == (key.name, key.hash)
    assert read_verifier_key(str(key)) == key


# --- the published vectors ----------------------------------------------------------------------


def test_the_vectors_are_up_to_date():
    message = "the checkpoint's form changed; if that is meant, run: python -m scripts.checkpoint_vectors"
    assert FILE.read_text(encoding="utf-8") == text_of(vectors()), message
    assert FILE.parent == Path(__file__).parents[3] / "schemas" / "vectors"


@pytest.mark.parametrize("case", VECTORS["checkpoints"], ids=lambda case: case["name"])
def test_each_checkpoint_vector_reads_as_it_says(case):
    key = read_verifier_key(VECTORS["log"]["verifier_key"])
    if not case["reads"]:
        with pytest.raises(InvalidInput):
            read_checkpoint(case["note"])
        return
    signed = read_checkpoint(case["note"])
    found = signed.checkpoint
    assert (found.origin, found.size, found.root.hex()) == (case["origin"], case["size"], case["root"])
    assert (signed.signed_by({"log": key.public_key}) is not None) == case["signed"]


def test_the_vectors_hold_every_kind():
    assert {(case["reads"], case.get("signed")) for case in VECTORS["checkpoints"]} == {
        (True, True),
        (True, False),
        (False, None),
    }
