"""Checkpoints: what a log says it holds, signed. Size and root fix every entry before them.

Theory of operation
-------------------
A checkpoint is a signed note of three lines: the log's origin, the number of its entries, and the root
of its tree. The origin is also the name of the key, so that a signature of the same key for another log
is not one for this. The key is the installation's signing key; its id is the one that receipts carry.

Laws (each has a test of the same name)
---------------------------------------
- checkpoints_round_trip: with and without extension lines.
- any_changed_byte_is_noticed: no byte of a signed checkpoint can be replaced, dropped or added so that
  the signature still verifies.
- only_its_own_log_signs_a_checkpoint: another name, another key, or one failing line proves nothing.
- numbers_and_roots_have_one_text: no sign, no leading zero, no stray bit.

Sources: C2SP tlog-checkpoint, signed-note type 0x01 (Ed25519, RFC 8032). Narrower than those: an origin is
visible ASCII, so that no two of them look alike. Not checked: that the tree exists, that it grew out of an
earlier one (``merkle.verify_consistency``), that others were shown the same one (``witnessing``), and when.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass

from caio.audit.notes import (
    ED25519,
    MAX_NOTE_BYTES,
    Note,
    NoteSignature,
    VerifierKey,
    key_hash,
    read_base64,
    read_note,
    write_note,
)
from caio.audit.signing import SigningKey, is_signed_by
from caio.foundation.errors import InvalidInput

ROOT_BYTES = 32
MAX_SIZE = 2**63 - 1
MAX_ORIGIN = 200

_ORIGIN = re.compile(rf"[!-*,-~]{{1,{MAX_ORIGIN}}}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL = re.compile(r"[\x00-\x1f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's size and root. Raises InvalidInput for values that no checkpoint can hold.

    ``extensions`` are further lines of other logs; CAIO signs none, and understands none.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _ORIGIN.fullmatch(self.origin):
            raise _refused(f"its origin must be 1 to {MAX_ORIGIN} visible ASCII characters without a plus sign")
        if not 0 <= self.size <= MAX_SIZE:
            raise _refused("its size must be a number from 0 to 2^63 - 1")
        if len(self.root) != ROOT_BYTES:
            raise _refused(f"its root must be {ROOT_BYTES} bytes")
        if any(not line or _CONTROL.search(line) for line in self.extensions):
            raise _refused("an extension line is empty or holds a control character")
        if sum(len(line.encode()) for line in self.extensions) > MAX_NOTE_BYTES:
            raise _refused("its extension lines are too large")

    def text(self) -> bytes:
        """What is signed: the body of the note."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "".join(f"{line}\n" for line in lines).encode()


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint that was read, with the note it came in. Nothing is verified until it is asked."""

    checkpoint: Checkpoint
    note: Note

    def signed_by(self, trusted: Mapping[str, bytes]) -> str | None:
        """The id of the first of the ``trusted`` raw keys that signed as this log, or None.

        None also when a line of a trusted key fails to verify beside another that does: such a note was
        tampered with. Lines of other names and keys, a witness' for instance, are passed over. Not checked:
        that this is the log you mean, since one key signs many; compare ``checkpoint.origin``.
        """
        origin, signers = self.checkpoint.origin, []
        for key_id, public_key in trusted.items():
            claimed = self.note.signatures_of(origin, key_hash(origin, ED25519, public_key))
            if not all(is_signed_by(public_key, self.note.text, signature) for signature in claimed):
                return None
            if claimed:
                signers.append(key_id)
        return signers[0] if signers else None


def log_key(origin: str, public_key: bytes) -> VerifierKey:
    """The verifier key under which a log's checkpoints are checked by witnesses and other tools."""
    return VerifierKey(origin, ED25519, public_key)


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> str:
    """The whole signed note. Whether it is consistent with what was signed before is the caller's to know."""
    text = checkpoint.text()
    mine = key_hash(checkpoint.origin, ED25519, key.public_key)
    return write_note(text, [NoteSignature(checkpoint.origin, mine, key.sign(text))])


def read_checkpoint(note: str | bytes) -> SignedCheckpoint:
    """The checkpoint whose one encoding is ``note``; raises InvalidInput. No signature is verified."""
    signed = read_note(note)
    lines = signed.text.decode().removesuffix("\n").split("\n")
    if len(lines) < 3:
        raise _refused("it needs the lines origin, size and root")
    origin, size, encoded, *extensions = lines
    root = read_base64(encoded)
    if not _SIZE.fullmatch(size):
        raise _refused("its size must be a decimal number without sign and leading zeros")
    if root is None:
        raise _refused("its root must be base64")
    return SignedCheckpoint(Checkpoint(origin, int(size), root, tuple(extensions)), signed)


def _refused(fault: str) -> InvalidInput:
    return InvalidInput(f"This is not a checkpoint: {fault}. Get it again from the log.")
