"""Custody of a tenant's audit log: holds, retention, erasure on request. Each is an act in the log.

An erasure plans what it found, makes the leaf that names it, and has the store do both if nothing has
changed meanwhile; otherwise it looks again. It looks again finitely often: a decision ends once and is
erased once, and a new hold ends the whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from caio.audit.acts import Act, Acts
from caio.audit.custody import Content, CustodyStore, Erasure, Hold, Retention, held, legal_hold
from caio.audit.query import Place
from caio.audit.sealing import LOOK_SECONDS, TenantVault
from caio.foundation.errors import Erased
from caio.foundation.scope import TenantScope

#: Decisions erased in one transaction, told of by one leaf.
BATCH = 200

#: A vault looks for its key's destruction after LOOK_SECONDS; a leaf that it has sealed is then on its way.
LINGER_SECONDS = LOOK_SECONDS + 2


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a hold shall cover; empty text and None restrict nothing. Times in microseconds."""

    service_id: str = ""
    principal_id: str = ""
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the decisions that were to be erased. ``running`` ones were left: ask again."""

    erased: int = 0
    already_erased: int = 0
    running: int = 0
    unknown: int = 0


def told(contents: Sequence[Content], reason: str, **more: Any) -> dict[str, Any]:
    """The details of the act ``content.erased``: which leaves, exactly, and why."""
    seqs = Erasure(contents).seqs
    return {"reason": reason, "decisions": len(contents), "first": seqs[0], "last": seqs[-1], "seqs": seqs, **more}


class Custody:
    """Keeps and erases, for those who may. ``by`` is the id of the principal who asks."""

    def __init__(
        self,
        store: CustodyStore,
        acts: Acts,
        vault: TenantVault,
        clock: Callable[[], int],
        new_id: Callable[[str], str],
    ) -> None:
        self._store = store
        self._acts = acts
        self._vault = vault
        self._clock = clock
        self._new_id = new_id

    async def standing(self, scope: TenantScope) -> Sequence[Hold]:
        """Every hold that stands, newest first."""
        return await self._store.standing(scope)

    async def holds(self, scope: TenantScope, before: Place | None, limit: int) -> Sequence[Hold]:
        """Holds, released ones too, newest first; ``before`` is the place of the last one seen."""
        return await self._store.holds(scope, before, limit)

    async def place(self, scope: TenantScope, by: str, reason: str, coverage: Coverage) -> Hold:
        """Forbid erasing what ``coverage`` names. Raises Conflict ``quota_exceeded``."""
        hold = Hold(
            self._new_id("hold"),
            reason,
            coverage.service_id,
            coverage.principal_id,
            coverage.since,
            coverage.until,
            self._clock(),
            by,
        )
        details = {
            "reason": reason,
            "service": hold.service_id,
            "principal": hold.principal_id,
            "since": hold.since,
            "until": hold.until,
        }
        await self._store.place(
            scope, hold, await self._acts.leaf(scope, Act("hold.placed", by, hold.hold_id, details))
        )
        return hold

    async def release(self, scope: TenantScope, by: str, hold_id: str) -> Hold:
        """Raises NotFound; releasing a released hold changes nothing."""
        leaf = await self._acts.leaf(scope, Act("hold.released", by, hold_id))
        return await self._store.release(scope, hold_id, self._clock(), by, leaf)

    async def retention(self, scope: TenantScope) -> Retention:
        return await self._store.retention(scope)

    async def keep(self, scope: TenantScope, by: str, days: int | None) -> Retention:
        """Keep the content of decisions for ``days``, None for good; what is older goes with the next pass."""
        leaf = await self._acts.leaf(scope, Act("retention.changed", by, "retention", {"days": days}))
        await self._store.keep(scope, days, leaf)
        return await self._store.retention(scope)

    async def erase_decisions(self, scope: TenantScope, by: str, decision_ids: Sequence[str], reason: str) -> Tally:
        """Erase the content of these decisions. Raises Conflict ``legal_hold``, nothing erased, when a hold
        covers one of them; a hold placed meanwhile ends the rest."""
        wanted = sorted(set(decision_ids))

        async def pages() -> AsyncIterator[Sequence[Content]]:
            for start in range(0, len(wanted), BATCH):
                yield await self._store.named(scope, wanted[start : start + BATCH])

        found = await self._erase(scope, by, "decisions", reason, pages)
        known = found.erased + found.already_erased + found.running
        return Tally(found.erased, found.already_erased, found.running, len(wanted) - known)

    async def erase_principal(self, scope: TenantScope, by: str, principal_id: str, reason: str) -> Tally:
        """Erase the content of every decision made for this principal, as ``erase_decisions`` does."""

        async def pages() -> AsyncIterator[Sequence[Content]]:
            after = None
            while contents := await self._store.decided(scope, after, None, principal_id, BATCH):
                yield contents
                after = contents[-1].place

        return await self._erase(scope, by, "principal", reason, pages)

    async def erase_tenant(self, scope: TenantScope, by: str, reason: str, *, linger: float = LINGER_SECONDS) -> int:
        """Destroy the tenant's data key and remove what it leaves; returns the leaves emptied. Can be repeated.

        Other processes use the key for a while yet: what they wrote in ``linger`` seconds is removed too.
        Raises Conflict ``legal_hold`` while any hold stands, NotFound for an unknown tenant.
        """
        try:
            leaf = await self._acts.leaf(scope, Act("content.erased", by, "tenant", {"reason": reason}))
        except Erased:
            pass  # an earlier erasure was interrupted behind the key's destruction
        else:
            await self._store.erase_tenant(scope, self._clock(), leaf)
            self._vault.forget(scope.tenant_id)
        emptied = await self._store.sweep_tenant(scope)
        await asyncio.sleep(linger)
        return emptied + await self._store.sweep_tenant(scope)

    async def _erase(
        self,
        scope: TenantScope,
        by: str,
        subject: str,
        reason: str,
        pages: Callable[[], AsyncIterator[Sequence[Content]]],
    ) -> Tally:
        standing = await self._store.standing(scope)
        if standing:
            async for contents in pages():
                _refuse_held(contents, standing)
        erased = already = running = 0
        async for contents in pages():
            gone = await self._erase_page(scope, by, subject, reason, contents)
            left = sum(content.running for content in contents)
            erased, already, running = erased + gone, already + len(contents) - gone - left, running + left
        return Tally(erased, already, running)

    async def _erase_page(
        self, scope: TenantScope, by: str, subject: str, reason: str, contents: Sequence[Content]
    ) -> int:
        """How many of ``contents`` this erased; the rest was erased already, or runs."""
        while plan := [content for content in contents if not content.erased and not content.running]:
            leaf = await self._acts.leaf(scope, Act("content.erased", by, subject, told(plan, reason)))
            if await self._store.erase(scope, Erasure(plan), leaf):
                return len(plan)
            contents = await self._store.named(scope, [content.decision_id for content in plan])
            _refuse_held(contents, await self._store.standing(scope))
        return 0


def _refuse_held(contents: Sequence[Content], standing: Sequence[Hold]) -> None:
    if any(held(content, standing) for content in contents if not content.erased):
        raise legal_hold()
