"""Exports of small logs, made without a server: honest ones, and forged ones that are properly signed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from caio.audit.acts import Act, ActRecord
from caio.audit.checkpoint import Checkpoint, sign_checkpoint
from caio.audit.export import EntryLine, Manifest, Tally, entry_line
from caio.audit.log_tree import TileFiles, Tiling
from caio.audit.log_verify import Elsewhere, Export, verify_log
from caio.audit.merkle import Frontier, leaf_hash
from caio.audit.ports import StoredLeaf
from caio.audit.record import Record, leaf_of
from caio.audit.sealing import Sealer
from caio.audit.signing import SigningKey
from caio.audit.verify import Verification
from tests.audit_samples import NOW, TENANT, counted, decision_record, outcome_record

ORIGIN = f"caio.localhost/{TENANT}"
KEY = SigningKey.generate(b"k" * 32)
OTHER_KEY = SigningKey.generate(b"o" * 32)
TRUSTED = {KEY.key_id: KEY.public_key}


def records(calls: int) -> list[Record]:
    """``calls`` decisions, each followed by its outcome, and one act."""
    made: list[Record] = []
    for number in range(calls):
        name = f"dec_{number:026}"
        made += [decision_record(decision_id=name), outcome_record(decision_id=name)]
    return [*made, ActRecord(TENANT, "act_1", NOW, Act("key.created", "key_1", "key_2", {"roles": ["user"]}))]


def sealer() -> Sealer:
    return Sealer(b"d" * 32, counted())


def stored(written: Iterable[Record], using: Sealer) -> list[StoredLeaf]:
    salts = counted()
    return [StoredLeaf(seq, leaf_of(record, using, salts(32))) for seq, record in enumerate(written)]


def entry_lines(calls: int, disclosed: Callable[[int], bool] = lambda seq: True) -> list[EntryLine]:
    using = sealer()
    return [entry_line(leaf, using, disclosed=disclosed(leaf.seq)) for leaf in stored(records(calls), using)]


def erased(line: EntryLine) -> EntryLine:
    return msgspec.structs.replace(line, salt=None, payload=msgspec.Raw())


def checkpoint_of(lines: Sequence[EntryLine], size: int | None = None, key: SigningKey = KEY) -> str:
    """The signed checkpoint of the first ``size`` of all lines of a log."""
    taken = [leaf_hash(bytes.fromhex(line.commitment)) for line in lines[:size]]
    return sign_checkpoint(Checkpoint(ORIGIN, len(taken), Frontier.of(taken).root()), key)


@dataclass(frozen=True)
class Files:
    """An export's files in memory."""

    manifest: bytes
    checkpoint: bytes
    entries: bytes
    tiles: dict[str, bytes] | None = field(default_factory=dict)

    def verified(self, **elsewhere: Any) -> Verification:
        tiles = None if self.tiles is None else TileFiles(lambda: list(self.tiles or {}), (self.tiles or {}).get)
        export = Export(self.manifest, self.checkpoint, self.entries.splitlines(keepends=True), tiles)
        return verify_log(export, Elsewhere(**{"trusted_keys": TRUSTED} | elsewhere))

    def refuted(self, **elsewhere: Any) -> set[str]:
        return {claim.name for claim in self.verified(**elsewhere).claims if claim.proved is False}

    def detail(self, name: str, **elsewhere: Any) -> str:
        return next(claim.detail for claim in self.verified(**elsewhere).claims if claim.name == name)

    def resigned(self, key: SigningKey = KEY, **changes: Any) -> Files:
        """With a manifest that fits the other files again, and ``changes`` in it."""
        manifest = msgspec.json.decode(self.manifest) | {
            "entries_sha256": hashlib.sha256(self.entries).hexdigest(),
            "checkpoint_sha256": hashlib.sha256(self.checkpoint).hexdigest(),
        }
        read = msgspec.convert(manifest | changes, Manifest)
        return replace(self, manifest=read.signed(key).written())


def files_of(log: Sequence[EntryLine], start: int = 0, **changes: Any) -> Files:
    """The export of all lines of a log from ``start`` on."""
    lines = log[start:]
    before = Frontier.of([leaf_hash(bytes.fromhex(line.commitment)) for line in log[:start]])
    tally = Tally()
    for line in lines:
        tally = tally.with_line(line)
    manifest = Manifest(
        v=1,
        kind="caio-audit-export",
        tenant=TENANT,
        origin=ORIGIN,
        start=start,
        size=len(log),
        count=tally.count,
        erased=tally.erased,
        withheld=tally.withheld,
        unreadable=tally.unreadable,
        filter={"service": "some"} if tally.withheld else {},
        frontier=[each.hex() for each in before.hashes],
        entries_sha256="0" * 64,
        checkpoint_sha256="0" * 64,
        made_at=NOW,
        key_id=KEY.key_id,
    )
    tiling = Tiling()
    tiles = None
    if start == 0:
        tiles = dict([*tiling.grow([bytes.fromhex(line.commitment) for line in lines]), *tiling.partial()])
    entries = b"".join(line.written() for line in lines)
    return Files(manifest.written(), checkpoint_of(log).encode(), entries, tiles).resigned(**changes)
