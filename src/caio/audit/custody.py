"""How long the content of a tenant's log is kept, what must not go, and what erasing it means.

Theory of operation
-------------------
The unit is a decision with its outcome. Erasing it empties what their two leaves sealed, the principal's
id and the decision's hash among the clear columns, and the answer kept for its idempotency key.
Commitments, times, services and money stay: the log still verifies, accounts and limits are still
rebuilt. A decision whose call is running is not erased: its outcome would come later and stay. A *hold*
forbids erasing what it covers until it is released. What people did (acts) is not erased, but for a
whole tenant.

A ``Erasure`` is planned from what was read and written only if that is still so: the store compares
both, and the holds, under one lock of the tenant. The leaf that tells of it can thus name exactly what
goes, although it is sealed before.

Laws (each has a test of the same name, for both databases)
-----------------------------------------------------------
- erasing_keeps_commitments: of every leaf; the tree's root is as before.
- what_is_erased_is_unreadable: and nothing else is touched.
- holds_block: what a standing hold covers is not erased, also when it was placed in between.
- a_plan_that_is_overtaken_writes_nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from caio.audit.ports import Leaf
from caio.audit.query import Place
from caio.foundation.errors import Conflict
from caio.foundation.scope import TenantScope

#: What a tenant may have standing: each is compared with whatever is to be erased.
MAX_STANDING_HOLDS = 100


@dataclass(frozen=True, slots=True)
class Content:
    """A decision as far as erasing it is concerned.

    ``services`` are those chosen, called or answering. ``seqs`` are the places of its leaves that still
    hold content. ``running`` says that an outcome is still to come.
    """

    decision_id: str
    decided_at: int
    principal_id: str
    services: frozenset[str]
    seqs: tuple[int, ...]
    running: bool

    @property
    def place(self) -> Place:
        return self.decided_at, self.decision_id

    @property
    def erased(self) -> bool:
        """Whether nothing is left: the erasure of it has been."""
        return not self.seqs


@dataclass(frozen=True, slots=True)
class Hold:
    """What must be kept, and why. Empty text and absent times restrict nothing; ``since <= time < until``
    is about when a decision was made. It stands until ``released_at``."""

    hold_id: str
    reason: str
    service_id: str
    principal_id: str
    since: int | None
    until: int | None
    placed_at: int
    placed_by: str
    released_at: int | None = None
    released_by: str | None = None

    @property
    def place(self) -> Place:
        return self.placed_at, self.hold_id

    def covers(self, content: Content) -> bool:
        """Whether it forbids erasing this, as long as it stands."""
        return (
            self.service_id in ("", *content.services)
            and self.principal_id in ("", content.principal_id)
            and (self.since is None or self.since <= content.decided_at)
            and (self.until is None or content.decided_at < self.until)
        )


def held(content: Content, holds: Iterable[Hold]) -> bool:
    """Whether one of ``holds``, which stand, covers it."""
    return any(hold.covers(content) for hold in holds)


@dataclass(frozen=True, slots=True)
class Retention:
    """``days`` that content is kept, None for good. Whatever was decided before ``erased_before`` has been
    erased but for what was held or running. ``releases`` counts the holds ever released."""

    days: int | None
    erased_before: int
    releases: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is to go, as it was found. ``under_days``: only while retention still says so."""

    contents: Sequence[Content]
    under_days: int | None = None

    @property
    def seqs(self) -> list[int]:
        return sorted(seq for content in self.contents for seq in content.seqs)


def legal_hold() -> Conflict:
    return Conflict("A legal hold covers what would be erased; release it first.", code="legal_hold")


class CustodyStore(Protocol):
    """Holds, retention and erasure. Every change writes its ``leaf`` in its own transaction.

    One suite in tests/conformance holds every adapter to it.
    """

    async def standing(self, scope: TenantScope) -> Sequence[Hold]:
        """Every hold that stands, newest first; at most ``MAX_STANDING_HOLDS``."""
        ...

    async def holds(self, scope: TenantScope, before: Place | None, limit: int) -> Sequence[Hold]:
        """Holds, released ones too, newest first, placed before the place of the last one seen."""
        ...

    async def place(self, scope: TenantScope, hold: Hold, leaf: Leaf) -> None:
        """Raises Conflict ``quota_exceeded`` when as many stand as may."""
        ...

    async def release(self, scope: TenantScope, hold_id: str, at: int, by: str, leaf: Leaf) -> Hold:
        """The hold, released; what it covered may be erased from the next pass on. Raises NotFound;
        releasing a released hold changes nothing and writes no leaf."""
        ...

    async def retention(self, scope: TenantScope) -> Retention: ...

    async def keep(self, scope: TenantScope, days: int | None, leaf: Leaf) -> None:
        """Have content kept for ``days``; None for good. The same again changes nothing and writes no leaf."""
        ...

    async def retained(self) -> Sequence[str]:
        """Every tenant whose content is not kept for good: for the process's own calendar."""
        ...

    async def passed(self, scope: TenantScope, found: Retention, erased_before: int) -> None:
        """Note how far a pass that began with ``found`` came; does nothing when that has changed."""
        ...

    async def named(self, scope: TenantScope, decision_ids: Sequence[str]) -> Sequence[Content]:
        """Those of the decisions that there are, by place."""
        ...

    async def decided(
        self, scope: TenantScope, after: Place | None, until: int | None, principal_id: str | None, limit: int
    ) -> Sequence[Content]:
        """Decisions beyond ``after``, oldest first, made before ``until``; all or one principal's."""
        ...

    async def erase(self, scope: TenantScope, erasure: Erasure, leaf: Leaf) -> bool:
        """Erase all of it; False, and nothing written, when a standing hold covers some of it, when it is
        not as it was found, or when retention says otherwise by now."""
        ...

    async def erase_tenant(self, scope: TenantScope, now: int, leaf: Leaf) -> bool:
        """Destroy the tenant's data key behind ``leaf``, the last that is sealed with it; False, and nothing
        written, when the key is destroyed already. Raises Conflict ``legal_hold``, NotFound."""
        ...

    async def sweep_tenant(self, scope: TenantScope) -> int:
        """After the key's destruction, remove all that an erased tenant leaves: sealed content, kept
        answers, secrets, who did what, names of keys, snapshots, and the documents that it does not share.
        Returns the number of leaves emptied. Can be repeated, also after a crash."""
        ...
