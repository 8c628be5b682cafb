"""Every error of the Python clients, as one tree.

    ClientError
    ├── Misused               the client was set up or called in a way that cannot work; nothing was sent
    ├── Unreachable           no connection, or one that broke before there was an answer
    ├── TimedOut              the call's own time ran out
    ├── NotCaio               something answered that is no CAIO
    ├── StreamBroken          a stream that ended before its end: what came of it is not all of it
    └── Answered              CAIO answered with an error
        ├── Invalid               the request breaks its schema; ``violations`` lists everything
        ├── NoServiceSatisfies    no service may take the request; ``reasons`` has one entry a service
        ├── Unauthenticated       the key is not valid
        ├── NotAllowed            the key is valid, and its roles do not permit this
        ├── NotFound              nothing there, or another tenant's
        ├── Conflict              the state has moved on, or the thing exists already
        ├── PreconditionFailed    the revision is not the present one
        ├── Gone                  its content was erased for good
        ├── TooLarge              the body is over the server's limit
        ├── BudgetExhausted       the tenant's money is spent or reserved
        ├── LimitReached          a limit is reached; ``retry_after`` says when to come back
        ├── UpstreamFailed        the services that were called failed
        ├── DeadlineExceeded      the request's deadline passed
        └── Unavailable           the server cannot serve now

None of them, and nothing that they refer to, holds the key or a payload.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caio.foundation.errors import Reason, Violation


class ClientError(Exception):
    """The root of the tree; never raised itself."""


class Misused(ClientError, ValueError):
    """The caller's mistake, found before anything was sent."""


class Unreachable(ClientError):
    """``sent`` is whether the server may have got the request."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class TimedOut(ClientError, TimeoutError):
    """The call's time ran out; the server may still have got the request."""


class NotCaio(ClientError):
    """The answer is not one that CAIO gives: the URL leads elsewhere, or a proxy answered."""


class StreamBroken(ClientError):
    """``code`` is the server's, where it told of the break itself; then ``decision_id`` names the decision."""

    def __init__(self, message: str, *, code: str = "stream_broken", decision_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.decision_id = decision_id


@dataclass(frozen=True, slots=True)
class Told:
    """What an error's document and headers say. ``retry_after`` is in seconds."""

    status: int
    code: str
    detail: str
    violations: tuple[Violation, ...] = ()
    reasons: tuple[Reason, ...] = ()
    fault: str | None = None
    retryable: bool | None = None
    retry_after: float | None = None
    decision_id: str | None = None
    request_id: str | None = None


class Answered(ClientError):
    """An error that CAIO answered with. ``code`` is stable; ``detail`` is for people."""

    def __init__(self, told: Told) -> None:
        super().__init__(told)
        self.told = told

    def __str__(self) -> str:
        return f"{self.told.detail} ({self.told.code}, status {self.told.status})"

    @property
    def status(self) -> int:
        return self.told.status

    @property
    def code(self) -> str:
        return self.told.code

    @property
    def detail(self) -> str:
        return self.told.detail

    @property
    def violations(self) -> tuple[Violation, ...]:
        """Everything that is wrong with the request, with JSON pointers into it."""
        return self.told.violations

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The first clause that each service failed."""
        return self.told.reasons

    @property
    def fault(self) -> str | None:
        """How the service failed, in the taxonomy of ``foundation.errors.UpstreamFault``."""
        return self.told.fault

    @property
    def retry_after(self) -> float | None:
        """Seconds after which to come back."""
        return self.told.retry_after

    @property
    def decision_id(self) -> str | None:
        """The decision that was made before the call failed."""
        return self.told.decision_id

    @property
    def request_id(self) -> str | None:
        """What the operator finds the request's log line by."""
        return self.told.request_id


class Invalid(Answered):
    pass


class NoServiceSatisfies(Answered):
    pass


class Unauthenticated(Answered):
    pass


class NotAllowed(Answered):
    pass


class NotFound(Answered):
    pass


class Conflict(Answered):
    pass


class PreconditionFailed(Answered):
    pass


class Gone(Answered):
    pass


class TooLarge(Answered):
    pass


class BudgetExhausted(Answered):
    pass


class LimitReached(Answered):
    pass


class UpstreamFailed(Answered):
    pass


class DeadlineExceeded(Answered):
    pass


class Unavailable(Answered):
    pass


_BY_STATUS: Mapping[int, type[Answered]] = {
    401: Unauthenticated,
    402: BudgetExhausted,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    410: Gone,
    412: PreconditionFailed,
    413: TooLarge,
    422: Invalid,
    429: LimitReached,
    502: UpstreamFailed,
    503: Unavailable,
    504: DeadlineExceeded,
}


def error_of(status: int, document: Any, headers: Mapping[str, str]) -> ClientError:
    """The error behind a problem document of ``/api/v1`` or an error of ``/v1``; header names in lower case."""
    inner = document.get("error") if isinstance(document, dict) else None
    problem = inner if isinstance(inner, dict) else document
    if not isinstance(problem, dict) or not isinstance(problem.get("code"), str):
        return NotCaio(f"the server answered with status {status}, but not as CAIO does; check the URL")
    told = Told(
        status,
        problem["code"],
        str(problem.get("detail") or problem.get("message") or f"status {status}"),
        _violations(problem.get("errors")),
        _reasons(problem.get("reasons")),
        problem.get("fault"),
        problem.get("retryable"),
        _seconds(headers.get("retry-after")),
        problem.get("decision_id") or headers.get("x-caio-decision-id"),
        headers.get("x-request-id"),
    )
    return _kind(told)(told)


def _kind(told: Told) -> type[Answered]:
    if told.reasons or told.code == "no_service_satisfies":
        return NoServiceSatisfies
    if told.fault is not None:
        return UpstreamFailed
    return _BY_STATUS.get(told.status, Answered)


def _violations(stated: object) -> tuple[Violation, ...]:
    return tuple(Violation(str(each["pointer"]), str(each["detail"]), each.get("line")) for each in _objects(stated))


def _reasons(stated: object) -> tuple[Reason, ...]:
    fields = ("service_id", "version", "clause", "subject", "required", "offered", "message")
    return tuple(Reason(*(str(each.get(name, "")) for name in fields)) for each in _objects(stated))


def _objects(stated: object) -> Sequence[Mapping[str, Any]]:
    return [each for each in stated if isinstance(each, dict)] if isinstance(stated, list) else []


def _seconds(header: str | None) -> float | None:
    """``Retry-After`` in seconds; CAIO sends no dates."""
    return float(header) if header is not None and header.isascii() and header.isdecimal() else None
