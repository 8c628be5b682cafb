"""Refusing at once whoever was just refused and cannot be admitted yet.

Theory of operation
-------------------
A full window of requests says exactly when it has room again, and nothing makes that earlier: requests are
never given back. Until then a call of the same tenant, or of the same caller when the window is its own, is
refused with the same words before anything is decided for it, and without asking the limiter. So a tenant
that calls at many times its limit costs the others little.

Only windows of requests shut a door. Tokens and compute are given back when a call ends, slots too, and a
service's limit leaves other services. A tenant whose processes may admit their shares on their own has limits
that change with the processes, and no door. A door opens early when the tenant's or the caller's limits are
not those any more that it was shut under, and after LONGEST_SECONDS, for a limiter that is rebuilt may know
better.

Laws (each has a test of the same name)
---------------------------------------
- a_door_opens_when_the_window_has_room: not a microsecond later than the limiter said.
- a_door_shuts_out_nobody_else: another tenant, or another caller where the window is a caller's.
- other_limits_open_the_door.
- what_is_given_back_shuts_no_door.
- no_door_is_shut_for_long.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from caio.foundation.errors import LimitExceeded
from caio.gateway.refusals import KEY
from caio.tenancy.limits import Limits
from caio.tenancy.ports import Outage, Quotas
from caio.tenancy.principals import Caller

LONGEST_SECONDS = 5.0

#: Doors remembered; beyond them the oldest is open.
DOORS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class _Door:
    """``error`` is what the limiter said that was asked at ``asked_at``."""

    error: LimitExceeded
    asked_at: float
    under: tuple[Quotas, Limits]

    def left(self, now: float) -> float:
        """The seconds until the window has room."""
        return self.asked_at + (self.error.wait or 0) / 1_000_000 - now

    def is_shut(self, now: float) -> bool:
        return self.left(now) > 0 and now - self.asked_at < LONGEST_SECONDS


class Doors:
    """Those that are shut in this process. ``monotonic`` gives seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._shut: OrderedDict[tuple[str, str], _Door] = OrderedDict()

    def now(self) -> float:
        """The time to hand to ``shut``: to be read before the limiter is asked."""
        return self._monotonic()

    def check(self, caller: Caller) -> None:
        """Raises LimitExceeded when a call of this caller would surely be refused."""
        if (error := self.refusal(caller)) is not None:
            raise error

    def refusal(self, caller: Caller) -> LimitExceeded | None:
        """With what a call of this caller would surely be refused now; None when it might be admitted."""
        if not self._shut:
            return None
        for place in ((caller.tenant.tenant_id, ""), (caller.tenant.tenant_id, caller.principal.principal_id)):
            door = self._shut.get(place)
            if door is None:
                continue
            now = self._monotonic()
            if door.is_shut(now) and door.under == (caller.tenant.quotas, caller.limits):
                return _again(door.error, door.left(now))
            del self._shut[place]
        return None

    def shut(self, caller: Caller, error: LimitExceeded, asked_at: float) -> None:
        """Take note of a refusal by the limiter, which was asked at ``asked_at``."""
        if error.wait is None or caller.tenant.outage is Outage.LOCAL:
            return
        whose = caller.principal.principal_id if error.window.startswith(KEY.rstrip(":")) else ""
        under = (caller.tenant.quotas, caller.limits)
        self._shut[caller.tenant.tenant_id, whose] = _Door(error, asked_at, under)
        if len(self._shut) > DOORS_KEPT:
            self._shut.popitem(last=False)


def _again(error: LimitExceeded, left: float) -> LimitExceeded:
    return LimitExceeded(
        error.message, window=error.window, limit=error.limit, retry_after=int(-(-left // 1)), span=error.span
    )
