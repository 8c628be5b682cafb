"""Signed notes: the published example, the one encoding, and what is refused."""

import base64
import hashlib

import pytest

from caio.audit.notes import (
    COSIGNATURE_V1,
    ED25519,
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Note,
    NoteSignature,
    VerifierKey,
    key_hash,
    read_base64,
    read_note,
    read_signatures,
    read_verifier_key,
    write_note,
)
from caio.audit.signing import is_signed_by
from caio.foundation.errors import InvalidInput

# The example of golang.org/x/mod/sumdb/note.
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
LINE = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
NOTE = f"{TEXT.decode()}\n{LINE}"
KEY = bytes(range(32))


def line(name="a.example", raw=b"hash" + b"s" * 64):
    return f"— {name} {base64.b64encode(raw).decode()}\n"


def test_published_notes_verify():
    note, key = read_note(NOTE), read_verifier_key(VKEY)
    assert note.text == TEXT
    [signature] = note.signatures_of(key.name, key.hash)
    assert is_signed_by(key.public_key, note.text, signature)
    assert not is_signed_by(key.public_key, note.text[:-1], signature)


def test_notes_round_trip():
    assert str(read_note(NOTE)) == NOTE == write_note(TEXT, read_note(NOTE.encode()).signatures)
    for text in (b"\n", b"a\n\n", b"\n\n\n", "— no signature\nÄ\x85\n".encode()):
        note = Note(text, (NoteSignature("a", b"hash", b"s"), NoteSignature("ünï", b"\0\0\0\0", b"\0")))
        assert read_note(str(note)) == note


def test_an_empty_line_in_the_text_does_not_end_it():
    assert read_note("one\n\ntwo\n\n" + line()).text == b"one\n\ntwo\n"


def test_lines_of_unknown_keys_are_kept():
    note = read_note(NOTE + line("someone.else", b"\0\0\0\0short"))
    assert [signature.name for signature in note.signatures] == ["PeterNeumann", "someone.else"]
    assert note.signatures[1].signature == b"short"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("", id="nothing"),
        pytest.param("text\n", id="no signatures"),
        pytest.param("text\n\n", id="no signature line"),
        pytest.param("text\n" + line(), id="no empty line"),
        pytest.param("\n" + line(), id="no text"),
        pytest.param("text\n\n" + line()[:-1], id="no final newline"),
        pytest.param("text\n\n" + line() + "\n", id="two final newlines"),
        pytest.param("text\n\n" + line() + "more\n", id="text below"),
        pytest.param("text\n\n" + line() + line(), id="a repeated line"),
        pytest.param("text\r\n\r\n" + line(), id="carriage returns"),
        pytest.param("text\n\n" + line()[:-1] + "\r\n", id="one carriage return"),
        pytest.param("te\txt\n\n" + line(), id="tab"),
        pytest.param("te\x00xt\n\n" + line(), id="null"),
        pytest.param(b"te\xffxt\n\n" + line().encode(), id="not UTF-8"),
        pytest.param(b"te\xc1\xa1xt\n\n" + line().encode(), id="overlong UTF-8"),
        pytest.param(b"te\xed\xa0\x80xt\n\n" + line().encode(), id="an encoded surrogate"),
        pytest.param("te\ud800xt\n\n" + line(), id="a surrogate"),
        pytest.param("text\n\n" + line(""), id="empty name"),
        pytest.param("text\n\n" + line("a b"), id="space in name"),
        pytest.param("text\n\n" + line("a\u00a0b"), id="no-break space in name"),
        pytest.param("text\n\n" + line("a\u2028b"), id="line separator in name"),
        pytest.param("text\n\n" + line("a+b"), id="plus in name"),
        pytest.param("text\n\n" + line().replace("—", "-"), id="hyphen"),
        pytest.param("text\n\n" + line().replace("— ", "—"), id="no space after the dash"),
        pytest.param("text\n\n" + line().replace("— ", "—  "), id="two spaces after the dash"),
        pytest.param("text\n\n" + line().replace(" aGFz", "  aGFz"), id="two spaces before base64"),
        pytest.param("text\n\n" + line()[:-1] + " \n", id="space at the end"),
        pytest.param("text\n\n— a.example\n", id="no base64"),
        pytest.param("text\n\n— a.example \n", id="empty base64"),
        pytest.param("text\n\n" + line(raw=b"hash"), id="no signature after the hash"),
        pytest.param("text\n\n" + line(raw=b"has"), id="a short hash"),
        pytest.param("text\n\n— a.example aGFzaHM\n", id="no padding"),
        pytest.param("text\n\n— a.example aGFzaHN=\n", id="stray bits under one pad"),
        pytest.param("text\n\n— a.example aGFzaHNzcx==\n", id="stray bits under two pads"),
        pytest.param("text\n\n— a.example aGFzaHM==\n", id="too much padding"),
        pytest.param("text\n\n— a.example aGFz-_M=\n", id="the URL alphabet"),
        pytest.param("text\n\n— a.example aGFz!aHM=\n", id="a character that is not base64"),
        pytest.param("text\n\n— a.example aGFzäHM=\n", id="a letter that is not ASCII"),
        pytest.param("text\n\n" + "".join(line(f"k{i}") for i in range(MAX_SIGNATURES + 1)), id="many signatures"),
        pytest.param("x" * MAX_NOTE_BYTES + "\n\n" + line(), id="large"),
        pytest.param("ä" * (MAX_NOTE_BYTES // 2) + "\n\n" + line(), id="large in bytes"),
    ],
)
def test_one_note_has_one_encoding(raw):
    with pytest.raises(InvalidInput) as caught:
        read_note(raw)
    assert len(caught.value.message) < 200


def test_the_bounds_are_themselves_accepted():
    lines = "".join(line(f"k{i}") for i in range(MAX_SIGNATURES))
    assert len(read_note("text\n\n" + lines).signatures) == MAX_SIGNATURES
    rest = "\n\n" + line()
    text = "x" * (MAX_NOTE_BYTES - len(rest.encode()))
    assert len(str(read_note(text + rest)).encode()) == MAX_NOTE_BYTES
    with pytest.raises(InvalidInput, match="larger"):
        read_note("x" + text + rest)


@pytest.mark.parametrize("text", [b"", b"text", b"te\rxt\n", b"\xff\n", b"x" * MAX_NOTE_BYTES + b"\n"])
def test_what_does_not_read_back_is_not_written(text):
    with pytest.raises(InvalidInput):
        write_note(text, read_signatures(line()))


def test_a_note_without_signatures_or_with_one_twice_is_not_written():
    [signature] = read_signatures(line())
    for signatures in ([], [signature] * 2, [NoteSignature(f"k{i}", b"hash", b"s") for i in range(MAX_SIGNATURES + 1)]):
        with pytest.raises(InvalidInput):
            write_note(b"text\n", signatures)


@pytest.mark.parametrize(
    "fields",
    [("", b"hash", b"s"), ("a b", b"hash", b"s"), ("a\nb", b"hash", b"s"), ("a\x1bb", b"hash", b"s"),
     ("a\udfffb", b"hash", b"s"), ("a", b"hashs", b"s"), ("a", b"has", b"s"), ("a", b"hash", b"")],
)  # fmt: skip
def test_impossible_signatures_do_not_construct(fields):
    with pytest.raises(InvalidInput):
        NoteSignature(*fields)


def test_a_key_hash_is_of_name_type_and_key():
    expected = hashlib.sha256(b"a.example\n\x01" + KEY).digest()[:4]
    assert key_hash("a.example", ED25519, KEY) == expected
    others = {
        key_hash("a.example", COSIGNATURE_V1, KEY),
        key_hash("b.example", ED25519, KEY),
        key_hash("a.example", ED25519, KEY[::-1]),
    }
    assert len(others | {expected}) == 4


def test_verifier_keys_round_trip():
    assert str(read_verifier_key(VKEY)) == VKEY
    # Base64 may hold a plus sign itself.
    key = VerifierKey("a.example/log", COSIGNATURE_V1, b"\xfb\xef\xbe\xff" * 8)
    assert str(key).count("+") > 2
    assert read_verifier_key(str(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        VKEY.replace("PeterNeumann", "PeterNewmann"),
        VKEY.replace("PeterNeumann", ""),
        VKEY.replace("c74f20a3", "c74f20a4"),
        VKEY.replace("c74f20a3", "C74F20A3"),
        VKEY.replace("c74f20a3", "0c74f20a3"),
        VKEY.replace("c74f20a3", ""),
        VKEY.replace("ARpc", "BRpc"),
        VKEY + "\n",
        VKEY + "=",
        VKEY[:-1],
        VKEY[:-4],
        f"a b+{key_hash('a b', 1, KEY).hex()}+{base64.b64encode(bytes([1]) + KEY).decode()}",
        f"a+{key_hash('a', 2, KEY).hex()}+{base64.b64encode(bytes([2]) + KEY).decode()}",
        f"a+{key_hash('a', 1, KEY[1:]).hex()}+{base64.b64encode(bytes([1]) + KEY[1:]).decode()}",
        f"a+{key_hash('a', 1, b'').hex()}+",
        f"\ud800+{'0' * 8}+{base64.b64encode(bytes([1]) + KEY).decode()}",
    ],
)
def test_other_verifier_keys_are_refused(text):
    with pytest.raises(InvalidInput, match="not a verifier key"):
        read_verifier_key(text)


def test_one_value_has_one_base64():
    assert read_base64("") == b""
    assert read_base64("AAE=") == b"\0\1"
    for other in ("AAF=", "AAE", "AAE==", "AAE=\n", " AAE=", "A AE=", "AAE=AAE=", "Ä"):
        assert read_base64(other) is None
