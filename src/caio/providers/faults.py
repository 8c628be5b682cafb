"""Failed answers of HTTP services, mapped to the one taxonomy.

The fault comes from the error code in the body where it is known, else from the status. The
message quotes the service only where that helps the caller to repair the request, shortened,
printable, and only when it shares nothing with the secret that was sent.

Laws (each has a test of the same name)
---------------------------------------
- every_failed_status_has_a_fault.
- secrets_are_never_quoted: not in whole and not in part.
- retry_after_reads_both_forms: seconds and HTTP dates (RFC 9110, section 10.2.3), bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from caio.foundation.errors import UpstreamFailed, UpstreamFault

MAX_QUOTE = 200
MAX_RETRY_AFTER = 86_400.0
SHARED = 6  # as many characters in common with a secret as make a message unfit to be quoted

_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?")

_BY_STATUS = {
    401: UpstreamFault.AUTH,
    402: UpstreamFault.QUOTA,
    403: UpstreamFault.AUTH,
    # The endpoint is the contract's, so its absence is not the request's mistake.
    404: UpstreamFault.UPSTREAM,
    405: UpstreamFault.UPSTREAM,
    408: UpstreamFault.TIMEOUT,
    410: UpstreamFault.UPSTREAM,
    429: UpstreamFault.QUOTA,
    503: UpstreamFault.OVERLOADED,
    504: UpstreamFault.TIMEOUT,
    529: UpstreamFault.OVERLOADED,
}

_BY_CODE = {
    "authentication_error": UpstreamFault.AUTH,
    "invalid_api_key": UpstreamFault.AUTH,
    "permission_error": UpstreamFault.AUTH,
    "content_filter": UpstreamFault.CONTENT_FILTER,
    "content_policy_violation": UpstreamFault.CONTENT_FILTER,
    "insufficient_quota": UpstreamFault.QUOTA,
    "rate_limit_error": UpstreamFault.QUOTA,
    "rate_limit_exceeded": UpstreamFault.QUOTA,
    "overloaded": UpstreamFault.OVERLOADED,
    "overloaded_error": UpstreamFault.OVERLOADED,
    "server_overloaded": UpstreamFault.OVERLOADED,
    "timeout": UpstreamFault.TIMEOUT,
    "timeout_error": UpstreamFault.TIMEOUT,
    "context_length_exceeded": UpstreamFault.INVALID,
    "invalid_request_error": UpstreamFault.INVALID,
    "request_too_large": UpstreamFault.INVALID,
    "billing_error": UpstreamFault.QUOTA,
    "not_found_error": UpstreamFault.UPSTREAM,
    "api_error": UpstreamFault.UPSTREAM,
    "server_error": UpstreamFault.UPSTREAM,
    # AWS names the shapes of its services' errors, and those of its signatures.
    "AccessDeniedException": UpstreamFault.AUTH,
    "ExpiredTokenException": UpstreamFault.AUTH,
    "IncompleteSignatureException": UpstreamFault.AUTH,
    "InvalidClientTokenId": UpstreamFault.AUTH,
    "InvalidSignatureException": UpstreamFault.AUTH,
    "MissingAuthenticationTokenException": UpstreamFault.AUTH,
    "UnrecognizedClientException": UpstreamFault.AUTH,
    "ServiceQuotaExceededException": UpstreamFault.QUOTA,
    "ThrottlingException": UpstreamFault.QUOTA,
    "ModelNotReadyException": UpstreamFault.OVERLOADED,
    "ServiceUnavailableException": UpstreamFault.OVERLOADED,
    "ModelTimeoutException": UpstreamFault.TIMEOUT,
    "ValidationException": UpstreamFault.INVALID,
    "InternalServerException": UpstreamFault.UPSTREAM,
    "ModelErrorException": UpstreamFault.UPSTREAM,
    "ModelStreamErrorException": UpstreamFault.UPSTREAM,
    "ResourceNotFoundException": UpstreamFault.UPSTREAM,
}

_WORDS = {
    UpstreamFault.AUTH: "did not accept its credentials; check the secret that its contract names",
    UpstreamFault.QUOTA: "has no quota left for now",
    UpstreamFault.OVERLOADED: "is overloaded",
    UpstreamFault.INVALID: "does not accept this request",
    UpstreamFault.TIMEOUT: "ran out of time",
    UpstreamFault.CONTENT_FILTER: "refused the content of this request",
    UpstreamFault.UPSTREAM: "failed",
}


def fault_of_status(status: int) -> UpstreamFault:
    """The fault that a status other than 2xx stands for. Redirects are not followed: UPSTREAM."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return UpstreamFault.INVALID if 400 <= status < 500 else UpstreamFault.UPSTREAM


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds from ``now`` (seconds since the epoch) to what a Retry-After header says; None if unreadable."""
    if value is None:
        return None
    if _SECONDS.fullmatch(value.strip()):
        return min(float(value), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(moment - now, 0.0), MAX_RETRY_AFTER)


def failed_answer(
    subject: str, status: int, body: bytes, *, secret: str | None, wait: float | None = None, code: str | None = None
) -> UpstreamFailed:
    """The failure that an answer with a failed ``status`` means. ``code`` is the error's name where a header tells
    it (AWS's ``x-amzn-errortype``)."""
    try:
        document = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        document = None
    if 300 <= status < 400:
        return UpstreamFailed(
            f"{subject} answered a redirect, which is not followed; register its final address",
            UpstreamFault.UPSTREAM,
            status=status,
        )
    fault = _fault_named(code) or _fault_of_code(document) or fault_of_status(status)
    if status in (401, 403) and fault is not UpstreamFault.CONTENT_FILTER:
        fault = UpstreamFault.AUTH
    return _failure(subject, fault, document, secret, status=status, wait=wait)


def failed_event(
    subject: str, document: Mapping[str, Any], *, secret: str | None, code: str | None = None
) -> UpstreamFailed:
    """The failure that an ``error`` member in a stream, or in an answer with status 200, means. ``code`` is the
    error's name where it stands apart (an exception in AWS's event streams)."""
    error = document.get("error")
    number = error.get("code") if isinstance(error, Mapping) else None
    fault = _fault_named(code) or _fault_of_code(document)
    if fault is None and isinstance(number, int) and 400 <= number < 600:
        fault = fault_of_status(number)
    return _failure(subject, fault or UpstreamFault.UPSTREAM, document, secret)


def _failure(
    subject: str,
    fault: UpstreamFault,
    document: Any,
    secret: str | None,
    *,
    status: int | None = None,
    wait: float | None = None,
) -> UpstreamFailed:
    message = f"{subject} {_WORDS[fault]}"
    if status is not None:
        message += f" (status {status})"
    if fault is UpstreamFault.INVALID and (quote := quotable(_message_of(document), secret)):
        message += f": {quote}"
    return UpstreamFailed(message, fault, status=status, retry_after=wait)


def quotable(text: str, secret: str | None) -> str:
    """``text`` on one printable line of at most MAX_QUOTE characters; empty when any SHARED
    consecutive characters of its beginning (or all of a shorter secret) are the secret's."""
    text = text[: 4 * MAX_QUOTE]  # no more is quoted; and a long text and a long secret would take minutes to compare
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if secret and (_shares(text, secret) or _shares(line, secret)):
        return ""
    return line if len(line) <= MAX_QUOTE else line[: MAX_QUOTE - 1] + "…"


def _shares(text: str, secret: str) -> bool:
    if len(secret) <= SHARED:
        return secret in text
    return any(text[at : at + SHARED] in secret for at in range(len(text) - SHARED + 1))


def _fault_of_code(document: Any) -> UpstreamFault | None:
    if not isinstance(document, Mapping):
        return None
    error = document.get("error", document)
    if not isinstance(error, Mapping):
        return None
    for name in (error.get("code"), error.get("type"), error.get("__type")):
        if (fault := _fault_named(name)) is not None:
            return fault
    return None


def _fault_named(name: Any) -> UpstreamFault | None:
    """The fault of an error's name. AWS writes its names ``namespace#Name:address``, and in streams ``name``."""
    if not isinstance(name, str):
        return None
    plain = name.rpartition("#")[2].partition(":")[0]
    return _BY_CODE.get(plain) or _BY_CODE.get(plain[:1].upper() + plain[1:])


def _message_of(document: Any) -> str:
    """The explanation in the shapes that servers use: ``{"error": {"message"}}``, ``{"error"}``,
    ``{"message"}``, ``{"detail"}``."""
    if not isinstance(document, Mapping):
        return ""
    error = document.get("error")
    candidates = (error.get("message") if isinstance(error, Mapping) else error,)
    for text in (*candidates, document.get("message"), document.get("detail")):
        if isinstance(text, str):
            return text
    return ""
