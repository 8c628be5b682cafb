"""How an ask is put to the scripts, and how their refusals are told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from caio.gateway.ports import Ask, Meter, ServiceBusy, Slots, Standing
from caio.gateway.refusals import KEY, SERVICE, TENANT, is_service, out_of_money, slots_taken, window_full
from caio.tenancy.limits import Unit, Window
from caio.tenancy.ports import Outage

#: A meter and one of its windows, in the order in which the scripts are told of them.
Row = tuple[Meter, Window]


def window_name(meter: Meter, window: Window) -> str:
    return f"{meter.subject}|{meter.unit.value}|{window.name}"


def subjects(ask: Ask) -> tuple[str, str, str]:
    return TENANT, KEY + ask.principal_id, SERVICE + ask.service_id


def rows_of(ask: Ask) -> tuple[Row, ...]:
    return tuple((meter, window) for meter in ask.meters for window in meter.windows)


def moved_rows(ask: Ask) -> tuple[Row, ...]:
    """The windows that a move may take from: not those that hold the call's own request."""
    return tuple(row for row in rows_of(ask) if is_service(row[0].subject) or row[0].unit is not Unit.REQUESTS)


def money(ask: Ask, processes: int) -> tuple[str, str]:
    """The budget, and the share of it that each process on its own may spend."""
    return ("", "0") if ask.budget is None else (str(ask.budget), str(ask.budget // processes))


def sharing(ask: Ask, processes: int) -> str:
    """How many processes may admit on their own for this tenant; 0 when none does."""
    return str(processes if ask.outage is Outage.LOCAL else 0)


def limits(slots: Sequence[Slots], rows: Sequence[Row]) -> Iterator[str]:
    yield str(len(slots))
    for each in slots:
        yield each.subject
        yield str(each.limit)
    yield str(len(rows))
    for meter, window in rows:
        yield window_name(meter, window)
        yield meter.subject
        yield meter.unit.value
        yield str(meter.amount)
        yield str(window.limit)
        yield str(window.span)


def refusal(ask: Ask, rows: Sequence[Row], answer: Sequence[Any]) -> ServiceBusy:
    """What a script refused with. Raises what is the tenant's or the caller's; of several refusals of a service the
    first is told."""
    if answer[0] == b"budget":
        raise out_of_money(ask, int(answer[1]))
    waits = [int(told) for told in answer[1:]]
    slowest: dict[tuple[str, Unit], tuple[int, Row]] = {}
    for row, wait in zip(rows, waits, strict=False):
        of = row[0].subject, row[0].unit
        if wait > slowest.get(of, (0, row))[0]:
            slowest[of] = (wait, row)
    refusals = [window_full(meter, window, wait) for wait, (meter, window) in slowest.values()]
    taken = zip(ask.slots, waits[len(rows) :], strict=True)
    return [*refusals, *(slots_taken(slots) for slots, full in taken if full)][0]


def standing(rows: Sequence[Row], answer: Sequence[Any]) -> Standing | None:
    place = int(answer[1])
    if place < 0:
        return None
    window = rows[place][1]
    seconds = -(-int(answer[3]) // 1_000_000)
    return Standing(window.name, window.limit, window.span // 1_000_000, int(answer[2]), seconds)
