"""One call, from its first attempt to its answer or error, without doing any of it.

Theory of operation
-------------------
``exchange`` is a generator that says what is to be done next (``Attempt``, ``Pause``) and is told what came of it
(``Received``, or ``NoAnswer`` thrown in). The clients carry the steps out, one by waiting, the other by awaiting;
all that is decided is decided here.

Laws (each has a test of the same name)
---------------------------------------
- a_repetition_says_that_it_is_one: all attempts of a call carry the same Idempotency-Key.
- what_may_have_been_done_is_not_done_again: a call that has no key and changes something is tried again only when
  it was surely not carried out.
- only_what_may_get_better_is_tried_again.
- a_call_takes_no_more_than_its_time: but for the attempt that is running, which the clients cut short.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec

from caio.client.errors import Answered, ClientError, TimedOut, Unreachable, error_of
from caio.client.patience import Patience

T_co = TypeVar("T_co", covariant=True)

Clock = Callable[[], float]
Chance = Callable[[], float]


class Repeats(Enum):
    """What doing a call twice would do."""

    NOTHING = "reads only, or carries an idempotency key"
    TWICE = "is done twice, unless the server says that it did nothing"
    STREAM = "calls a service again, unless the server says that the first call has ended"


@dataclass(frozen=True, slots=True)
class Received:
    """A status, the headers with names in lower case, and the body: none yet for a stream, which ``opened`` holds."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    opened: Any = None


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """A request, and how its answer is read. ``timeout`` replaces the client's."""

    method: str
    path: str
    read: Callable[[Received], T_co]
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeats: Repeats = Repeats.NOTHING
    timeout: float | None = None
    is_stream: bool = False


class NoAnswer(Exception):
    """An attempt that no answer came of. ``sent`` is whether the server may have got the request, ``late`` whether
    it was given up for want of time."""

    def __init__(self, message: str, *, sent: bool, late: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.late = late


@dataclass(frozen=True, slots=True)
class Attempt:
    """To do: send the request, and give up after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    """To do: nothing, for so many seconds."""

    seconds: float


Steps = Generator[Attempt | Pause, Received | None, Received]


def exchange(
    call: Call[Any],
    timeout: float,
    patience: Patience,
    clock: Clock = time.monotonic,
    chance: Chance = random.random,
) -> Steps:
    """The steps of a call; returns an answer that is none of an error. Raises ClientError, whose
    cause is the error of the attempt before."""
    ends, failed, lost = clock() + timeout, 0, False
    before: ClientError | None = None
    while True:
        left = ends - clock()
        if left <= 0:
            raise _too_late(timeout) from before
        error: ClientError
        try:
            received = yield Attempt(left)
        except NoAnswer as none:
            error, asked = _error_of(none, timeout), None
            again = _may_repeat_unanswered(call, none)
            lost = lost or none.sent
        else:
            assert received is not None  # noqa: S101 - what an attempt is answered with
            if 200 <= received.status < 300:
                return received
            error = error_of(received.status, _document(received.body), received.headers)
            asked = error.retry_after if isinstance(error, Answered) else None
            again = _may_repeat_answered(call, error, lost=lost)
        failed += 1
        wait = patience.wait(failed, ends - clock(), asked, chance()) if again else None
        if wait is None:
            raise error from before
        before = error
        yield Pause(wait)


def _error_of(none: NoAnswer, timeout: float) -> ClientError:
    return _too_late(timeout) if none.late else Unreachable(str(none), sent=none.sent)


def _too_late(timeout: float) -> TimedOut:
    return TimedOut(f"no answer within {timeout:g} s")


def _may_repeat_unanswered(call: Call[Any], none: NoAnswer) -> bool:
    return not none.sent or call.repeats is Repeats.NOTHING


def _may_repeat_answered(call: Call[Any], error: ClientError, *, lost: bool) -> bool:
    """``lost`` is whether an earlier attempt may still be running at the server."""
    if not isinstance(error, Answered):
        return False
    if error.code == "idempotency_in_progress":
        return lost
    if error.told.retryable is False:
        return False
    if error.status == 429:
        return True
    return error.status in (502, 503, 504) and call.repeats is not Repeats.TWICE


def _document(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None


def query(path: str, parameters: Mapping[str, object]) -> str:
    """The path with a query string; parameters that are None are left out, lists are repeated."""
    stated = {name: value for name, value in parameters.items() if value is not None}
    return f"{path}?{urlencode(stated, doseq=True)}" if stated else path
