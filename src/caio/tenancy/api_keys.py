"""API keys: made, shown once, kept as a keyed hash, revoked.

A token is ``caio_<environment>_<43 characters>``: 256 random bits in URL-safe base 64. Only
HMAC-SHA256(key, token) is stored, with a key derived from the installation's master key, so a
stolen database neither reveals tokens nor lets anyone test guesses.

Making and revoking a key is told by a leaf of the tenant's audit log, written in the transaction
that does it. The leaf says what the key may do, and nothing of its token or its hash.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from caio.audit.acts import SYSTEM, Act, Acts
from caio.foundation.errors import InvalidInput, NotAllowed, Violation
from caio.foundation.hashing import keyed
from caio.foundation.ids import ENTROPY_BYTES, ulid
from caio.foundation.scope import TenantScope
from caio.routing.model import TRUST_LEVELS
from caio.tenancy.ports import ApiKey, ApiKeyStore, PolicyNames
from caio.tenancy.principals import ROLES, Caller, permissions_of

SECRET_BYTES = 32
SHOWN_CHARACTERS = 6

#: Policies one key may name; each is weighed in every decision made with it.
MAX_POLICIES = 16


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made, with its token: the only time the token exists outside its owner's hands."""

    key: ApiKey
    token: str


class ApiKeys:
    """Makes, lists and revokes keys. ``revoked`` is told a revoked key's hash, to forget it at once."""

    def __init__(
        self,
        store: ApiKeyStore,
        hash_key: bytes,
        environment: str,
        clock: Callable[[], int],
        entropy: Callable[[int], bytes],
        revoked: Callable[[bytes], None],
        policies: PolicyNames,
        acts: Acts,
    ) -> None:
        self._store = store
        self._hash_key = hash_key
        self._environment = environment
        self._clock = clock
        self._entropy = entropy
        self._revoked = revoked
        self._policies = policies
        self._acts = acts

    async def create_first(self, scope: TenantScope) -> NewKey | None:
        """The tenant's first key, an admin's, made by the process itself; None when the tenant already
        has keys (revoked ones count)."""
        if await self._store.page(scope, "", 1):
            return None
        return await self._add(scope, SYSTEM, "first key", ("admin",), TRUST_LEVELS[-1], None)

    async def create(
        self,
        caller: Caller,
        name: str,
        roles: Sequence[str],
        trust_level: str,
        expires_at: int | None,
        policies: Sequence[str] = (),
    ) -> NewKey:
        """A further key, bound by ``policies`` and by those that bind the caller's own key. Raises
        InvalidInput for unknown roles, an unknown trust level, a past expiry or policies that are not
        there, NotAllowed when the roles or the trust level would exceed the caller's own."""
        unknown = [role for role in roles if role not in ROLES]
        if unknown or not roles:
            message = f"must be one or more of {', '.join(sorted(ROLES))}"
            raise InvalidInput("the key's roles are not valid", [Violation("/roles", message)])
        if trust_level not in TRUST_LEVELS:
            message = f"must be one of {', '.join(TRUST_LEVELS)}"
            raise InvalidInput("the key's trust level is not valid", [Violation("/trust_level", message)])
        if expires_at is not None and expires_at <= self._clock():
            raise InvalidInput("the key would be expired", [Violation("/expires_at", "must lie in the future")])
        bound_by = tuple(sorted({*policies, *caller.policies}))
        await self._check_policies(caller.scope, policies, bound_by)
        own = caller.principal
        exceeds = TRUST_LEVELS.index(trust_level) > TRUST_LEVELS.index(own.trust_level)
        if exceeds or not permissions_of(roles) <= own.permissions:
            raise NotAllowed("a key cannot be given more than its creator has")
        return await self._add(
            caller.scope, own.principal_id, name, tuple(sorted(set(roles))), trust_level, expires_at, bound_by
        )

    async def _check_policies(self, scope: TenantScope, stated: Sequence[str], bound_by: Sequence[str]) -> None:
        missing = await self._policies.missing(scope, stated) if stated else ()
        message = "no active policy is named {!r}; save it first"
        violations = [
            Violation(f"/policies/{index}", message.format(name))
            for index, name in enumerate(stated)
            if name in missing
        ]
        if len(bound_by) > MAX_POLICIES:
            violations.append(Violation("/policies", f"a key may be bound by {MAX_POLICIES} policies"))
        if violations:
            raise InvalidInput("the key's policies are not valid", violations)

    async def page(self, scope: TenantScope, after: str, limit: int) -> Sequence[ApiKey]:
        return await self._store.page(scope, after, limit)

    async def revoke(self, caller: Caller, key_id: str) -> ApiKey:
        """Revoke a key of the caller's tenant. Raises NotFound. Effective in this process at once,
        elsewhere when its cache expires."""
        act = Act("key.revoked", caller.principal.principal_id, key_id)
        leaf = await self._acts.leaf(caller.scope, act)
        key = await self._store.revoke(caller.scope, key_id, self._clock(), leaf)
        self._revoked(key.key_hash)
        return key

    async def _add(
        self,
        scope: TenantScope,
        principal_id: str,
        name: str,
        roles: tuple[str, ...],
        trust_level: str,
        expires_at: int | None,
        policies: tuple[str, ...] = (),
    ) -> NewKey:
        now = self._clock()
        secret = base64.urlsafe_b64encode(self._entropy(SECRET_BYTES)).rstrip(b"=").decode()
        token = f"caio_{self._environment}_{secret}"
        prefix = token[: len(token) - len(secret) + SHOWN_CHARACTERS]
        key_id = ulid("key", now, self._entropy(ENTROPY_BYTES))
        key = ApiKey(
            key_id,
            scope.tenant_id,
            name,
            prefix,
            keyed(self._hash_key, token.encode()),
            roles,
            trust_level,
            now,
            expires_at,
            policies=policies,
        )
        await self._store.add(scope, key, await self._acts.leaf(scope, _creation(principal_id, key)))
        return NewKey(key, token)


def _creation(principal_id: str, key: ApiKey) -> Act:
    details = {
        "name": key.name,
        "roles": list(key.roles),
        "trust_level": key.trust_level,
        "expires_at": key.expires_at,
        "policies": list(key.policies),
    }
    return Act("key.created", principal_id, key.key_id, details)
