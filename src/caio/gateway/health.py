"""When a service that fails is left alone, and how it comes back: one breaker per tenant, service and version.

Theory of operation
-------------------
A breaker remembers how the last ``WINDOW`` calls ended, newest first, as bits. It opens in one of two ways. After
``IN_A_ROW`` faults without a success between them it is **open**: nobody calls the service. When so many of
the window's calls failed (``FAILED_OF_WINDOW``), with successes between them, the service is **ejected**: an outlier
that others are preferred to, which is called all the same where too few others are left (``course``). A refusal
that says by itself that further calls are in vain (its credentials, its quota) opens at once.

An open breaker waits for a back-off that doubles with each time that it opens, up to a bound, and for as long as
the service asked (Retry-After). Then it is half-open: one call is let through as a probe. When that succeeds the
breaker is closed, when it fails open again. A probe that nobody reports lapses. The back-off is forgotten once
``WINDOW`` calls in a row went well; until then a relapse waits longer.

Calls that went before the first fault are not remembered, and need not be: rates are counted in faults among the
last ``WINDOW`` calls, however many of these there were. So a service without faults has no breaker at all.

Laws (each has a test of the same name)
---------------------------------------
- faults_in_a_row_open, and not one fewer.
- a_failing_share_ejects, and not one fault fewer.
- open_until_the_back_off_is_over, and not a microsecond longer; each further one twice as long, up to the bound.
- retry_after_is_honoured: never called before, for as long as LONGEST.
- a_refusal_of_credentials_or_quota_opens_at_once.
- one_probe_at_a_time: until it is reported, given back, or has lapsed.
- only_a_probe_closes: what is reported of calls that began earlier changes no open breaker, but for a longer wait.
- the_requests_own_faults_never_count, nor what was never sent.
- a_service_that_went_well_is_forgotten.
- the_later_change_counts: of what two processes tell each other, whoever hears first.

Pure: ``now`` is an argument, in microseconds of one clock since the epoch, since processes tell each other of
their breakers. A clock that goes back keeps a breaker open for as much longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from caio.foundation.errors import UpstreamFailed, UpstreamFault

#: The calls that are remembered, and how many of them may fail before the service is ejected.
WINDOW = 20
FAILED_OF_WINDOW = 10

#: So many faults in a row open the breaker.
IN_A_ROW = 5

SECOND = 1_000_000

#: The back-off, doubling: of refused credentials, which take somebody to replace them, and of all else.
FIRST_WAIT = 2 * SECOND
FIRST_WAIT_FOR_CREDENTIALS = 30 * SECOND
LONGEST_BACK_OFF = 300 * SECOND

#: The longest wait that a service can ask for.
LONGEST = 3_600 * SECOND

#: A probe that nobody reported for so long has lapsed.
PROBE_LASTS = 30 * SECOND

_ALL = (1 << WINDOW) - 1
_NEVER_COUNTED = frozenset(
    {UpstreamFault.INVALID, UpstreamFault.CONTENT_FILTER, UpstreamFault.VIOLATION, UpstreamFault.BLOCKED}
)


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Cause(StrEnum):
    """Why a breaker is not closed."""

    IN_A_ROW = "faults_in_a_row"
    FAILING_SHARE = "failing_share"
    CREDENTIALS = "credentials"
    QUOTA = "quota"


class Leave(StrEnum):
    """What a breaker says to a call: go, go and report as the probe, rather go elsewhere, or do not go."""

    FREE = "free"
    PROBE = "probe"
    EJECTED = "ejected"
    SHUT = "shut"


_AT_ONCE = {UpstreamFault.AUTH: Cause.CREDENTIALS, UpstreamFault.QUOTA: Cause.QUOTA}


def counts(fault: UpstreamFailed) -> bool:
    """Whether a fault says something of the service. Not so what is the request's own, and what kept it from being
    sent: an address that may not be called, a secret that is not there."""
    unsent = fault.fault is UpstreamFault.AUTH and fault.status is None
    return not unsent and fault.fault not in _NEVER_COUNTED


@dataclass(slots=True)
class Breaker:
    """One service's, for one tenant. ``cause`` is None while it is closed; ``until`` is when its wait is over,
    ``times`` how often it has opened since it was last forgotten, ``changed_at`` when it last opened or closed."""

    window: int = 0
    in_a_row: int = 0
    cause: Cause | None = None
    until: int = 0
    times: int = 0
    changed_at: int = 0
    probe_until: int = 0

    def state(self, now: int) -> State:
        if self.cause is None:
            return State.CLOSED
        return State.OPEN if now < self.until else State.HALF_OPEN

    def leave(self, now: int) -> Leave:
        """What it says to a call now; changes nothing."""
        if self.cause is None:
            return Leave.FREE
        if now >= max(self.until, self.probe_until):
            return Leave.PROBE
        return Leave.EJECTED if self.cause is Cause.FAILING_SHARE else Leave.SHUT

    def wait(self, now: int) -> int:
        """For how many microseconds nothing but ``SHUT`` or ``EJECTED`` is to be had."""
        return max(0, max(self.until, self.probe_until) - now) if self.cause is not None else 0

    def adopt(self, cause: Cause | None, until: int, times: int, changed_at: int) -> bool:
        """Take over what another process has seen later than this one; whether anything was."""
        if changed_at <= self.changed_at:
            return False
        self.cause, self.until, self.times, self.changed_at, self.probe_until = cause, until, times, changed_at, 0
        self.window, self.in_a_row = (0b10, 0) if cause is None else (self.window or 1, self.in_a_row)
        return True

    @property
    def faults(self) -> int:
        """Of the calls remembered."""
        return self.window.bit_count()

    @property
    def forgettable(self) -> bool:
        return self.cause is None and not self.window

    def take_probe(self, now: int) -> None:
        """Let the call be the probe, whose leave was ``PROBE`` at ``now``."""
        self.probe_until = now + PROBE_LASTS

    def give_back_probe(self) -> None:
        """The probe was not made, or tells nothing."""
        self.probe_until = 0

    def succeeded(self, now: int, *, probe: bool = False) -> bool:
        """Take note of a call that went well; whether that closed the breaker."""
        if self.cause is None:
            self.window, self.in_a_row = self.window << 1 & _ALL, 0
            return False
        if not probe:
            return False
        # The newest call went well; the one before counts as failed, so that the back-off is remembered a while.
        self.window, self.in_a_row, self.cause, self.changed_at, self.probe_until = 0b10, 0, None, now, 0
        return True

    def failed(self, fault: UpstreamFailed, now: int, *, probe: bool = False) -> bool:
        """Take note of a call that failed; whether that opened the breaker, or prolonged its wait."""
        if not counts(fault):
            if probe:
                self.give_back_probe()
            return False
        asked = now + min(int((fault.retry_after or 0) * SECOND), LONGEST)
        if self.cause is not None and not probe:
            if fault.fault in _AT_ONCE and asked > self.until:
                self.until = self.changed_at = asked
                return True
            return False
        self.window, self.in_a_row = (self.window << 1 | 1) & _ALL, self.in_a_row + 1
        cause = self._cause_of(fault)
        if cause is None:
            return False
        first = FIRST_WAIT_FOR_CREDENTIALS if cause is Cause.CREDENTIALS else FIRST_WAIT
        back_off = min(first << min(self.times, 16), LONGEST_BACK_OFF)
        self.cause, self.times, self.changed_at, self.probe_until = cause, self.times + 1, now, 0
        self.until = max(now + back_off, asked)
        return True

    def _cause_of(self, fault: UpstreamFailed) -> Cause | None:
        if (at_once := _AT_ONCE.get(fault.fault)) is not None:
            return at_once
        if self.in_a_row >= IN_A_ROW:
            return Cause.IN_A_ROW
        if self.cause is None:
            return Cause.FAILING_SHARE if self.faults >= FAILED_OF_WINDOW else None
        return self.cause if self.cause is Cause.FAILING_SHARE else Cause.IN_A_ROW  # a probe that failed


class Change(NamedTuple):
    """What a process tells others of a breaker: that it opened, for what, until when and for which time in a row; or
    with no cause that it closed. Times in microseconds."""

    tenant_id: str
    service_id: str
    version: str
    cause: Cause | None
    until: int
    times: int
    changed_at: int
