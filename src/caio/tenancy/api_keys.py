"""API keys: made, shown once, kept as a keyed hash, rotated, revoked.

A token is ``caio_<environment>_<43 characters>``: 256 random bits in URL-safe base 64. Only
HMAC-SHA256(key, token) is stored, with a key derived from the installation's master key, so a
stolen database neither reveals tokens nor lets anyone test guesses.

A rotation makes a successor that may do what the key may, and lets the key end after an overlap in which
both work: whoever uses it has that long to change over.

Making and revoking a key is told by a leaf of the tenant's audit log, written in the transaction
that does it. The leaf says what the key may do, and nothing of its token or its hash.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from caio.audit.acts import SYSTEM, Act, Acts
from caio.foundation.errors import InvalidInput, Violation
from caio.foundation.hashing import keyed
from caio.foundation.ids import ENTROPY_BYTES, ulid
from caio.foundation.scope import DEFAULT_TENANT, TenantScope
from caio.routing.model import TRUST_LEVELS
from caio.tenancy.grants import granted_end, granted_limits, granted_roles
from caio.tenancy.limits import UNLIMITED, Limits
from caio.tenancy.ports import ApiKey, ApiKeyStore, PolicyNames
from caio.tenancy.principals import Caller

SECRET_BYTES = 32
SHOWN_CHARACTERS = 6

#: Policies one key may name; each is weighed in every decision made with it.
MAX_POLICIES = 16

#: The longest that a key and its successor may both work.
LONGEST_OVERLAP_SECONDS = 30 * 86_400

#: What the first key of an installation may do: everything in the platform's tenant, and the operator's work.
_FIRST_ROLES = ("admin", "operator")

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made, with its token: the only time the token exists outside its owner's hands."""

    key: ApiKey
    token: str


class ApiKeys:
    """Makes, lists, rotates and revokes keys. ``revoked`` is told a revoked key's hash and ``changed`` the id of one
    that ends sooner, to forget them at once."""

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
        changed: Callable[[str], None] = lambda key_id: None,
    ) -> None:
        self._store = store
        self._hash_key = hash_key
        self._environment = environment
        self._clock = clock
        self._entropy = entropy
        self._revoked = revoked
        self._policies = policies
        self._acts = acts
        self._changed = changed

    async def are_none(self, scope: TenantScope) -> bool:
        """Whether the tenant has no key (revoked ones count)."""
        return not await self._store.page(scope, "", 1)

    async def create_first(self, scope: TenantScope) -> NewKey | None:
        """The tenant's first key, an admin's, made by the process itself; None when the tenant already
        has keys (revoked ones count). In the platform's own tenant it is the operator's too."""
        if not await self.are_none(scope):
            return None
        return await self.create_for_owner(scope, SYSTEM, "first key")

    async def create_for_owner(self, scope: TenantScope, principal_id: str, name: str) -> NewKey:
        """A further key like the first, for whoever holds the data directory: when every key is lost."""
        roles = _FIRST_ROLES if scope.tenant_id == DEFAULT_TENANT else _FIRST_ROLES[:1]
        key, token = self._made(scope, principal_id, name, roles, TRUST_LEVELS[-1], None, (), UNLIMITED)
        return await self._add(scope, principal_id, key, token)

    async def create(
        self,
        caller: Caller,
        name: str,
        roles: Sequence[str],
        trust_level: str,
        expires_at: int | None,
        policies: Sequence[str] = (),
        limits: Limits = UNLIMITED,
    ) -> NewKey:
        """A further key, bound by ``policies`` and by those that bind the caller's own key. Raises
        InvalidInput for unknown roles, an unknown trust level, a past expiry or policies that are not
        there, NotAllowed when it would exceed the caller's own roles, trust, limits or end (``grants``)."""
        stored = granted_roles(caller, roles, trust_level)
        if expires_at is not None and expires_at <= self._clock():
            raise InvalidInput("the key would be expired", [Violation("/expires_at", "must lie in the future")])
        ends_at, narrowed = granted_end(caller, expires_at), granted_limits(caller, limits)
        bound_by = tuple(sorted({*policies, *caller.policies}))
        await self._check_policies(caller.scope, policies, bound_by)
        own = caller.principal.principal_id
        key, token = self._made(caller.scope, own, name, stored, trust_level, ends_at, bound_by, narrowed)
        return await self._add(caller.scope, own, key, token)

    async def rotate(self, caller: Caller, key_id: str, overlap_seconds: int) -> NewKey:
        """A successor of the key, which itself ends after the overlap, or sooner where it would have. The successor
        lasts as long as the key was made to last. Raises NotFound, InvalidInput for an overlap that is too long,
        NotAllowed as ``create``, Conflict ``key_not_active`` for a key that is revoked, expired or rotated."""
        if not 0 <= overlap_seconds <= LONGEST_OVERLAP_SECONDS:
            message = f"must be 0 to {LONGEST_OVERLAP_SECONDS}"
            raise InvalidInput("the overlap is not valid", [Violation("/overlap_seconds", message)])
        key = await self._store.get(caller.scope, key_id)
        now = self._clock()
        roles = granted_roles(caller, key.roles, key.trust_level)
        lasting = None if key.expires_at is None else now + key.expires_at - key.created_at
        if lasting is not None and caller.ends_at is not None:
            lasting = min(lasting, caller.ends_at)
        own = caller.principal.principal_id
        successor, token = self._made(
            caller.scope,
            own,
            key.name,
            roles,
            key.trust_level,
            granted_end(caller, lasting),
            tuple(sorted({*key.policies, *caller.policies})),
            granted_limits(caller, key.limits),
        )
        ends_at = now + overlap_seconds * _SECOND
        details = {"successor": successor.key_id, "ends_at": ends_at, "expires_at": successor.expires_at}
        leaf = await self._acts.leaf(caller.scope, Act("key.replaced", own, key_id, details))
        await self._store.rotate(caller.scope, key_id, ends_at, successor, leaf)
        self._changed(key_id)
        return NewKey(successor, token)

    def drafted(
        self, scope: TenantScope, principal_id: str, name: str, roles: tuple[str, ...], trust_level: str
    ) -> NewKey:
        """A key that another store writes, with what else it changes; whether it may be given is the caller's."""
        return NewKey(*self._made(scope, principal_id, name, roles, trust_level, None, (), UNLIMITED))

    async def get(self, scope: TenantScope, key_id: str) -> ApiKey:
        """Raises NotFound."""
        return await self._store.get(scope, key_id)

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

    def _made(
        self,
        scope: TenantScope,
        principal_id: str,
        name: str,
        roles: tuple[str, ...],
        trust_level: str,
        expires_at: int | None,
        policies: tuple[str, ...],
        limits: Limits,
    ) -> tuple[ApiKey, str]:
        """A new key, not stored yet, and its token."""
        now = self._clock()
        secret = base64.urlsafe_b64encode(self._entropy(SECRET_BYTES)).rstrip(b"=").decode()
        token = f"caio_{self._environment}_{secret}"
        key = ApiKey(
            ulid("key", now, self._entropy(ENTROPY_BYTES)),
            scope.tenant_id,
            name,
            token[: len(token) - len(secret) + SHOWN_CHARACTERS],
            keyed(self._hash_key, token.encode()),
            roles,
            trust_level,
            now,
            expires_at,
            policies=policies,
            limits=limits,
            created_by=principal_id,
        )
        return key, token

    async def _add(self, scope: TenantScope, principal_id: str, key: ApiKey, token: str) -> NewKey:
        await self._store.add(scope, key, await self._acts.leaf(scope, creation(principal_id, key)))
        return NewKey(key, token)


def creation(principal_id: str, key: ApiKey) -> Act:
    """The act that tells of a key that is made."""
    details = {
        "name": key.name,
        "roles": list(key.roles),
        "trust_level": key.trust_level,
        "expires_at": key.expires_at,
        "policies": list(key.policies),
        "limits": key.limits.document(),
    }
    return Act("key.created", principal_id, key.key_id, details)
