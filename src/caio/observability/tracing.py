"""Which calls are traced, and where the rest of the process finds the trace of the call it is busy with.

Theory of operation
-------------------
Whether a call is traced is decided when it arrives, before anything is made for it. A caller who traces its own calls
says so in ``traceparent`` (W3C Trace Context): what it does not trace is not traced here, what it does is, as long as
that is not more than HONOURED_A_SECOND; beyond that, and for whoever says nothing, chance decides. So a caller can
neither have all its calls traced at our expense nor change how many of others' are.

The trace goes with the call as a context variable, so that no signature carries it; who has something to tell asks
``current`` and is given None for nearly every call. The spans themselves are ``spans``'s, which alone knows the
OpenTelemetry SDK.

Laws (each has a test of the same name)
---------------------------------------
- a_stranger_cannot_have_every_call_traced.
- what_the_caller_does_not_trace_is_not_traced.
- what_is_no_traceparent_counts_for_nothing: of the header, only what its specification allows is read.
- calls_that_are_not_traced_make_nothing.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Any, Protocol

#: Calls a second, by a process, that are traced because their caller traces them.
HONOURED_A_SECOND = 1.0

_STATED = re.compile(r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")
_SAMPLED = 1


@dataclass(frozen=True, slots=True)
class Parent:
    """The span that a caller says is around its call."""

    trace_id: int
    span_id: int
    sampled: bool


def parent_of(stated: str | None) -> Parent | None:
    """What a ``traceparent`` says; None for none, or for one that is not as specified."""
    found = _STATED.match(stated or "")
    if found is None or stated is None or found["version"] == "ff":
        return None
    rest = stated[found.end() :]
    if rest and (found["version"] == "00" or not rest.startswith("-")):
        return None
    trace_id, span_id = int(found["trace"], 16), int(found["span"], 16)
    return Parent(trace_id, span_id, bool(int(found["flags"], 16) & _SAMPLED)) if trace_id and span_id else None


class Sampling:
    """Chooses the calls to trace: ``share`` of them, from 0 to 1. ``monotonic`` gives seconds, ``chance`` numbers
    from 0 to 1."""

    def __init__(
        self,
        share: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._share = share
        self._monotonic = monotonic
        self._chance = chance
        self._room = 1.0
        self._at = monotonic()

    def takes(self, stated: str | None) -> tuple[bool, Parent | None]:
        """Whether to trace a call with this ``traceparent``, and below which span."""
        if stated is None or (parent := parent_of(stated)) is None:
            return self._chance() < self._share, None
        return parent.sampled and (self._honours() or self._chance() < self._share), parent

    def _honours(self) -> bool:
        now = self._monotonic()
        self._room = min(1.0, self._room + (now - self._at) * HONOURED_A_SECOND)
        self._at = now
        if self._room < 1.0:
            return False
        self._room -= 1.0
        return True


class Trace(Protocol):
    """The spans of one call. Times are readings of the monotonic clock, in seconds; attributes are ids, counts and
    codes, and never a payload or a credential."""

    trace_id: str
    span_id: str

    def span(self, name: str, started: float, **attributes: str | int | float) -> None:
        """Tell of something that began at ``started`` and ends now."""
        ...

    def until(self, done: asyncio.Future[Any], name: str) -> None:
        """Tell of something that begins now and ends with the future."""
        ...

    def calling(self, service_id: str, version: str) -> str:
        """Begin the span of a service's call; returns the ``traceparent`` that the service is to be given."""
        ...

    def called(self, outcome: str) -> None:
        """End it."""
        ...

    def end(self, **attributes: str | int | float) -> None:
        """End the whole."""
        ...


_current: ContextVar[Trace | None] = ContextVar("caio_trace", default=None)


def current() -> Trace | None:
    """The trace of the call that this task is busy with, if it is traced."""
    return _current.get()


def enter(trace: Trace) -> Token[Trace | None]:
    return _current.set(trace)


def leave(entered: Token[Trace | None]) -> None:
    _current.reset(entered)


class Tracing(Protocol):
    """What a process traces with."""

    def begin(self, stated: str | None, method: str, path: str, started: float) -> Trace | None:
        """The trace of a call that arrived at ``started`` with this ``traceparent``; None where it is not traced."""
        ...

    def close(self) -> None:
        """Send what has not been sent, for some seconds, and end. To be called in a thread."""
        ...
