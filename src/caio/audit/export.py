"""An export of a tenant's log: its lines, its manifest, and how both are read back. Pure.

Theory of operation
-------------------
An export is the entries of a log from some place to its end, one line each, and a signed manifest
that says which log, which range, and what the lines hash to (docs/reference/audit-export.md). A line
is canonical JSON and has one of four forms: *disclosed*, with the record and the salt that opens the
commitment; *erased*, whose content is gone; *withheld*, which was not asked for and shows nothing but
the commitment; and *unreadable*, whose content does not open although it should. All four carry the
commitment, so that the tree over the whole range can be computed whatever is shown of it.

Lines are put together around the record's bytes as they were committed to, and taken apart without
touching them; a line that would be written in another way is refused.

Laws (each has a test of the same name)
---------------------------------------
- lines_round_trip: what is written reads back, in each of the forms.
- a_line_has_one_text: spaces, other orders, members named twice, upper-case digits: all are refused.
- a_manifest_has_one_text: and so is every other encoding of a manifest.
- what_does_not_open_is_said_so: a leaf that was changed is exported as unreadable, not left out.

Not checked here: that commitments open, that the tree is the signed one, who signed (``audit.log_verify``).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import msgspec

from caio.audit.ports import Leaf, StoredLeaf
from caio.audit.record import SALT_BYTES, Commitment
from caio.audit.sealing import Sealer, sealing_context
from caio.audit.shapes import Count, Digest, KeyId, Micros, Text
from caio.audit.signing import SigningKey
from caio.foundation.canonical import NotCanonical, canonical_json, read_canonical
from caio.foundation.errors import InvalidInput, SealBroken

VERSION = 1
KIND: Literal["caio-audit-export"] = "caio-audit-export"
#: A line beyond this is no entry's: records hold no payloads of callers.
MAX_LINE_BYTES = 64 * 2**20

#: A kind of leaf, also one that is not known yet.
Kind = Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,32}\Z")]

_PURPOSE = b"caio/audit-export/v1\x00"
#: What stands before a number becomes ``:``, and every digit ``0``; sixteen of these may be too large a number.
_SHAPE = bytes(b":0"[chr(each).isdigit()] if chr(each) in ":,[-0123456789" else each for each in range(128)) + bytes(
    128
)
_LARGE = b":" + b"0" * 16
_FLAT_ENOUGH = 100  # brackets; what holds fewer cannot nest deeper than canonical JSON may


class EntryLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line. ``payload`` is the record's canonical JSON, as it was committed to."""

    seq: Count
    commitment: Digest
    kind: Kind | None = None
    subject: Text | None = None
    recorded_at: Micros | None = None
    salt: Digest | None = None
    payload: msgspec.Raw = msgspec.Raw()
    unreadable: Literal[True] | None = None

    @property
    def is_disclosed(self) -> bool:
        return self.salt is not None

    @property
    def is_withheld(self) -> bool:
        return self.kind is None

    @property
    def is_erased(self) -> bool:
        return self.kind is not None and self.salt is None and self.unreadable is None

    def written(self) -> bytes:
        """The line with its end; raises InvalidInput if the members present are those of none of the forms."""
        payload = bytes(self.payload)
        named = [self.kind is not None, self.subject is not None, self.recorded_at is not None]
        if any(named) != all(named) or (self.salt is not None) != bool(payload):
            raise _refused("it has some of the members that only occur together")
        if (self.salt is not None or self.unreadable) and not all(named):
            raise _refused("it shows content without saying of what")
        if self.salt is not None and self.unreadable:
            raise _refused("it is both disclosed and unreadable")
        if self.kind is None or self.recorded_at is None:
            return b'{"commitment":"%b","seq":%d}\n' % (self.commitment.encode(), self.seq)
        shown = b',"payload":%b' % payload if payload else b""
        salt = b',"salt":"%b"' % self.salt.encode() if self.salt is not None else b""
        return b'{"commitment":"%b","kind":"%b"%b,"recorded_at":%d%b,"seq":%d,"subject":%b%b}\n' % (
            self.commitment.encode(),
            self.kind.encode(),
            shown,
            self.recorded_at,
            salt,
            self.seq,
            canonical_json(self.subject),
            b',"unreadable":true' if self.unreadable else b"",
        )


_lines = msgspec.json.Decoder(EntryLine)


def read_line(raw: bytes) -> EntryLine:
    """The entry whose one line, with its end, is ``raw``; raises InvalidInput. The payload is not looked into."""
    try:
        line = _lines.decode(raw)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refused(str(error)) from None
    if line.written() != raw:
        raise _refused("it is not in canonical form")
    return line


@dataclass(frozen=True, slots=True)
class Shown:
    """What an export was asked to disclose: entries of these kinds (none: of all), recorded from ``since``
    to before ``until`` (microseconds since the epoch). The others are withheld.

    ``service``, ``capability`` and ``outcome`` are a decision's, ``principal`` is an act's too; an outcome
    goes with its decision. They are looked up, see ``is_looked_up``: a leaf alone does not tell.
    """

    kinds: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    service: str | None = None
    principal: str | None = None
    outcome: str | None = None
    capability: str | None = None

    @property
    def is_looked_up(self) -> bool:
        return any(each is not None for each in (self.service, self.principal, self.outcome, self.capability))

    def includes(self, leaf: Leaf) -> bool:
        """Whether kind and time are those asked for."""
        return (
            (not self.kinds or leaf.kind in self.kinds)
            and (self.since is None or leaf.recorded_at >= self.since)
            and (self.until is None or leaf.recorded_at < self.until)
        )

    def document(self) -> dict[str, Any]:
        """As a manifest states it: what is not asked for is absent."""
        stated = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "kinds"}
        kinds = {"kind": sorted(set(self.kinds))} if self.kinds else {}
        return kinds | {name: value for name, value in stated.items() if value is not None}


def entry_line(stored: StoredLeaf, sealer: Sealer | None, *, disclosed: bool) -> EntryLine:
    """The line of a leaf, with its content if it is ``disclosed``.

    ``sealer`` is None once the tenant's key was destroyed: every content is gone then. What was
    changed, and does not open any more, is unreadable; nothing is raised.
    """
    leaf = stored.leaf
    if not disclosed:
        return EntryLine(seq=stored.seq, commitment=leaf.commitment.hex())
    about = EntryLine(stored.seq, leaf.commitment.hex(), leaf.kind, leaf.subject_id, leaf.recorded_at)
    if sealer is None or not leaf.sealed:
        return about
    try:
        opened = sealer.open(leaf.sealed, sealing_context(leaf.tenant_id, leaf.kind, leaf.subject_id))
        salt, payload = opened[:SALT_BYTES], opened[SALT_BYTES:]
        holds = Commitment(leaf.commitment, salt).holds(payload)
    except SealBroken:
        holds = False
    if not holds:
        return msgspec.structs.replace(about, unreadable=True)
    return msgspec.structs.replace(about, salt=salt.hex(), payload=msgspec.Raw(payload))


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an export holds: entries ``start`` to ``size - 1`` of the log ``origin`` of ``tenant``.

    ``frontier`` are the hashes of ``merkle.Frontier`` of the entries before ``start``; ``filter`` is
    what the export was asked to disclose, empty for everything. Unsigned while ``signature`` is empty.
    """

    v: Literal[1]
    kind: Literal["caio-audit-export"]
    tenant: Text
    origin: Text
    start: Count = msgspec.field(name="from")
    size: Count
    count: Count
    erased: Count
    withheld: Count
    unreadable: Count
    filter: dict[str, Any]
    frontier: list[Digest]
    entries_sha256: Digest
    checkpoint_sha256: Digest
    made_at: Micros
    key_id: KeyId
    signature: Annotated[str, msgspec.Meta(pattern=r"^(?:[A-Za-z0-9+/]{86}==)?\Z")] = ""

    def document(self) -> dict[str, Any]:
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]

    def written(self) -> bytes:
        """The file ``manifest.json``: canonical JSON and a line end."""
        return canonical_json(self.document()) + b"\n"

    def signed_bytes(self) -> bytes:
        """What the signature covers."""
        document = self.document()
        del document["signature"]
        return _PURPOSE + canonical_json(document)

    def signed(self, key: SigningKey) -> Manifest:
        """The manifest signed with ``key``."""
        unsigned = msgspec.structs.replace(self, key_id=key.key_id)
        signature = base64.b64encode(key.sign(unsigned.signed_bytes())).decode()
        return msgspec.structs.replace(unsigned, signature=signature)


def read_manifest(raw: bytes) -> Manifest:
    """The manifest whose one encoding is ``raw``; raises InvalidInput. The signature is not verified."""
    try:
        manifest = msgspec.convert(read_canonical(raw.removesuffix(b"\n")), Manifest)
        if manifest.written() != raw:
            raise NotCanonical("a line end is missing or too many")
    except (msgspec.ValidationError, NotCanonical) as error:
        raise InvalidInput(f"This is not the manifest of an export: {error}.") from None
    return manifest


def closing_line(manifest: Manifest, checkpoint: str) -> bytes:
    """The last line of an export that is sent as one stream: no entry, but what goes into the other files."""
    return canonical_json({"checkpoint": checkpoint, "manifest": manifest.document()}) + b"\n"


def is_closing(line: bytes) -> bool:
    """Whether a line of a stream is its last; no entry's begins so."""
    return line.startswith(b'{"checkpoint":')


def read_closing(line: bytes) -> tuple[Manifest, str]:
    """The manifest and the checkpoint of a stream's last line; raises InvalidInput."""
    try:
        document = read_canonical(line.removesuffix(b"\n"))
        checkpoint = document.pop("checkpoint")
        manifest = read_manifest(canonical_json(document.pop("manifest")) + b"\n")
        if document or not isinstance(checkpoint, str) or not line.endswith(b"\n"):
            raise NotCanonical("other members than the checkpoint and the manifest")
    except (NotCanonical, KeyError, AttributeError, TypeError) as error:
        raise InvalidInput(f"The export does not end as one: {error}. Export again.") from None
    return manifest, checkpoint


def fault_of_payload(raw: bytes) -> str | None:
    """Why ``raw`` is not canonical JSON, or None.

    Most records hold no floats, no large integers and no letters beyond ASCII. Of those it is enough that
    they are encoded again to the same bytes; the others are looked through member by member.
    """
    flat = raw.count(b"{") + raw.count(b"[") <= _FLAT_ENOUGH
    if flat and raw.startswith(b"{") and raw.isascii() and not _may_hold_large(raw):
        try:
            if _sorted.encode(_no_floats.decode(raw)) == raw:
                return None
        except (_Float, msgspec.DecodeError):
            pass
    try:
        read_canonical(raw)
    except NotCanonical as error:
        return str(error)
    return None


def _may_hold_large(raw: bytes) -> bool:
    """Whether there may be an integer beyond 2**53 - 1, which has 16 digits and begins with 9."""
    shape = raw.translate(_SHAPE)
    at = shape.find(_LARGE)
    while at >= 0:
        if raw[at + 1 : at + 2] == b"9" or shape[at + len(_LARGE) : at + len(_LARGE) + 1] == b"0":
            return True
        at = shape.find(_LARGE, at + 1)
    return False


class _Float(ValueError):
    """A number with a fraction or an exponent: its text needs the long way."""


def _float_met(text: str) -> float:
    raise _Float(text)


_no_floats = msgspec.json.Decoder(float_hook=_float_met)
_sorted = msgspec.json.Encoder(order="sorted")


def _refused(fault: str) -> InvalidInput:
    return InvalidInput(f"This is not a line of an export: {fault}.")


@dataclass(frozen=True, slots=True)
class Tally:
    """How many lines of which form were written."""

    count: int = 0
    erased: int = 0
    withheld: int = 0
    unreadable: int = 0

    def with_line(self, line: EntryLine) -> Tally:
        return Tally(
            self.count + 1,
            self.erased + line.is_erased,
            self.withheld + line.is_withheld,
            self.unreadable + (line.unreadable is not None),
        )
