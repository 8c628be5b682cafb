"""Looking for entries of a tenant's log by its clear columns: what may be asked for, and what comes back.

Theory of operation
-------------------
A decision and its outcome are two leaves and one entry; an act is a leaf and an entry. Entries come
newest first, by (time, id), which no two of them share. A place in that order is also the cursor: a
page begins before it. A filter that matches little would walk the whole log for one page, so a page
looks at a bounded number of rows and may therefore be short, even empty, and still have a next one.

Laws (each has a test of the same name, for both databases)
-----------------------------------------------------------
- pages_give_every_match_once: newest first, whatever the pages' sizes and bounds.
- a_page_looks_at_a_bounded_number_of_rows: and leads on from where it stopped.
- another_tenants_entries_are_never_seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Protocol

from caio.audit.ports import LeafKind, Status
from caio.foundation.scope import TenantScope

#: (microseconds since the epoch, id of a decision or an act)
Place = tuple[int, str]


class Result(StrEnum):
    """How a decision ended: as its outcome says or, where it has none, what that means."""

    OK = Status.OK
    FAILED = Status.FAILED
    VIOLATED = Status.VIOLATED
    CANCELLED = Status.CANCELLED
    REJECTED = Status.REJECTED
    INTERRUPTED = Status.INTERRUPTED
    REFUSED = "refused"
    DECIDED = "decided"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """What to look for; None asks for nothing. Times in microseconds: ``since <= time < until``.

    ``service``, ``capability`` and ``result`` are a decision's, ``action`` is an act's: asking for one
    leaves the other sort out. A service matches the one that was chosen and the one that answered.
    """

    since: int | None = None
    until: int | None = None
    service: str | None = None
    principal: str | None = None
    result: Result | None = None
    capability: str | None = None
    kind: LeafKind | None = None
    action: str | None = None

    @property
    def wants_decisions(self) -> bool:
        return self.kind in (None, LeafKind.DECISION) and self.action is None

    @property
    def wants_acts(self) -> bool:
        of_a_decision = (self.service, self.result, self.capability)
        return self.kind is not LeafKind.DECISION and all(each is None for each in of_a_decision)

    def document(self) -> dict[str, Any]:
        """What is asked for, as canonical JSON content."""
        stated = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in stated.items() if value is not None}


@dataclass(frozen=True, slots=True)
class DecisionEntry:
    """A decision. ``seq`` is its leaf's place, ``outcome_seq`` its outcome's; ``charged`` is nano-units.

    Once erased, ``principal`` is empty; service and version are empty for a refusal.
    """

    seq: int
    at: int
    decision_id: str
    service: str
    version: str
    principal: str
    capability: str
    result: Result
    charged: int | None
    outcome_seq: int | None
    erased: bool

    @property
    def place(self) -> Place:
        return self.at, self.decision_id


@dataclass(frozen=True, slots=True)
class ActEntry:
    """What somebody did, other than to call."""

    seq: int
    at: int
    act_id: str
    kind: LeafKind
    action: str
    principal: str
    subject: str
    erased: bool

    @property
    def place(self) -> Place:
        return self.at, self.act_id


Entry = DecisionEntry | ActEntry


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Entries, newest first; ``next_before`` is None when there are no more."""

    items: Sequence[Entry]
    next_before: Place | None


class AuditIndex(Protocol):
    """Search over the clear columns. One suite in tests/conformance holds every adapter to it."""

    async def entries(self, scope: TenantScope, wanted: EntryFilter, before: Place | None, limit: int) -> EntryPage:
        """Up to ``limit`` matches older than ``before``; None starts at the newest."""
        ...
