"""Observed reliability, as data that a decision can name by hash.

Outcomes of attempts are kept per tenant and service for one hour (at most ``KEPT`` a service).
From them a ``History`` is taken at most every ten seconds, stored under its digest, and only then
used: a decision whose history could not be fetched again would not replay.
"""

from __future__ import annotations

from collections import defaultdict, deque

from caio.audit.ports import Attempt
from caio.foundation.canonical import canonical_json
from caio.foundation.scope import TenantScope
from caio.registry.ports import InputSnapshots
from caio.routing.model import History, Track

WINDOW = 3_600_000_000
INTERVAL = 10_000_000
KEPT = 1_000

_Observation = tuple[int, bool, int]


class Histories:
    """The tenants' histories. All times are microseconds of one clock."""

    def __init__(self, snapshots: InputSnapshots) -> None:
        self._snapshots = snapshots
        self._observed: dict[str, dict[str, deque[_Observation]]] = defaultdict(dict)
        self._current: dict[str, tuple[int, History]] = {}

    def observe(self, tenant_id: str, attempt: Attempt, now: int) -> None:
        """Take note of one finished attempt; it counts from the next snapshot on."""
        services = self._observed[tenant_id]
        if attempt.service_id not in services:
            services[attempt.service_id] = deque(maxlen=KEPT)
        good = attempt.succeeded and not attempt.violations
        services[attempt.service_id].append((now, good, attempt.latency_ms))

    async def current(self, scope: TenantScope, now: int) -> History:
        """The history to decide on: at most ten seconds old, and stored."""
        taken_at, history = self._current.get(scope.tenant_id, (0, None))
        if history is not None and now - taken_at < INTERVAL:
            return history
        fresh = self._take(scope.tenant_id, now)
        if history is None or fresh.digest != history.digest:
            await self.keep(scope, fresh)
        self._current[scope.tenant_id] = (now, fresh)
        return fresh

    async def keep(self, scope: TenantScope, history: History) -> None:
        """Store a history under its digest, as it must be before a decision names it."""
        await self._snapshots.keep(scope, history.digest, canonical_json(history.document()))

    def _take(self, tenant_id: str, now: int) -> History:
        tracks = {}
        observed = self._observed[tenant_id]
        for service_id, seen in tuple(observed.items()):
            while seen and seen[0][0] <= now - WINDOW:
                seen.popleft()
            if not seen:
                del observed[service_id]
                continue
            latencies = sorted(latency for _, _, latency in seen)
            p95 = latencies[-(-95 * len(latencies) // 100) - 1]
            tracks[service_id] = Track(len(seen), sum(good for _, good, _ in seen), p95)
        return History(tracks)
