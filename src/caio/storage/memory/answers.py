"""Kept answers in this process's memory: bounded in bytes, for all and for each tenant.

Where the bound is reached, the longest unused answer of the tenant with the most bytes goes first, so that one
tenant's answers never push out those of a tenant that keeps less.

Laws (each has a test of the same name)
---------------------------------------
- what_is_kept_is_found_until_it_ends.
- memory_is_bounded: in bytes of sealed answers and names.
- who_keeps_most_makes_room.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from caio.foundation.scope import TenantScope

BYTES = 32 << 20


class _Kept(NamedTuple):
    sealed: bytes
    until: float


class AnswersInMemory:
    """The ``KeptAnswers`` port. ``clock`` gives seconds that only ever grow."""

    def __init__(self, most: int = BYTES, clock: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._clock = clock
        self._tenants: dict[str, OrderedDict[str, _Kept]] = {}
        self._sizes: dict[str, int] = {}

    async def find(self, scope: TenantScope, name: str) -> bytes | None:
        answers = self._tenants.get(scope.tenant_id)
        kept = None if answers is None else answers.get(name)
        if answers is None or kept is None:
            return None
        if kept.until <= self._clock():
            self._drop(scope.tenant_id, name)
            return None
        answers.move_to_end(name)
        return kept.sealed

    async def keep(self, scope: TenantScope, name: str, sealed: bytes, seconds: int) -> None:
        tenant_id = scope.tenant_id
        self._drop(tenant_id, name)
        self._tenants.setdefault(tenant_id, OrderedDict())[name] = _Kept(sealed, self._clock() + seconds)
        self._sizes[tenant_id] = self._sizes.get(tenant_id, 0) + len(name) + len(sealed)
        while sum(self._sizes.values()) > self._most:
            largest = max(self._sizes, key=lambda each: self._sizes[each])
            self._drop(largest, next(iter(self._tenants[largest])))

    def _drop(self, tenant_id: str, name: str) -> None:
        kept = self._tenants.get(tenant_id, OrderedDict()).pop(name, None)
        if kept is None:
            return
        self._sizes[tenant_id] -= len(name) + len(kept.sealed)
        if not self._tenants[tenant_id]:
            del self._tenants[tenant_id], self._sizes[tenant_id]
