"""Structured logs: one JSON line an event on standard error, secrets redacted.

What looks like a credential is replaced before a line is written, whoever logged it. Payloads are
never handed to the logger in the first place; nothing here could recognise one.

The line of a request is written so often that it has a way of its own: put together from its fixed members, the
same to the byte as structlog's processors would render it, and written with others within FLUSH_SECONDS. A process
that is killed takes those with it; what must outlive it is in the journal, not in a log.

Laws (each has a test of the same name)
---------------------------------------
- a_requests_line_is_structlogs_own: whatever method and path are.
- lines_are_written_within_a_moment, and at exit.
- who_sets_up_structlog_otherwise_gets_every_line.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import re
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import structlog

_SECRET_NAME = re.compile(r"(?i)authorization|api[_-]?key|secret|password|token$|cookie")
_SECRET_VALUE = re.compile(
    r"caio_[a-z]+_[A-Za-z0-9_-]{8,}|(?i:bearer)\s+\S+|sk-[A-Za-z0-9_-]{8,}|://[^/@\s]*:[^/@\s]+@"
)
REDACTED = "[redacted]"

#: Seconds for which a request's line may wait for others.
FLUSH_SECONDS = 0.1

#: The bytes, about, after which lines do not wait any more.
_FULL = 1 << 16


def configure_logging(level: str) -> None:
    """Set up structlog and the standard library's logging, so that libraries' lines are JSON too."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer = structlog.processors.JSONRenderer(sort_keys=False)
    _prepared.clear()
    if number <= logging.INFO:
        _prepared.append((renderer, RequestLines(sys.stderr)))
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processor=structlog.processors.JSONRenderer(), foreign_pre_chain=shared)
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(number, logging.WARNING))


def redact(_logger: Any, _method: str, event: Any) -> Any:
    """Replace values under secret-sounding names, and credential-shaped parts of any text."""
    return {name: _clean(name, value) for name, value in event.items()}


def _clean(name: str, value: Any) -> Any:
    if _SECRET_NAME.search(name):
        return REDACTED
    if isinstance(value, str):
        return _SECRET_VALUE.sub(REDACTED, value)
    if isinstance(value, dict):
        return {key: _clean(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(name, item) for item in value]
    return value


class RequestLines:
    """Writes the lines of requests, a few at a time. To be used in a running event loop."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: list[str] = []
        self._size = 0
        self._flushing: asyncio.TimerHandle | None = None
        self._second, self._time = -1, ""
        atexit.register(self.flush)

    def write(
        self,
        method: str,
        path: str,
        status: int,
        request_id: str,
        decision_id: str | None,
        tenant_id: str | None,
        principal_id: str | None,
        duration_ms: float,
        traced: tuple[str, str] | None = None,
    ) -> None:
        """The ids of the request, the decision and the trace must be the process's own: of the rest what looks like
        a credential is replaced. ``traced`` is the trace and the span."""
        decided = "null" if decision_id is None else f'"{decision_id}"'
        within = "" if traced is None else f'"trace_id": "{traced[0]}", "span_id": "{traced[1]}", '
        line = (
            f'{{"method": {_text(method)}, "path": {_text(path)}, "status": {status}, "request_id": "{request_id}", '
            f'"decision_id": {decided}, "tenant_id": {_id(tenant_id)}, "principal_id": {_id(principal_id)}, '
            f'"duration_ms": {duration_ms}, {within}'
            f'"event": "request", "level": "info", "timestamp": "{self._now()}"}}\n'
        )
        self._waiting.append(line)
        self._size += len(line)
        if self._size > _FULL:
            self.flush()
        elif self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def _now(self) -> str:
        """The time as structlog writes it; what changes only with the second is kept."""
        second, micros = divmod(time.time_ns() // 1000, 1_000_000)
        if second != self._second:
            self._second, self._time = second, datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._time}.{micros:06}Z" if micros else f"{self._time}Z"

    def flush(self) -> None:
        """Write what waits. A stream that is gone loses it, as a log does."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        lines = "".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        if lines:
            with suppress(OSError, ValueError):
                self._stream.write(lines)
                self._stream.flush()


#: The renderer that ``configure_logging`` set up last, and the lines that are written past it; or nothing.
_prepared: list[tuple[Any, RequestLines]] = []


def request_lines() -> RequestLines | None:
    """Where a request's line may be written past structlog; None when structlog was set up otherwise, or asked for
    less than such lines."""
    if not _prepared:
        return None
    renderer, lines = _prepared[0]
    processors = structlog.get_config()["processors"]
    return lines if processors and processors[-1] is renderer else None


@lru_cache(4096)
def _id(value: str | None) -> str:
    """The JSON of an id that was cleaned, or of none. As many differ as there are callers."""
    return "null" if value is None else json.dumps(_clean("", value))


@lru_cache(1024)
def _text(value: str) -> str:
    """The JSON of a text that was cleaned. Few differ: methods and paths."""
    return json.dumps(_clean("", value))
