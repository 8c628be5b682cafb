"""From a credential to a caller. This is the only place that mints a ``TenantScope``.

Theory of operation
-------------------
A bearer token is an API key (``caio_…``) or a token of a configured identity provider (``oidc``). A key is
hashed under the installation's key and located by its hash; a provider's token is verified, and the
memberships of whom it names are located. Both look-ups give ids alone. From then on everything is read in
the scope of the tenant that was proven: key or membership, and the tenant's state.

What was found is kept for two seconds by the whole token's hash, a membership also by whose it is, so that a
bearer's next token costs its verification alone. Then it is looked up anew: revocation, removal, suspension and
limits are effective everywhere soon after. Entries that have ended stay, without effect but one: who was known
before is looked up although its address has failed too often.

Laws (each has a test of the same name)
---------------------------------------
- every_failure_is_the_same: whatever was wrong with a credential; and none becomes an anonymous caller.
- the_tenant_header_selects_and_proves_nothing: a tenant that is not proven is refused as one that is not there.
- a_failing_address_is_held_up_before_any_look_up, a_known_caller_is_not.
- the_platform's_permissions_are_its_own_tenant's: the role ``operator`` permits nothing elsewhere.

An invitation's token (``caio_inv_…``) is nobody's credential; the route that accepts it reads it itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import structlog

from caio.foundation.errors import NotAllowed, NotFound, Unauthenticated
from caio.foundation.hashing import keyed, same
from caio.foundation.scope import DEFAULT_TENANT, TenantScope
from caio.routing.model import TRUST_LEVELS, Principal
from caio.tenancy import jws, oidc
from caio.tenancy.attempts import Attempts
from caio.tenancy.jws import Token, TokenRefused
from caio.tenancy.key_sets import KeySets
from caio.tenancy.oidc import Identity, Issuer
from caio.tenancy.ports import ApiKeyStore, Located, Member, MemberStore, Tenant, TenantStatus, TenantStore
from caio.tenancy.principals import Caller, Permission, permissions_of
from caio.tenancy.throttle import Throttle

CACHE_MICROSECONDS = 2_000_000
CACHE_ENTRIES = 10_000
LONGEST_KEY = 512

KEY_PREFIX = "caio_"
INVITATION_PREFIX = "caio_inv_"

#: The principal of the person who holds the data directory, and so needs no credential.
EMBEDDED = "embedded"

_REFUSED = "send a valid API key or access token: Authorization: Bearer …"
_NOT_A_MEMBER = "this credential does not belong to the tenant that is asked for, or there is no such tenant"
_NO_TENANT = "There is no such tenant."

_logger = structlog.get_logger("caio.tenancy")


def embedded_scope(tenant_id: str = DEFAULT_TENANT) -> TenantScope:
    """The scope of the person who runs this process on their own data: the library and the
    operator's commands, which hold the data directory and need no further credential."""
    return TenantScope(tenant_id)


def embedded_caller(tenant: Tenant) -> Caller:
    """That person as a caller: with every permission, since the platform is theirs too."""
    principal = Principal(EMBEDDED, "process", frozenset({"admin"}), frozenset(Permission), TRUST_LEVELS[-1])
    return Caller(TenantScope(tenant.tenant_id), tenant, principal)


def scope_of_tenant(operator: Caller, tenant_id: str) -> TenantScope:
    """The scope of a tenant that the platform's operator looks at or changes; what of it, the services of the
    lifecycle decide. Raises NotAllowed for anyone else, NotFound for what is no tenant's id. Does not check
    that the tenant exists."""
    allowed = operator.principal.permissions & {Permission.TENANTS_READ, Permission.TENANTS_MANAGE}
    embedded = operator.principal.principal_id == EMBEDDED
    if not allowed or not (embedded or operator.scope.tenant_id == DEFAULT_TENANT):
        raise NotAllowed("this call is for the platform's operators")
    try:
        return TenantScope(tenant_id)
    except ValueError:
        raise NotFound(_NO_TENANT) from None


def invitation_token(authorization: str | None) -> str | None:
    """The invitation's token that an ``Authorization`` header bears, if it bears one. Checks nothing of it."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    bears_one = scheme.lower() == "bearer" and token.startswith(INVITATION_PREFIX) and len(token) <= LONGEST_KEY
    return token if bears_one and token.isascii() else None


class _Known(NamedTuple):
    """A caller as looked up; without effect from ``until`` on."""

    until: int
    caller: Caller


def _nobody(scope: TenantScope, key_id: str, now: int) -> None:
    """Tells nobody that a key was used."""


class Authenticator:
    """Authenticates bearer tokens. ``clock`` gives microseconds since the epoch; ``used`` is told of the uses of
    keys, once for each look-up. Without issuers only API keys are taken."""

    def __init__(
        self,
        keys: ApiKeyStore,
        tenants: TenantStore,
        hash_key: bytes,
        clock: Callable[[], int],
        members: MemberStore | None = None,
        issuers: Sequence[Issuer] = (),
        key_sets: KeySets | None = None,
        used: Callable[[TenantScope, str, int], None] = _nobody,
    ) -> None:
        self._keys = keys
        self._tenants = tenants
        self._hash_key = hash_key
        self._clock = clock
        self._members = members
        self._issuers = {each.issuer: each for each in issuers}
        self._key_sets = key_sets
        self._used = used
        self._attempts = Attempts(Throttle(), clock)
        self._cache: OrderedDict[bytes, _Known] = OrderedDict()
        self._looking: dict[bytes, asyncio.Future[_Known]] = {}
        self._changes = 0

    async def authenticate(self, authorization: str | None, tenant: str | None = None, address: str = "") -> Caller:
        """The caller behind an ``Authorization`` header, in the tenant that ``tenant`` (``X-Tenant-ID``) selects.

        Raises Unauthenticated; NotAllowed ``tenant_suspended`` for a valid credential of a tenant that is not
        active, ``not_a_member`` for a tenant that the credential does not prove, ``tenant_required`` when it
        proves several and none is selected; LimitExceeded for an ``address`` that has failed too often.
        """
        token = _bearer(authorization)
        name = self._name(token, tenant)
        now = self._clock()
        known = self._cache.get(name)
        if known is not None and known.until > now:
            caller = known.caller
        elif known is not None:
            caller = await self._looked_up(name, token, tenant, address)
        else:
            await self._attempts.begin(address)
            try:
                caller = await self._looked_up(name, token, tenant, address)
            finally:
                self._attempts.end(address)
        if tenant is not None and tenant != caller.scope.tenant_id:
            raise _not_a_member()
        return caller

    async def identify(self, authorization: str | None, address: str = "") -> Identity:
        """Whom a provider's token names, member of a tenant or not: for accepting an invitation. Raises
        Unauthenticated for anything else, and LimitExceeded as ``authenticate``."""
        async with self.attempt(address):
            return await self._identified(_bearer(authorization))

    @asynccontextmanager
    async def attempt(self, address: str) -> AsyncIterator[None]:
        """For routes that check a secret of their own: a block that fails by raising Unauthenticated, and begins in
        its turn. Raises LimitExceeded for an address that has failed too often."""
        await self._attempts.begin(address)
        try:
            yield
        except Unauthenticated:
            self._attempts.failed(address)
            raise
        finally:
            self._attempts.end(address)

    def forget(self, key_hash: bytes) -> None:
        """Drop a revoked key: from the cache, and from a look-up that may have read it before."""
        self._cache.pop(key_hash, None)
        if (looking := self._looking.pop(key_hash, None)) is not None:
            looking.cancel()

    def forget_principal(self, principal_id: str) -> None:
        """Drop a key or member whose roles, limits or end have changed."""
        self._changes += 1
        gone = [name for name, known in self._cache.items() if known.caller.principal.principal_id == principal_id]
        for name in gone:
            del self._cache[name]

    def forget_tenant(self, tenant_id: str) -> None:
        """Drop everybody of a tenant that has changed."""
        self._changes += 1
        gone = [name for name, known in self._cache.items() if known.caller.scope.tenant_id == tenant_id]
        for name in gone:
            del self._cache[name]

    def _name(self, token: str, tenant: str | None) -> bytes:
        """What a look-up is kept by: the token's keyed hash; for one that may prove several tenants, with the
        selection."""
        selected = "" if token.startswith(KEY_PREFIX) or tenant is None else f"\0{tenant}"
        return keyed(self._hash_key, (token + selected).encode(errors="surrogatepass"))

    async def _looked_up(self, name: bytes, token: str, tenant: str | None, address: str) -> Caller:
        """The caller, or a failure counted against the address."""
        known = self._cache.get(name)
        if known is not None and known.until > self._clock():
            return known.caller  # found for another while this call waited for its turn
        try:
            return await self._look_up(name, token, tenant)
        except Unauthenticated:
            self._fail(name, address)
            raise
        except NotAllowed as error:
            if error.code == "not_a_member":
                self._fail(name, address)
            raise

    async def _look_up(self, name: bytes, token: str, tenant: str | None) -> Caller:
        if token.startswith(KEY_PREFIX):
            return (await self._one_look_up(name, self._key_caller(name))).caller
        identity = await self._identified(token)
        # A membership that was just looked up for one token serves the next of the same bearer; no token's name
        # is made of a text that begins like this.
        of = "\0".join(("", identity.issuer, identity.subject, tenant or ""))
        bearer, changes = keyed(self._hash_key, of.encode(errors="surrogatepass")), self._changes
        known = self._cache.get(bearer)
        if known is None or known.until <= self._clock():
            known = await self._one_look_up(bearer, self._member_caller(identity, tenant))
        if changes == self._changes:
            self._remember(name, _Known(min(known.until, identity.expires_at), known.caller))
        return known.caller

    async def _one_look_up(self, name: bytes, found: Coroutine[Any, Any, _Known]) -> _Known:
        looking = self._looking.get(name)
        if looking is None:
            # One look-up at a time: when an entry expires under load, the others wait for it.
            looking = self._looking[name] = asyncio.ensure_future(self._kept(name, found))
            looking.add_done_callback(lambda _: self._looking.pop(name, None))
        else:
            found.close()
        try:
            return await asyncio.shield(looking)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if looking.cancelled() and not (task and task.cancelling()):
                raise Unauthenticated(_REFUSED) from None  # ``forget`` ended it: the key was revoked just now
            raise

    async def _kept(self, name: bytes, found: Coroutine[Any, Any, _Known]) -> _Known:
        changes = self._changes
        known = await found
        return self._remember(name, known) if changes == self._changes else known

    def _remember(self, name: bytes, known: _Known) -> _Known:
        before = self._cache.pop(name, None)
        if before is not None and before.caller == known.caller:
            known = before._replace(until=known.until)  # what was worked out for the same caller stays of use
        self._cache[name] = known
        if len(self._cache) > CACHE_ENTRIES:
            self._cache.popitem(last=False)
        return known

    def _fail(self, name: bytes, address: str) -> None:
        self._cache.pop(name, None)
        self._attempts.failed(address)

    async def _key_caller(self, key_hash: bytes) -> _Known:
        """The caller of the API key with this hash."""
        located = await self._keys.locate(key_hash)
        if located is None:
            raise Unauthenticated(_REFUSED)
        scope = TenantScope(located.tenant_id)
        try:
            key = await self._keys.get(scope, located.item_id)
        except NotFound:
            raise Unauthenticated(_REFUSED) from None
        now = self._clock()
        ends_at = now + CACHE_MICROSECONDS if key.expires_at is None else key.expires_at
        if not same(key.key_hash, key_hash) or key.revoked_at is not None or ends_at <= now:
            raise Unauthenticated(_REFUSED)
        tenant = await self._standing(scope)
        self._used(scope, key.key_id, now)
        principal = _principal(scope, key.key_id, "api_key", key.roles, key.trust_level)
        caller = Caller(scope, tenant, principal, key.policies, key.limits, key.expires_at)
        return _Known(min(self._clock() + CACHE_MICROSECONDS, ends_at), caller)

    async def present(self, scope: TenantScope, principal_id: str) -> Caller:
        """Who a principal of the tenant is by now: for work that goes on when its caller has gone. Raises
        Unauthenticated for a key that has ended and a member who was removed, NotAllowed ``tenant_suspended``. Does
        not ask an identity provider, and counts as no use of the key."""
        tenant = await self._standing(scope)
        if principal_id == EMBEDDED:
            return embedded_caller(tenant)
        member = await self._member(scope, principal_id)
        if member is not None:
            principal = _principal(scope, principal_id, "member", member.roles, member.trust_level)
            return Caller(scope, tenant, principal, limits=member.limits)
        try:
            key = await self._keys.get(scope, principal_id)
        except NotFound:
            raise Unauthenticated(_REFUSED) from None
        if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= self._clock()):
            raise Unauthenticated(_REFUSED)
        principal = _principal(scope, principal_id, "api_key", key.roles, key.trust_level)
        return Caller(scope, tenant, principal, key.policies, key.limits, key.expires_at)

    async def _member_caller(self, identity: Identity, tenant: str | None) -> _Known:
        """The caller that an identity is in the tenant that it selects."""
        located = _selected(await self._memberships(identity), tenant)
        scope = TenantScope(located.tenant_id)
        member = await self._member(scope, located.item_id)
        if member is None or (member.issuer, member.subject) != (identity.issuer, identity.subject):
            raise _not_a_member()
        standing = await self._standing(scope)
        principal = _principal(scope, member.member_id, "member", member.roles, member.trust_level)
        return _Known(self._clock() + CACHE_MICROSECONDS, Caller(scope, standing, principal, limits=member.limits))

    async def _memberships(self, identity: Identity) -> Sequence[Located]:
        return () if self._members is None else await self._members.locate(identity.issuer, identity.subject)

    async def _member(self, scope: TenantScope, member_id: str) -> Member | None:
        if self._members is None:
            return None
        try:
            member = await self._members.get(scope, member_id)
        except NotFound:
            return None
        return member if member.removed_at is None else None

    async def _standing(self, scope: TenantScope) -> Tenant:
        """The tenant, if it is served."""
        try:
            tenant = await self._tenants.get(scope)
        except NotFound:
            raise Unauthenticated(_REFUSED) from None
        if tenant.status is TenantStatus.DELETED:
            raise Unauthenticated(_REFUSED)
        if tenant.status is not TenantStatus.ACTIVE:
            raise NotAllowed("this tenant is not active", code="tenant_suspended")
        return tenant

    async def _identified(self, token: str) -> Identity:
        """The identity that a provider's token proves. Raises Unauthenticated."""
        try:
            read = jws.read_token(token)
            issuer = self._issuers.get(oidc.issuer_named(read))
            if issuer is None or self._key_sets is None:
                raise TokenRefused("no such issuer is configured")
            return await self._verified(read, issuer, self._key_sets)
        except TokenRefused as error:
            # For the operator who wonders; the caller learns nothing, and the log nothing of the token.
            _logger.info("token_refused", reason=str(error))
            raise Unauthenticated(_REFUSED) from None

    async def _verified(self, token: Token, issuer: Issuer, key_sets: KeySets) -> Identity:
        # The claims first: they cost less than a signature, and far less than a fetch of keys.
        identity = oidc.identity(token, issuer, self._clock())
        (await key_sets.key(token, issuer)).verify(token)
        return identity


def _principal(scope: TenantScope, principal_id: str, kind: str, stated: Sequence[str], trust_level: str) -> Principal:
    roles = frozenset(stated)
    if scope.tenant_id != DEFAULT_TENANT:
        roles -= {"operator"}
    return Principal(principal_id, kind, roles, permissions_of(roles), trust_level)


def _selected(memberships: Sequence[Located], tenant: str | None) -> Located:
    if tenant is not None:
        memberships = [each for each in memberships if each.tenant_id == tenant]
    if not memberships:
        raise _not_a_member()
    if len(memberships) > 1:
        raise NotAllowed(
            "this credential proves several tenants; name one in the header X-Tenant-ID", code="tenant_required"
        )
    return memberships[0]


def _not_a_member() -> NotAllowed:
    return NotAllowed(_NOT_A_MEMBER, code="not_a_member")


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    longest = LONGEST_KEY if token.startswith(KEY_PREFIX) else jws.LONGEST_TOKEN
    if scheme.lower() != "bearer" or not token.isascii() or not 0 < len(token) <= longest:
        raise Unauthenticated(_REFUSED)
    return token
