"""One log line a request, the same for both halves of the API; no query, body or credential in it, but the ids of
who called. A traced call's line says which trace and span it belongs to.

Calls that are refused at the door are the exception: of a tenant that calls at many times its limit the first
refusal has its line, and then there is one with the count each ``REFUSALS_EVERY`` seconds. A process that stops
takes its last counts with it.
"""

from __future__ import annotations

import asyncio
import os
from time import monotonic

import structlog

from caio.observability.logging import request_lines
from caio.observability.tracing import Trace
from caio.tenancy.principals import Caller

#: Seconds that refused calls are counted for before they are logged.
REFUSALS_EVERY = 10.0

#: Tenants and windows that refusals are counted for at once; of more, each refusal has its line.
_MOST_COUNTED = 10_000

_logger = structlog.get_logger("caio.api")


def new_request_id() -> str:
    """An id to find one request's log line by; unrelated to decisions."""
    return "req_" + os.urandom(10).hex()


def log_request(
    *,
    method: str,
    path: str,
    status: int,
    request_id: str,
    decision_id: str | None,
    started: float,
    caller: Caller | None,
    trace: Trace | None = None,
) -> None:
    """``started`` is a reading of the monotonic clock, in seconds; ``caller`` is None where nobody was
    authenticated."""
    duration_ms = round((monotonic() - started) * 1000, 3)
    tenant_id = None if caller is None else caller.scope.tenant_id
    principal_id = None if caller is None else caller.principal.principal_id
    traced = None if trace is None else (trace.trace_id, trace.span_id)
    if (lines := request_lines()) is not None:
        lines.write(method, path, status, request_id, decision_id, tenant_id, principal_id, duration_ms, traced)
        return
    _logger.info(
        "request",
        method=method,
        path=path,
        status=status,
        request_id=request_id,
        decision_id=decision_id,
        tenant_id=tenant_id,
        principal_id=principal_id,
        duration_ms=duration_ms,
        **({} if traced is None else {"trace_id": traced[0], "span_id": traced[1]}),
    )


class RefusalLog:
    """Counts the calls that a tenant's full window refused, and logs the counts. Needs a running event loop."""

    def __init__(self, every: float = REFUSALS_EVERY) -> None:
        self._every = every
        self._counts: dict[tuple[str, str], int] = {}

    def is_first(self, tenant_id: str, window: str) -> bool:
        """Take note of a refusal; True when it is to be logged by itself."""
        of = (tenant_id, window)
        count = self._counts.get(of)
        if count is not None:
            self._counts[of] = count + 1
            return False
        if len(self._counts) < _MOST_COUNTED:
            self._counts[of] = 0
            asyncio.get_running_loop().call_later(self._every, self._tell, of)
        return True

    def _tell(self, of: tuple[str, str]) -> None:
        """Log what was counted; counting goes on while there is something to count."""
        calls = self._counts[of]
        if not calls:
            del self._counts[of]
            return
        _logger.info("calls refused", tenant_id=of[0], window=of[1], calls=calls, seconds=self._every)
        self._counts[of] = 0
        asyncio.get_running_loop().call_later(self._every, self._tell, of)
