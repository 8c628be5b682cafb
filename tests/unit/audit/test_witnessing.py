"""Cosignatures and the messages between log and witness."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from caio.audit.checkpoint import Checkpoint, log_key, read_checkpoint, sign_checkpoint
from caio.audit.merkle import verify_consistency
from caio.audit.notes import NoteSignature, VerifierKey, key_hash, read_signatures, read_verifier_key, write_note
from caio.audit.signing import SigningKey
from caio.audit.witnessing import (
    MAX_PROOF,
    MAX_REQUEST_BYTES,
    MAX_TIME,
    AddCheckpoint,
    add_cosignature,
    cosign,
    cosignature_in,
    cosigned_message,
    cosigners,
    has_quorum,
    read_add_checkpoint,
    size_in,
    verify_cosignature,
    witness_key,
)
from caio.foundation.errors import InvalidInput
from scripts.checkpoint_vectors import FILE

ORIGIN = "caio.localhost/acme"
LOG = SigningKey.generate(bytes(32))
KEYS = [SigningKey.generate(bytes([number]) * 32) for number in (1, 2, 3)]
NAMES = [f"witness.example/w{number}" for number in (1, 2, 3)]
WITNESSES = [witness_key(name, key.public_key) for name, key in zip(NAMES, KEYS, strict=True)]
NOTE = sign_checkpoint(Checkpoint(ORIGIN, 9, bytes(range(32))), LOG)
SIGNED = read_checkpoint(NOTE)
TIME = 1_790_000_000
VECTORS = json.loads(FILE.read_text(encoding="utf-8"))


def line_of(number: int, time: int = TIME, note: str = NOTE) -> str:
    return cosign(read_checkpoint(note), NAMES[number], KEYS[number], time)


def cosigned(*lines: str, note: str = NOTE) -> str:
    for line in lines:
        note = add_cosignature(note, line)
    return note


def time_in(note: str, witness: VerifierKey = WITNESSES[0]) -> int | None:
    return verify_cosignature(read_checkpoint(note), witness)


def forged(time: bytes, signature: bytes, key: VerifierKey = WITNESSES[0]) -> str:
    return NoteSignature(key.name, key.hash, time + signature).line


# --- cosignatures -------------------------------------------------------------------------------


def test_the_message_is_header_time_and_text():
    assert cosigned_message(b"text\n", 12) == b"cosignature/v1\ntime 12\ntext\n"


def test_a_cosignature_holds_for_its_text_and_time():
    assert time_in(cosigned(line_of(0))) == TIME
    [line] = read_signatures(line_of(0))
    time, signature = line.signature[:8], line.signature[8:]
    assert time_in(cosigned(forged(time, signature))) == TIME
    assert time_in(cosigned(forged((TIME + 1).to_bytes(8), signature))) is None
    for place in range(64):
        broken = signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1 :]
        assert time_in(cosigned(forged(time, broken))) is None
    # The same line under another text, of another witness, and with the key's other uses.
    other = sign_checkpoint(Checkpoint(ORIGIN, 10, bytes(range(32))), LOG)
    assert time_in(cosigned(line_of(0), note=other)) is None
    assert time_in(cosigned(line_of(0)), WITNESSES[1]) is None
    assert time_in(cosigned(line_of(0)), witness_key("witness.example/other", KEYS[0].public_key)) is None
    plain = KEYS[0].sign(SIGNED.note.text)
    assert time_in(cosigned(forged(time, plain))) is None
    assert time_in(cosigned(forged(b"", plain))) is None
    assert time_in(cosigned(forged(time, signature + b"\0"))) is None
    assert time_in(NOTE) is None


def test_a_log_key_is_no_witness_key():
    as_log = VerifierKey(NAMES[0], 1, KEYS[0].public_key)
    time = TIME.to_bytes(8)
    signature = KEYS[0].sign(cosigned_message(SIGNED.note.text, TIME))
    note = cosigned(forged(time, signature, as_log))
    assert time_in(note) is time_in(note, as_log) is None
    # Nor does a witness' signature, under the log's name, make a checkpoint the log's.
    mine = key_hash(ORIGIN, 1, KEYS[0].public_key)
    note = write_note(SIGNED.note.text, [NoteSignature(ORIGIN, mine, signature)])
    assert read_checkpoint(note).signed_by({"w": KEYS[0].public_key}) is None


def test_times_have_their_bounds():
    for time in (0, 1, MAX_TIME):
        assert time_in(cosigned(line_of(0, time))) == time
    for time in (-1, MAX_TIME + 1):
        with pytest.raises(InvalidInput, match="time"):
            line_of(0, time)
    above = (MAX_TIME + 1).to_bytes(8)
    assert time_in(cosigned(forged(above, KEYS[0].sign(cosigned_message(SIGNED.note.text, MAX_TIME + 1))))) is None


def test_the_log_still_signs_what_is_cosigned():
    signed = read_checkpoint(cosigned(line_of(0), line_of(1)))
    assert signed.signed_by({LOG.key_id: LOG.public_key}) == LOG.key_id
    assert signed.checkpoint == SIGNED.checkpoint


def test_of_several_lines_the_latest_counts_and_all_must_verify():
    lines = SIGNED.note.signatures + read_signatures(line_of(0, TIME + 5) + line_of(0, TIME))
    assert time_in(write_note(SIGNED.note.text, lines)) == TIME + 5
    broken = read_signatures(forged(TIME.to_bytes(8), bytes(64)))
    for order in (lines + broken, broken + lines):
        assert time_in(write_note(SIGNED.note.text, order)) is None


def test_a_later_cosignature_replaces_the_same_keys():
    once = cosigned(line_of(0), line_of(1))
    again = cosigned(line_of(0, TIME + 60), note=once)
    assert again.count("\n") == once.count("\n")
    assert cosigners(read_checkpoint(again), WITNESSES) == {NAMES[0]: TIME + 60, NAMES[1]: TIME}
    assert cosigned(line_of(1), note=once) == once


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        line_of(0)[:-1],
        line_of(0) + line_of(1),
        "— a b\n",
        str(NOTE),
        NoteSignature(ORIGIN, key_hash(ORIGIN, 1, LOG.public_key), b"in place of the log's own").line,
        NoteSignature(ORIGIN, b"\0\0\0\0", b"under the log's name").line,
    ],
)
def test_what_is_no_witness_line_is_not_added(line):
    with pytest.raises(InvalidInput):
        add_cosignature(NOTE, line)


# --- quorum -------------------------------------------------------------------------------------


def quorum(note: str, witnesses: list[VerifierKey], k: int) -> bool:
    return has_quorum(read_checkpoint(note), witnesses, k)


def test_a_quorum_is_of_the_configured():
    for count in range(4):
        note = cosigned(*(line_of(number) for number in range(count)))
        assert [quorum(note, WITNESSES, k) for k in range(5)] == [k <= count for k in range(5)]
    both = cosigned(line_of(0), line_of(1))
    assert not quorum(both, WITNESSES[1:], 2)
    assert not quorum(both, [], 1)
    # A line that does not verify, and one of a stranger under a witness' name, count nothing.
    assert not quorum(cosigned(line_of(0), forged(TIME.to_bytes(8), bytes(64), WITNESSES[1])), WITNESSES, 2)
    stranger = cosign(SIGNED, NAMES[1], SigningKey.generate(b"\7" * 32), TIME)
    assert not quorum(cosigned(line_of(0), stranger), WITNESSES, 2)


def test_a_witness_counts_once():
    note = write_note(SIGNED.note.text, SIGNED.note.signatures + read_signatures(line_of(0) + line_of(0, TIME + 1)))
    assert not quorum(note, WITNESSES, 2)
    assert not quorum(note, [WITNESSES[0]] * 3, 2)
    # One key under two configured names.
    alias = witness_key("witness.example/alias", KEYS[0].public_key)
    both = cosigned(line_of(0), cosign(SIGNED, alias.name, KEYS[0], TIME))
    assert time_in(both, alias) == TIME
    assert not quorum(both, [WITNESSES[0], alias], 2)
    # Two keys under one name.
    double = witness_key(NAMES[0], KEYS[1].public_key)
    both = cosigned(line_of(0), cosign(SIGNED, NAMES[0], KEYS[1], TIME))
    assert time_in(both, double) == TIME
    assert not quorum(both, [WITNESSES[0], double], 2)


# --- the add-checkpoint exchange ----------------------------------------------------------------

PROOF = (b"\1" * 32, b"\2" * 32)


@pytest.mark.parametrize(("old_size", "proof"), [(0, ()), (9, ()), (5, PROOF), (2**63 - 1, PROOF[:1] * MAX_PROOF)])
def test_requests_round_trip(old_size, proof):
    wanted = AddCheckpoint(old_size, proof, NOTE)
    assert read_add_checkpoint(wanted.body()) == (wanted, SIGNED)


BODY = AddCheckpoint(5, PROOF, NOTE).body()
HASH = base64.b64encode(PROOF[0]) + b"\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        NOTE.encode(),
        BODY[4:],
        BODY.replace(b"old 5", b"old 05"),
        BODY.replace(b"old 5", b"old +5"),
        BODY.replace(b"old 5", b"old  5"),
        BODY.replace(b"old 5", b"old 5 "),
        BODY.replace(b"old 5", b"old"),
        BODY.replace(b"old 5", b"old "),
        BODY.replace(b"old 5", b"OLD 5"),
        BODY.replace(b"old 5", b"old 5\r"),
        BODY.replace(b"old 5", b"old %d" % 2**63),
        BODY.replace(b"old 5", b"old 0"),
        BODY.replace(HASH, HASH[:-2] + b"\n"),
        BODY.replace(HASH, HASH.replace(b"E=", b"F=")),
        BODY.replace(HASH, base64.b64encode(PROOF[0][1:]) + b"\n"),
        BODY.replace(HASH, b" " + HASH),
        BODY.replace(HASH, b"\n" + HASH),
        BODY.replace(HASH, "ä\n".encode()),
        BODY.replace(HASH, HASH * MAX_PROOF),
        BODY.replace(b"\n\ncaio", b"\ncaio"),
        BODY.replace(b"\n\ncaio", b"\n\n\ncaio"),
        BODY[:-1],
        BODY + b"\n",
        BODY + b"x" * MAX_REQUEST_BYTES,
    ],
)
def test_other_requests_are_refused(raw):
    assert raw != BODY
    with pytest.raises(InvalidInput):
        read_add_checkpoint(raw)


@pytest.mark.parametrize(
    ("size", "proof"), [(-1, ()), (2**63, ()), (5, (b"short",)), (5, PROOF[:1] * (MAX_PROOF + 1)), (0, PROOF)]
)
def test_impossible_requests_do_not_construct(size, proof):
    with pytest.raises(InvalidInput):
        AddCheckpoint(size, proof, NOTE)


def test_the_witness_line_is_found_among_others():
    answer = (line_of(1) + line_of(0)).encode()
    assert cosignature_in(answer, SIGNED, WITNESSES[0]) == line_of(0)
    assert cosignature_in(answer, SIGNED, WITNESSES[1]) == line_of(1)


@pytest.mark.parametrize(
    "answer",
    [b"", b"\n", line_of(1).encode(), line_of(0).encode()[:-1], forged(TIME.to_bytes(8), bytes(64)).encode(),
     line_of(0, TIME, sign_checkpoint(Checkpoint(ORIGIN, 8, bytes(32)), LOG)).encode(), b"\xff\n"],
)  # fmt: skip
def test_an_answer_without_it_is_refused(answer):
    with pytest.raises(InvalidInput):
        cosignature_in(answer, SIGNED, WITNESSES[0])


def test_a_conflict_names_one_size():
    assert [size_in(raw) for raw in (b"0\n", b"17\n", b"%d\n" % (2**63 - 1))] == [0, 17, 2**63 - 1]
    for raw in (
        b"",
        b"17",
        b"17\n\n",
        b"017\n",
        b"+17\n",
        b" 17\n",
        b"1 7\n",
        b"%d\n" % 2**63,
        b"x\n",
        b"\xff\n",
        b"17\r\n",
    ):
        assert size_in(raw) is None


# --- the published vectors, by hashlib's and cryptography's own means ----------------------------


@pytest.mark.parametrize("case", VECTORS["cosigned"], ids=lambda case: case["name"])
def test_each_cosigned_vector_counts_as_it_says(case):
    witnesses = [read_verifier_key(text) for text in VECTORS["witnesses"]]
    assert cosigners(read_checkpoint(case["note"]), witnesses) == case["times"]


def test_the_request_vector_proves_what_it_says():
    vector = VECTORS["add_checkpoint"]
    wanted, signed = read_add_checkpoint(vector["body"].encode())
    assert (wanted.old_size, [each.hex() for each in wanted.proof]) == (vector["old_size"], vector["proof"])
    old_root = bytes.fromhex(vector["old_root"])
    new = signed.checkpoint
    assert verify_consistency(wanted.old_size, old_root, new.size, new.root, wanted.proof)


def test_a_second_reader_agrees_with_the_vectors():
    """C2SP signed-note, tlog-checkpoint and tlog-cosignature, written once more and without our modules."""
    message = VECTORS["cosigned_message"]
    note = next(case["note"] for case in VECTORS["cosigned"] if case["name"] == "two witnesses")
    text, _, below = note.rpartition("\n\n")
    assert f"cosignature/v1\ntime {message['time']}\n{text}\n" == message["message"]
    lines = [line.split(" ") for line in below.splitlines()]
    keys = {}
    for vkey in (VECTORS["log"]["verifier_key"], *VECTORS["witnesses"]):
        name, digest, material = vkey.split("+", 2)
        keys[name] = (digest, base64.b64decode(material))
    assert [name for _, name, _ in lines] == [VECTORS["log"]["origin"], *list(keys)[1:3]]
    for dash, name, encoded in lines:
        raw, (digest, material) = base64.b64decode(encoded), keys[name]
        assert (dash, raw[:4].hex()) == ("—", digest)
        public_key, signature = Ed25519PublicKey.from_public_bytes(material[1:]), raw[4:]
        if material[0] == 1:
            public_key.verify(signature, f"{text}\n".encode())
        else:
            time = int.from_bytes(signature[:8])
            public_key.verify(signature[8:], f"cosignature/v1\ntime {time}\n{text}\n".encode())
    assert (
        str(log_key(VECTORS["log"]["origin"], keys[VECTORS["log"]["origin"]][1][1:])) == VECTORS["log"]["verifier_key"]
    )
