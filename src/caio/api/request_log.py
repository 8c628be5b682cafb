"""One log line a request, the same for both halves of the API; no query, body or credential in it."""

from __future__ import annotations

import os
from time import monotonic

import structlog

_logger = structlog.get_logger("caio.api")


def new_request_id() -> str:
    """An id to find one request's log line by; unrelated to decisions."""
    return "req_" + os.urandom(10).hex()


def log_request(
    *, method: str, path: str, status: int, request_id: str, decision_id: str | None, started: float
) -> None:
    """``started`` is a reading of the monotonic clock, in seconds."""
    _logger.info(
        "request",
        method=method,
        path=path,
        status=status,
        request_id=request_id,
        decision_id=decision_id,
        duration_ms=round((monotonic() - started) * 1000, 3),
    )
