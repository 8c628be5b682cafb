"""From a credential to a caller. This is the only place that mints a ``TenantScope``.

A bearer token is hashed, looked up, and checked: known, not revoked, not expired, tenant active.
Every failure is the same ``Unauthenticated``, whatever was wrong. Answers are cached for two
seconds by the whole token's hash, so that a revocation is effective everywhere soon after.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from caio.foundation.errors import NotAllowed, NotFound, Unauthenticated
from caio.foundation.hashing import keyed
from caio.foundation.scope import DEFAULT_TENANT, TenantScope
from caio.routing.model import TRUST_LEVELS, Principal
from caio.tenancy.ports import ApiKey, ApiKeyStore, Tenant, TenantStatus, TenantStore
from caio.tenancy.principals import Caller, Permission, permissions_of

CACHE_MICROSECONDS = 2_000_000
CACHE_ENTRIES = 10_000
LONGEST_TOKEN = 512

#: The principal of the person who holds the data directory, and so needs no credential.
EMBEDDED = "embedded"

_REFUSED = "send a valid API key: Authorization: Bearer caio_…"


def embedded_scope(tenant_id: str = DEFAULT_TENANT) -> TenantScope:
    """The scope of the person who runs this process on their own data: the library and the
    operator's commands, which hold the data directory and need no further credential."""
    return TenantScope(tenant_id)


def embedded_caller(tenant: Tenant) -> Caller:
    """That person as a caller: with every permission, since the platform is theirs too."""
    principal = Principal(EMBEDDED, "process", frozenset({"admin"}), frozenset(Permission), TRUST_LEVELS[-1])
    return Caller(TenantScope(tenant.tenant_id), tenant, principal)


class Authenticator:
    """Authenticates bearer tokens. ``clock`` gives microseconds since the epoch."""

    def __init__(self, keys: ApiKeyStore, tenants: TenantStore, hash_key: bytes, clock: Callable[[], int]) -> None:
        self._keys = keys
        self._tenants = tenants
        self._hash_key = hash_key
        self._clock = clock
        self._cache: OrderedDict[bytes, tuple[int, Caller]] = OrderedDict()
        self._looking: dict[bytes, asyncio.Future[Caller]] = {}

    async def authenticate(self, authorization: str | None) -> Caller:
        """The caller behind an ``Authorization`` header; raises Unauthenticated, or NotAllowed
        ``tenant_suspended`` for a valid key of a tenant that is not active."""
        token = _bearer(authorization)
        key_hash = keyed(self._hash_key, token.encode())
        now = self._clock()
        known = self._cache.get(key_hash)
        if known is not None and known[0] > now:
            return known[1]
        looking = self._looking.get(key_hash)
        if looking is None:
            # One look-up a key at a time: when an entry expires under load, the others wait for it.
            looking = self._looking[key_hash] = asyncio.ensure_future(self._look_up(key_hash, now))
            looking.add_done_callback(lambda _: self._looking.pop(key_hash, None))
        try:
            return await asyncio.shield(looking)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if looking.cancelled() and not (task and task.cancelling()):
                raise Unauthenticated(_REFUSED) from None  # ``forget`` ended it: the key was revoked just now
            raise

    async def _look_up(self, key_hash: bytes, now: int) -> Caller:
        key = await self._keys.find(key_hash)
        if key is None or key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
            raise Unauthenticated(_REFUSED)
        caller = await self._caller(key)
        until = min(now + CACHE_MICROSECONDS, key.expires_at or now + CACHE_MICROSECONDS)
        self._cache[key_hash] = (until, caller)
        if len(self._cache) > CACHE_ENTRIES:
            self._cache.popitem(last=False)
        return caller

    def forget(self, key_hash: bytes) -> None:
        """Drop a revoked key: from the cache, and from a look-up that may have read it before."""
        self._cache.pop(key_hash, None)
        if (looking := self._looking.pop(key_hash, None)) is not None:
            looking.cancel()

    async def _caller(self, key: ApiKey) -> Caller:
        scope = TenantScope(key.tenant_id)
        try:
            tenant = await self._tenants.get(scope)
        except NotFound:
            raise Unauthenticated(_REFUSED) from None
        if tenant.status is not TenantStatus.ACTIVE:
            raise NotAllowed("this tenant is not active", code="tenant_suspended")
        roles = frozenset(key.roles)
        principal = Principal(key.key_id, "api_key", roles, permissions_of(roles), key.trust_level)
        return Caller(scope, tenant, principal, key.policies)


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token.isascii() or not 0 < len(token) <= LONGEST_TOKEN:
        raise Unauthenticated(_REFUSED)
    return token
