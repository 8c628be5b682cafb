"""Signed notes: a text and the signatures under it, in a form that people and programs both read.

Theory of operation
-------------------
A note is its text, an empty line, and one line for each signature: an em dash, the key's name, and
in base64 a four-byte hash of the key before the signature itself. Name and hash find the key; trust
comes from the keys that the verifier pinned. A reader keeps the lines of keys it does not know.

One note has one encoding. What can be said in two ways (base64 with stray bits, a carriage return, a
repeated line) is refused, so that whoever stores, compares or hashes notes never meets two of the same.

Laws (each has a test of the same name)
---------------------------------------
- notes_round_trip: what is written reads back; what is read writes back to the same bytes.
- one_note_has_one_encoding: everything else is InvalidInput, and nothing else is raised.
- published_notes_verify: the example of Go's module ``golang.org/x/mod/sumdb/note``.
- verifier_keys_round_trip: and one whose hash is not its key's is refused.

Sources: C2SP signed-note (c2sp.org/signed-note); verifier keys as in Go's ``sumdb/note``. Stricter than
the former: a line may not occur twice. Not checked here: any signature, see ``checkpoint`` and ``witnessing``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from caio.audit.signing import PUBLIC_KEY_BYTES
from caio.foundation.errors import InvalidInput

#: Signature types (one byte, in the key's hash and before the key in a verifier key).
ED25519 = 0x01
COSIGNATURE_V1 = 0x04

KEY_HASH_BYTES = 4
MAX_SIGNATURES = 100
MAX_NOTE_BYTES = 1_000_000

_DASH = "— "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_HASH = re.compile(r"[0-9a-f]{8}")


def key_hash(name: str, algorithm: int, public_key: bytes) -> bytes:
    """The four bytes by which a signature line finds its key. They identify; they do not authenticate."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([algorithm]) + public_key).digest()[:KEY_HASH_BYTES]


def read_base64(text: str) -> bytes | None:
    """The bytes of standard base64 with padding, or None. One value has one text (RFC 4648, section 3.5)."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A named Ed25519 public key and what its signatures mean: ED25519 of a log, COSIGNATURE_V1 of a witness.

    Raises InvalidInput for a name that no signature line can hold, another type, or another length.
    """

    name: str
    algorithm: int
    public_key: bytes

    def __post_init__(self) -> None:
        if (fault := _fault_of_name(self.name)) is not None:
            raise _not_a_key(fault)
        if self.algorithm not in (ED25519, COSIGNATURE_V1):
            raise _not_a_key(f"its type {self.algorithm} is neither Ed25519 (1) nor cosignature/v1 (4)")
        if len(self.public_key) != PUBLIC_KEY_BYTES:
            raise _not_a_key(f"its public key has {len(self.public_key)} bytes instead of {PUBLIC_KEY_BYTES}")

    @property
    def hash(self) -> bytes:
        return key_hash(self.name, self.algorithm, self.public_key)

    def __str__(self) -> str:
        """The text to publish and to pin: ``name+hash+base64(type ‖ key)``."""
        material = base64.b64encode(bytes([self.algorithm]) + self.public_key).decode()
        return f"{self.name}+{self.hash.hex()}+{material}"


def read_verifier_key(text: str) -> VerifierKey:
    """The key of a verifier key's text; raises InvalidInput. Whose key it is, is not checked."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise _not_a_key("it is not of the form name+hash+key")
    name, digest, encoded = parts
    material = read_base64(encoded)
    if not material:
        raise _not_a_key("what follows the hash is not base64 of a type and a key")
    key = VerifierKey(name, material[0], material[1:])
    if not _KEY_HASH.fullmatch(digest) or key.hash.hex() != digest:
        raise _not_a_key(f"its hash must be {key.hash.hex()} for this name and key")
    return key


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One line under a note. Raises InvalidInput for what no line can hold."""

    name: str
    key_hash: bytes
    signature: bytes

    def __post_init__(self) -> None:
        if (fault := _fault_of_name(self.name)) is not None:
            raise _not_a_note(fault)
        if len(self.key_hash) != KEY_HASH_BYTES or not self.signature:
            raise _not_a_note("a signature line needs four bytes of key hash and a signature")

    @property
    def line(self) -> str:
        """The line with its newline."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_hash + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text (with its final newline) and the signatures below it. Raises InvalidInput for what cannot be written."""

    text: bytes
    signatures: tuple[NoteSignature, ...]

    def __post_init__(self) -> None:
        text = _decoded(self.text)
        if not text.endswith("\n"):
            raise _not_a_note("its text does not end with a newline")
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES:
            raise _not_a_note(f"it has {len(self.signatures)} signatures instead of 1 to {MAX_SIGNATURES}")
        if len(set(self.signatures)) != len(self.signatures):
            raise _not_a_note("a signature line occurs twice")
        if len(str(self).encode()) > MAX_NOTE_BYTES:
            raise _not_a_note(f"it is larger than {MAX_NOTE_BYTES} bytes")

    def signatures_of(self, name: str, key_hash: bytes) -> list[bytes]:
        """What stands on the lines that claim to be this key's. Whether it verifies is another question."""
        return [line.signature for line in self.signatures if line.name == name and line.key_hash == key_hash]

    def __str__(self) -> str:
        """The whole note, as ``write_note`` gives it."""
        return self.text.decode() + "\n" + "".join(signature.line for signature in self.signatures)


def write_note(text: bytes, signatures: Iterable[NoteSignature]) -> str:
    """The whole note; raises InvalidInput for a text or signatures that no note can hold."""
    return str(Note(text, tuple(signatures)))


def read_note(raw: str | bytes) -> Note:
    """The note whose one encoding is ``raw``; raises InvalidInput. No signature is verified."""
    if len(raw) > MAX_NOTE_BYTES:
        raise _not_a_note(f"it is larger than {MAX_NOTE_BYTES} bytes")
    whole = _decoded(raw)
    # Signature lines are never empty, so the last empty line ends the text.
    text, gap, below = whole.rpartition("\n\n")
    if not gap:
        raise _not_a_note("no empty line ends its text")
    return Note(f"{text}\n".encode(), read_signatures(below))


def read_signatures(block: str | bytes) -> tuple[NoteSignature, ...]:
    """The signature lines of ``block``, each with its newline; raises InvalidInput for anything else."""
    text = _decoded(block)
    if not text.endswith("\n"):
        raise _not_a_note("its last signature line does not end with a newline")
    lines = text[:-1].split("\n", MAX_SIGNATURES)
    if len(lines) > MAX_SIGNATURES:
        raise _not_a_note(f"it has more than {MAX_SIGNATURES} signatures")
    return tuple(_read_line(line) for line in lines)


def _read_line(line: str) -> NoteSignature:
    name, gap, encoded = line.removeprefix(_DASH).partition(" ")
    raw = read_base64(encoded)
    if not line.startswith(_DASH) or not gap or raw is None:
        raise _not_a_note("a signature line is not an em dash, a name and base64")
    return NoteSignature(name, raw[:KEY_HASH_BYTES], raw[KEY_HASH_BYTES:])


def _decoded(raw: str | bytes) -> str:
    """``raw`` as text that a note may hold: valid UTF-8 without control characters other than newlines."""
    try:
        text = raw.decode() if isinstance(raw, bytes) else raw
        text.encode()
    except UnicodeError:
        raise _not_a_note("it is not valid UTF-8") from None
    if _CONTROL.search(text):
        raise _not_a_note("it holds a control character")
    return text


def _fault_of_name(name: str) -> str | None:
    """Why no key can have this name, or None. Spaces are Unicode's."""
    if not name:
        return "the key's name is empty"
    if "+" in name or any(letter.isspace() for letter in name):
        return "the key's name holds a space or a plus sign"
    if _CONTROL.search(name) or any("\ud800" <= letter <= "\udfff" for letter in name):
        return "the key's name holds a character that no note may hold"
    return None


def _not_a_note(fault: str) -> InvalidInput:
    return InvalidInput(f"This is not a signed note: {fault}. Get it again from where it was published.")


def _not_a_key(fault: str) -> InvalidInput:
    return InvalidInput(f"This is not a verifier key: {fault}. Copy it again from its publisher.")
