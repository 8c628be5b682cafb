"""One tenant's meters, slots and books in memory, and the calls that hold some of them.

An account checks everything before it takes anything, and nothing in it awaits: on one event loop each step
is atomic. It is opened from the durable records, so that a restart lends nobody a fresh quota. A meter that
is asked for the first time is filled with what its subject's calls took before; one whose limits have changed
keeps what it holds. Calls at once are counted for every subject, so that a new limit knows those that run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from caio.gateway.past_use import PastUnits
from caio.gateway.ports import Actual, Ask, Grant, Meter, ServiceBusy, Standing
from caio.gateway.refusals import KEY, SERVICE, TENANT, grant_ended, is_service, out_of_money, slots_taken, window_full
from caio.metering.ledger import Books, Exhausted
from caio.tenancy.limits import Unit, Window
from caio.tenancy.rate_limit import DAY, RollingWindow, Windows


@dataclass(slots=True)
class _Counted:
    """One subject's windows in one unit, as the last ask stated them."""

    limits: tuple[Window, ...]
    windows: Windows


#: A subject and what is counted of it.
_Of = tuple[str, Unit]


@dataclass(slots=True)
class _Held:
    """What an admitted call holds. ``taken`` are the tokens and compute that may be given back, each with the
    time it counts at."""

    ask: Ask
    admitted_at: int
    taken: dict[_Of, list[tuple[int, int]]] = field(default_factory=dict)

    def units(self, of: _Of) -> int:
        return sum(units for _, units in self.taken.get(of, ()))


class Account:
    """``opened_at`` is when it was read from the records; time must not go backwards, and is clamped."""

    def __init__(self, past: PastUnits, opened_at: int) -> None:
        self.books = Books()
        self.held: dict[str, _Held] = {}
        self.opened_at = opened_at
        self._past: PastUnits | None = past
        self._latest = opened_at
        self._counted: dict[_Of, _Counted] = {}
        self._running: dict[str, int] = {}

    def admit(self, ask: Ask, now: int) -> Grant | ServiceBusy:
        if ask.grant_id in self.held:
            raise ValueError(f"{ask.grant_id} is admitted already")
        now = self._latest = max(now, self._latest)
        busy = self._room(ask, ((meter, meter.amount) for meter in ask.meters), now, None)
        if busy is not None:
            return busy
        try:
            self.books.reserve(ask.grant_id, ask.price, ask.period, ask.budget)
        except Exhausted as exhausted:
            raise out_of_money(ask, exhausted.available) from None
        held = self.held[ask.grant_id] = _Held(ask, now)
        for meter in ask.meters:
            self._take(held, meter, meter.amount, now)
        self._run(ask, 1)
        return Grant(ask, self._standing(now))

    def move(self, grant: Grant, ask: Ask, now: int) -> Grant | ServiceBusy:
        held = self.held.get(grant.grant_id)
        if held is None:
            raise grant_ended()
        now = self._latest = max(now, self._latest)
        more = [(meter, self._more(held, meter, ask)) for meter in ask.meters]
        busy = self._room(ask, more, now, held.ask)
        if busy is not None:
            return busy
        try:
            self.books.change(grant.grant_id, ask.price)
        except Exhausted as exhausted:
            raise out_of_money(ask, exhausted.available) from None
        if ask.service_id != held.ask.service_id:
            for of in [of for of in held.taken if is_service(of[0])]:
                self._free(held, of, 0)
        for meter, units in more:
            if units < 0:
                self._free(held, (meter.subject, meter.unit), meter.amount)
            else:
                self._take(held, meter, units, now)
        self._run(held.ask, -1)
        self._run(ask, 1)
        held.ask = ask
        return Grant(ask, grant.standing)

    def settle(self, grant_id: str, actual: Actual) -> None:
        held = self.held.pop(grant_id, None)
        if held is None:
            return
        self.books.settle(grant_id, min(actual.charged, held.ask.price))
        for of in held.taken:
            self._free(held, of, actual.tokens if of[1] is Unit.TOKENS else actual.compute_ms)
        self._run(held.ask, -1)

    def _room(self, ask: Ask, wanted: Iterable[tuple[Meter, int]], now: int, before: Ask | None) -> ServiceBusy | None:
        """None when everything fits. Raises what is the tenant's or the caller's; of several refusals of a service
        the first is told. ``before`` is what the call has been admitted for already."""
        busy: ServiceBusy | None = None
        for meter, units in wanted:
            if units <= 0:
                continue
            full = self._meter(meter).windows.full(now, units)
            if full is not None:
                window = next(each for each in meter.windows if each.name == full.window)
                refused = window_full(meter, window, full.wait)
                busy = busy or refused
        for slots in ask.slots:
            own = before is not None and slots.subject in _subjects(before)
            if not own and self._running.get(slots.subject, 0) >= slots.limit:
                refused = slots_taken(slots)
                busy = busy or refused
        return busy

    def _more(self, held: _Held, meter: Meter, ask: Ask) -> int:
        """What a move takes of a meter beyond what the call holds of it."""
        if meter.unit is Unit.REQUESTS:
            return meter.amount if is_service(meter.subject) else 0
        kept = not is_service(meter.subject) or ask.service_id == held.ask.service_id
        return meter.amount - (held.units((meter.subject, meter.unit)) if kept else 0)

    def _take(self, held: _Held, meter: Meter, units: int, now: int) -> None:
        if units > 0:
            at = self._meter(meter).windows.take(now, units)
            if meter.unit is not Unit.REQUESTS:
                held.taken.setdefault((meter.subject, meter.unit), []).append((at, units))

    def _free(self, held: _Held, of: _Of, keep: int) -> None:
        """Give back what the call holds beyond ``keep``, the newest first."""
        taken, windows = held.taken[of], self._counted[of].windows
        free = held.units(of) - keep
        while free > 0:
            at, units = taken.pop()
            freed = min(free, units)
            windows.give_back(at, freed)
            free -= freed
            if freed < units:
                taken.append((at, units - freed))

    def _meter(self, meter: Meter) -> _Counted:
        of = (meter.subject, meter.unit)
        known = self._counted.get(of)
        if known is not None and (known.limits is meter.windows or known.limits == meter.windows):
            return known
        windows = Windows([RollingWindow(each.name, each.limit, each.span) for each in meter.windows])
        if known is not None:
            known.limits, known.windows = meter.windows, windows.continuing(known.windows)
            return known
        for at, units in self._before(of):
            windows.restore(at, units)
        counted = self._counted[of] = _Counted(meter.windows, windows)
        return counted

    def _before(self, of: _Of) -> Iterable[tuple[int, int]]:
        if self._past is not None and self._latest - self.opened_at >= DAY:
            self._past = None  # nothing of it is in a window any more
        return () if self._past is None else self._past.of(*of)

    def _run(self, ask: Ask, change: int) -> None:
        running = self._running
        for subject in _subjects(ask):
            count = running[subject] = running.get(subject, 0) + change
            if not count:
                del running[subject]

    def _standing(self, now: int) -> Standing | None:
        counted = self._counted.get((TENANT, Unit.REQUESTS))
        tightest = None if counted is None else counted.windows.tightest()
        if tightest is None:
            return None
        left, seconds = max(0, tightest.limit - tightest.used), -(-tightest.frees_in(now) // 1_000_000)
        return Standing(tightest.name, tightest.limit, tightest.span // 1_000_000, left, seconds)


def _subjects(ask: Ask) -> tuple[str, str, str]:
    return (TENANT, KEY + ask.principal_id, SERVICE + ask.service_id)
