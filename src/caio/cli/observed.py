"""Contract versus observed, as tables for people: red is a promise that was not kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from caio.cli import output

_COLOURS = {"kept": "green", "breached": "red", "too few calls": "dim", "not measured": "dim"}
_KINDS = {"latency_ms": "whole answers", "first_token_ms": "first tokens"}


def print_report(report: dict[str, Any]) -> None:
    """What ``GET /api/v1/services/{id}/observed`` answered."""
    windows = report["windows"]
    names = [each["window"] for each in windows]
    output.say(f"{report['service_id']}@{report['version']}")
    output.say()
    output.table(["promise", "", *names], [_promise(each) for each in report["promises"]])
    output.say()
    output.table(["observed", *names], _observed(windows), right=names)
    output.say()
    since = ", ".join(f"{each['window']} since {output.moment(each['since'])}" for each in windows)
    output.say(f"Windows: {since}. Latencies in milliseconds, rounded down by at most 5 %.")
    if any(found["verdict"] == "breached" for each in report["promises"] for found in each["findings"]):
        output.next_step("caio decisions list", f"caio services get {report['service_id']}")


def _promise(promise: dict[str, Any]) -> list[object]:
    return [promise["bound"], promise["promised"], *(_finding(each) for each in promise["findings"])]


def _finding(found: dict[str, Any]) -> object:
    from rich.text import Text

    verdict, observed = found["verdict"], found["observed"]
    return Text(verdict if observed is None else f"{verdict} ({observed})", _COLOURS[verdict])


def _observed(windows: list[dict[str, Any]]) -> Iterator[list[object]]:
    for name in ("calls", "errors"):
        yield [name, *(each[name] for each in windows)]
    rates = [each["error_rate"] for each in windows]
    yield ["error rate", *(_or_dash(None if rate is None else f"{float(rate):.2%}") for rate in rates)]
    for kind, title in _KINDS.items():
        if any(each[kind]["answers"] for each in windows):
            for name in ("p50", "p95", "p99"):
                yield [f"{name} of {title}", *(_or_dash(each[kind][name]) for each in windows)]
    for clause in sorted({clause for each in windows for clause in each["breaches"]}):
        yield [f"broke {clause}", *(each["breaches"].get(clause, 0) for each in windows)]


def _or_dash(value: object) -> object:
    return "–" if value is None else value
