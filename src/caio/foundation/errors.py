"""Every error CAIO raises on purpose, as one tree.

An error carries a stable ``code`` (for programs), a ``category`` (which the HTTP layer maps to a
status in one place), whether a later retry of the same call can succeed, and a message that is
safe to show to the caller: no secrets, no payloads, no other tenant's names.

    CaioError
    ├── InvalidInput          the caller's document breaks its schema; lists every violation
    ├── Unauthenticated       no valid credential
    ├── NotAllowed            a valid credential without the permission
    ├── NotFound              nothing there, or another tenant's: the same answer
    ├── Conflict              the state has moved on, or the thing exists already
    ├── PreconditionFailed    an If-Match header that is missing or does not match
    ├── TooLarge              a body or document over its limit
    ├── LimitExceeded         a rate window or concurrency limit; says when to come back
    ├── BudgetExhausted       the tenant's money is spent or reserved
    ├── NoServiceSatisfies    the kernel refused; carries the reason per service
    ├── UpstreamFailed        the chosen services failed
    ├── DeadlineExceeded      the request's deadline passed
    ├── NotReady              this process cannot serve yet, or any more
    ├── Erased                it was there, and its content is gone for good
    ├── SealBroken            stored data does not open: changed, moved, or under another key
    └── Misconfigured         the operator's settings are unusable
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Category(StrEnum):
    """What kind of answer an error deserves."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    NOT_ALLOWED = "not_allowed"
    NOT_FOUND = "not_found"
    GONE = "gone"
    CONFLICT = "conflict"
    PRECONDITION = "precondition"
    TOO_LARGE = "too_large"
    LIMITED = "limited"
    EXHAUSTED = "exhausted"
    REFUSED = "refused"
    UPSTREAM = "upstream"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with a document: where (RFC 6901 pointer, 1-based line if known) and what."""

    pointer: str
    message: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one service was excluded: the first clause it failed, what was needed, what it offers."""

    service_id: str
    version: str
    clause: str
    subject: str
    required: str
    offered: str
    message: str = ""


class CaioError(Exception):
    """The root of the tree; never raised itself."""

    code: str = "internal"
    category: ClassVar[Category] = Category.INTERNAL
    retryable: bool = False
    #: The decision the error belongs to, set where one was made before the call failed.
    decision_id: str | None = None

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class InvalidInput(CaioError):
    """A document from outside breaks its rules; ``violations`` lists all of them."""

    code = "invalid_input"
    category = Category.INVALID

    def __init__(self, message: str, violations: Sequence[Violation] = (), *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.violations = tuple(violations)


class Unauthenticated(CaioError):
    code = "unauthenticated"
    category = Category.UNAUTHENTICATED


class NotAllowed(CaioError):
    code = "not_allowed"
    category = Category.NOT_ALLOWED


class NotFound(CaioError):
    code = "not_found"
    category = Category.NOT_FOUND


class Conflict(CaioError):
    code = "conflict"
    category = Category.CONFLICT


class PreconditionFailed(CaioError):
    """An If-Match header that does not match, or is missing where one is needed."""

    code = "precondition_failed"
    category = Category.PRECONDITION


class TooLarge(CaioError):
    code = "too_large"
    category = Category.TOO_LARGE


class LimitExceeded(CaioError):
    """A limit is full. ``window`` names it; ``retry_after`` is in whole seconds, at least 1; ``span`` is the
    window's length in seconds where it has one. ``wait`` is for how many microseconds nothing else can be
    admitted either, where that is sure."""

    code = "rate_limited"
    category = Category.LIMITED
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        window: str,
        limit: int,
        retry_after: int,
        span: int | None = None,
        wait: int | None = None,
    ) -> None:
        super().__init__(message)
        self.window = window
        self.limit = limit
        self.retry_after = max(1, retry_after)
        self.span = span
        self.wait = wait


class BudgetExhausted(CaioError):
    code = "budget_exhausted"
    category = Category.EXHAUSTED


class NoServiceSatisfies(CaioError):
    """No registered service satisfies the request; ``reasons`` has one entry per service."""

    code = "no_service_satisfies"
    category = Category.REFUSED

    def __init__(self, message: str, reasons: Sequence[Reason], decision_id: str | None = None) -> None:
        super().__init__(message)
        self.reasons = tuple(reasons)
        self.decision_id = decision_id


class UpstreamFault(StrEnum):
    """The one taxonomy every provider's failures are mapped to."""

    AUTH = "auth"
    QUOTA = "quota"
    OVERLOADED = "overloaded"
    INVALID = "invalid"
    TIMEOUT = "timeout"
    UPSTREAM = "upstream"
    CONTENT_FILTER = "content_filter"
    UNREACHABLE = "unreachable"
    GARBAGE = "garbage"
    BLOCKED = "blocked"
    VIOLATION = "violation"


#: Faults after which the same request may succeed elsewhere; the others are the request's own.
FAULTS_WORTH_A_FALLBACK = frozenset(UpstreamFault) - {UpstreamFault.INVALID, UpstreamFault.CONTENT_FILTER}


class UpstreamFailed(CaioError):
    """A service did not answer as its protocol demands. Whether part of a stream had already been
    passed on, after which no other service may take over, is known to the caller alone."""

    code = "upstream_failed"
    category = Category.UPSTREAM
    retryable = True

    def __init__(
        self, message: str, fault: UpstreamFault, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.status = status
        self.retry_after = retry_after


class DeadlineExceeded(CaioError):
    code = "deadline_exceeded"
    category = Category.TIMEOUT
    retryable = True


class NotReady(CaioError):
    """``retry_after`` is in whole seconds, at least 1, where it is known when to come back."""

    code = "not_ready"
    category = Category.UNAVAILABLE
    retryable = True

    def __init__(self, message: str, *, code: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = None if retry_after is None else max(1, retry_after)


class Erased(CaioError):
    """The content was erased for good; that it existed is all the log still says."""

    code = "erased"
    category = Category.GONE


class SealBroken(CaioError):
    """Stored, sealed data was changed, moved to another place, or belongs to another or destroyed key."""

    code = "seal_broken"
    category = Category.INTERNAL


class Misconfigured(CaioError):
    code = "misconfigured"
    category = Category.INTERNAL
