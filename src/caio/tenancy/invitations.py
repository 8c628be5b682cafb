"""Invitations: how people, and laptops without an identity provider, come to belong to a tenant.

Theory of operation
-------------------
A token is ``caio_inv_<43 characters>``: 256 random bits in URL-safe base 64, shown once; only its keyed hash is
stored, under a key of its own purpose. Whoever brings it joins: with a verified identity as a member, or with
the token alone by getting an API key. Accepting is one transaction: the invitation ends, the member or key
comes into being, and both leaves are written; so of any number who bring one token, one joins.

An invitation stands on whoever made it. When it is accepted, its maker must still be there and still have
what it grants: a key that was revoked or has expired, a member who was removed or lost the role, invites
nobody any more. An operator's invitation stands on the operator's being one, and on the tenant's having no admin:
it is for the first one, or for a tenant that nobody can administer any more, and no way in beside its admins.

Laws (each has a test of the same name, for both databases)
-----------------------------------------------------------
- an_invitation_is_accepted_once: by whomever, at whatever time together.
- an_invitation_ends: accepted, revoked, expired or with its maker's right to it; then its token is nobody's.
- a_grant_never_exceeds_its_grantor: neither when it is made nor when it is accepted.
- an_operator_invites_only_where_there_is_no_admin: neither when it is made nor when it is accepted.
- the_token_is_not_stored: nor what could be tested for it without the installation's key.

Not checked: that who brings the token is whom the address names; sending it is trusting its bearer.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from caio.audit.acts import SYSTEM, Act, Acts
from caio.audit.ports import Leaf
from caio.foundation.errors import Conflict, NotAllowed, NotFound, Unauthenticated
from caio.foundation.hashing import keyed
from caio.foundation.ids import ENTROPY_BYTES, ulid
from caio.foundation.scope import DEFAULT_TENANT, TenantScope
from caio.routing.model import TRUST_LEVELS
from caio.tenancy.api_keys import ApiKeys, NewKey, creation
from caio.tenancy.authentication import EMBEDDED, INVITATION_PREFIX, embedded_scope
from caio.tenancy.grants import check_unbound, granted_roles
from caio.tenancy.oidc import Identity
from caio.tenancy.ports import ApiKey, Invitation, Located, Member, TenantStatus, TenantStore
from caio.tenancy.principals import Caller, Permission, permissions_of

SECRET_BYTES = 32
DAY = 86_400_000_000

_NOT_OPEN = "this invitation is not open: it was used or revoked, has ended, or never was; ask for another"


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """An invitation just made, with its token: shown this once."""

    invitation: Invitation
    token: str


@dataclass(frozen=True, slots=True)
class Grantor:
    """What a key or member that stands may grant; ``bounded`` by policies, limits or an end, it grants nothing,
    since who joins would not be."""

    roles: tuple[str, ...]
    trust_level: str
    bounded: bool = False


class InvitationStore(Protocol):
    """Invitations and the leaves that tell of them, written in one transaction each."""

    async def add(self, scope: TenantScope, invitation: Invitation, leaf: Leaf) -> None:
        """Raises NotFound for an unknown tenant."""
        ...

    async def get(self, scope: TenantScope, invitation_id: str) -> Invitation:
        """Raises NotFound."""
        ...

    async def page(self, scope: TenantScope, after: str, limit: int) -> Sequence[Invitation]:
        """Up to ``limit`` with an id beyond ``after``, by id; ended ones too."""
        ...

    async def locate(self, token_hash: bytes) -> Located | None:
        """The invitation with this hash, of any tenant: a look-up that precedes a scope."""
        ...

    async def revoke(self, scope: TenantScope, invitation_id: str, now: int, leaf: Leaf) -> Invitation:
        """Raises NotFound. One that has ended is given back as it is, and nothing is written."""
        ...

    async def accept(
        self, scope: TenantScope, invitation_id: str, now: int, joining: Member | ApiKey, leaves: Sequence[Leaf]
    ) -> bool:
        """End the invitation and store who joins by it; False, and nothing written, when it is not open at
        ``now``. Raises Conflict ``already_member`` for an identity that is one."""
        ...

    async def has_admin(self, scope: TenantScope, now: int) -> bool:
        """Whether a key or member that stands at ``now`` has the role ``admin``."""
        ...

    async def grantor(self, scope: TenantScope, principal_id: str, now: int) -> Grantor | None:
        """What the tenant's key or member of this id stands for; None when it does not, or is none."""
        ...


class Invitations:
    """Makes, lists and revokes invitations, and lets people in by them. ``clock`` gives microseconds since
    the epoch; ``hash_key`` serves no other purpose."""

    def __init__(
        self,
        store: InvitationStore,
        tenants: TenantStore,
        keys: ApiKeys,
        hash_key: bytes,
        clock: Callable[[], int],
        entropy: Callable[[int], bytes],
        acts: Acts,
    ) -> None:
        self._store = store
        self._tenants = tenants
        self._keys = keys
        self._hash_key = hash_key
        self._clock = clock
        self._entropy = entropy
        self._acts = acts

    async def create(
        self, caller: Caller, email: str, roles: Sequence[str], trust_level: str, days: int
    ) -> NewInvitation:
        """Invite into the caller's own tenant. Raises as ``granted_roles``, and NotAllowed for a caller who is
        bound by policies, limits or an end."""
        stored = granted_roles(caller, roles, trust_level)
        check_unbound(caller)
        return await self._add(caller.scope, caller.principal.principal_id, email, stored, trust_level, days)

    async def invite_admin(self, scope: TenantScope, operator: Caller, email: str, days: int) -> NewInvitation:
        """Invite an admin into a tenant that has none. Raises NotAllowed for anyone but an operator, and Conflict
        ``tenant_has_admin``."""
        operator.require(Permission.TENANTS_MANAGE)
        if await self._store.has_admin(scope, self._clock()):
            raise Conflict(
                "This tenant has an admin, who invites whoever is to join; operators let nobody in beside them.",
                code="tenant_has_admin",
            )
        return await self._add(scope, operator.principal.principal_id, email, ("admin",), TRUST_LEVELS[-1], days)

    async def page(self, scope: TenantScope, after: str, limit: int) -> Sequence[Invitation]:
        return await self._store.page(scope, after, limit)

    async def revoke(self, caller: Caller, invitation_id: str) -> Invitation:
        """End an invitation of the caller's tenant. Raises NotFound; one that has ended stays as it is."""
        act = Act("invitation.revoked", caller.principal.principal_id, invitation_id)
        leaf = await self._acts.leaf(caller.scope, act)
        return await self._store.revoke(caller.scope, invitation_id, self._clock(), leaf)

    async def join(self, identity: Identity, token: str) -> Member:
        """Make ``identity`` a member by an invitation's token. Raises Unauthenticated ``invitation_not_open``, and
        Conflict ``already_member``, which leaves the invitation open."""
        scope, invitation = await self._open(token)
        now = self._clock()
        member = Member(
            ulid("member", now, self._entropy(ENTROPY_BYTES)),
            scope.tenant_id,
            identity.issuer,
            identity.subject,
            identity.name,
            identity.email,
            invitation.roles,
            invitation.trust_level,
            now,
        )
        joined = Act("member.joined", member.member_id, member.member_id, _granted(invitation))
        await self._accept(scope, invitation, member, member.member_id, joined, now)
        return member

    async def exchange(self, token: str, name: str) -> NewKey:
        """An API key for whoever bears an invitation's token. Raises Unauthenticated ``invitation_not_open``."""
        scope, invitation = await self._open(token)
        now = self._clock()
        called = name or invitation.email or "by invitation"
        new = self._keys.drafted(scope, invitation.created_by, called, invitation.roles, invitation.trust_level)
        await self._accept(scope, invitation, new.key, new.key.key_id, creation(new.key.key_id, new.key), now)
        return new

    async def _add(
        self, scope: TenantScope, by: str, email: str, roles: Sequence[str], trust_level: str, days: int
    ) -> NewInvitation:
        now = self._clock()
        secret = base64.urlsafe_b64encode(self._entropy(SECRET_BYTES)).rstrip(b"=").decode()
        token = f"{INVITATION_PREFIX}{secret}"
        invitation = Invitation(
            ulid("inv", now, self._entropy(ENTROPY_BYTES)),
            scope.tenant_id,
            email,
            tuple(sorted(set(roles))),
            trust_level,
            self._hash(token),
            now,
            by,
            now + days * DAY,
        )
        details = {"roles": list(invitation.roles), "trust_level": trust_level, "expires_at": invitation.expires_at}
        leaf = await self._acts.leaf(scope, Act("invitation.created", by, invitation.invitation_id, details))
        await self._store.add(scope, invitation, leaf)
        return NewInvitation(invitation, token)

    async def _open(self, token: str) -> tuple[TenantScope, Invitation]:
        """The open invitation of this token, whose maker stands. Raises Unauthenticated."""
        located = await self._store.locate(self._hash(token))
        if located is None:
            raise _not_open()
        scope = embedded_scope(located.tenant_id)
        try:
            invitation = await self._store.get(scope, located.item_id)
            tenant = await self._tenants.get(scope)
        except NotFound:
            raise _not_open() from None
        ended = invitation.accepted_at is not None or invitation.revoked_at is not None
        if ended or invitation.expires_at <= self._clock() or not await self._stands(scope, invitation):
            raise _not_open()
        if tenant.status is not TenantStatus.ACTIVE:
            raise NotAllowed("this tenant is not active", code="tenant_suspended")
        return scope, invitation

    async def _stands(self, scope: TenantScope, invitation: Invitation) -> bool:
        """Whether who made the invitation could make it now."""
        by, now = invitation.created_by, self._clock()
        if by in (EMBEDDED, SYSTEM):
            return True
        maker = await self._store.grantor(scope, by, now)
        if maker is not None:
            trusted = TRUST_LEVELS.index(invitation.trust_level) <= TRUST_LEVELS.index(maker.trust_level)
            covered = permissions_of(invitation.roles) <= permissions_of(maker.roles)
            return trusted and covered and not maker.bounded
        operator = await self._store.grantor(embedded_scope(DEFAULT_TENANT), by, now)
        if operator is None or Permission.TENANTS_MANAGE not in permissions_of(operator.roles):
            return False
        return not await self._store.has_admin(scope, now)

    async def _accept(
        self, scope: TenantScope, invitation: Invitation, joining: Member | ApiKey, by: str, joined: Act, now: int
    ) -> None:
        accepted = Act("invitation.accepted", by, invitation.invitation_id, {"joined": by})
        leaves = [await self._acts.leaf(scope, act) for act in (accepted, joined)]
        if not await self._store.accept(scope, invitation.invitation_id, now, joining, leaves):
            raise _not_open()

    def _hash(self, token: str) -> bytes:
        return keyed(self._hash_key, token.encode(errors="surrogatepass"))


def _granted(invitation: Invitation) -> dict[str, object]:
    return {"roles": list(invitation.roles), "trust_level": invitation.trust_level}


def _not_open() -> Unauthenticated:
    return Unauthenticated(_NOT_OPEN, code="invitation_not_open")
