"""Failed authentications slow their address down.

Theory of operation
-------------------
Each address has an allowance of FAILURES failed attempts, which comes back at one every REFILL (a token
bucket, kept as the moment at which it is full again). An address without allowance is told to come back
before anything is looked up or verified for it. Success costs nothing, and a caller whose credential is
known to be good is not held up by its neighbours behind the same address: see ``Authenticator``.

An IPv6 caller chooses among the addresses of its network at will, so a /64 counts as one.

Laws (each has a test of the same name)
---------------------------------------
- an_address_fails_so_often_and_no_more: FAILURES at once, then one each REFILL.
- memory_is_bounded: MOST addresses; of more, those are forgotten that failed longest ago.

Pure: ``now`` is microseconds since the epoch. Not held up: an attacker with many networks, whom only the
length of keys stops.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

from caio.foundation.errors import LimitExceeded

FAILURES = 20
REFILL = 3_000_000
MOST = 10_000

_SECOND = 1_000_000


class Throttle:
    """Counts failures by address; the empty address stands for callers without one (a local socket)."""

    def __init__(self, failures: int = FAILURES, refill: int = REFILL, most: int = MOST) -> None:
        self._failures = failures
        self._refill = refill
        self._most = most
        self._full_at: OrderedDict[str, int] = OrderedDict()

    def check(self, address: str, now: int) -> None:
        """Raises LimitExceeded while the address has no allowance left."""
        full_at = self._full_at.get(network_of(address))
        if full_at is None:
            return
        wait = full_at - now - (self._failures - 1) * self._refill
        if wait > 0:
            raise LimitExceeded(
                "too many failed authentications from this address",
                window="failed authentications",
                limit=self._failures,
                retry_after=-(-wait // _SECOND),
            )

    def left(self, address: str, now: int) -> int:
        """How many failures the address may have now; 0 or less while it is held up."""
        used = max(0, self._full_at.get(network_of(address), now) - now)
        return self._failures - -(-used // self._refill)

    def failed(self, address: str, now: int) -> None:
        """Count one failure."""
        network = network_of(address)
        self._full_at[network] = max(self._full_at.pop(network, now), now) + self._refill
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)


def network_of(address: str) -> str:
    """What counts as one address."""
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64))
