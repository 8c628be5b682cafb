"""Noticing what other processes have published.

Theory of operation
-------------------
A process knows its own changes at once. Of another's it learns by reading, for a tenant in use, what
stands now: names and hashes, no documents. What differs from the last reading makes the tenant's view
out of date. A reading that is younger than CHECK_SECONDS is taken for the present; from then on the next
call starts another beside itself and does not wait, until the last is LATEST_SECONDS old: then it waits.
A tenant with steady traffic is thus never kept waiting, and one who comes back never sees what is old.

The reading kept is never newer than what a view was built from, so no change can slip between the two.
A reading that fails is the next call's to repeat; where it is waited for, its error is that call's.

Laws (each has a test of the same name)
---------------------------------------
- a_change_elsewhere_is_seen_in_time: by every call that begins LATEST_SECONDS after it.
- a_change_elsewhere_is_seen_by_an_idle_tenant: by its first call, however long it was idle.
- steady_traffic_waits_for_no_reading.
- callers_share_a_reading: many at once cause one.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from caio.foundation.scope import TenantScope
from caio.registry.ports import Standing

CHECK_SECONDS = 2.0
LATEST_SECONDS = 4.0

#: Tenants of whom a reading is kept; another's next call reads again.
TENANTS_KEPT = 1_000


class Stands(Protocol):
    """What is read of a store of publications."""

    async def standing(self, scope: TenantScope) -> Sequence[Standing]: ...


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    standing: frozenset[Standing]


class Standings:
    """What stood when it was last read, by tenant. ``changed`` is told of a tenant whose services or policies
    are others now. ``monotonic`` gives seconds."""

    def __init__(
        self,
        contracts: Stands,
        policies: Stands,
        changed: Callable[[TenantScope], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sorts = (contracts, policies)
        self._changed = changed
        self._monotonic = monotonic
        self._known: OrderedDict[str, _Reading] = OrderedDict()
        self._reading: dict[str, asyncio.Task[None]] = {}

    async def check(self, scope: TenantScope) -> None:
        """Return once what is known of the tenant is young enough. Raises NotReady when it cannot be read."""
        while (age := self._age(scope)) >= CHECK_SECONDS:
            reading = self._reading.get(scope.tenant_id)
            if reading is None:
                reading = self._reading[scope.tenant_id] = asyncio.create_task(self._read(scope), name="standings")
                reading.add_done_callback(lambda done: self._end(scope, done))
            if age < LATEST_SECONDS:
                return
            await asyncio.shield(reading)

    def _age(self, scope: TenantScope) -> float:
        known = self._known.get(scope.tenant_id)
        return LATEST_SECONDS if known is None else self._monotonic() - known.at

    async def stop(self) -> None:
        """End what is being read."""
        for reading in (under_way := list(self._reading.values())):
            reading.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _read(self, scope: TenantScope) -> None:
        at = self._monotonic()
        found = [each for sort in self._sorts for each in await sort.standing(scope)]
        before = self._known.get(scope.tenant_id)
        self._known[scope.tenant_id] = _Reading(at, frozenset(found))
        self._known.move_to_end(scope.tenant_id)
        if len(self._known) > TENANTS_KEPT:
            self._known.popitem(last=False)
        if before is None or before.standing != frozenset(found):
            self._changed(scope)

    def _end(self, scope: TenantScope, reading: asyncio.Task[None]) -> None:
        self._reading.pop(scope.tenant_id, None)
        if not reading.cancelled():
            reading.exception()  # taken note of: who waited has it, and nobody else wants it
