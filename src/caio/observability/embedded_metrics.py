"""Metrics for CloudWatch: lines in its embedded metric format, once a minute.

Theory of operation
-------------------
CloudWatch Logs makes metrics of log lines that describe themselves, so that a process calls no API for them. A line a
request would cost its caller time and its operator money; so what ``metrics`` counts is written as what was added
since the line before: counts as their sums, times as values with how often each came. One line is about all calls,
one more about each tenant that the operator named; a process that serves no calls leaves theirs out.

Nothing is lost between two lines: what a failed write would have told is in the next. A process that is killed takes
what it has not told with it; one that stops tells it first.

Laws (each has a test of the same name)
---------------------------------------
- lines_are_what_the_format_says: held to its schema; each is whole in one log event (less than 16 KB).
- lines_add_up: over any sequence of lines, sums are what was counted.
- nothing_is_written_for_a_request.
- tenants_have_lines_of_their_own: those who were named, each with its dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from caio.observability.histograms import Histogram, since
from caio.observability.metrics import CALLS, Metrics, TenantMetrics

NAMESPACE = "CAIO"
EVERY_SECONDS = 60.0

_WATCHED = {
    "ServiceCount": ("caio_services", "Count"),
    "AuditLag": ("caio_audit_lag_seconds", "Seconds"),
    "JournalWaiting": ("caio_journal_waiting", "Count"),
}


class EmbeddedMetrics:
    """Writes what ``metrics`` counted to ``write``, a whole line at a time. ``clock`` gives microseconds since the
    epoch; ``environment`` is the dimension of that name; ``calls`` is whether this process serves any."""

    def __init__(
        self,
        metrics: Metrics,
        environment: str,
        clock: Callable[[], int],
        write: Callable[[str], object],
        *,
        calls: bool = True,
    ) -> None:
        self._metrics = metrics
        self._environment = environment
        self._clock = clock
        self._write = write
        self._calls = calls
        self._told: dict[str, int] = {}
        self._cells: dict[str, list[int]] = {}

    async def finish(self) -> None:
        """Write the last lines."""
        await self.step()

    async def step(self) -> int:
        """Write the lines. Returns 0: nothing is ever left for another step."""
        before = dict(self._told), dict(self._cells)
        lines = [self._line(self._of_all(), {})]
        if self._calls:
            for tenant_id, counted in self._metrics.tenants.items():
                lines.append(self._line(self._of_tenant(tenant_id, counted), {"TenantID": tenant_id}))
        try:
            self._write("".join(lines))
        except BaseException:
            self._told, self._cells = before
            raise
        return 0

    def _of_all(self) -> dict[str, tuple[str, Any]]:
        metrics = self._metrics
        told: dict[str, tuple[str, Any]] = {}
        if self._calls:
            by_class = [metrics.requests[surface] for surface in CALLS]
            tokens = metrics.input_tokens + metrics.output_tokens
            told["OrchestrationRequests"] = "Count", self._added("requests", sum(map(sum, by_class)))
            told["OrchestrationErrors"] = "Count", self._added("errors", sum(counts[5] for counts in by_class))
            told["RefusedRequests"] = "Count", self._added("refused", sum(metrics.refusals.values()))
            told["TokensUsed"] = "Count", self._added("tokens", tokens)
            self._add_times(told, "RoutingLatency", "routing", metrics.routing_seconds)
            self._add_times(told, "RequestLatency", "request", metrics.request_seconds)
            self._add_times(told, "FirstTokenLatency", "first token", metrics.first_token_seconds)
        for name, (watched, unit) in _WATCHED.items():
            if (read := metrics.watched.get(watched)) is not None:
                told[name] = unit, read()
        return told

    def _of_tenant(self, tenant_id: str, counted: TenantMetrics) -> dict[str, tuple[str, Any]]:
        told: dict[str, tuple[str, Any]] = {
            "OrchestrationRequests": ("Count", self._added(f"requests of {tenant_id}", counted.requests)),
            "OrchestrationErrors": ("Count", self._added(f"errors of {tenant_id}", counted.errors)),
            "RefusedRequests": ("Count", self._added(f"refused of {tenant_id}", counted.refused)),
            "TokensUsed": ("Count", self._added(f"tokens of {tenant_id}", counted.tokens)),
        }
        self._add_times(told, "RequestLatency", f"request of {tenant_id}", counted.request_seconds)
        return told

    def _added(self, name: str, now: int) -> int:
        before, self._told[name] = self._told.get(name, 0), now
        return now - before

    def _add_times(self, told: dict[str, tuple[str, Any]], metric: str, name: str, histogram: Histogram) -> None:
        """The cells that anything was added to, in milliseconds; nothing when there are none."""
        cells = since(histogram.cells, self._cells.get(name) or [0] * len(histogram.cells))
        self._cells[name] = list(histogram.cells)
        filled = [number for number, count in enumerate(cells) if count]
        if not filled:
            return
        values = [round(histogram.told(number) * 1000, 6) for number in filled]
        counts = [cells[number] for number in filled]
        told[metric] = (
            "Milliseconds",
            {
                "Values": values,
                "Counts": counts,
                "Min": values[0],
                "Max": values[-1],
                "Sum": round(sum(value * count for value, count in zip(values, counts, strict=True)), 6),
                "Count": sum(counts),
            },
        )

    def _line(self, told: dict[str, tuple[str, Any]], dimensions: dict[str, str]) -> str:
        if not told:
            return ""
        named = {"Environment": self._environment, **dimensions}
        directive = {
            "Namespace": NAMESPACE,
            "Dimensions": [list(named)],
            "Metrics": [{"Name": name, "Unit": unit} for name, (unit, _) in told.items()],
        }
        document = {
            "_aws": {"Timestamp": self._clock() // 1000, "CloudWatchMetrics": [directive]},
            **named,
            **{name: value for name, (_, value) in told.items()},
        }
        return msgspec.json.encode(document).decode() + "\n"
