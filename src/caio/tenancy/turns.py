"""How much of a process one tenant's requests to the control plane may take.

Theory of operation
-------------------
Calls have limits of their own (``limits``), which count what was admitted. Calls that are answered with the
caller's own fault before that (a body that is wrong, a request that no service satisfies) cost a reading and often
a record, and do not count as used. ``Unserved`` bounds what a tenant may have of these in a minute: FAULTS times
what it may call, and at least LEAST_FAULTS. Nobody gets there by mistakes among calls that are served.

What manages a tenant and looks at it (lists, exports, the audit
log, publications, trials) costs the process too, and writes to the tenant's log. Two bounds keep one tenant's
share of that small, in each process by itself:

- a *rate*: requests in any minute, of the tenant and, a third of that, of each of its principals;
- *turns*: so many requests at once, and of those that are heavy (they read or compute at length) fewer. Those that
  listen for as long as something goes on have turns of their own. Whoever
  finds no turn waits a little, in the order of coming, and is then refused.

Laws (each has a test of the same name)
---------------------------------------
- no_minute_holds_more_requests_than_the_rate, and refused ones are not counted.
- a_principal_has_a_third_of_its_tenants_minute.
- no_more_turns_at_once_than_there_are: also when those who wait give up, or are cancelled.
- turns_are_given_in_the_order_of_coming.
- who_waits_too_long_is_refused, and so is at once who would be one too many to wait.
- one_tenants_turns_are_no_others.
- a_tenant_fails_many_times_as_often_as_it_may_call: more often only refuses it, and nobody else.
- memory_is_bounded: rates are kept for MOST tenants and principals, of more, for those seen last; turns while
  they are taken.

Not covered: what a request costs beyond its number, and tenants that are very many. ``clock`` gives
microseconds that never go back.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum

from caio.foundation.errors import LimitExceeded
from caio.tenancy.ports import Tenant
from caio.tenancy.rate_limit import MINUTE, Full, RollingWindow, Windows

#: Names in refusals.
TENANT_WINDOW = "control plane minute"
PRINCIPAL_WINDOW = "key control plane minute"
UNSERVED_WINDOW = "minute unserved"

WAIT_SECONDS = 2.0
MOST_WAITING = 32
MOST = 5_000

_SHARE = 3

#: How many calls a minute may fail by a tenant's own fault: so many times its limit, and at least so many.
FAULTS, LEAST_FAULTS = 10, 6_000


class Weight(Enum):
    """What a request takes a turn of: the name in refusals, and how many there are at once."""

    ANY = ("control plane concurrent", 16)
    HEAVY = ("control plane heavy", 2)
    LISTENING = ("control plane listeners", 32)


class Rates:
    """The requests of the last minute. ``per_minute`` is a tenant's."""

    def __init__(self, per_minute: int, most: int = MOST) -> None:
        self._tenants = _Kept(TENANT_WINDOW, per_minute, most)
        self._principals = _Kept(PRINCIPAL_WINDOW, -(-per_minute // _SHARE), most)

    def count(self, tenant_id: str, principal_id: str, now: int) -> None:
        """Count a request; raises LimitExceeded, and counts nothing, when a window is full."""
        windows = Windows((self._tenants.window(tenant_id), self._principals.window(f"{tenant_id}/{principal_id}")))
        if (full := windows.full(now)) is not None:
            raise _too_many(full)
        windows.take(now)


class Unserved:
    """The calls of the last minute that were answered with the caller's fault before they were admitted."""

    def __init__(self, clock: Callable[[], int], most: int = MOST, least: int = LEAST_FAULTS) -> None:
        self._clock = clock
        self._most = most
        self._least = least
        self._windows: OrderedDict[str, RollingWindow] = OrderedDict()

    def check(self, tenant: Tenant) -> None:
        """Raises LimitExceeded when the tenant has failed as often as it may."""
        window = self._windows.get(tenant.tenant_id) if self._windows else None
        if window is None:
            return
        wait = window.wait(self._clock())
        if not window.used:
            del self._windows[tenant.tenant_id]
        elif wait and window.limit == self._limit(tenant):
            raise _failed_too_often(window, wait)

    def count(self, tenant: Tenant) -> None:
        """Count a call that failed. Under another limit than before the counting begins anew."""
        window = self._windows.pop(tenant.tenant_id, None)
        if window is None or window.limit != self._limit(tenant):
            window = RollingWindow(UNSERVED_WINDOW, self._limit(tenant), MINUTE)
        now = self._clock()
        if not window.wait(now):
            window.take(now)
        self._windows[tenant.tenant_id] = window
        if len(self._windows) > self._most:
            self._windows.popitem(last=False)

    def _limit(self, tenant: Tenant) -> int:
        return max(self._least, FAULTS * tenant.quotas.per_minute)


class _Kept:
    """Windows by name; of more than ``most``, those that were asked for last."""

    def __init__(self, name: str, limit: int, most: int) -> None:
        self._name, self._limit, self._most = name, limit, most
        self._windows: OrderedDict[str, RollingWindow] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def window(self, of: str) -> RollingWindow:
        window = self._windows.get(of)
        if window is None:
            window = self._windows[of] = RollingWindow(self._name, self._limit, MINUTE)
            if len(self._windows) > self._most:
                self._windows.popitem(last=False)
        self._windows.move_to_end(of)
        return window


class Turns:
    """The bounds of one process."""

    def __init__(self, per_minute: int, clock: Callable[[], int], wait_seconds: float = WAIT_SECONDS) -> None:
        self._rates = Rates(per_minute)
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._rooms: dict[tuple[str, Weight], _Room] = {}

    def count(self, tenant_id: str, principal_id: str) -> None:
        """Count a request; raises LimitExceeded when the minute is full."""
        self._rates.count(tenant_id, principal_id, self._clock())

    @asynccontextmanager
    async def turn(self, tenant_id: str, weight: Weight) -> AsyncIterator[None]:
        """Have one of the tenant's turns inside the block; raises LimitExceeded when there is none for too long."""
        of = (tenant_id, weight)
        room = self._rooms.setdefault(of, _Room(weight))
        try:
            await room.enter(self._wait_seconds)
            try:
                yield
            finally:
                room.leave()
        finally:
            if room.is_empty():
                self._rooms.pop(of, None)


class _Room:
    """The turns of one tenant and weight: those taken, and those who wait for one."""

    def __init__(self, weight: Weight) -> None:
        self._weight = weight
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def is_empty(self) -> bool:
        return self._taken == 0 and not self._waiting

    async def enter(self, wait_seconds: float) -> None:
        if self._taken < self._weight.value[1]:
            self._taken += 1
            return
        if len(self._waiting) >= MOST_WAITING:
            raise _no_turn(self._weight)
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(given)
        try:
            async with asyncio.timeout(wait_seconds):
                await given
        except BaseException as error:
            if given.done() and not given.cancelled():
                self.leave()  # it was given in the moment of giving up
            elif given in self._waiting:
                self._waiting.remove(given)
            if isinstance(error, TimeoutError):
                raise _no_turn(self._weight) from None
            raise

    def leave(self) -> None:
        """Hand the turn to who has waited longest, or back."""
        while self._waiting:
            given = self._waiting.popleft()
            if not given.done():  # else whoever waited is just giving up
                given.set_result(None)
                return
        self._taken -= 1


def _too_many(full: Full) -> LimitExceeded:
    whose = "the tenant's" if full.window == TENANT_WINDOW else "the key's"
    return LimitExceeded(
        f"{whose} limit of {full.limit} requests to the control plane per minute is reached",
        window=full.window,
        limit=full.limit,
        retry_after=full.retry_after,
        span=MINUTE // 1_000_000,
    )


def _failed_too_often(window: RollingWindow, wait: int) -> LimitExceeded:
    return LimitExceeded(
        f"{window.limit} calls of the tenant within a minute were not valid or could not be satisfied, as many as it "
        "may make; correct them before more are read",
        window=window.name,
        limit=window.limit,
        retry_after=-(-wait // 1_000_000),
        span=MINUTE // 1_000_000,
    )


def _no_turn(weight: Weight) -> LimitExceeded:
    name, limit = weight.value
    kind = "heavy requests" if weight is Weight.HEAVY else "requests"
    message = f"the tenant's limit of {limit} {kind} to the control plane at once is reached"
    return LimitExceeded(message, window=name, limit=limit, retry_after=1)
