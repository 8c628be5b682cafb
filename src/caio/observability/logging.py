"""Structured logs: one JSON line an event on standard error, secrets redacted.

What looks like a credential is replaced before a line is written, whoever logged it. Payloads are
never handed to the logger in the first place; nothing here could recognise one.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import structlog

_SECRET_NAME = re.compile(r"(?i)authorization|api[_-]?key|secret|password|token$|cookie")
_SECRET_VALUE = re.compile(
    r"caio_[a-z]+_[A-Za-z0-9_-]{8,}|(?i:bearer)\s+\S+|sk-[A-Za-z0-9_-]{8,}|://[^/@\s]+:[^/@\s]+@"
)
REDACTED = "[redacted]"


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
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(sort_keys=False)],
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
