"""Notes, checkpoints and requests over generated values and generated garbage."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.audit.checkpoint import MAX_SIZE, Checkpoint, read_checkpoint, sign_checkpoint
from caio.audit.notes import NoteSignature, VerifierKey, read_note, read_signatures, read_verifier_key, write_note
from caio.audit.signing import SigningKey
from caio.audit.witnessing import (
    AddCheckpoint,
    add_cosignature,
    cosign,
    cosigners,
    has_quorum,
    read_add_checkpoint,
    size_in,
    witness_key,
)
from caio.foundation.errors import InvalidInput

KEY = SigningKey.generate(bytes(32))
TRUSTED = {KEY.key_id: KEY.public_key}

printable = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)
names = printable.filter(lambda name: name and "+" not in name and not any(letter.isspace() for letter in name))
signatures = st.builds(NoteSignature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80))
texts = st.lists(printable, min_size=1, max_size=5).map(lambda lines: "".join(f"{line}\n" for line in lines).encode())
origins = st.text(st.sampled_from("abc/.-_:0"), min_size=1, max_size=20)
checkpoints = st.builds(Checkpoint, origins, st.integers(0, MAX_SIZE), st.binary(min_size=32, max_size=32))
edits = st.tuples(st.integers(0, 10**6), st.integers(0, 3), st.binary(max_size=3))


def edited(raw: bytes, place: int, dropped: int, added: bytes) -> bytes:
    place %= len(raw) + 1
    return raw[:place] + added + raw[place + dropped :]


@given(texts, st.lists(signatures, min_size=1, max_size=5, unique=True))
def test_notes_round_trip(text, lines):
    written = write_note(text, lines)
    note = read_note(written)
    assert (note.text, list(note.signatures)) == (text, lines)
    assert read_note(written.encode()) == note
    assert str(note) == written


@given(texts, st.lists(signatures, min_size=1, max_size=3, unique=True), edits)
def test_what_reads_is_the_one_encoding_of_what_it_says(text, lines, edit):
    """Whatever happened to a note: it is refused, or writing what was read gives the same bytes."""
    raw = edited(write_note(text, lines).encode(), *edit)
    with contextlib.suppress(InvalidInput):
        assert str(read_note(raw)).encode() == raw


@given(names, st.sampled_from([1, 4]), st.binary(min_size=32, max_size=32), edits)
def test_verifier_keys_round_trip(name, algorithm, public_key, edit):
    key = VerifierKey(name, algorithm, public_key)
    assert read_verifier_key(str(key)) == key
    raw = edited(str(key).encode(), *edit).decode(errors="replace")
    with contextlib.suppress(InvalidInput):
        assert str(read_verifier_key(raw)) == raw


@given(checkpoints)
def test_checkpoints_round_trip(checkpoint):
    note = sign_checkpoint(checkpoint, KEY)
    signed = read_checkpoint(note)
    assert (signed.checkpoint, signed.signed_by(TRUSTED), str(signed.note)) == (checkpoint, KEY.key_id, note)


@given(checkpoints, edits)
def test_no_edit_of_a_checkpoint_is_accepted(checkpoint, edit):
    raw = sign_checkpoint(checkpoint, KEY).encode()
    changed = edited(raw, *edit)
    if changed == raw:
        return
    with contextlib.suppress(InvalidInput):
        assert read_checkpoint(changed).signed_by(TRUSTED) is None


@given(checkpoints, checkpoints)
def test_no_signature_moves_to_another_checkpoint(one, other):
    [line] = read_checkpoint(sign_checkpoint(one, KEY)).note.signatures
    moved = read_checkpoint(write_note(other.text(), [line]))
    assert (moved.signed_by(TRUSTED) is not None) == (one == other)


garbage = st.one_of(st.binary(max_size=200), st.text(max_size=200))


@pytest.mark.parametrize("read", [read_note, read_signatures, read_checkpoint])
@given(raw=garbage)
def test_garbage_is_refused_by_name(read, raw):
    with pytest.raises(InvalidInput):
        read(raw)


@given(st.binary(max_size=200))
def test_garbage_is_no_message(raw):
    with pytest.raises(InvalidInput):
        read_add_checkpoint(raw)
    size = size_in(raw)
    assert size is None or raw == b"%d\n" % size


@given(st.integers(1, MAX_SIZE), st.lists(st.binary(min_size=32, max_size=32), max_size=63), checkpoints, edits)
def test_requests_round_trip(old_size, proof, checkpoint, edit):
    wanted = AddCheckpoint(old_size, tuple(proof), sign_checkpoint(checkpoint, KEY))
    body = wanted.body()
    read, signed = read_add_checkpoint(body)
    assert (read, signed.checkpoint) == (wanted, checkpoint)
    changed = edited(body, *edit)
    with contextlib.suppress(InvalidInput):
        assert read_add_checkpoint(changed)[0].body() == changed


@given(checkpoints, st.lists(st.integers(0, 4), max_size=8), st.sets(st.integers(0, 4)), st.integers(0, 6))
def test_a_quorum_is_of_the_configured(checkpoint, order, configured, k):
    """Whoever cosigned, how often and in which order: the quorum is over who was configured."""
    keys = [SigningKey.generate(bytes([number + 1]) * 32) for number in range(5)]
    note = sign_checkpoint(checkpoint, KEY)
    for time, number in enumerate(order):
        line = cosign(read_checkpoint(note), f"w{number}.example", keys[number], time)
        note = add_cosignature(note, line)
    pinned = [witness_key(f"w{number}.example", keys[number].public_key) for number in configured]
    signed = read_checkpoint(note)
    latest = {f"w{number}.example": time for time, number in enumerate(order) if number in configured}
    assert cosigners(signed, pinned) == latest
    assert has_quorum(signed, pinned, k) == (len(latest) >= k)
    assert signed.signed_by(TRUSTED) == KEY.key_id
