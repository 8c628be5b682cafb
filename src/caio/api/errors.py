"""The one place where errors become HTTP: statuses, headers and bodies.

``/api/v1`` answers RFC 9457 problem documents, ``/v1`` OpenAI's error shape, so that OpenAI's
clients understand it. Both carry the stable code and, where a decision was made, its id.
"""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from typing import Any

import structlog

from caio.foundation.errors import (
    CaioError,
    Category,
    InvalidInput,
    LimitExceeded,
    NoServiceSatisfies,
    NotReady,
    UpstreamFailed,
    UpstreamFault,
)

STATUS: dict[Category, HTTPStatus] = {
    Category.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    Category.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    Category.NOT_ALLOWED: HTTPStatus.FORBIDDEN,
    Category.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Category.GONE: HTTPStatus.GONE,
    Category.CONFLICT: HTTPStatus.CONFLICT,
    Category.PRECONDITION: HTTPStatus.PRECONDITION_FAILED,
    Category.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Category.LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    Category.EXHAUSTED: HTTPStatus.PAYMENT_REQUIRED,
    Category.REFUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Category.UPSTREAM: HTTPStatus.BAD_GATEWAY,
    Category.TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
    Category.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Category.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}

#: OpenAI's clients choose their exception by status and read this type for people.
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}

_logger = structlog.get_logger("caio.api")


class Internal(CaioError):
    """Anything that was not raised on purpose; the cause is in the log, not in the answer."""

    code = "internal_error"


class MethodNotAllowed(CaioError):
    """An address asked with a method it does not take; ``allow`` lists those it takes."""

    code = "method_not_allowed"
    category = Category.INVALID

    def __init__(self, allow: str) -> None:
        super().__init__(f"this address takes {allow} only")
        self.allow = allow


def as_caio_error(error: Exception) -> CaioError:
    """The error to answer with; what was not raised on purpose is logged and hidden."""
    if isinstance(error, CaioError):
        if error.category is Category.INTERNAL:
            _logger.error("misconfigured or broken", code=error.code, exc_info=error)
        return error
    _logger.error("unexpected error", exc_info=error)
    return Internal("an unexpected error; the operator's log has the details")


def status_of(error: CaioError) -> int:
    if isinstance(error, UpstreamFailed) and error.fault is UpstreamFault.INVALID:
        return HTTPStatus.UNPROCESSABLE_ENTITY
    if isinstance(error, MethodNotAllowed):
        return HTTPStatus.METHOD_NOT_ALLOWED
    return STATUS[error.category]


#: Seconds after which to try again where nobody knows when: a database or a limiter that is away for a moment.
_SOON = 1


def headers_of(error: CaioError) -> dict[str, str]:
    """Headers that belong to an error: when to come back, how to authenticate, which decision."""
    headers: dict[str, str] = {}
    if isinstance(error, LimitExceeded):
        headers["Retry-After"] = str(error.retry_after)
        headers |= rate_limit_headers(error.window, error.limit, error.span, 0, error.retry_after)
        headers["RateLimit-Limit"] = str(error.limit)
        headers["RateLimit-Remaining"] = "0"
        headers["RateLimit-Reset"] = str(error.retry_after)
    if isinstance(error, NotReady):
        headers["Retry-After"] = str(error.retry_after or _SOON)
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allow
    if error.category is Category.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    if error.decision_id is not None:
        headers["x-caio-decision-id"] = error.decision_id
    return headers


def rate_limit_headers(window: str, limit: int, span: int | None, remaining: int, reset: int) -> dict[str, str]:
    """How a window stands, as draft-ietf-httpapi-ratelimit-headers-10 writes it; ``span`` and ``reset`` in seconds.
    (Refusals also carry the three fields of its older versions, which more clients know.)"""
    length = "" if span is None else f";w={span}"
    return {"RateLimit-Policy": f'"{window}";q={limit}{length}', "RateLimit": f'"{window}";r={remaining};t={reset}'}


def problem(error: CaioError) -> dict[str, Any]:
    """The RFC 9457 problem document of an error."""
    status = status_of(error)
    document: dict[str, Any] = {
        "type": f"urn:caio:error:{error.code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "code": error.code,
        "retryable": error.retryable,
    }
    if isinstance(error, InvalidInput):
        document["errors"] = [
            {"pointer": each.pointer, "detail": each.message, **({"line": each.line} if each.line else {})}
            for each in error.violations
        ]
    if isinstance(error, NoServiceSatisfies):
        document["reasons"] = [asdict(reason) for reason in error.reasons]
    if isinstance(error, UpstreamFailed):
        document["fault"] = error.fault.value
    if error.decision_id is not None:
        document["decision_id"] = error.decision_id
    return document


def openai_error(error: CaioError) -> dict[str, Any]:
    """The same error in OpenAI's shape; what that shape has no place for rides along."""
    details = problem(error)
    status = details["status"]
    kind = _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    message = error.message
    if isinstance(error, NoServiceSatisfies) and error.reasons:
        first = error.reasons[0]
        message += f" (for example {first.service_id}: needs {first.subject} {first.required}, offers {first.offered})"
    extra = {name: details[name] for name in ("errors", "reasons", "decision_id") if name in details}
    return {"error": {"message": message, "type": kind, "param": _param(error), "code": error.code, **extra}}


def _param(error: CaioError) -> str | None:
    """The member of the body, or the header, that is at fault, as OpenAI names it: ``messages[0].role``."""
    if error.code == "model_not_found":
        return "model"
    if not isinstance(error, InvalidInput) or not error.violations:
        return None
    parts = [part.replace("~1", "/").replace("~0", "~") for part in error.violations[0].pointer.split("/")[1:]]
    named = "".join(f"[{part}]" if part.isdecimal() else f".{part}" for part in parts)
    return named.removeprefix(".header.").removeprefix(".") or None
