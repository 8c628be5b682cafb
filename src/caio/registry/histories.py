"""What was observed of services in the last hour, as data that a decision can name by hash.

Theory of operation
-------------------
Finished attempts are counted per tenant and service, in slices of five minutes of the clock. A
running sum over the slices of the last hour is kept beside them: a new attempt is added to both,
a slice that has grown too old is taken off. A snapshot therefore touches only the services for
which something changed since the one before; the others' rows, and their part of the document,
are taken over as they are. It is taken at most every ten seconds (decisions made meanwhile have the
one before), stored under its digest, and only then used: a decision whose history could not be
fetched again would not replay.

What a row says (``[calls, successes, p95_ms]``, docs/reference/routing-rules.md): ``calls`` are all
finished attempts; ``successes`` those with an answer that broke nothing; ``p95_ms`` is taken over
the answers that came whole, also those that broke something, rounded down as ``foundation.latencies``
does, and is 0 when there was none. A stream has no time to its whole answer, a failure no answer.

Where several processes serve, each would count its own attempts only. There nothing is counted as it ends:
before a snapshot the slices that may have changed are counted again from the records of all of them. A slice
is closed LATE after its end; until then an attempt that ended in it may still become visible.

Memory is bounded: a service has at most thirteen slices and a slice at most one count a bucket,
however many calls there were. Tenants that were not heard of for an hour are forgotten.

Laws (each has a test of the same name)
---------------------------------------
- a_history_is_taken_at_most_every_ten_seconds, also when many ask at once.
- a_history_is_stored_before_it_is_used.
- the_window_is_the_last_hour: what finished within it counts, and nothing older than its slice.
- a_restart_changes_nothing: observing the journal's attempts ``since`` gives the same history.
- a_snapshot_is_a_recount: taking over unchanged rows gives what counting everything again would.
- processes_see_one_history: who reads the records has what one process that saw every attempt has.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass, field

from caio.audit.ports import Attempt
from caio.foundation import hashing
from caio.foundation.canonical import canonical_json
from caio.foundation.latencies import bucket_of, percentile
from caio.foundation.scope import TenantScope
from caio.registry.ports import InputSnapshots, Seen, SeenAttempts
from caio.routing.model import History, Track

WINDOW = 3_600_000_000
SLICE = 300_000_000
INTERVAL = 10_000_000
LATE = 60_000_000

# Rows brought up to date before others may have the event loop: some milliseconds' worth.
_AT_ONCE = 500


@dataclass(slots=True)
class _Tally:
    """Attempts of one service: how many, how many good, and whole answers by latency bucket."""

    calls: int = 0
    successes: int = 0
    whole: dict[int, int] = field(default_factory=dict)

    def add(self, attempt: Attempt) -> None:
        self.calls += 1
        self.successes += attempt.good
        if attempt.succeeded and not attempt.streamed:
            bucket = bucket_of(attempt.latency_ms)
            self.whole[bucket] = self.whole.get(bucket, 0) + 1

    def add_seen(self, seen: Seen) -> None:
        self.calls += seen.calls
        self.successes += seen.calls if seen.good else 0
        if seen.whole_ms is not None:
            bucket = bucket_of(seen.whole_ms)
            self.whole[bucket] = self.whole.get(bucket, 0) + seen.calls

    def take_off(self, other: _Tally) -> None:
        self.calls -= other.calls
        self.successes -= other.successes
        for bucket, count in other.whole.items():
            left = self.whole[bucket] - count
            if left:
                self.whole[bucket] = left
            else:
                del self.whole[bucket]

    def track(self) -> Track:
        return Track(self.calls, self.successes, percentile(self.whole, 95) or 0)


_Slice = tuple[int, dict[str, _Tally]]


class _Observed:
    """One tenant's last hour."""

    def __init__(self) -> None:
        self._slices: deque[_Slice] = deque()
        self._sums: dict[str, _Tally] = {}
        self._changed: set[str] = set()
        self._tracks: dict[str, Track] = {}
        self._rows: dict[str, str] = {}  # in the order of their names, but for new ones
        self._has_new_rows = False
        self._closed_before = 0

    @property
    def is_empty(self) -> bool:
        return not self._slices

    def add(self, attempt: Attempt, now: int) -> None:
        name, start = attempt.service_id, now // SLICE * SLICE
        # A clock that was set back counts into the newest slice: slices stay in order.
        if not self._slices or self._slices[-1][0] < start:
            self._slices.append((start, {}))
        for tallies in (self._slices[-1][1], self._sums):
            if name not in tallies:
                tallies[name] = _Tally()
            tallies[name].add(attempt)
        self._changed.add(name)
        self.expire(now)

    async def recount(self, records: SeenAttempts, scope: TenantScope, now: int) -> None:
        """Count the slices that are not closed again, from the records."""
        start = max(self._closed_before, since(now))
        found = await records.seen(scope, start, SLICE)
        while self._slices and self._slices[-1][0] >= start:
            self._take_off(self._slices.pop()[1])
        for seen in found:
            if not self._slices or self._slices[-1][0] < seen.slice_start:
                self._slices.append((seen.slice_start, {}))
            for tallies in (self._slices[-1][1], self._sums):
                tallies.setdefault(seen.service_id, _Tally()).add_seen(seen)
            self._changed.add(seen.service_id)
        self._closed_before = (now - LATE) // SLICE * SLICE

    def expire(self, now: int) -> None:
        """Take off the slices that ended more than an hour ago."""
        while self._slices and self._slices[0][0] < since(now):
            self._take_off(self._slices.popleft()[1])

    def _take_off(self, tallies: dict[str, _Tally]) -> None:
        for name, tally in tallies.items():
            self._sums[name].take_off(tally)
            self._changed.add(name)

    async def history(self) -> tuple[History, bytes]:
        """The sums as a history, with the canonical bytes of its document. What is observed meanwhile
        may have to wait for the next one, as does the rest of one that is cancelled."""
        for done, name in enumerate(tuple(self._changed), 1):
            self._changed.discard(name)
            self._take(name)
            if done % _AT_ONCE == 0:
                await asyncio.sleep(0)
        if self._has_new_rows:
            self._rows = dict(sorted(self._rows.items()))
            self._has_new_rows = False
        body = f"{{{','.join(self._rows.values())}}}".encode()
        return History(dict(self._tracks), hashing.digest(hashing.HISTORY, body)), body

    def _take(self, name: str) -> None:
        """Bring the row of one service up to date."""
        tally = self._sums.get(name)
        if tally is not None and tally.calls:
            track = self._tracks[name] = tally.track()
            self._has_new_rows |= name not in self._rows
            # A service id is ASCII that JSON writes as it is, and sorts by code point.
            self._rows[name] = f'"{name}":[{track.calls},{track.successes},{track.p95_ms}]'
        else:
            for rows in (self._sums, self._tracks, self._rows):
                rows.pop(name, None)


class Histories:
    """The tenants' histories. All times are microseconds of one clock. With ``records``, what is observed of
    services is read from there, and nothing else counts."""

    def __init__(self, snapshots: InputSnapshots, records: SeenAttempts | None = None) -> None:
        self._snapshots = snapshots
        self._records = records
        self._observed: dict[str, _Observed] = {}
        self._current: dict[str, tuple[int, History]] = {}
        self._taking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._swept_at = 0

    def observe(self, tenant_id: str, attempt: Attempt, now: int) -> None:
        """Take note of one finished attempt; it counts from the next snapshot on."""
        if self._records is not None:
            return
        if tenant_id not in self._observed:
            self._observed[tenant_id] = _Observed()
        self._observed[tenant_id].add(attempt, now)

    async def current(self, scope: TenantScope, now: int) -> History:
        """The history to decide on, stored: at most ten seconds old, or the one before while another
        caller is taking the next."""
        taken_at, before = self._current.get(scope.tenant_id, (0, None))
        if before is not None and 0 <= now - taken_at < INTERVAL:
            return before
        taking = self._taking[scope.tenant_id]
        if before is not None and taking.locked():
            return before
        async with taking:
            if scope.tenant_id in self._current and before is None:
                return self._current[scope.tenant_id][1]  # the first one, taken while we waited
            self._sweep(now)
            observed = await self._present(scope, now)
            history, body = await observed.history()
            if before is not None and history.digest == before.digest:
                history = before  # what was derived from it stays of use
            else:
                await self._snapshots.keep(scope, history.digest, body)
            self._current[scope.tenant_id] = (now, history)
            return history

    async def _present(self, scope: TenantScope, now: int) -> _Observed:
        """The tenant's last hour as it is at ``now``."""
        observed = self._observed.get(scope.tenant_id) or _Observed()
        observed.expire(now)
        if self._records is not None:
            await observed.recount(self._records, scope, now)
            self._observed[scope.tenant_id] = observed
        return observed

    async def keep(self, scope: TenantScope, history: History) -> None:
        """Store a history under its digest, as it must be before a decision names it."""
        await self._snapshots.keep(scope, history.digest, canonical_json(history.document()))

    def _sweep(self, now: int) -> None:
        """Once an hour, forget the tenants of whom nothing was observed in the last one."""
        if now - self._swept_at < WINDOW:
            return
        self._swept_at = now
        for tenant_id, observed in tuple(self._observed.items()):
            observed.expire(now)
            if observed.is_empty:
                del self._observed[tenant_id]
        for tenant_id, (taken_at, _) in tuple(self._current.items()):
            if tenant_id not in self._observed and now - taken_at >= WINDOW and not self._taking[tenant_id].locked():
                del self._current[tenant_id], self._taking[tenant_id]


def since(now: int) -> int:
    """The time from which attempts count at ``now``: an hour ago, or the start of that moment's slice."""
    return (now - WINDOW) // SLICE * SLICE
