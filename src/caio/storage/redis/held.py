"""Whose calls Redis holds: for those who end what a process left behind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from caio.foundation.errors import NotReady
from caio.foundation.scope import TenantScope
from caio.gateway.ports import Actual, Clock, Orphan
from caio.storage.redis import admission as redis_admission
from caio.storage.redis.admission import ORPHANED_AFTER, RedisAdmission
from caio.storage.redis.client import Client, ServerAway
from caio.storage.redis.scripts import HELD, account_keys

#: Calls asked for in one step.
_AT_ONCE = 500


class HeldInRedis:
    """The ``HeldCalls`` port. While Redis does not answer, nothing is known: NotReady."""

    def __init__(self, client: Client, admission: RedisAdmission, clock: Clock) -> None:
        self._client = client
        self._admission = admission
        self._clock = clock

    async def orphans(self) -> Sequence[Orphan]:
        found = await self._admission.orphans(self._clock())
        by_tenant: defaultdict[str, list[str]] = defaultdict(list)
        for each in found:
            by_tenant[each.tenant_id].append(each.grant_id)
        held = {tenant_id: await self.held(tenant_id, names) for tenant_id, names in by_tenant.items()}
        return [
            Orphan(each.tenant_id, each.grant_id, each.process_id, each.expires_at)
            for each in found
            if each.grant_id not in held[each.tenant_id]
        ]

    async def held(self, tenant_id: str, grant_ids: Collection[str]) -> Collection[str]:
        found: set[str] = set()
        try:
            asked = list(grant_ids)
            for start in range(0, len(asked), _AT_ONCE):
                names = asked[start : start + _AT_ONCE]
                answer = await self._client.run(HELD, account_keys(tenant_id), ("", str(ORPHANED_AFTER), *names))
                found |= {name.decode() for name in answer}
        except ServerAway:
            raise NotReady("the shared limiter does not answer", code="limiter_unavailable") from None
        return found

    async def end(self, scope: TenantScope, grant_id: str, actual: Actual) -> None:
        await self._admission.release(redis_admission.Orphan(scope.tenant_id, grant_id, "", 0, 0), actual)
