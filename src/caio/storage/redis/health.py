"""Breakers told through Redis: one hash of what was told last of each, and a set that orders it by time.

Whoever asks is given what was told since it asked last, so that asking costs little while nothing changes. All of
it expires with the longest wait that a breaker can have. A server that has forgotten is told again when something
changes; until then each process goes by what it knows.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from caio.foundation.errors import NotReady
from caio.gateway.health import LONGEST, SECOND, Change
from caio.storage.redis.client import Client, ServerAway
from caio.storage.redis.scripts import TELL_HEALTH, TOLD_HEALTH

KEYS = ("caio:health", "caio:health:order")

#: How long a change is kept, in seconds: longer than any breaker waits.
KEPT_SECONDS = LONGEST // SECOND + 600

#: Changes that are asked for in one step.
AT_ONCE = 500


class HealthInRedis:
    """The ``SharedHealth`` port. While Redis does not answer, NotReady: at once, or after one step."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._since = "0"

    async def tell(self, changes: Sequence[Change]) -> None:
        words: list[str | bytes] = [str(KEPT_SECONDS)]
        for each in changes:
            words += [msgspec.json.encode(each[:3]), msgspec.json.encode(each)]
        try:
            await self._client.run(TELL_HEALTH, KEYS, words)
        except ServerAway:
            raise NotReady("Redis does not answer", code="limiter_unavailable") from None

    async def told(self) -> Sequence[Change]:
        found: list[Change] = []
        try:
            while True:
                since, *contents = await self._client.run(TOLD_HEALTH, KEYS, (self._since, str(AT_ONCE)))
                found += [msgspec.json.decode(each, type=Change) for each in contents]
                moved, self._since = self._since != since.decode(), since.decode()
                if len(contents) < AT_ONCE or not moved:
                    return found
        except ServerAway:
            raise NotReady("Redis does not answer", code="limiter_unavailable") from None
