"""What one process admits on its own while Redis does not answer: its share of every limit.

A share is the limit divided by the number of processes, rounded down; what has none admits nothing. The twin
counts all calls that the durable records tell of, whoever admitted them, so it is stricter than a share of what
is left (``admission`` says why it must be). Calls that ran when the records were read hold their slots until this
process sees them end, or is back.

A twin knows nothing of what is admitted elsewhere after it has read the records. So it serves one absence alone:
``close`` ends it, and ``may_open`` must not answer True again before the process is back, or before all that the
twin admitted is durable. Times in the records may be earlier than the admissions by ``late``; the twin counts them
by as much later, as ``rebuilding`` does.

Laws (each has a test of the same name)
---------------------------------------
- a_twin_counts_late_admissions: a window holds a call of the records for ``late`` longer than its time there says.
- reading_takes_time: what is admitted after the records were read counts at the time after.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from caio.foundation.scope import TenantScope
from caio.gateway.ports import Actual, AdmissionRecords, Ask, Grant, Meter, PastUse, ServiceBusy, Slots
from caio.gateway.refusals import KEY, SERVICE, TENANT, slots_taken, window_full
from caio.storage.memory.admission import InProcessAdmission
from caio.tenancy.limits import Window


class _RunningCalls:
    """The records, and which calls ran when they were read: by tenant and decision, their subjects."""

    def __init__(self, records: AdmissionRecords) -> None:
        self._records = records
        self._running: dict[str, dict[str, tuple[str, str, str]]] = {}

    async def since(self, scope: TenantScope, since: int, period_start: int) -> PastUse:
        past = await self._records.since(scope, since, period_start)
        self._running[scope.tenant_id] = {
            call.decision_id: (TENANT, KEY + call.principal_id, SERVICE + call.services[-1][0])
            for call in past.calls
            if call.charged is None
        }
        return past

    def ended(self, tenant_id: str, decision_id: str) -> None:
        self._running.get(tenant_id, {}).pop(decision_id, None)

    def of(self, tenant_id: str, subject: str) -> int:
        return sum(subject in subjects for subjects in self._running.get(tenant_id, {}).values())


class LocalAdmission:
    """Opens when ``may_open`` says so, and is closed before the process returns to Redis."""

    def __init__(
        self, records: AdmissionRecords, processes: int, may_open: Callable[[], bool], *, late: int = 0
    ) -> None:
        self._running, self._processes, self._may_open = _RunningCalls(records), processes, may_open
        self._late = late
        self._twin: InProcessAdmission | None = None
        self._held: dict[str, tuple[InProcessAdmission, Grant]] = {}
        self._to_count: set[str] = set()

    def open(self) -> bool:
        """Whether this process may admit on its own now."""
        if not self._may_open():
            return False
        if self._twin is None:
            self._twin = InProcessAdmission(self._running, late=self._late)
        return True

    def close(self) -> frozenset[str]:
        """Admit nothing more. The tenants for whom something was admitted that Redis does not count yet."""
        self._twin = None
        return frozenset(self._to_count)

    def counted(self, tenant_id: str) -> None:
        """Redis will count what was admitted for the tenant."""
        self._to_count.discard(tenant_id)

    def holds(self, grant: Grant) -> bool:
        """Whether the call was admitted here, and not since handed to Redis."""
        held = self._held.get(grant.grant_id)
        return held is not None and held[0] is self._twin

    async def admit(self, ask: Ask, present: Callable[[], int]) -> Grant | ServiceBusy | None:
        """As ``Admission.admit``, within the share; None when this process is no longer on its own. ``present``
        tells the time."""
        twin = self._twin
        if twin is None:
            return None
        await twin.ledger(ask.scope, ask.period, present())  # reads the records at the tenant's first call
        share = self._share(ask)
        if isinstance(share, ServiceBusy):
            return share
        answer = await twin.admit(share, present())
        if not isinstance(answer, Grant):
            return answer
        if twin is not self._twin:  # closed while the records were read
            await twin.settle(answer, Actual())
            return None
        self._held[ask.grant_id] = (twin, answer)
        self._to_count.add(ask.tenant_id)
        return Grant(ask, answer.standing)

    async def move(self, grant: Grant, ask: Ask, now: int) -> Grant | ServiceBusy:
        """As ``Admission.move``, of a call that was admitted here."""
        twin, held = self._held[grant.grant_id]
        share = self._share(ask)
        if isinstance(share, ServiceBusy):
            return share
        answer = await twin.move(held, share, now)
        if not isinstance(answer, Grant):
            return answer
        self._held[ask.grant_id] = (twin, answer)
        return Grant(ask, answer.standing)

    async def settle(self, grant: Grant, actual: Actual) -> None:
        """End a call that was admitted here; any other is not known here."""
        self._running.ended(grant.ask.tenant_id, grant.grant_id)
        twin, held = self._held.pop(grant.grant_id, (None, None))
        if twin is not None and held is not None:
            await twin.settle(held, actual)

    def _share(self, ask: Ask) -> Ask | ServiceBusy:
        """The ask with each limit divided. Raises LimitExceeded for a tenant's or caller's that leaves nothing."""
        busy: ServiceBusy | None = None
        meters, slots = [], []
        for meter in ask.meters:
            windows = [self._window(window) for window in meter.windows]
            for window, part in zip(meter.windows, windows, strict=True):
                if part is None:
                    refused = window_full(meter, window, window.span)
                    busy = busy or refused
            meters.append(Meter(meter.subject, meter.unit, meter.amount, tuple(each for each in windows if each)))
        for each in ask.slots:
            limit = each.limit // self._processes - self._running.of(ask.tenant_id, each.subject)
            if limit < 1:
                taken = slots_taken(each)
                busy = busy or taken
            slots.append(Slots(each.subject, limit))
        if busy is not None:
            return busy
        budget = None if ask.budget is None else ask.budget // self._processes
        return replace(ask, meters=tuple(meters), slots=tuple(slots), budget=budget)

    def _window(self, window: Window) -> Window | None:
        limit = window.limit // self._processes
        return Window(window.name, limit, window.span) if limit else None
