"""Witnesses: others who saw a log's checkpoint, and checked that it grew out of the last one they saw.

Theory of operation
-------------------
A log that shows different trees to different readers signs both, so its own signature proves nothing
against it. A witness keeps the last checkpoint it saw of each log, asks for a proof that the next one
contains it, and cosigns: as of this time, this is the largest tree I know. A reader who demands the
cosignatures of k witnesses is shown a fork only if k of them are.

A cosignature is one more line under the checkpoint, of the witness' own key (type 0x04): eight bytes of
time and an Ed25519 signature over a header, that time, and the checkpoint's text.

Laws (each has a test of the same name)
---------------------------------------
- a_cosignature_holds_for_its_text_and_time: neither can change, nor can a log's key pass for a witness'.
- a_witness_counts_once: whatever number of lines or configured names its key has.
- a_quorum_is_of_the_configured: lines of strangers count nothing.
- requests_round_trip: and what has a second encoding is refused.

Sources: C2SP tlog-cosignature (cosignature/v1) and tlog-witness (add-checkpoint). Not checked here: that a
witness is independent of the log, that it asked for the proof, and that its clock is right.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from caio.audit.checkpoint import MAX_SIZE, SignedCheckpoint, read_checkpoint
from caio.audit.notes import (
    COSIGNATURE_V1,
    MAX_NOTE_BYTES,
    NoteSignature,
    VerifierKey,
    read_base64,
    read_signatures,
    write_note,
)
from caio.audit.signing import SIGNATURE_BYTES, SigningKey, is_signed_by
from caio.foundation.errors import Conflict, InvalidInput

TIME_BYTES = 8
MAX_TIME = 2**63 - 1
MAX_PROOF = 63
HASH_BYTES = 32
#: Above what the note itself may have: the old size and the longest proof.
MAX_REQUEST_BYTES = MAX_NOTE_BYTES + 4096

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


class WitnessConflict(Conflict):
    """The witness knows this log at another ``size`` than it was told; ask again with a proof from there.

    A size above the checkpoint's own asks for a newer checkpoint. ``forked`` when it is the same size with
    another root: no proof can help, the log showed two trees.
    """

    code = "witness_conflict"

    def __init__(self, message: str, *, size: int, forked: bool = False) -> None:
        super().__init__(message)
        self.size = size
        self.forked = forked


# --- cosignatures -------------------------------------------------------------------------------


def witness_key(name: str, public_key: bytes) -> VerifierKey:
    """The verifier key of a witness, to pin beside the log's."""
    return VerifierKey(name, COSIGNATURE_V1, public_key)


def cosigned_message(text: bytes, time: int) -> bytes:
    """What a witness signs for a note's ``text`` at ``time``, in seconds since the epoch."""
    return b"cosignature/v1\ntime %d\n%b" % (time, text)


def cosign(signed: SignedCheckpoint, name: str, key: SigningKey, time: int) -> str:
    """The witness' line for this checkpoint, with its newline. Consistency is what the witness checks before.

    Raises InvalidInput for a time, in seconds since the epoch, outside of 0 to 2^63 - 1.
    """
    if not 0 <= time <= MAX_TIME:
        raise InvalidInput("The time of a cosignature must be 0 to 2^63 - 1 seconds since the epoch.")
    signature = key.sign(cosigned_message(signed.note.text, time))
    return NoteSignature(name, witness_key(name, key.public_key).hash, time.to_bytes(TIME_BYTES) + signature).line


def verify_cosignature(signed: SignedCheckpoint, witness: VerifierKey) -> int | None:
    """The latest time (seconds since the epoch) at which ``witness`` cosigned, or None; 0 is a time.

    None also when one of several lines of this witness fails to verify: the note was tampered with.
    The time is the witness' word, and is not compared with anything.
    """
    if witness.algorithm != COSIGNATURE_V1:
        return None
    times = [
        _time_of(signature, signed.note.text, witness.public_key)
        for signature in signed.note.signatures_of(witness.name, witness.hash)
    ]
    return max((time for time in times if time is not None), default=None) if None not in times else None


def add_cosignature(note: str, line: str) -> str:
    """``note`` with a witness' ``line``, in place of an earlier one of the same key.

    Raises InvalidInput when either is malformed or the line is under the log's own name. Nothing is verified.
    """
    signed = read_checkpoint(note)
    added = read_signatures(line)
    if len(added) != 1:
        raise InvalidInput(f"A witness adds one line to a checkpoint, not {len(added)}.")
    [new] = added
    if new.name == signed.checkpoint.origin:
        raise InvalidInput("The line is under the log's own name; a witness cosigns under its own.")
    kept = [old for old in signed.note.signatures if (old.name, old.key_hash) != (new.name, new.key_hash)]
    return write_note(signed.note.text, [*kept, new])


def cosigners(signed: SignedCheckpoint, witnesses: Sequence[VerifierKey]) -> dict[str, int]:
    """The names of those ``witnesses`` whose cosignature verifies, and its time in seconds since the epoch.

    Names under one public key, and keys under one name, are one witness.
    """
    times: dict[bytes, tuple[str, int]] = {}
    for witness in witnesses:
        time = verify_cosignature(signed, witness)
        if time is not None:
            times.setdefault(witness.public_key, (witness.name, time))
    return dict(times.values())


def has_quorum(signed: SignedCheckpoint, witnesses: Sequence[VerifierKey], k: int) -> bool:
    """Whether at least ``k`` of the configured ``witnesses`` cosigned this checkpoint.

    Not checked: the log's own signature, and how old the cosignatures are (see ``cosigners``).
    """
    return len(cosigners(signed, witnesses)) >= k


def _time_of(signature: bytes, text: bytes, public_key: bytes) -> int | None:
    """The time in a timestamped signature that verifies, or None."""
    if len(signature) != TIME_BYTES + SIGNATURE_BYTES:
        return None
    time = int.from_bytes(signature[:TIME_BYTES])
    message = cosigned_message(text, time)
    return time if time <= MAX_TIME and is_signed_by(public_key, message, signature[TIME_BYTES:]) else None


# --- the add-checkpoint exchange ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """What a log sends: the size the witness is believed to know, the proof from there, the signed note.

    Raises InvalidInput for a proof that the protocol cannot carry. Whether it proves, the witness checks.
    """

    old_size: int
    proof: tuple[bytes, ...]
    note: str

    def __post_init__(self) -> None:
        if not 0 <= self.old_size <= MAX_SIZE:
            raise _refused("the old size must be a number from 0 to 2^63 - 1")
        if len(self.proof) > MAX_PROOF or any(len(each) != HASH_BYTES for each in self.proof):
            raise _refused(f"the proof must be at most {MAX_PROOF} hashes of {HASH_BYTES} bytes")
        if self.proof and self.old_size == 0:
            raise _refused("nothing is proved from an empty tree; leave the proof empty")

    def body(self) -> bytes:
        hashes = "".join(f"{base64.b64encode(each).decode()}\n" for each in self.proof)
        return f"old {self.old_size}\n{hashes}\n{self.note}".encode()


def read_add_checkpoint(raw: bytes) -> tuple[AddCheckpoint, SignedCheckpoint]:
    """The request and the checkpoint in it; raises InvalidInput. No signature and no proof is verified."""
    if len(raw) > MAX_REQUEST_BYTES:
        raise _refused(f"it is larger than {MAX_REQUEST_BYTES} bytes")
    head, gap, note = raw.partition(b"\n\n")
    try:
        old, *hashes = head.decode("ascii").split("\n")
    except UnicodeError:
        raise _refused("its first lines are not ASCII") from None
    size = old.removeprefix("old ")
    if not gap or not old.startswith("old ") or not _NUMBER.fullmatch(size):
        raise _refused("it needs the line 'old' with a size, the proof, and an empty line")
    proof = [each for each in map(read_base64, hashes) if each is not None]
    if len(proof) != len(hashes):
        raise _refused("a line of the proof is not base64")
    signed = read_checkpoint(note)
    return AddCheckpoint(int(size), tuple(proof), str(signed.note)), signed


def cosignature_in(answer: bytes, signed: SignedCheckpoint, witness: VerifierKey) -> str:
    """The line of ``witness`` in its answer, verified for this checkpoint; raises InvalidInput if there is none.

    Lines of other keys are passed over: a witness may have several.
    """
    for line in read_signatures(answer):
        if (line.name, line.key_hash) != (witness.name, witness.hash):
            continue
        if _time_of(line.signature, signed.note.text, witness.public_key) is not None:
            return line.line
    raise InvalidInput(f"The answer holds no cosignature of {witness.name} for this checkpoint; check its key.")


def size_in(answer: bytes) -> int | None:
    """The size in the body of a conflict (``text/x.tlog.size``), or None when it holds none."""
    try:
        text = answer.decode("ascii")
    except UnicodeError:
        return None
    number = text.removesuffix("\n")
    if not text.endswith("\n") or not _NUMBER.fullmatch(number) or int(number) > MAX_SIZE:
        return None
    return int(number)


def _refused(fault: str) -> InvalidInput:
    return InvalidInput(f"This is not an add-checkpoint request: {fault}.")
