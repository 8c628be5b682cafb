"""Write ``schemas/vectors/checkpoint-v1.json``: checkpoints, cosignatures and a request to a witness.

    python -m scripts.checkpoint_vectors

Everything is fixed, the keys too, which are for these vectors alone: the file changes only when the
format does, and a test compares it. A change of an existing vector is a new format version.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caio.audit.checkpoint import Checkpoint, log_key, read_checkpoint, sign_checkpoint
from caio.audit.merkle import consistency_spans, leaf_hash, root_of
from caio.audit.notes import ED25519, NoteSignature, key_hash, write_note
from caio.audit.signing import SigningKey
from caio.audit.witnessing import AddCheckpoint, add_cosignature, cosign, cosigned_message, cosigners, witness_key
from caio.foundation.errors import InvalidInput

FILE = Path(__file__).parents[1] / "schemas" / "vectors" / "checkpoint-v1.json"

ORIGIN = "caio.localhost/acme"
KEY, STRANGER = SigningKey.generate(bytes(range(32))), SigningKey.generate(bytes(range(32, 64)))
WITNESSES = {
    f"witness.example/w{number}": SigningKey.generate(bytes(range(32 * number + 32, 32 * number + 64)))
    for number in (1, 2, 3)
}
ENTRIES = [bytes([number]) * 32 for number in range(7)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
SEEN_AT = 1_790_000_000

HEAD = Checkpoint(ORIGIN, 7, root_of(LEAVES))
EARLIER = Checkpoint(ORIGIN, 3, root_of(LEAVES[:3]))
NOTE = sign_checkpoint(HEAD, KEY)


def _signed(*lines: str, name: str = ORIGIN, key: SigningKey = KEY) -> str:
    """A note of these lines with a signature that verifies, whatever the lines are."""
    text = "".join(f"{line}\n" for line in lines).encode()
    return write_note(text, [NoteSignature(name, key_hash(name, ED25519, key.public_key), key.sign(text))])


def _notes() -> dict[str, str]:
    origin, size, root = HEAD.text().decode().splitlines()
    [own] = read_checkpoint(NOTE).note.signatures
    broken = NoteSignature(own.name, own.key_hash, bytes([own.signature[0] ^ 1]) + own.signature[1:])
    stray = root[:-2] + chr(ord(root[-2]) + 1) + "="
    return {
        "the head": NOTE,
        "the head three entries earlier": sign_checkpoint(EARLIER, KEY),
        "an empty log": sign_checkpoint(Checkpoint(ORIGIN, 0, root_of([])), KEY),
        "the largest size": sign_checkpoint(Checkpoint(ORIGIN, 2**63 - 1, HEAD.root), KEY),
        "with an extension line": sign_checkpoint(Checkpoint(ORIGIN, 7, HEAD.root, ("anything",)), KEY),
        "another key": sign_checkpoint(HEAD, STRANGER),
        "another log of the same key, which only its origin tells": sign_checkpoint(
            Checkpoint("caio.localhost/other", 7, HEAD.root), KEY
        ),
        "the key under another name": _signed(origin, size, root, name="caio.localhost/other"),
        "another size under the same signature": NOTE.replace("\n7\n", "\n8\n"),
        "a line of the log that does not verify": write_note(HEAD.text(), [broken]),
        "the same beside one that does": write_note(HEAD.text(), [own, broken]),
        "a leading zero": _signed(origin, "07", root),
        "a sign": _signed(origin, "+7", root),
        "a size above": _signed(origin, str(2**63), root),
        "a root of 31 bytes": _signed(origin, size, base64.b64encode(HEAD.root[1:]).decode()),
        "a root with stray bits": _signed(origin, size, stray),
        "an empty extension line": _signed(origin, size, root, ""),
        "an origin with a space": _signed("caio localhost", size, root),
        "no final newline": NOTE[:-1],
        "carriage returns": NOTE.replace("\n", "\r\n"),
        "a repeated line": NOTE + own.line,
        "no signature": HEAD.text().decode() + "\n",
    }


def _case(name: str, note: str) -> dict[str, Any]:
    try:
        signed = read_checkpoint(note)
    except InvalidInput:
        return {"name": name, "note": note, "reads": False}
    by = signed.signed_by({KEY.key_id: KEY.public_key})
    found = signed.checkpoint
    read = {"origin": found.origin, "size": found.size, "root": found.root.hex(), "signed": by is not None}
    return {"name": name, "note": note, "reads": True, **read}


def _cosigned() -> dict[str, str]:
    signed = read_checkpoint(NOTE)
    lines = [cosign(signed, name, key, SEEN_AT + number) for number, (name, key) in enumerate(WITNESSES.items())]
    one, two = add_cosignature(NOTE, lines[0]), add_cosignature(add_cosignature(NOTE, lines[0]), lines[1])
    elsewhere = cosign(read_checkpoint(sign_checkpoint(EARLIER, KEY)), "witness.example/w3", STRANGER, SEEN_AT)
    borrowed = cosign(read_checkpoint(sign_checkpoint(EARLIER, KEY)), *list(WITNESSES.items())[2], SEEN_AT)
    return {
        "no witness": NOTE,
        "one witness": one,
        "two witnesses": two,
        "a stranger under a witness' name": add_cosignature(two, elsewhere),
        "a witness' line from another checkpoint": add_cosignature(two, borrowed),
    }


def vectors() -> dict[str, Any]:
    pinned = [witness_key(name, key.public_key) for name, key in WITNESSES.items()]
    proof = tuple(root_of(LEAVES[start:end]) for start, end in consistency_spans(EARLIER.size, HEAD.size))
    return {
        "format": "caio/checkpoint/v1",
        "log": {
            "origin": ORIGIN,
            "seed": bytes(range(32)).hex(),
            "verifier_key": str(log_key(ORIGIN, KEY.public_key)),
            "entries": [entry.hex() for entry in ENTRIES],
        },
        "witnesses": [str(key) for key in pinned],
        "checkpoints": [_case(name, note) for name, note in _notes().items()],
        "cosigned_message": {"time": SEEN_AT, "message": cosigned_message(HEAD.text(), SEEN_AT).decode()},
        "cosigned": [
            {"name": name, "note": note, "times": cosigners(read_checkpoint(note), pinned)}
            for name, note in _cosigned().items()
        ],
        "add_checkpoint": {
            "old_size": EARLIER.size,
            "old_root": EARLIER.root.hex(),
            "proof": [each.hex() for each in proof],
            "body": AddCheckpoint(EARLIER.size, proof, NOTE).body().decode(),
        },
    }


def text_of(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text_of(vectors()), encoding="utf-8")
