"""What a contract promises beside what was observed of the service, with a verdict for each bound.

Theory of operation
-------------------
Every finished attempt is counted under one or more *measures* of its service, version and hour of
the clock: ``latency_ms`` (an answer that came whole) and ``first_token_ms`` (a stream) by latency
bucket (``foundation.latencies``), ``error`` (no answer), ``breach:CLAUSE`` for each clause that the
answer broke. Counts are written with the attempt, in one transaction, and only ever added, so any
windows of hours merge by addition and nothing is lost or counted twice.

A window reaches back to the start of an hour: ``1h`` covers the hour before the present one, and
the present one so far. The report is about one version, since another one promised other things,
and about the calls of the tenant that asks.

A bound allows a share of calls beyond it: p95 one in twenty, a ``max`` none. Below the number of
calls at which a single one of them could break it (and below ``FEWEST``) there is no verdict. A
``max``, the price and the output schema are judged by the breaches that enforcement recorded, which
are exact; percentiles by the buckets, which round down: a bound said to be ``breached`` is, one said
to be ``kept`` may be missed by a twentieth.

Laws (each has a test of the same name)
---------------------------------------
- an_attempt_is_counted_once: under exactly one of the latencies and ``error``.
- no_single_call_breaks_a_share: only a promise of ``max``, or of no errors at all.
- breached_means_breached: the exact percentile is over the bound too.
- what_nobody_measured_has_no_verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from caio.audit.ports import Attempt
from caio.contracts.vocabulary import STRENGTH
from caio.foundation.latencies import bucket_of, percentile
from caio.foundation.quantity import NANO, decimal_text, nanos
from caio.foundation.scope import TenantScope
from caio.registry.ports import Publications, Published

HOUR = 3_600_000_000
#: No window looks further back.
LONGEST = 31 * 24 * HOUR
WINDOWS = (("1h", HOUR), ("24h", 24 * HOUR), ("30d", 30 * 24 * HOUR))

#: The fewest calls that a verdict on a share of calls is given on.
FEWEST = 20

LATENCIES = ("latency_ms", "first_token_ms")
ERROR = "error"
_BREACH = "breach:"

#: Percent of calls that may lie beyond a bound of this statistic.
_BEYOND = {"p50": 50, "p95": 5, "p99": 1, "max": 0}
_PERCENTILES = tuple(statistic for statistic in STRENGTH if statistic != "max")


class Verdict(StrEnum):
    """What a window says of a promise."""

    KEPT = "kept"
    BREACHED = "breached"
    TOO_FEW_CALLS = "too few calls"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Counted:
    """One sum of the store: ``calls`` under a measure and, for latencies, a bucket (else 0)."""

    measure: str
    bucket: int
    calls: int


class ObservedHours(Protocol):
    """The counts by hour, written by the journal's store. One suite in tests/conformance."""

    async def totals(self, scope: TenantScope, service_id: str, version: str, since: int) -> Sequence[Counted]:
        """The sums over the hours from ``since`` on; none for what was never called."""
        ...

    async def forget(self, before: int) -> None:
        """Delete every tenant's counts of the hours before ``before``."""
        ...


def hour_of(moment: int) -> int:
    """The start of the hour of the clock (UTC) that ``moment`` lies in."""
    return moment // HOUR * HOUR


def measures_of(attempt: Attempt) -> Iterator[tuple[str, int]]:
    """The measures and buckets that one attempt counts under."""
    if attempt.succeeded:
        yield LATENCIES[attempt.streamed], bucket_of(attempt.latency_ms)
    else:
        yield ERROR, 0
    for clause in dict.fromkeys(attempt.breached):
        yield _BREACH + clause, 0


@dataclass(frozen=True, slots=True)
class Window:
    """What was observed from ``since`` on. ``latencies`` are counts by bucket for each of LATENCIES."""

    name: str
    since: int
    errors: int = 0
    breaches: Mapping[str, int] = field(default_factory=dict)
    latencies: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, since: int, totals: Sequence[Counted]) -> Window:
        errors, breaches = 0, {}
        latencies: dict[str, dict[int, int]] = {kind: {} for kind in LATENCIES}
        for each in totals:
            if each.measure == ERROR:
                errors = each.calls
            elif each.measure.startswith(_BREACH):
                breaches[each.measure.removeprefix(_BREACH)] = each.calls
            else:
                latencies[each.measure][each.bucket] = each.calls
        return cls(name, since, errors, dict(sorted(breaches.items())), latencies)

    @property
    def answered(self) -> int:
        return sum(self.timed(kind) for kind in LATENCIES)

    @property
    def calls(self) -> int:
        return self.answered + self.errors

    def timed(self, kind: str) -> int:
        """The number of answers whose latency of this kind was measured."""
        return sum(self.latencies.get(kind, {}).values())

    def percentiles(self, kind: str) -> dict[str, int | None]:
        """p50, p95 and p99 in milliseconds, rounded down by at most a twentieth; None without answers."""
        return {name: percentile(self.latencies.get(kind, {}), 100 - _BEYOND[name]) for name in _PERCENTILES}

    @property
    def error_rate(self) -> int | None:
        """Errors as a share of calls, in nanos; None without calls."""
        return self.errors * NANO // self.calls if self.calls else None


@dataclass(frozen=True, slots=True)
class Finding:
    """One bound in one window. ``observed`` is None where nothing was seen or measured."""

    verdict: Verdict
    observed: str | None


@dataclass(frozen=True, slots=True)
class Promise:
    """A bound of the contract, as text, and what each window says of it, in the order of WINDOWS."""

    bound: str
    promised: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Contract versus observed of one service version."""

    service_id: str
    version: str
    windows: tuple[Window, ...]
    promises: tuple[Promise, ...]


class ObservedServices:
    """Reports on a tenant's own services; ``clock`` gives microseconds since the epoch."""

    def __init__(self, contracts: Publications, hours: ObservedHours, clock: Callable[[], int]) -> None:
        self._contracts = contracts
        self._hours = hours
        self._clock = clock

    async def report(self, scope: TenantScope, service_id: str, version: str | None) -> Report:
        """About the named version, else the newest. Raises NotFound, for another tenant's service too."""
        published = await self._contracts.get(scope, service_id, version)
        name = published.publication.version
        windows, now = [], self._clock()
        for label, length in WINDOWS:
            since = hour_of(now - length)
            windows.append(Window.of(label, since, await self._hours.totals(scope, service_id, name, since)))
        return report_of(published, windows)


def report_of(published: Published, windows: Sequence[Window]) -> Report:
    """The report on a contract: pure."""
    publication = published.publication
    promises = tuple(
        Promise(bound, promised, tuple(judged(bound, limit, window) for window in windows))
        for bound, promised, limit in _promises(publication.document)
    )
    return Report(publication.name, publication.version, tuple(windows), promises)


def judged(bound: str, limit: int, window: Window) -> Finding:
    """What a window says of a bound; ``limit`` in nanos of the bound's unit."""
    subject, _, statistic = bound.partition(".")
    if subject in LATENCIES and statistic in _BEYOND:
        return _latency(bound, subject, statistic, limit, window)
    if bound == "error_rate.max":
        return _share(window.errors, limit, window)
    if bound == "availability.min":
        return _share(window.errors, NANO - limit, window, of_answers=True)
    if bound in _ENFORCED:
        return _enforced(bound, window, window.answered)
    return Finding(Verdict.NOT_MEASURED, None)


#: Promises besides guarantees that enforcement checks on each answer, and how they read.
_ENFORCED = {"output_schema": "fits", "cost.max": "the reserved price"}


def _latency(bound: str, kind: str, statistic: str, limit: int, window: Window) -> Finding:
    calls, beyond = window.timed(kind), _BEYOND[statistic]
    observed = percentile(window.latencies.get(kind, {}), 100 - beyond)
    if statistic == "max":
        seen = None if observed is None else str(observed)
        return Finding(_enforced(bound, window, calls).verdict, seen)
    if calls < max(FEWEST, 100 // beyond) or observed is None:
        return Finding(Verdict.TOO_FEW_CALLS, None if observed is None else str(observed))
    return Finding(Verdict.BREACHED if observed * NANO > limit else Verdict.KEPT, str(observed))


def _share(errors: int, allowed: int, window: Window, *, of_answers: bool = False) -> Finding:
    """``allowed`` is the share of calls, in nanos, that may fail."""
    calls = window.calls
    if not calls:
        return Finding(Verdict.TOO_FEW_CALLS, None)
    counted = calls - errors if of_answers else errors
    observed = decimal_text(counted * NANO // calls)
    if allowed <= 0:
        return Finding(Verdict.BREACHED if errors else Verdict.KEPT, observed)
    if calls < FEWEST or calls * allowed < NANO:
        return Finding(Verdict.TOO_FEW_CALLS, observed)
    return Finding(Verdict.BREACHED if errors * NANO > allowed * calls else Verdict.KEPT, observed)


def _enforced(clause: str, window: Window, answers: int) -> Finding:
    breaches = window.breaches.get(clause, 0)
    if not answers and not breaches:
        return Finding(Verdict.TOO_FEW_CALLS, None)
    return Finding(Verdict.BREACHED if breaches else Verdict.KEPT, f"{breaches} of {max(answers, breaches)}")


def _promises(document: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """Every bound of a contract by name, with its text and its limit in nanos."""
    for subject, stated in sorted(document["guarantees"].items()):
        if subject == "determinism":
            yield "determinism.min", ">= 1", NANO
        for statistic in ("min", *STRENGTH):
            if (value := stated.get(statistic)) is not None:
                limit = nanos(value)
                sign = ">=" if statistic == "min" else "<="
                yield f"{subject}.{statistic}", f"{sign} {decimal_text(limit)}", limit
    if any("output_schema" in each for each in document["api"].get("endpoints", ())):
        yield "output_schema", _ENFORCED["output_schema"], 0
    yield "cost.max", f"<= {_ENFORCED['cost.max']}", 0
