"""The kernel: how long one decision takes, its certificate included, on one core in this process.

Requests come in a few dozen sorts, as applications send them, each with its own size, labels and seed;
none is sent twice. Apart from that stand requests of a sort that was never seen before. The floor is a
plain scan in Python, the reference is the specification; both take turns with the kernel.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields
from time import perf_counter
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.frame import RESULTS, Report, figure, measure_pairs, seconds
from benchmarks.kernel.naive import choose
from benchmarks.kernel.worlds import PRINCIPAL, TENANT, World, after_calls, requests, world
from caio.routing.columns import Offerings, Promises, Sets
from caio.routing.engine import Snapshot, compile_snapshot, decide
from caio.routing.expressions import EvaluationError, interpret, parse
from caio.routing.model import Request

MICROSECONDS = 1e6
SORTS = 24
DECISIONS = 2000
#: Services, rules, and the bars: p99 of a decision in microseconds.
SIZES = ((100, 20, 100.0), (100, 1000, None), (1000, 1000, None), (10_000, 1000, 1000.0), (100_000, 1000, 8000.0))


def main() -> int:
    report, console = Report("kernel"), Console(stderr=True)
    growth: dict[str, list[tuple[int, float, float]]] = {}
    for services, rules, bar in SIZES:
        for everybody in (False, True):
            share = "all" if everybody else "a tenth of"
            console.print(f"{services:,} services, {rules:,} rules, {share} them in force …", style="dim")
            made = world(services, rules, everybody=everybody)
            started = perf_counter()
            snapshot = compile_snapshot(TENANT, made.offers, made.rules)
            compiled = perf_counter() - started
            name = f"{services:,} × {rules:,}, {share} the rules in force"
            _speed(report, growth, name, snapshot, made, bar)
            if everybody and services == 100_000:
                report.at_most(f"{services:,} × {rules:,}: compile", compiled, "s", bar=20)
                report.at_most(f"{services:,} × {rules:,}: arrays, per service", _bytes(snapshot) / services, "B", 1500)
            if everybody and services == 10_000:
                _registration(report, snapshot)
                _history(report, snapshot, made)
            if everybody and services <= 10_000 and rules == 1000:
                _scan(report, services, snapshot, made)
            if not everybody and services == 100:
                _specification(report, services, rules, snapshot, made)
    draw_growth(growth)
    return report.finish()


def _speed(
    report: Report,
    growth: dict[str, list[tuple[int, float, float]]],
    name: str,
    snapshot: Snapshot,
    made: World,
    bar: float | None,
) -> None:
    seen = list(requests(SORTS + DECISIONS, SORTS))
    for request in seen[:SORTS]:
        decide(snapshot, request, PRINCIPAL, made.history)
    usual = _times(snapshot, made, seen[SORTS:])
    unseen = 50 if len(snapshot.offers) > 10_000 else 300
    new = _times(snapshot, made, list(requests(unseen, unseen, first_sort=SORTS)))
    middle, high = np.percentile(usual, [50, 99])
    report.note(f"{name}: p50", float(middle), "µs")
    if bar is None:
        report.note(f"{name}: p99", float(high), "µs")
    else:
        report.at_most(f"{name}: p99", float(high), "µs", bar=bar)
    report.note(f"{name}: a sort never seen, p50", float(np.percentile(new, 50)), "µs")
    report.note(f"{name}: a sort never seen, p99", float(np.percentile(new, 99)), "µs")
    if len(snapshot.rules) == 1000:
        line = "all rules in force" if "all" in name else "a tenth of the rules in force"
        growth.setdefault(line, []).append((len(snapshot.offers), float(high), float(np.percentile(new, 99))))


def _times(snapshot: Snapshot, made: World, asked: Sequence[Request]) -> list[float]:
    times = []
    for request in asked:
        started = perf_counter()
        decide(snapshot, request, PRINCIPAL, made.history)
        times.append((perf_counter() - started) * MICROSECONDS)
    return times


def _registration(report: Report, snapshot: Snapshot) -> None:
    offer = snapshot.offers[len(snapshot.offers) // 2]
    smaller = snapshot.without(*offer.key)
    taken = sorted(seconds(lambda: smaller.with_service(offer)) * 1000 for _ in range(15))
    report.at_most("10,000 × 1,000: register one more service, median", taken[7], "ms", bar=5)


def _history(report: Report, snapshot: Snapshot, made: World) -> None:
    seen = [after_calls(made.history, number) for number in range(15)]
    histories = iter(seen)
    taken = sorted(seconds(lambda: snapshot.observed(next(histories))) * 1000 for _ in seen)
    report.note("10,000 × 1,000: take in a new history, median", taken[7], "ms")


def _scan(report: Report, services: int, snapshot: Snapshot, made: World) -> None:
    asked = list(requests(SORTS, SORTS))
    turns = iter(asked * 2)
    pairs = measure_pairs(
        lambda: seconds(lambda: choose(snapshot.offers, snapshot.rules, next(turns), PRINCIPAL)),
        lambda: seconds(lambda: decide(snapshot, asked[0], PRINCIPAL, made.history)),
        rounds=5,
    )
    report.note(f"{services:,} × 1,000: a scan in Python, times the kernel's", pairs.ratio(), "×")


def _specification(report: Report, services: int, rules: int, snapshot: Snapshot, made: World) -> None:
    from spec.routing import decide as specified

    request = next(requests(1, 1))
    evidence = {
        "request": request.document(),
        "principal": PRINCIPAL.document(),
        "services": [{"tenant": TENANT, "contract": offer.document} for offer in snapshot.offers],
        "policies": made.policies,
        "history": made.history.document(),
    }
    pairs = measure_pairs(
        lambda: seconds(lambda: specified(evidence, _value)),
        lambda: seconds(lambda: decide(snapshot, request, PRINCIPAL, made.history)),
        rounds=3,
    )
    report.note(f"{services:,} × {rules:,}: the specification, times the kernel's", pairs.ratio(), "×")


def _value(source: str, variables: dict[str, Any]) -> bool | None:
    try:
        return interpret(parse(source), variables)
    except EvaluationError:
        return None


def _bytes(snapshot: Snapshot) -> int:
    """What the arrays of a snapshot take, without what it keeps of requests."""

    def size(column: Any) -> int:
        if isinstance(column, np.ndarray):
            return column.nbytes
        if isinstance(column, Sets | Promises | Offerings):
            return sum(size(getattr(column, each.name)) for each in fields(column))
        return sum(map(size, column.values())) if isinstance(column, dict) else 0

    columns, (book, _) = snapshot.columns, snapshot.attached.parts[0]
    dense = sum(size(getattr(columns.dense, each.name)) for each in fields(columns.dense))
    rules = sum(size(matrix) for matrix in (book.excluding, book.erring, book.satisfied))
    return dense + size(columns.rows) + size(columns.capabilities) + size(columns.bounds) + rules


def draw_growth(growth: dict[str, list[tuple[int, float, float]]]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    canvas, panel = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for colour, (line, points) in zip(("#2a7f62", "#34495e"), growth.items(), strict=False):
        services, usual, new = zip(*points, strict=True)
        panel.loglog(services, usual, marker="o", color=colour, label=f"{line}")
        panel.loglog(services, new, marker="o", color=colour, linestyle=":", label=f"{line}, a sort never seen")
    for place, bar in ((10_000, 1000.0), (100_000, 8000.0)):
        panel.plot(place, bar, marker="_", markersize=24, color="#c0392b", label="bar" if bar < 8000 else None)
    panel.set(xlabel="services", ylabel="p99 of a decision, µs", title="1,000 rules, certificate included")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(lambda value, _: figure(value))
        axis.set_minor_formatter(lambda value, _: "")
    panel.grid(visible=True, which="both", alpha=0.2)
    panel.legend()
    canvas.savefig(RESULTS / "kernel-growth.png", dpi=110)
    pyplot.close(canvas)


if __name__ == "__main__":
    sys.exit(main())
