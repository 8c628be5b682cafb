"""What this process counts of its work.

Theory of operation
-------------------
Whoever knows a fact counts it here, at once and in plain attributes: no library, no label is looked up, nothing is
written. Twice a minute or so somebody reads: ``exposition`` for Prometheus, ``embedded_metrics`` for CloudWatch. What
is a state rather than an event (how many wait, how far behind) is not counted but ``watched``: a function that is
called when somebody reads.

The names of what can be counted are fixed here, so there are only so many whatever callers send. A tenant has
figures of its own only when the operator named it.

Laws (each has a test of the same name)
---------------------------------------
- what_callers_send_makes_no_series: neither a tenant, nor a path, nor a window's or a service's name.
- counting_costs_little: all that one call counts, less than 3 µs.
- only_tenants_that_were_named_are_told_apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Protocol

from caio._version import __version__
from caio.foundation.errors import BudgetExhausted, CaioError, LimitExceeded, NoServiceSatisfies, UpstreamFault
from caio.observability.histograms import Histogram

#: What requests come by: the four paths that carry calls, MCP, and everything else.
CALLS = ("orchestrate", "chat", "embeddings", "responses")
SURFACES = (*CALLS, "mcp", "control")

#: By the first digit of the status; a caller who leaves before there is one counts as the status that logs say, 499.
STATUS_CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")

#: Why a call was refused. A window is told by what it counts, not by whose it is: that would be a name of a tenant's.
REASONS = (
    "no_service",
    "requests",
    "tokens",
    "compute",
    "concurrency",
    "budget",
    "storage",
    "recovering",
    "authentication",
)

OUTCOMES = ("ok", "violated", *(each.value for each in UpstreamFault if each is not UpstreamFault.VIOLATION))

_ENDINGS = {"tokens": "tokens", "compute_ms": "compute", "concurrent": "concurrency"}
_WHOLE = {"storage": "storage", "recovering": "recovering", "failed authentications": "authentication"}


class Recurring(Protocol):
    """Work that comes again and again, as the worker's loops do."""

    name: str
    failed: int

    @property
    def age(self) -> float:
        """Seconds since it last succeeded."""
        ...


class TenantMetrics:
    """What is told apart of one tenant's calls."""

    __slots__ = ("errors", "refused", "request_seconds", "requests", "tokens")

    def __init__(self) -> None:
        self.requests = self.errors = self.refused = self.tokens = 0
        self.request_seconds = Histogram(-4)


class Metrics:
    """The counts of one process; belongs to one event loop. ``tenants`` are those to be told apart."""

    def __init__(self, tenants: Iterable[str] = ()) -> None:
        self.version = __version__
        self.requests = {surface: [0] * len(STATUS_CLASSES) for surface in SURFACES}
        #: Of calls that were answered whole, from the first byte to the last; of all surfaces of ``CALLS``.
        self.request_seconds = Histogram(-4)
        self.routing_seconds = Histogram(-6)
        self.first_token_seconds = Histogram(-4)
        self.admitted = 0
        self.refused = 0
        self.exhausted = 0
        self.refusals = dict.fromkeys(REASONS, 0)
        self.attempts = dict.fromkeys(OUTCOMES, 0)
        self.fallbacks = 0
        self.streams_open = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.tenants = {tenant_id: TenantMetrics() for tenant_id in tenants}
        self.watched: dict[str, Callable[[], float]] = {}
        self.loops: Sequence[Recurring] = ()

    def watch(self, name: str, read: Callable[[], float]) -> None:
        """Have ``read`` called whenever somebody reads the metric of this name."""
        self.watched[name] = read

    def request(self, surface: str, status: int) -> None:
        """Count a request that was answered."""
        self.requests[surface][status // 100] += 1

    def call(self, surface: str, status: int, seconds: float, tenant_id: str | None, *, streamed: bool) -> None:
        """Count a request of one of the ``CALLS``; ``tenant_id`` is None when nobody was authenticated."""
        self.requests[surface][status // 100] += 1
        if not streamed:
            self.request_seconds.add(seconds)
        if self.tenants and tenant_id is not None and (tenant := self.tenants.get(tenant_id)) is not None:
            tenant.requests += 1
            tenant.errors += status >= 500
            if not streamed:
                tenant.request_seconds.add(seconds)

    def failed(self, error: CaioError, tenant_id: str | None) -> None:
        """Count what a call was refused for; an error that is no refusal is not counted here."""
        reason = reason_of(error)
        if reason is None:
            return
        self.refusals[reason] += 1
        if tenant_id is not None and (tenant := self.tenants.get(tenant_id)) is not None:
            tenant.refused += 1

    def used(self, tenant_id: str, input_tokens: int, output_tokens: int) -> None:
        """Count the tokens of a call that has ended."""
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        if self.tenants and (tenant := self.tenants.get(tenant_id)) is not None:
            tenant.tokens += input_tokens + output_tokens


def reason_of(error: CaioError) -> str | None:
    """Which of the ``REASONS`` an error stands for, if it is a refusal."""
    if isinstance(error, LimitExceeded):
        return _counted_by(error.window)
    if isinstance(error, BudgetExhausted):
        return "budget"
    return "no_service" if isinstance(error, NoServiceSatisfies) else None


@lru_cache(4096)
def _counted_by(window: str) -> str:
    """What a window counts, by its name (``gateway.refusals``): requests, unless it ends in another unit."""
    return _WHOLE.get(window) or _ENDINGS.get(window.rpartition(" ")[2], "requests")
