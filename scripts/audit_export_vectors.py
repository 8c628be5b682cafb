"""Write ``schemas/vectors/audit-export-v1.json``: exports, honest and not, and what of each is proved.

    python -m scripts.audit_export_vectors

Everything is fixed, the keys too: those of the receipts' vectors. The file changes only when the format
does, and a test compares it. A change of an existing vector is a new format version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from caio.audit.acts import Act, ActRecord
from caio.audit.checkpoint import Checkpoint, sign_checkpoint
from caio.audit.export import KIND, EntryLine, Manifest, Tally
from caio.audit.log_tree import TileFiles, Tiling
from caio.audit.log_verify import Elsewhere, Export, verify_log
from caio.audit.merkle import Frontier, leaf_hash
from caio.audit.record import Commitment, Record
from caio.audit.signing import Keyring, SigningKey, key_set
from scripts.receipt_vectors import (
    DECIDED_AT,
    EVIDENCE,
    KEY,
    ORIGIN,
    REFUSED,
    RETIRED,
    SCHEMAS,
    STRANGER,
    sample_decision,
    sample_outcome,
    text_of,
)

TENANT = ORIGIN.rpartition("/")[2]
KEYRING = Keyring(KEY, (RETIRED.public_key,))


@dataclass(frozen=True)
class Case:
    """An export's files, and what the verifier has besides."""

    manifest: str
    checkpoint: str
    entries: str
    tiles: dict[str, str] | None
    anchors: tuple[str, ...] | None = None
    newest: bool = True
    earlier: str | None = None

    def resigned(self, key: SigningKey = KEY, **changes: Any) -> Case:
        """With a manifest made for the other files, and signed."""
        fitting = {
            "entries_sha256": hashlib.sha256(self.entries.encode()).hexdigest(),
            "checkpoint_sha256": hashlib.sha256(self.checkpoint.encode()).hexdigest(),
        }
        manifest = msgspec.convert({**msgspec.json.decode(self.manifest), **fitting, **changes}, Manifest)
        return replace(self, manifest=manifest.signed(key).written().decode())

    def document(self, name: str) -> dict[str, Any]:
        tiles = None if self.tiles is None else {path: bytes.fromhex(held) for path, held in self.tiles.items()}
        export = Export(
            self.manifest.encode(),
            self.checkpoint.encode(),
            self.entries.encode().splitlines(keepends=True),
            None if tiles is None else TileFiles(tiles.keys, tiles.get),
        )
        found = verify_log(export, Elsewhere(KEYRING.trusted_keys(), self.anchors, self.newest, self.earlier))
        claims = {claim.name: claim.proved for claim in found.claims}
        parts = {"manifest.json": self.manifest, "checkpoint": self.checkpoint, "entries.jsonl": self.entries}
        known = {"anchors": self.anchors, "newest": self.newest, "earlier": self.earlier}
        return {"name": name, **parts, "tiles": self.tiles, **known, "ok": found.ok, "claims": claims}


def _line(seq: int, record: Record) -> EntryLine:
    payload, salt = record.canonical(), bytes([seq]) * 32
    commitment = Commitment.to(payload, salt).value.hex()
    about = (record.kind, record.subject_id, record.recorded_at)
    return EntryLine(seq, commitment, *about, salt=salt.hex(), payload=msgspec.Raw(payload))


def _erased(line: EntryLine) -> EntryLine:
    return msgspec.structs.replace(line, salt=None, payload=msgspec.Raw())


def _withheld(line: EntryLine) -> EntryLine:
    return EntryLine(line.seq, line.commitment)


def _act(number: int, action: str, subject: str, details: dict[str, Any]) -> ActRecord:
    act = Act(action, "key_01m000000000000000000000000", subject, details)
    return ActRecord(TENANT, f"act_{number:026}", DECIDED_AT + number, act)


def log() -> list[EntryLine]:
    """A key, a decision with its outcome, a refusal that was erased, and the act that erased it."""
    decision = sample_decision(EVIDENCE)
    refusal = replace(sample_decision(REFUSED), decision_id="dec_01m000000000000000000000000")
    records: list[Record] = [
        _act(0, "key.created", "key_01m000000000000000000000001", {"roles": ["auditor"]}),
        decision,
        refusal,
        sample_outcome(decision),
        _act(1, "content.erased", "decisions", {"reason": "asked for", "seqs": [2]}),
    ]
    lines = [_line(seq, record) for seq, record in enumerate(records)]
    return [_erased(line) if line.seq == 2 else line for line in lines]


def note(lines: Sequence[EntryLine], size: int, key: SigningKey = KEY) -> str:
    """The checkpoint of the first ``size`` lines."""
    hashes = [leaf_hash(bytes.fromhex(line.commitment)) for line in lines[:size]]
    return sign_checkpoint(Checkpoint(ORIGIN, size, Frontier.of(hashes).root()), key)


def exported(lines: Sequence[EntryLine], start: int = 0) -> Case:
    """The export of a log from ``start`` on."""
    entries = [bytes.fromhex(line.commitment) for line in lines]
    frontier = Frontier.of([leaf_hash(entry) for entry in entries[:start]])
    tally = Tally()
    for line in lines[start:]:
        tally = tally.with_line(line)
    tiling = Tiling()
    files = dict([*tiling.grow(entries), *tiling.partial()])
    manifest = Manifest(
        v=1,
        kind=KIND,
        tenant=TENANT,
        origin=ORIGIN,
        start=start,
        size=len(lines),
        count=tally.count,
        erased=tally.erased,
        withheld=tally.withheld,
        unreadable=tally.unreadable,
        filter={"kind": ["decision"]} if tally.withheld else {},
        frontier=[each.hex() for each in frontier.hashes],
        entries_sha256="0" * 64,
        checkpoint_sha256="0" * 64,
        made_at=DECIDED_AT + 1_000_000,
        key_id=KEY.key_id,
    )
    return Case(
        manifest.written().decode(),
        note(lines, len(lines)),
        b"".join(line.written() for line in lines[start:]).decode(),
        None if start else {path: content.hex() for path, content in files.items()},
    ).resigned()


def cases() -> dict[str, Case]:
    lines = log()
    whole = exported(lines)
    kept = (note(lines, 2), note(lines, 5))
    rewritten = [*lines]
    rewritten[0] = _line(0, _act(0, "key.created", "key_01m000000000000000000000001", {"roles": ["admin"]}))
    tile = "tile/0/000.p/5"
    assert whole.tiles is not None  # noqa: S101 - of an export from the first entry on
    changed = whole.entries.replace('"roles":["auditor"]', '"roles":["admin"]')
    return {
        "a whole log": replace(whole, anchors=kept, earlier=note(lines, 3)),
        "from an entry on": replace(exported(lines, 3), anchors=kept),
        "decisions alone are disclosed": exported(
            [line if line.kind == "decision" else _withheld(line) for line in lines]
        ),
        "rewritten and signed again": exported(rewritten),
        "rewritten, with anchors": replace(exported(rewritten), anchors=kept),
        "set back, with anchors": replace(exported(lines[:4]), anchors=kept),
        "archived, with later anchors": replace(exported(lines[:2]), anchors=kept, newest=False),
        "rewritten, with a kept checkpoint": replace(exported(rewritten), earlier=note(lines, 3)),
        "signed by a stranger": whole.resigned(STRANGER),
        "a checkpoint signed by a stranger": replace(whole, checkpoint=note(lines, 5, STRANGER)).resigned(),
        "a manifest of other entries": whole.resigned(entries_sha256="0" * 64),
        "another record than was committed to": replace(whole, entries=changed).resigned(),
        "a line is not canonical": replace(whole, entries=whole.entries.replace(":", ": ", 1)).resigned(),
        "two lines change places": replace(
            whole, entries="".join(reversed(whole.entries.splitlines(keepends=True)))
        ).resigned(),
        "an outcome before its decision": exported(
            [_line(0, sample_outcome(sample_decision(EVIDENCE))), _line(1, sample_decision(EVIDENCE))]
        ),
        "an entry that nobody erased": exported([_erased(lines[0]), *lines[1:]]),
        "a checkpoint of another root": replace(
            whole, checkpoint=sign_checkpoint(Checkpoint(ORIGIN, 5, b"x" * 32), KEY)
        ).resigned(),
        "a tile of another tree": replace(whole, tiles={**whole.tiles, tile: "00" * 160}),
        "a file that is no tile": replace(whole, tiles={**whole.tiles, "tile/README": ""}),
        "without tiles": replace(whole, tiles=None),
    }


def vectors() -> dict[str, Any]:
    found = [case.document(name) for name, case in cases().items()]
    return {"format": "caio/audit-export/v1", "key_set": key_set(KEYRING), "cases": found}


PATH = SCHEMAS / "vectors" / "audit-export-v1.json"

if __name__ == "__main__":
    PATH.write_text(text_of(vectors()), encoding="utf-8")
