"""Waiting for a slot of a service, in turn, for a moment.

Theory of operation
-------------------
A service that answers as many calls at once as it may has room again when one of them ends, which is often soon. So
a call that finds nothing but taken slots waits for the best ranked of these services, behind those that wait
already, and asks admission again when its turn comes: whenever a call of this process ends at that service, and
every ``POLL_SECONDS``, since other processes end calls too. Only admission gives slots, so no more calls run at once
than may, at any number of processes. Who comes later waits behind, and does not take the slot in between.

Laws (each has a test of the same name)
---------------------------------------
- slots_are_given_in_the_order_of_coming, within a process: between processes admission decides.
- nobody_waits_for_long: ``WAIT_SECONDS``, and half of what is left until the call's deadline.
- no_more_wait_than_may: one too many is refused at once.
- whoever_leaves_lets_the_next_one_try: with a slot, without, or cancelled.
- nothing_is_held_when_nobody_waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from caio.gateway.ports import Actual, Admission, Ask, Grant, ServiceBusy

WAIT_SECONDS = 2.0
POLL_SECONDS = 0.1

#: Calls that may wait for one service of a tenant.
MOST_WAITING = 64

_Of = tuple[str, str]


class Place:
    """A call's place among those that wait. ``turn`` says when to try again."""

    def __init__(self, busy: ServiceBusy, until: float) -> None:
        self.busy = busy
        self._until = until
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def turn(self, queue: deque[Place]) -> bool:
        """Wait until it is worth trying; False when it is too late to."""
        left = self._until - monotonic()
        if left <= 0:
            return False
        try:
            # Who is not first cannot get a slot before the first one leaves, and is woken then.
            async with asyncio.timeout(min(left, POLL_SECONDS) if queue[0] is self else left):
                await self._woken.wait()
        except TimeoutError:
            return queue[0] is self
        self._woken.clear()
        return True


class SlotQueues:
    """Those who wait in this process, by tenant and service."""

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._most_waiting = most_waiting
        self._queues: dict[_Of, deque[Place]] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def ahead(self, tenant_id: str, service_id: str, place: Place | None) -> ServiceBusy | None:
        """Why a call must not ask for a slot now: somebody waits for it who came before."""
        queue = self._queues.get((tenant_id, service_id))
        return None if queue is None or queue[0] is place else queue[0].busy

    def waiting(self, tenant_id: str, service_id: str) -> int:
        return len(self._queues.get((tenant_id, service_id), ()))

    @contextmanager
    def joined(self, tenant_id: str, service_id: str, busy: ServiceBusy, until: float) -> Iterator[Place | None]:
        """A place at the end, until the block ends; None when too many wait already. Tell the time by ``monotonic``."""
        of = tenant_id, service_id
        queue = self._queues.setdefault(of, deque())
        if len(queue) >= self._most_waiting:
            yield None
            return
        place = Place(busy, until)
        queue.append(place)
        try:
            yield place
        finally:
            queue.remove(place)
            if queue:
                queue[0].wake()
            else:
                del self._queues[of]

    async def turn(self, tenant_id: str, service_id: str, place: Place) -> bool:
        """Wait until ``place`` may try again; False when it is too late to."""
        return await place.turn(self._queues[tenant_id, service_id])

    def freed(self, tenant_id: str, service_id: str) -> None:
        """A call has ended: whoever waits longest may try."""
        if (queue := self._queues.get((tenant_id, service_id))) is not None:
            queue[0].wake()


class WakingAdmission:
    """The ``Admission`` port in front of another, which tells those who wait when a call leaves a service."""

    def __init__(self, admission: Admission, queues: SlotQueues) -> None:
        self._admission = admission
        self._queues = queues
        self.admit = admission.admit  # nobody is woken by it, and a step in between would cost every call

    async def move(self, grant: Grant, ask: Ask, now: int) -> Grant | ServiceBusy:
        left = grant.ask
        moved = await self._admission.move(grant, ask, now)
        if self._queues and isinstance(moved, Grant):
            self._queues.freed(left.tenant_id, left.service_id)
        return moved

    async def settle(self, grant: Grant, actual: Actual) -> None:
        try:
            await self._admission.settle(grant, actual)
        finally:
            if self._queues:
                self._queues.freed(grant.ask.tenant_id, grant.ask.service_id)

    def settling(self, grant: Grant, actual: Actual) -> asyncio.Future[None] | None:
        of = grant.ask.tenant_id, grant.ask.service_id
        settling = self._admission.settling(grant, actual)
        if settling is not None:
            settling.add_done_callback(lambda _: self._queues.freed(*of))
        elif self._queues:
            self._queues.freed(*of)
        return settling
