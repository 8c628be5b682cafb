"""What the records of a log must agree on, read once and in order. Pure.

Theory of operation
-------------------
A commitment says that a record is the one that was written, not that it was written in its place. So
each record is compared with the line it stands in, an outcome with the decision before it, and a
decision's hash with its certificate. Kept in memory are the decisions that wait for an outcome, and of
every entry eight bytes of hash and its number, by which entries that occur twice are found at the end.

Laws (each has a test of the same name)
---------------------------------------
- records_belong_to_their_lines: the same kind, subject, tenant and time.
- outcomes_follow_their_decisions: after an admitted decision, and one only.
- entries_occur_once: of a kind and subject there is one.
- certificates_hash_to_their_decisions: the stated hash is the certificate's.

Not checked: that a decision was right (``routing.checker``, with the evidence), and what an entry that
is withheld, erased or before the range would have said.
"""

from __future__ import annotations

import hashlib
from array import array
from typing import Literal

import msgspec
import numpy as np

from caio.audit.export import EntryLine, fault_of_payload
from caio.audit.ports import LeafKind, Mode
from caio.foundation.hashing import DECISION, digest

_ID_BYTES = 8


class _Decision(msgspec.Struct):
    v: Literal[1]
    kind: Literal["decision"]
    tenant: str
    decision_id: str
    decided_at: int
    mode: Mode
    certificate: msgspec.Raw
    decision_hash: str
    admitted: bool

    @property
    def place(self) -> tuple[str, str, int]:
        return self.tenant, self.decision_id, self.decided_at


class _Outcome(msgspec.Struct):
    v: Literal[1]
    kind: Literal["outcome"]
    tenant: str
    decision_id: str
    finished_at: int

    @property
    def place(self) -> tuple[str, str, int]:
        return self.tenant, self.decision_id, self.finished_at


class _Act(msgspec.Struct):
    v: Literal[1]
    kind: str
    tenant: str
    act_id: str
    at: int

    @property
    def place(self) -> tuple[str, str, int]:
        return self.tenant, self.act_id, self.at


class _Tenant(msgspec.Struct):
    tenant: str


_decisions = msgspec.json.Decoder(_Decision)
_outcomes = msgspec.json.Decoder(_Outcome)
_acts = msgspec.json.Decoder(_Act)
_certificates = msgspec.json.Decoder(_Tenant)


class Records:
    """The records of one tenant's log, taken in one by one; ``fault`` is the first thing that does not agree.

    ``whole`` says that the log is read from its first entry, so that nothing can stand before it.
    """

    def __init__(self, tenant: str, *, whole: bool) -> None:
        self.fault: str | None = None
        self.read = 0
        #: Outcomes whose decision is not shown: before the range, or withheld.
        self.unmatched = 0
        self._tenant = tenant
        self._all_seen = whole
        self._waiting: set[str] = set()
        #: Decisions whose content is gone: whether they were admitted is not told.
        self._untold: set[str] = set()
        self._ids = array("Q")
        self._seqs = array("Q")

    @property
    def waiting(self) -> int:
        """Decisions that were admitted, and have no outcome in this range."""
        return len(self._waiting)

    def take(self, line: EntryLine) -> None:
        """The next entry; its payload must open its commitment, which is not checked here."""
        if line.kind is None or line.subject is None:
            self._all_seen = False
            return
        about = f"{line.kind}/{line.subject}".encode()
        self._ids.append(int.from_bytes(hashlib.blake2b(about, digest_size=_ID_BYTES).digest()))
        self._seqs.append(line.seq)
        fault = self._fault_of(line) if self.fault is None else None
        if fault is not None:
            self.fault = f"entry {line.seq}: {fault}"

    def finish(self) -> None:
        """All entries were taken: look for those that occur twice."""
        ids = np.frombuffer(self._ids, dtype=np.uint64)
        order = np.argsort(ids, kind="stable")
        again = np.flatnonzero(ids[order][1:] == ids[order][:-1]) + 1
        if self.fault is None and len(again):
            seq = self._seqs[int(order[again].min())]
            self.fault = f"entry {seq}: an entry of the same kind and subject stands before it"

    def _fault_of(self, line: EntryLine) -> str | None:
        kind, subject = line.kind, str(line.subject)
        if not line.is_disclosed:
            if kind == LeafKind.DECISION:
                self._untold.add(subject)
            return self._fault_of_order(subject) if kind == LeafKind.OUTCOME else None
        self.read += 1
        payload = bytes(line.payload)
        if (fault := fault_of_payload(payload)) is not None:
            return f"the record is not canonical: {fault}"
        try:
            return self._fault_of_record(line, payload)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            return f"the record does not have the form of its kind: {error}"

    def _fault_of_record(self, line: EntryLine, payload: bytes) -> str | None:
        subject = str(line.subject)
        record: _Decision | _Outcome | _Act
        if line.kind == LeafKind.DECISION:
            record = decision = _decisions.decode(payload)
            if decision.admitted and decision.mode is Mode.ORCHESTRATE:
                self._waiting.add(subject)
            certificate = bytes(decision.certificate)
            if digest(DECISION, certificate) != decision.decision_hash:
                return "the decision's hash is not that of its certificate"
            if _certificates.decode(certificate).tenant != self._tenant:
                return "the certificate is another tenant's"
        elif line.kind == LeafKind.OUTCOME:
            record = _outcomes.decode(payload)
            if (fault := self._fault_of_order(subject)) is not None:
                return fault
        else:
            record = _acts.decode(payload)
        if record.kind != line.kind or record.place != (self._tenant, subject, line.recorded_at):
            return "the record's kind, tenant, subject or time is not the line's"
        return None

    def _fault_of_order(self, subject: str) -> str | None:
        if subject in self._waiting:
            self._waiting.remove(subject)
        elif subject in self._untold:
            self._untold.remove(subject)
        elif self._all_seen:
            return "an outcome, but no decision before it waits for one"
        else:
            self.unmatched += 1
        return None
