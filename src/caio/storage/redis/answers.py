"""Kept answers in a Redis of their own, shared between processes.

Not the Redis of the limits: that one must never evict, and a cache must be allowed to. One that is silent, full
or away finds nothing and keeps nothing; a call waits for it ``STEP_SECONDS`` at most, and after a failure not at
all for ``REST_SECONDS``.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from caio.foundation.scope import TenantScope
from caio.storage.redis.client import unusable_url

STEP_SECONDS = 0.05
REST_SECONDS = 1.0


class AnswersInRedis:
    """The ``KeptAnswers`` port."""

    def __init__(self, url: str, clock: Callable[[], float] = monotonic) -> None:
        try:
            self._redis: Redis = Redis.from_url(
                url,
                retry=Retry(NoBackoff(), 0),
                client_name="caio-answers",
                socket_timeout=STEP_SECONDS,
                socket_connect_timeout=STEP_SECONDS,
            )
        except ValueError:
            raise unusable_url("CAIO_CACHE_REDIS_URL") from None
        self._clock = clock
        self._resting_until = 0.0

    async def find(self, scope: TenantScope, name: str) -> bytes | None:
        if self._clock() < self._resting_until:
            return None
        try:
            found = await self._redis.get(_key(scope, name))
        except (RedisError, OSError):
            self._rest()
            return None
        return found if isinstance(found, bytes) else None

    async def keep(self, scope: TenantScope, name: str, sealed: bytes, seconds: int) -> None:
        if self._clock() < self._resting_until:
            return
        try:
            await self._redis.set(_key(scope, name), sealed, ex=seconds)
        except (RedisError, OSError):
            self._rest()

    async def stop(self) -> None:
        await self._redis.aclose()

    def _rest(self) -> None:
        self._resting_until = self._clock() + REST_SECONDS


def _key(scope: TenantScope, name: str) -> str:
    return f"caio:{scope.tenant_id}:answer:{name}"
