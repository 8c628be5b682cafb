"""Whether what a log shows as erased was erased by an act in the log. Pure.

Theory of operation
-------------------
Whoever exports a log could call an entry erased that he only does not want to show. But an erasure is an act,
committed to in the same log behind what it erased, and names the entries. So each erased entry waits, as one bit,
for an act that names it. The destruction of a tenant's key erases everything, the act that says so included:
what is left is that there is one. Beside content that is disclosed, such an act explains nothing.

Laws (each has a test of the same name)
- what_no_act_erased_is_not_erased: unless an act that might have named it is itself not shown.
- an_erased_erasure_explains_all_or_nothing: its kind is the exporter's word alone.
"""

from __future__ import annotations

import msgspec

from caio.audit.export import EntryLine
from caio.audit.ports import LeafKind


class _Details(msgspec.Struct):
    seqs: list[int] = []


class _Erasure(msgspec.Struct):
    details: _Details


_erasures = msgspec.json.Decoder(_Erasure)


class Erasures:
    """The erased entries from ``start`` on, taken in one by one and in order."""

    def __init__(self, start: int) -> None:
        self.erased = 0
        self._start = start
        self._waiting = bytearray()
        self._withheld = self._gone = self._disclosed = False

    def take(self, line: EntryLine) -> None:
        """The next entry; what a record says is believed, its commitment is not checked here."""
        place = line.seq - self._start
        if place & 7 == 0:
            self._waiting.append(0)
        if line.is_erased:
            self.erased += 1
            self._waiting[place >> 3] |= 1 << (place & 7)
        if line.is_disclosed and line.kind == LeafKind.ERASURE:
            self._settle(bytes(line.payload), place)
        self._withheld |= line.is_withheld
        self._gone |= not line.is_disclosed and line.kind == LeafKind.ERASURE
        self._disclosed |= line.is_disclosed

    @property
    def hidden(self) -> bool:
        """Whether an act that may have erased something is not shown."""
        return self._withheld or (self._gone and not self._disclosed)

    def first_unexplained(self) -> int | None:
        """The first erased entry that no act named; None when there is none."""
        for index, byte in enumerate(self._waiting):
            if byte:
                return self._start + 8 * index + (byte & -byte).bit_length() - 1
        return None

    def _settle(self, payload: bytes, before: int) -> None:
        """An act erases what stands before it."""
        try:
            seqs = _erasures.decode(payload).details.seqs
        except (msgspec.ValidationError, msgspec.DecodeError):
            return  # its form is for others to judge; it explains nothing
        for seq in seqs:
            place = seq - self._start
            if 0 <= place < before:
                self._waiting[place >> 3] &= ~(1 << (place & 7))
