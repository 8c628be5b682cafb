"""When keys were last used: noted in memory, written now and then, off the path of every call.

Exact to the time between two writes. What was noted and not yet written is lost with the process.
"""

from __future__ import annotations

from collections import defaultdict

from caio.foundation.scope import TenantScope
from caio.tenancy.ports import ApiKeyStore

#: How often what was noted is written.
EVERY_SECONDS = 60


class KeyUses:
    """Collects uses of keys. ``note`` is called at each look-up of a key, ``write`` by a loop."""

    def __init__(self, store: ApiKeyStore) -> None:
        self._store = store
        self._noted: defaultdict[TenantScope, dict[str, int]] = defaultdict(dict)

    def note(self, scope: TenantScope, key_id: str, now: int) -> None:
        """``key_id`` was used at ``now`` (microseconds since the epoch)."""
        self._noted[scope][key_id] = now

    async def write(self) -> int:
        """Store what was noted, one transaction a tenant; how many tenants' it was. Raises NotReady when
        the database does not answer; what is not written then is noted still."""
        scopes = list(self._noted)
        for scope in scopes:
            uses = self._noted.pop(scope)
            try:
                await self._store.note_use(scope, uses)
            except BaseException:
                self._noted[scope] = uses | self._noted[scope]
                raise
        return len(scopes)
