"""What a call adds to a tenant's usage, and usage added up. Pure.

Theory of operation
-------------------
An outcome in the journal is one call, whatever came of it. It adds to exactly one *place*: the day it
ended on (UTC), the principal that asked and the capability that the decision names, the service that
answered or was tried last. Usage is the sum of these, nothing else: it can be thrown away and counted
again, from the journal's clear columns or, with the tenant's key, from the sealed records themselves.

What is counted: calls; those of them that failed (no answer reached the caller as a whole: neither
``ok`` nor ``violated``); tokens as the services reported them, estimated from the text where they reported
none; compute, the milliseconds from a call's admission to its end by the process's own clock, so
also of calls that were cut short (0 for those that a crash cut off, which nobody measured); cost in
nano-units; breaches, one a clause that an answer broke, of every attempt.

Laws (each has a test of the same name)
---------------------------------------
- every_outcome_counts_once: whatever the batches, and whatever fails between them.
- groups_add_up_to_the_whole: by any dimensions, for any span of days.
- a_late_outcome_belongs_to_its_own_day: the one it ended on, whenever it is taken in.
- records_say_what_the_columns_say: a recount of opened records equals the sums of the clear columns.
- a_rebuild_is_equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from caio.audit.ports import LeafKind, Status
from caio.foundation.quantity import decimal_text, read_nanos

DAY = 86_400_000_000
#: Statuses of calls whose answer reached the caller.
ANSWERED = frozenset({Status.OK.value, Status.VIOLATED.value})


class Dimension(StrEnum):
    """What usage can be grouped by, in the order in which groups are listed."""

    DAY = "day"
    PRINCIPAL = "principal"
    SERVICE = "service"
    CAPABILITY = "capability"


def dimensions_of(text: str) -> tuple[Dimension, ...]:
    """The dimensions that ``text`` names, with commas between, in their order. Raises ValueError for other names."""
    names = {part.strip() for part in text.split(",") if part.strip()}
    if unknown := names - {each.value for each in Dimension}:
        raise ValueError(f"{min(unknown)!r} is none of {', '.join(Dimension)}")
    return tuple(each for each in Dimension if each.value in names)


class Place(NamedTuple):
    """Where a call counts. ``day`` is in days since the epoch, UTC; ``principal_id`` is empty once the
    decision's content was erased."""

    day: int
    principal_id: str
    service_id: str
    capability: str


class Sums(NamedTuple):
    """What calls add up to; ``cost`` in nano-units of the tenant's currency."""

    calls: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    compute_ms: int = 0
    cost: int = 0
    breaches: int = 0

    def plus(self, other: Sums) -> Sums:
        return Sums(*map(sum, zip(self, other, strict=True)))

    @property
    def negative(self) -> Sums:
        return Sums(*(-each for each in self))

    def document(self) -> dict[str, int | str]:
        """As answers and tables state it: compute in seconds and cost in units, both decimals."""
        return {
            "calls": self.calls,
            "failed": self.failed,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "compute_seconds": decimal_text(self.compute_ms, places=3),
            "cost": decimal_text(self.cost),
            "breaches": self.breaches,
        }


#: What was measured, by name, as tables and documents list it.
MEASURES = Sums._fields


@dataclass(frozen=True, slots=True)
class Finished:
    """A call that has ended: the columns of its outcome and its decision that usage is made of. ``breaches``
    counts the broken clauses of all its attempts."""

    principal_id: str
    capability: str
    finished_at: int
    status: str
    service_id: str
    latency_ms: int
    input_tokens: int
    output_tokens: int
    charged: int
    breaches: int

    @property
    def place(self) -> Place:
        return Place(day_of(self.finished_at), self.principal_id, self.service_id, self.capability)

    @property
    def sums(self) -> Sums:
        return Sums(
            1,
            self.status not in ANSWERED,
            self.input_tokens,
            self.output_tokens,
            self.latency_ms,
            self.charged,
            self.breaches,
        )


def day_of(moment: int) -> int:
    """The UTC day, in days since the epoch, of a time in microseconds since it."""
    return moment // DAY


def added_up(calls: Iterable[Finished]) -> dict[Place, Sums]:
    """The usage that ``calls`` are."""
    found: dict[Place, Sums] = {}
    for call in calls:
        place = call.place
        found[place] = found.get(place, Sums()).plus(call.sums)
    return found


def grouped(usage: Mapping[Place, Sums], by: Iterable[Dimension]) -> dict[tuple[int | str, ...], Sums]:
    """Usage summed over every dimension that is not in ``by``; keys are in the order of ``Dimension``."""
    wanted = set(by)
    kept = [number for number, dimension in enumerate(Dimension) if dimension in wanted]
    found: dict[tuple[int | str, ...], Sums] = {}
    for place, sums in usage.items():
        key = tuple(place[number] for number in kept)
        found[key] = found.get(key, Sums()).plus(sums)
    return found


@dataclass(slots=True)
class Recount:
    """Usage counted from the records of a log, which are to be taken in the log's order.

    ``unexplained`` counts the outcomes whose decision was not among them: of an export that begins
    in the middle, or whose decisions were erased. They are not counted otherwise. Memory is bounded by
    the places and the calls that were running at once.
    """

    usage: dict[Place, Sums] = field(default_factory=dict)
    unexplained: int = 0
    _running: dict[str, tuple[str, str]] = field(default_factory=dict)

    def take(self, record: Mapping[str, Any]) -> None:
        """Take in one record; those of acts and of calls to nobody add nothing."""
        if record["kind"] == LeafKind.DECISION and record["admitted"]:
            self._running[record["decision_id"]] = (record["principal"], record["capability"])
        elif record["kind"] == LeafKind.OUTCOME:
            asked = self._running.pop(record["decision_id"], None)
            if asked is None:
                self.unexplained += 1
            else:
                self._add(_finished(record, *asked))

    def _add(self, call: Finished) -> None:
        self.usage[call.place] = self.usage.get(call.place, Sums()).plus(call.sums)


def _finished(record: Mapping[str, Any], principal_id: str, capability: str) -> Finished:
    return Finished(
        principal_id=principal_id,
        capability=capability,
        finished_at=record["finished_at"],
        status=record["status"],
        service_id=record["service"],
        latency_ms=record["latency_ms"],
        input_tokens=record["usage"]["input_tokens"],
        output_tokens=record["usage"]["output_tokens"],
        charged=read_nanos(record["charged"]),
        breaches=sum(len(attempt["violations"]) for attempt in record["attempts"]),
    )
