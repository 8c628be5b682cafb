"""One tenant's meters, slots and books in memory, and the calls that hold some of them.

An account checks everything before it takes anything, and nothing in it awaits: on one event loop each step
is atomic. It is opened from the durable records, so that a restart lends nobody a fresh quota. A meter that
is asked for the first time is filled with what its subject's calls took before; one whose limits have changed
keeps what it holds. Calls at once are counted for the subjects that are limited, from the first time on that they
are: those that run then are looked up. Subjects of whom nothing is counted any more are let go when there are many:
keys come and go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from caio.gateway.past_use import PastUnits
from caio.gateway.ports import Actual, Ask, Grant, Meter, ServiceBusy, Standing
from caio.gateway.refusals import KEY, SERVICE, TENANT, grant_ended, is_service, out_of_money, slots_taken, window_full
from caio.metering.ledger import Books, Exhausted, Ledger
from caio.tenancy.limits import Unit, Window
from caio.tenancy.rate_limit import DAY, RollingWindow, Windows

_SECOND = 1_000_000
_REQUESTS = Unit.REQUESTS  # an enum's members cost a look-up each time
_REQUESTS_OF_THE_TENANT = (TENANT, _REQUESTS)

#: What may be counted before it is looked at what need not be any more.
COUNTED_AT_LEAST = 1_000

#: A subject and what is counted of it.
_Of = tuple[str, Unit]


@dataclass(slots=True)
class _Counted:
    """One subject's windows in one unit, as the last ask stated them."""

    limits: tuple[Window, ...]
    windows: Windows


class _Held:
    """What an admitted call holds. ``taken`` are the tokens and compute that may be given back, each with the
    time it counts at; ``ledger`` is that of the period in which it was admitted."""

    __slots__ = ("admitted_at", "ask", "ledger", "taken")

    def __init__(self, ask: Ask, admitted_at: int, ledger: Ledger) -> None:
        self.ask = ask
        self.admitted_at = admitted_at
        self.ledger = ledger
        self.taken: dict[_Of, list[tuple[int, int]]] = {}

    def units(self, of: _Of) -> int:
        return sum(units for _, units in self.taken.get(of, ()))


class Account:
    """``opened_at`` is when it was read from the records, whose times may be earlier than what they tell of by
    ``late`` microseconds: they count by as much later."""

    def __init__(self, past: PastUnits, opened_at: int, late: int = 0) -> None:
        self.books = Books()
        self.held: dict[str, _Held] = {}
        self.opened_at = opened_at
        self._late = late
        self._past: PastUnits | None = past
        self._counted: dict[_Of, _Counted] = {}
        self._swept_at = COUNTED_AT_LEAST
        self._running: dict[str, int] = {}  # of each subject whose slots were ever asked for

    def admit(self, ask: Ask, now: int) -> Grant | ServiceBusy:
        if ask.grant_id in self.held:
            raise ValueError(f"{ask.grant_id} is admitted already")
        if len(self._counted) > self._swept_at:
            self._sweep(now)
        wanted = [(meter, self._windows(meter, now), meter.amount) for meter in ask.meters]
        busy = _without_room(wanted, now)
        if ask.slots:
            busy = self._without_slot(ask, ()) or busy
        if busy is not None:
            return busy
        ledger = self.books.ledger(ask.period)
        if ledger.budget != ask.budget:
            ledger.fund(ask.budget)
        try:
            ledger.reserve(ask.grant_id, ask.price)
        except Exhausted as exhausted:
            raise out_of_money(ask, exhausted.available) from None
        held = self.held[ask.grant_id] = _Held(ask, now, ledger)
        _take(held, wanted, now)
        if self._running:
            self._run(ask, 1)
        return Grant(ask, self._standing(now))

    def move(self, grant: Grant, ask: Ask, now: int) -> Grant | ServiceBusy:
        held = self.held.get(grant.grant_id)
        if held is None:
            raise grant_ended()
        wanted = [(meter, self._windows(meter, now), _beyond(held, meter)) for meter in ask.meters]
        busy = _without_room(wanted, now)
        busy = self._without_slot(ask, _subjects(held.ask)) or busy
        if busy is not None:
            return busy
        try:
            held.ledger.change(grant.grant_id, ask.price)
        except Exhausted as exhausted:
            raise out_of_money(ask, exhausted.available) from None
        if ask.service_id != held.ask.service_id:
            for of in [of for of in held.taken if is_service(of[0])]:
                self._free(held, of, 0)
        for meter, _, units in wanted:
            if units < 0:
                self._free(held, (meter.subject, meter.unit), meter.amount)
        _take(held, wanted, now)
        self._run(held.ask, -1)
        self._run(ask, 1)
        held.ask = ask
        return Grant(ask, grant.standing)

    def settle(self, grant_id: str, actual: Actual) -> None:
        held = self.held.pop(grant_id, None)
        if held is None:
            return
        held.ledger.settle(grant_id, min(actual.charged, held.ask.price))
        for of in held.taken:
            self._free(held, of, actual.tokens if of[1] is Unit.TOKENS else actual.compute_ms)
        if self._running:
            self._run(held.ask, -1)

    def _without_slot(self, ask: Ask, own: Sequence[str]) -> ServiceBusy | None:
        """The first of the service's slots that are all taken. Raises what is the tenant's or the caller's. ``own``
        are the subjects whose slots the call has already."""
        busy: ServiceBusy | None = None
        for slots in ask.slots:
            running = self._running.get(slots.subject)
            if running is None:
                running = sum(slots.subject in _subjects(held.ask) for held in self.held.values())
                self._running[slots.subject] = running
            if running >= slots.limit and slots.subject not in own:
                busy = slots_taken(slots)
        return busy

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

    def _windows(self, meter: Meter, now: int) -> Windows:
        of = (meter.subject, meter.unit)
        known = self._counted.get(of)
        if known is not None and (known.limits is meter.windows or known.limits == meter.windows):
            return known.windows
        windows = Windows([RollingWindow(each.name, each.limit, each.span) for each in meter.windows])
        if known is not None:
            known.limits, known.windows = meter.windows, windows.continuing(known.windows)
            return known.windows
        for at, units in self._before(of, now):
            windows.restore(at, units)
        self._counted[of] = _Counted(meter.windows, windows)
        return windows

    def _sweep(self, now: int) -> None:
        """Let go of what is empty and of no running call; not within a step, which may have it at hand."""
        held = {of for each in self.held.values() for of in each.taken}
        kept = {of: each for of, each in self._counted.items() if of in held or not each.windows.are_empty(now)}
        self._counted, self._swept_at = kept, max(COUNTED_AT_LEAST, 2 * len(kept))
        self._running = {subject: running for subject, running in self._running.items() if running}

    def _before(self, of: _Of, now: int) -> Iterable[tuple[int, int]]:
        if self._past is not None and now - self.opened_at >= DAY:
            self._past = None  # nothing of it is in a window any more
        past = () if self._past is None else self._past.of(*of)
        return ((min(at + self._late, max(at, self.opened_at)), units) for at, units in past)

    def _run(self, ask: Ask, change: int) -> None:
        for subject in _subjects(ask):
            if subject in self._running:
                self._running[subject] += change

    def _standing(self, now: int) -> Standing | None:
        counted = self._counted.get(_REQUESTS_OF_THE_TENANT)
        tightest = None if counted is None else counted.windows.tightest()
        if tightest is None:
            return None
        left, wait = tightest.limit - tightest.used, min(tightest.frees_in(now), tightest.span)
        return Standing(tightest.name, tightest.limit, tightest.span // _SECOND, max(0, left), -(-wait // _SECOND))


def _without_room(wanted: Sequence[tuple[Meter, Windows, int]], now: int) -> ServiceBusy | None:
    """The first of the service's windows that is full. Raises what is the tenant's or the caller's."""
    busy: ServiceBusy | None = None
    for meter, windows, units in wanted:
        full = windows.full(now, units) if units > 0 else None
        if full is not None:
            window = next(each for each in meter.windows if each.name == full.window)
            busy = busy or window_full(meter, window, full.wait)
    return busy


def _take(held: _Held, wanted: Sequence[tuple[Meter, Windows, int]], now: int) -> None:
    for meter, windows, units in wanted:
        if units > 0:
            at = windows.take(now, units)
            if meter.unit is not _REQUESTS:
                held.taken.setdefault((meter.subject, meter.unit), []).append((at, units))


def _beyond(held: _Held, meter: Meter) -> int:
    """What a move takes of a meter beyond what the call holds of it; less than nothing is given back."""
    if meter.unit is _REQUESTS:
        return meter.amount if is_service(meter.subject) else 0
    return meter.amount - held.units((meter.subject, meter.unit))


def _subjects(ask: Ask) -> tuple[str, str, str]:
    return (TENANT, KEY + ask.principal_id, SERVICE + ask.service_id)
