"""Verifying an export of a whole log offline, from the export and what the verifier had before. Pure.

Theory of operation
-------------------
The lines are read once, in order. Each claim of the export is proved, refuted, or not checked for want
of something, and a refutation names the first entry it was seen at. Manifest and checkpoint are signed:
who trusts the keys knows that nobody else made them. An operator who rewrites an entry and signs again
passes all of that. Checkpoints that he cannot take back refute him: those that were anchored, and those
that the verifier kept. The tree over the same lines must have had their root at their size.

Laws (each has a test of the same name)
---------------------------------------
- any_flipped_byte_is_refuted: of the lines, the manifest, the checkpoint and each tile; a table says by what.
- non_canonical_lines_are_refused: whatever the same content could have been written as.
- each_claim_can_fail: for each there is a properly signed export that refutes it alone.
- a_rewritten_log_is_caught_by_what_is_anchored: signed again, it proves itself, and not its anchors.
- withheld_and_erased_entries_verify: the tree does not need them opened.
- verify_never_raises: whatever the bytes.

Memory does not grow with the log, but for 24 bytes an entry that find what occurs twice, and what waits
for an outcome. Not checked: that decisions were right (``audit.verify`` with evidence), times, and that
what is withheld is what the filter says: who filtered is trusted for that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from caio.audit.checkpoint import Checkpoint, SignedCheckpoint, read_checkpoint
from caio.audit.export import EntryLine, Manifest, Tally, read_line, read_manifest
from caio.audit.log_erasures import Erasures
from caio.audit.log_records import Records
from caio.audit.log_tree import Known, LogTree, TileFiles
from caio.audit.merkle import MAX_SIZE, Frontier
from caio.audit.signing import is_signed_by, read_signature
from caio.audit.verify import Claim, Verification
from caio.foundation.errors import InvalidInput
from caio.foundation.hashing import keyed, same


@dataclass(frozen=True, slots=True)
class Export:
    """An export as it is found: the files' bytes, the lines with their ends, and the tiles if there are any."""

    manifest: bytes
    checkpoint: bytes
    lines: Iterable[bytes]
    tiles: TileFiles | None = None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What the verifier has from elsewhere.

    ``anchors`` are notes ascending by size, as ``ports.Anchor.notes`` gives them; with ``newest``, a log
    that ends before the last of them was set back. ``earlier`` is a checkpoint that the verifier kept.
    """

    trusted_keys: Mapping[str, bytes]
    anchors: Iterable[str | bytes] | None = None
    newest: bool = True
    earlier: str | bytes | None = None


def verify_log(export: Export, elsewhere: Elsewhere) -> Verification:
    """Check every claim of ``export``. Never raises for what the bytes are; reads ``lines`` to their end
    unless there is no manifest to compare them with."""
    try:
        manifest = read_manifest(export.manifest)
        frontier = _frontier(manifest)
    except InvalidInput as error:
        return Verification((Claim("form", False, error.message),))
    checkpoint = _Signed(export.checkpoint, manifest, elsewhere.trusted_keys)
    anchors = _Anchored(manifest.origin, elsewhere)
    earlier = _Earlier(manifest.origin, elsewhere)
    records = Records(manifest.tenant, whole=manifest.start == 0)
    tree = LogTree(frontier, manifest.size, export.tiles, (anchors.known, earlier.known))
    lines = _Lines(manifest, export.lines)
    commitments, erasures = _Commitments(), Erasures(manifest.start)
    for line in lines:
        commitments.take(line)
        records.take(line)
        erasures.take(line)
        tree.take(bytes.fromhex(line.commitment))
    records.finish()
    if lines.fault is None:
        tree.finish()
    return Verification(
        (
            lines.claim(),
            _manifest_signature(manifest, elsewhere.trusted_keys),
            checkpoint.claim(),
            Claim("entries hash", *lines.hash_holds()),
            commitments.claim(lines.fault),
            _records(records, lines.fault),
            _erasures(erasures, lines.fault),
            _tree(tree, checkpoint.checkpoint, manifest.size, lines.fault),
            _tiles(tree, export.tiles, manifest.start, lines.fault),
            anchors.claim(tree.size, lines.fault),
            earlier.claim(tree.size, lines.fault),
        )
    )


def _frontier(manifest: Manifest) -> Frontier:
    if not manifest.start <= manifest.size <= MAX_SIZE:
        raise InvalidInput("This is not the manifest of an export: it begins after its end.")
    try:
        return Frontier(manifest.start, tuple(bytes.fromhex(each) for each in manifest.frontier))
    except ValueError as error:
        raise InvalidInput(f"This is not the manifest of an export: {error}.") from None


class _Lines:
    """The entries, as long as the lines have their form; all lines are hashed."""

    def __init__(self, manifest: Manifest, raw: Iterable[bytes]) -> None:
        self.fault: str | None = None
        self._manifest = manifest
        self._raw = raw
        self._sha256 = hashlib.sha256()

    def __iter__(self) -> Iterator[EntryLine]:
        tally = Tally()
        for raw in self._raw:
            self._sha256.update(raw)
            if self.fault is not None:
                continue
            seq = self._manifest.start + tally.count
            try:
                line = read_line(raw)
            except InvalidInput as error:
                self.fault = f"where entry {seq} should be: {error.message}"
                continue
            if line.seq != seq:
                self.fault = f"where entry {seq} should be stands entry {line.seq}"
                continue
            tally = tally.with_line(line)
            yield line
        if self.fault is None:
            self.fault = self._fault_of(tally)

    def _fault_of(self, tally: Tally) -> str | None:
        """Whether the manifest describes these lines."""
        manifest = self._manifest
        stated = Tally(manifest.count, manifest.erased, manifest.withheld, manifest.unreadable)
        if tally.count != manifest.size - manifest.start:
            return f"the lines end before entry {manifest.start + tally.count} of {manifest.size}"
        if tally != stated:
            return "the manifest counts other lines than there are"
        if tally.withheld and not manifest.filter:
            return "lines are withheld, although the manifest states no filter"
        return None

    def claim(self) -> Claim:
        if self.fault is not None:
            return Claim("form", False, self.fault)
        manifest = self._manifest
        shown = manifest.count - manifest.erased - manifest.withheld - manifest.unreadable
        parts = {
            "disclosed": shown,
            "erased": manifest.erased,
            "withheld": manifest.withheld,
            "unreadable": manifest.unreadable,
        }
        detail = ", ".join(f"{number} {name}" for name, number in parts.items() if number)
        if not manifest.count:
            return Claim("form", True, f"{manifest.origin} has no entries from {manifest.start} on")
        return Claim("form", True, f"entries {manifest.start} to {manifest.size - 1} of {manifest.origin}: {detail}")

    def hash_holds(self) -> tuple[bool, str]:
        if self._sha256.hexdigest() == self._manifest.entries_sha256:
            return True, "the entries are those that the manifest names"
        return False, "the manifest was made for other entries than these"


class _Commitments:
    """Every disclosed record opens its commitment, and nothing is unreadable."""

    def __init__(self) -> None:
        self._fault: str | None = None
        self._opened = 0

    def take(self, line: EntryLine) -> None:
        if line.salt is not None:
            computed = keyed(bytes.fromhex(line.salt), bytes(line.payload))
            self._opened += 1
            if self._fault is None and not same(computed, bytes.fromhex(line.commitment)):
                self._fault = f"entry {line.seq} shows another record than it commits to"
        elif line.unreadable and self._fault is None:
            self._fault = f"entry {line.seq} could not be opened by who exported it: it was changed"

    def claim(self, cut: str | None) -> Claim:
        if self._fault is not None or cut is not None:
            return _unfinished("commitments", self._fault)
        return Claim("commitments", True, f"{self._opened} records open their commitments")


def _manifest_signature(manifest: Manifest, trusted_keys: Mapping[str, bytes]) -> Claim:
    name = "manifest signature"
    public_key = trusted_keys.get(manifest.key_id)
    if public_key is None:
        return Claim(name, False, f"key {manifest.key_id} is not among the {len(trusted_keys)} trusted keys")
    signature = read_signature(manifest.signature)
    holds = signature is not None and is_signed_by(public_key, manifest.signed_bytes(), signature)
    return Claim(name, holds, f"by key {manifest.key_id}" if holds else "does not match the manifest")


class _Signed:
    """The export's checkpoint: the one that the manifest names, signed for this tenant's log."""

    def __init__(self, raw: bytes, manifest: Manifest, trusted_keys: Mapping[str, bytes]) -> None:
        self.checkpoint: Checkpoint | None = None
        self._holds, self._detail = self._judged(raw, manifest, trusted_keys)

    def claim(self) -> Claim:
        return Claim("checkpoint", self._holds, self._detail)

    def _judged(self, raw: bytes, manifest: Manifest, trusted_keys: Mapping[str, bytes]) -> tuple[bool, str]:
        try:
            signed = read_checkpoint(raw)
        except InvalidInput as error:
            return False, error.message
        self.checkpoint = signed.checkpoint
        origin, size = signed.checkpoint.origin, signed.checkpoint.size
        if hashlib.sha256(raw).hexdigest() != manifest.checkpoint_sha256:
            return False, "it is not the one that the manifest was made with"
        if origin != manifest.origin or not origin.endswith(f"/{manifest.tenant}"):
            return False, f"{origin} is not the log of tenant {manifest.tenant}"
        signer = signed.signed_by(trusted_keys)
        if signer is None:
            return False, f"no trusted key signed the log {origin} as this"
        return True, f"key {signer} signed {origin} with {size} entries"


def _records(records: Records, cut: str | None) -> Claim:
    if records.fault is not None or cut is not None:
        return _unfinished("records", records.fault)
    detail = f"{records.read} records agree with their places"
    if records.waiting:
        detail += f"; {records.waiting} calls have no outcome yet"
    if records.unmatched:
        detail += f"; {records.unmatched} outcomes belong to decisions that are not shown"
    return Claim("records", True, detail)


def _erasures(erasures: Erasures, cut: str | None) -> Claim:
    name = "erasures"
    if cut is not None:
        return Claim(name, None, _CUT)
    first = erasures.first_unexplained()
    if not erasures.erased:
        return Claim(name, True, "nothing is shown as erased")
    if first is None:
        return Claim(name, True, f"acts of the log erased the {erasures.erased} entries that are shown as erased")
    if erasures.hidden:
        return Claim(
            name, None, f"entry {first} is shown as erased; the act that erased it may be among those not shown"
        )
    return Claim(name, False, f"entry {first} is shown as erased, but no act of the log erased it")


def _tree(tree: LogTree, checkpoint: Checkpoint | None, size: int, cut: str | None) -> Claim:
    if cut is not None or checkpoint is None:
        return Claim("tree", None, "there is no checkpoint to compare with" if cut is None else _CUT)
    if checkpoint.size != size:
        return Claim("tree", False, f"the checkpoint has {checkpoint.size} entries, the export ends at {size}")
    holds = tree.root() == checkpoint.root
    detail = "is that of the checkpoint" if holds else "is not that of the checkpoint: an entry is another"
    return Claim("tree", holds, f"the root over {size} entries {detail}")


def _tiles(tree: LogTree, files: TileFiles | None, start: int, cut: str | None) -> Claim:
    if files is None:
        return Claim("tiles", None, "the export holds none")
    if tree.fault is not None or cut is not None:
        return _unfinished("tiles", tree.fault)
    if start:
        return Claim("tiles", None, "an export that begins within the log holds none")
    return Claim("tiles", True, f"{tree.compared} files are the tree's, and there are no others")


class _Anchored:
    """The checkpoints of this log that were anchored and that a trusted key signed."""

    def __init__(self, origin: str, elsewhere: Elsewhere) -> None:
        self._origin = origin
        self._elsewhere = elsewhere
        self._ignored = 0
        self.known = Known(self._trusted(elsewhere.anchors or ()))

    def _trusted(self, notes: Iterable[str | bytes]) -> Iterator[Checkpoint]:
        for note in notes:
            signed = _read(note)
            if signed is None or signed.signed_by(self._elsewhere.trusted_keys) is None:
                self._ignored += 1
            elif signed.checkpoint.origin == self._origin:
                yield signed.checkpoint

    def claim(self, size: int, cut: str | None) -> Claim:
        name, known = "anchors", self.known
        if self._elsewhere.anchors is None:
            return Claim(name, None, "no anchored checkpoints were given")
        if known.fault is not None or cut is not None:
            return _unfinished(name, known.fault)
        if known.size is not None and self._elsewhere.newest:
            return Claim(
                name,
                False,
                f"a checkpoint of {known.size} entries is anchored, the export ends at {size}: the log was set back, "
                "or the anchor was made after the export",
            )
        ignored = f"; {self._ignored} are not signed by a trusted key" if self._ignored else ""
        before = f"; {known.before} lie before the range" if known.before else ""
        if not known.met:
            return Claim(name, None, f"none of this log's can be compared{before}{ignored}")
        return Claim(name, True, f"{known.met} anchored checkpoints have the root of these entries{before}{ignored}")


class _Earlier:
    """The checkpoint that the verifier kept."""

    def __init__(self, origin: str, elsewhere: Elsewhere) -> None:
        self._stated = elsewhere.earlier is not None
        self._fault: str | None = None
        kept = None if elsewhere.earlier is None else _read(elsewhere.earlier)
        if self._stated and kept is None:
            self._fault = "the kept checkpoint is none"
        elif kept is not None and kept.checkpoint.origin != origin:
            self._fault = f"the kept checkpoint is of the log {kept.checkpoint.origin}"
        elif kept is not None and kept.signed_by(elsewhere.trusted_keys) is None:
            self._fault = "no trusted key signed the kept checkpoint"
        self.known = Known([kept.checkpoint] if kept is not None and self._fault is None else [])

    def claim(self, size: int, cut: str | None) -> Claim:
        name, known = "earlier", self.known
        if not self._stated:
            return Claim(name, None, "no kept checkpoint was given")
        fault = self._fault or known.fault
        if fault is not None or cut is not None:
            return _unfinished(name, fault)
        if known.size is not None:
            return Claim(name, False, f"the kept checkpoint has {known.size} entries, the export ends at {size}")
        if known.before:
            return Claim(name, None, "the export begins after the kept checkpoint")
        return Claim(name, True, "the log begins with the entries of the kept checkpoint")


_CUT = "the lines could not all be read"


def _unfinished(name: str, fault: str | None) -> Claim:
    return Claim(name, None, _CUT) if fault is None else Claim(name, False, fault)


def _read(note: str | bytes) -> SignedCheckpoint | None:
    try:
        return read_checkpoint(note)
    except InvalidInput:
        return None
