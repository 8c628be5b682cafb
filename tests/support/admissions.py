"""What the laws of admission are tried on: asks, durable records kept in memory, an exact model."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from caio.foundation.scope import TenantScope
from caio.gateway.ports import Actual, Admission, Ask, Grant, Meter, PastCall, PastUse, Slots
from caio.metering.ledger import TOTAL, Ledger
from caio.storage.memory.admission import InProcessAdmission
from caio.tenancy.limits import Unit, Window
from caio.tenancy.ports import Outage
from caio.tenancy.rate_limit import DAY, HOUR, MINUTE

NOW = 1_700_000_000_000_000
SPANS = {"minute": MINUTE, "hour": HOUR, "day": DAY}
_numbers = itertools.count(1)


class Records:
    """The ``AdmissionRecords`` port over a list of calls a tenant."""

    def __init__(self, calls: Iterable[PastCall] = (), spent: int = 0, tenant_id: str = "acme") -> None:
        self.calls: defaultdict[str, list[PastCall]] = defaultdict(list)
        self.calls[tenant_id] += calls
        self.spent_before: dict[str, int] = {tenant_id: spent}
        self.reads = 0

    async def since(self, scope: TenantScope, since: int, period_start: int) -> PastUse:
        self.reads += 1
        calls = self.calls[scope.tenant_id]
        charged = sum(call.charged or 0 for call in calls if call.decided_at >= period_start)
        kept = sorted((call for call in calls if call.decided_at >= since), key=lambda call: call.decided_at)
        return PastUse(tuple(kept), charged + self.spent_before.get(scope.tenant_id, 0))


class Box(Protocol):
    """An adapter over records, opened; ``books`` are those of an ask's tenant in its period."""

    @property
    def admission(self) -> Admission: ...

    async def books(self, ask: Ask) -> Ledger: ...


#: Opens an adapter over records for the time of a block. Of a second opening the adapter knows nothing but the records.
Opening = Callable[[Records], AbstractAsyncContextManager[Box]]


@dataclass(frozen=True, slots=True)
class MemoryBox:
    admission: InProcessAdmission

    async def books(self, ask: Ask) -> Ledger:
        return await self.admission.ledger(ask.scope, ask.period, NOW)


@asynccontextmanager
async def memory_box(records: Records) -> AsyncIterator[Box]:
    yield MemoryBox(InProcessAdmission(records))


def windows(**limits: int) -> tuple[Window, ...]:
    """``windows(minute=5)``, shortest first."""
    return tuple(Window(name, limits[name], span) for name, span in SPANS.items() if name in limits)


def requests(subject: str, **limits: int) -> Meter:
    return Meter(subject, Unit.REQUESTS, 1, windows(**limits))


def tokens(subject: str, amount: int, **limits: int) -> Meter:
    return Meter(subject, Unit.TOKENS, amount, windows(**limits))


def compute(subject: str, amount: int, **limits: int) -> Meter:
    return Meter(subject, Unit.COMPUTE_MS, amount, windows(**limits))


def ask(
    service: str = "echo",
    *meters: Meter,
    price: int = 10,
    tenant: str = "acme",
    key: str = "key_1",
    grant: str = "",
    budget: int | None = None,
    period: str = TOTAL,
    slots: tuple[Slots, ...] = (),
    expires_at: int = NOW + 10 * DAY,
    outage: Outage = Outage.CLOSED,
) -> Ask:
    """An ask of a tenant, under a new grant id unless one is given."""
    return Ask(
        TenantScope(tenant),
        grant or f"dec_{next(_numbers)}",
        key,
        service,
        price,
        budget,
        period,
        meters,
        slots,
        expires_at,
        outage,
    )


def past(
    service: str,
    at: int,
    *,
    key: str = "key_1",
    charged: int | None = 0,
    reserved: int = 0,
    tokens: int = 0,
    compute_ms: int = 0,
    further: tuple[tuple[str, int], ...] = (),
) -> PastCall:
    name = f"dec_{next(_numbers)}"
    return PastCall(name, key, at, ((service, at), *further), reserved, charged, tokens, compute_ms)


@dataclass(slots=True)
class Call:
    """A call as the model knows it: what it took of whom, and when."""

    ask: Ask
    at: int
    taken: dict[tuple[str, Unit], list[list[int]]] = field(default_factory=dict)
    services: list[tuple[str, int]] = field(default_factory=list)
    actual: Actual | None = None

    def record(self) -> PastCall:
        """As the journal has it; a call that has not ended was interrupted."""
        used = self.actual or Actual()
        return PastCall(
            self.ask.grant_id,
            self.ask.principal_id,
            self.at,
            tuple(self.services),
            self.ask.price,
            used.charged,
            used.tokens,
            used.compute_ms,
        )


class Model:
    """The exact truth: a log of every unit, and sums of money. Knows nothing of blocks."""

    def __init__(self) -> None:
        self.log: defaultdict[tuple[str, Unit], list[list[int]]] = defaultdict(list)
        self.running: dict[str, Call] = {}
        self.ended: list[Call] = []
        self.spent = 0

    @property
    def reserved(self) -> int:
        return sum(call.ask.price for call in self.running.values())

    def counted(self, of: tuple[str, Unit], span: int, now: int) -> int:
        return sum(units for at, units in self.log[of] if at > now - span)

    def at_once(self, subject: str) -> int:
        return sum(subject in subjects_of(call.ask) for call in self.running.values())

    def lacks(self, ask: Ask, now: int, share: float, before: Call | None = None) -> list[str]:
        """What has no room for the ask when only ``share`` of each window may be filled. With ``before`` for what the
        ask takes beyond what that call holds."""
        lacking = [
            f"{meter.subject} {window.name} {meter.unit}"
            for meter, units in self.beyond(ask, before)
            for window in (meter.windows if units > 0 else ())
            if self.counted((meter.subject, meter.unit), window.span, now) + units > share * window.limit
        ]
        own = () if before is None else subjects_of(before.ask)
        lacking += [
            f"{each.subject} concurrent"
            for each in ask.slots
            if each.subject not in own and self.at_once(each.subject) >= each.limit
        ]
        price = ask.price - (before.ask.price if before else 0)
        if ask.budget is not None and price > 0 and self.spent + self.reserved + price > ask.budget:
            lacking.append("money")
        return lacking

    def beyond(self, ask: Ask, before: Call | None) -> list[tuple[Meter, int]]:
        wanted = []
        for meter in ask.meters:
            units, shared = meter.amount, not meter.subject.startswith("service:")
            if before is not None and meter.unit is Unit.REQUESTS:
                units = 0 if shared else units
            elif before is not None and (shared or before.ask.service_id == ask.service_id):
                units -= sum(entry[1] for entry in before.taken.get((meter.subject, meter.unit), ()))
            wanted.append((meter, units))
        return wanted

    def admit(self, ask: Ask, now: int) -> None:
        call = self.running[ask.grant_id] = Call(ask, now)
        for meter in ask.meters:
            self._take(call, meter, meter.amount, now)
        call.services.append((ask.service_id, now))

    def move(self, ask: Ask, now: int) -> None:
        call = self.running[ask.grant_id]
        wanted = self.beyond(ask, call)
        if ask.service_id != call.ask.service_id:
            for of in [of for of in call.taken if of[0].startswith("service:") and of[1] is not Unit.REQUESTS]:
                self._keep(call, of, 0)
        for meter, units in wanted:
            if units >= 0:
                self._take(call, meter, units, now)
            else:
                self._keep(call, (meter.subject, meter.unit), meter.amount)
        call.ask = ask
        call.services.append((ask.service_id, now))

    def settle(self, grant_id: str, actual: Actual) -> None:
        call = self.running.pop(grant_id)
        charged = min(actual.charged, call.ask.price)
        call.actual = Actual(charged, actual.tokens, actual.compute_ms)
        self.spent += charged
        for of in call.taken:
            if of[1] is not Unit.REQUESTS:
                self._keep(call, of, actual.tokens if of[1] is Unit.TOKENS else actual.compute_ms)
        self.ended.append(call)

    def restart(self) -> Records:
        """End what runs with nothing used, and write everything down."""
        for name in list(self.running):
            self.settle(name, Actual())
        return Records([call.record() for call in self.ended])

    def _take(self, call: Call, meter: Meter, units: int, now: int) -> None:
        entry = [now, units]
        self.log[meter.subject, meter.unit].append(entry)
        call.taken.setdefault((meter.subject, meter.unit), []).append(entry)

    def _keep(self, call: Call, of: tuple[str, Unit], most: int) -> None:
        for entry in call.taken[of]:
            entry[1] = min(entry[1], most)
            most -= entry[1]


def subjects_of(ask: Ask) -> tuple[str, str, str]:
    return ("tenant", f"key:{ask.principal_id}", f"service:{ask.service_id}")


async def granted(admission: Admission, asked: Ask, now: int = NOW) -> Grant:
    grant = await admission.admit(asked, now)
    assert isinstance(grant, Grant), grant
    return grant
