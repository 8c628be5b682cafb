"""What past calls took of each subject's meters: how every adapter of admission is rebuilt.

A call's request counts for the tenant and the caller when it was admitted, and for each service when that was
called. Its tokens and compute count for the tenant, the caller and its last service, at the time of the last
service's call: never earlier than they were taken, so that a window holds them no shorter than it did. Those of a
call that has not ended count at their most when the records are read, for it may have been handed on by then.

Rows of a subject that lie close together become one, at the time of the latest: those older than a minute within a
ten-thousandth of an hour, those older than an hour within a ten-thousandth of a day. So a tenant with millions of
calls leaves some ten thousand rows, and a window holds a call longer by no more than that.

Not covered: what a call that has not ended took of a service that it was handed on to.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator

from caio.gateway.ports import PastCall, PastUse
from caio.gateway.refusals import KEY, SERVICE, TENANT
from caio.tenancy.limits import Unit
from caio.tenancy.rate_limit import DAY, HOUR, MINUTE

_COLUMNS = {Unit.REQUESTS: 1, Unit.TOKENS: 2, Unit.COMPUTE_MS: 3}
_WIDTH = 4


class PastUnits:
    """The units that each subject's past calls took, in compact rows of time, requests, tokens, compute."""

    def __init__(self, past: PastUse, read_at: int) -> None:
        self._rows: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))
        self._read_at = read_at
        for call in past.calls:
            self._add(call)

    def of(self, subject: str, unit: Unit) -> Iterator[tuple[int, int]]:
        """Times and units, oldest first."""
        rows = self._rows.get(subject, array("q"))
        column = _COLUMNS[unit]
        taken = ((rows[place], rows[place + column]) for place in range(0, len(rows), _WIDTH))
        return iter(sorted((at, units) for at, units in taken if units))

    def _add(self, call: PastCall) -> None:
        last, ended = call.services[-1]
        running = call.charged is None
        used = (call.tokens, call.compute_ms)
        at = max(ended, self._read_at) if running else ended
        for subject in (TENANT, KEY + call.principal_id):
            self._put(subject, call.decided_at, 1, 0, 0)
            self._put(subject, at, 0, *used)
        for service_id, called in call.services[:-1]:
            self._put(SERVICE + service_id, called, 1, 0, 0)
        self._put(SERVICE + last, ended, 1, 0, 0)
        self._put(SERVICE + last, at, 0, *used)

    def _put(self, subject: str, at: int, requests: int, tokens: int, compute_ms: int) -> None:
        rows, age = self._rows[subject], self._read_at - at
        grain = 1 if age < MINUTE else HOUR // 10_000 if age < HOUR else DAY // 10_000
        if rows and rows[-_WIDTH] <= at and rows[-_WIDTH] // grain == at // grain:
            rows[-4] = at
            rows[-3] += requests
            rows[-2] += tokens
            rows[-1] += compute_ms
        else:
            rows.extend((at, requests, tokens, compute_ms))


def unsettled(past: PastUse, period_start: int) -> dict[str, int]:
    """What the calls that had not ended hold at worst of the money of the period, by decision."""
    return {
        call.decision_id: call.reserved
        for call in past.calls
        if call.charged is None and call.decided_at >= period_start
    }
