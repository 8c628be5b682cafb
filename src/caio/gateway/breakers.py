"""The breakers of one process: who may be called, and what came of it.

The request path reads memory alone, and a tenant without trouble costs one look-up. What changes is told to other
processes in the background (``sharing``), and what they tell is taken over here.

Laws (each has a test of the same name)
---------------------------------------
- one_tenants_trouble_is_no_others.
- shut_services_are_left_out, ejected_ones_come_last, and at most half are ejected.
- healthy_services_hold_nothing.
- memory_is_bounded: of more than MOST breakers those go that were made first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from caio.foundation.errors import UpstreamFailed
from caio.gateway.health import Breaker, Change, Leave
from caio.routing.model import Offer, Ranked

#: Breakers kept, over all tenants.
MOST = 10_000

#: Changes that wait to be told to other processes; of more the newest are.
MOST_UNTOLD = 1_000

_Place = tuple[str, str]


class Breakers:
    """Those of one process. ``now`` is in microseconds since the epoch."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._of: dict[str, dict[_Place, Breaker]] = {}
        self._held = 0
        self._untold: dict[tuple[str, str, str], Change] = {}
        #: Set while there is something to tell.
        self.changed = asyncio.Event()

    def order(self, tenant_id: str, ranked: Sequence[Ranked], now: int) -> Sequence[int]:
        """The positions of those that may be called, best first."""
        troubled = self._of.get(tenant_id)
        if troubled is None:
            return range(len(ranked))
        standing: list[int] = []
        ejected: list[int] = []
        for position, each in enumerate(ranked):
            breaker = troubled.get((each.offer.service_id, each.offer.version))
            leave = Leave.FREE if breaker is None else breaker.leave(now)
            if leave is Leave.EJECTED and len(ejected) < len(ranked) // 2:
                ejected.append(position)
            elif leave is not Leave.SHUT:
                standing.append(position)
        return standing + ejected

    def wait(self, tenant_id: str, ranked: Sequence[Ranked], now: int) -> int:
        """The microseconds until the first of them may be called."""
        troubled = self._of.get(tenant_id, {})
        found = (troubled.get((each.offer.service_id, each.offer.version)) for each in ranked)
        return min((0 if each is None else each.wait(now) for each in found), default=0)

    def has_trouble(self, tenant_id: str) -> bool:
        """Whether any of its services has failed lately."""
        return tenant_id in self._of

    def is_shut(self, tenant_id: str, offer: Offer, now: int) -> bool:
        """Whether the service must not be called, or only as a probe."""
        breaker = self._find(tenant_id, offer)
        return breaker is not None and breaker.leave(now) in (Leave.SHUT, Leave.PROBE)

    def take_probe(self, tenant_id: str, offer: Offer, now: int) -> bool:
        """Whether a call that begins now is the probe of its service; the next one is not."""
        breaker = self._find(tenant_id, offer)
        if breaker is None or breaker.leave(now) is not Leave.PROBE:
            return False
        breaker.take_probe(now)
        return True

    def give_back_probe(self, tenant_id: str, offer: Offer) -> None:
        if (breaker := self._find(tenant_id, offer)) is not None:
            breaker.give_back_probe()

    def succeeded(self, tenant_id: str, offer: Offer, now: int, *, probe: bool = False) -> None:
        troubled = self._of.get(tenant_id)
        if troubled is None:
            return
        breaker = troubled.get((offer.service_id, offer.version))
        if breaker is None:
            return
        if breaker.succeeded(now, probe=probe):
            self._changed(tenant_id, offer.service_id, offer.version, breaker)
        elif breaker.forgettable:
            self._forget(tenant_id, (offer.service_id, offer.version))

    def failed(self, tenant_id: str, offer: Offer, fault: UpstreamFailed, now: int, *, probe: bool = False) -> None:
        breaker = self._made(tenant_id, (offer.service_id, offer.version))
        if breaker.failed(fault, now, probe=probe):
            self._changed(tenant_id, offer.service_id, offer.version, breaker)
        elif breaker.forgettable:
            self._forget(tenant_id, (offer.service_id, offer.version))

    def of_service(self, tenant_id: str, service_id: str) -> Mapping[str, Breaker]:
        """The breakers of a service's versions."""
        return {place[1]: each for place, each in self._of.get(tenant_id, {}).items() if place[0] == service_id}

    def not_closed(self) -> int:
        """How many, of all tenants."""
        return sum(each.cause is not None for troubled in self._of.values() for each in troubled.values())

    def untold(self) -> Sequence[Change]:
        """What others have not been told yet; it counts as told from now on."""
        changes, self._untold = list(self._untold.values()), {}
        self.changed.clear()
        return changes

    def tell_again(self, changes: Sequence[Change]) -> None:
        """Take back what could not be told, unless there is something newer to tell."""
        for each in changes:
            self._untold.setdefault(each[:3], each)
        self._bound_untold()

    def adopt(self, change: Change) -> None:
        """Take over what another process tells."""
        place = change.service_id, change.version
        if change.cause is None and place not in self._of.get(change.tenant_id, {}):
            return
        breaker = self._made(change.tenant_id, place)
        breaker.adopt(change.cause, change.until, change.times, change.changed_at)

    def __len__(self) -> int:
        return self._held

    def _find(self, tenant_id: str, offer: Offer) -> Breaker | None:
        troubled = self._of.get(tenant_id)
        return None if troubled is None else troubled.get((offer.service_id, offer.version))

    def _made(self, tenant_id: str, place: _Place) -> Breaker:
        troubled = self._of.setdefault(tenant_id, {})
        breaker = troubled.get(place)
        if breaker is None:
            breaker = troubled[place] = Breaker()
            self._held += 1
            if self._held > self._most:
                self._make_room(tenant_id, place)
        return breaker

    def _make_room(self, tenant_id: str, place: _Place) -> None:
        for oldest, troubled in self._of.items():
            for first in troubled:
                if (oldest, first) != (tenant_id, place):
                    self._forget(oldest, first)
                    return

    def _forget(self, tenant_id: str, place: _Place) -> None:
        troubled = self._of[tenant_id]
        del troubled[place]
        self._held -= 1
        if not troubled:
            del self._of[tenant_id]

    def _changed(self, tenant_id: str, service_id: str, version: str, breaker: Breaker) -> None:
        self._untold[tenant_id, service_id, version] = Change(
            tenant_id, service_id, version, breaker.cause, breaker.until, breaker.times, breaker.changed_at
        )
        self._bound_untold()
        self.changed.set()

    def _bound_untold(self) -> None:
        while len(self._untold) > MOST_UNTOLD:
            del self._untold[next(iter(self._untold))]
