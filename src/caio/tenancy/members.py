"""Members: the people and programs of identity providers that belong to a tenant.

They join by invitation. What a member may do is the membership's, whatever a token says.

Laws (each has a test of the same name)
---------------------------------------
- a_tenant_keeps_an_admin: the last one among its members is neither removed nor demoted.
- nobody_changes_who_has_more: nor gives more than they have (``grants``).
- who_is_bound_gives_no_freedom: a key with policies, limits or an end makes nobody's roles or trust more.
- a_change_is_of_what_was_read: of two at the same time, the second sees what the first did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from caio.audit.acts import Act, Acts
from caio.foundation.errors import NotFound
from caio.foundation.scope import TenantScope
from caio.routing.model import TRUST_LEVELS
from caio.tenancy.grants import check_reach, check_unbound, granted_limits, granted_roles
from caio.tenancy.limits import Limits
from caio.tenancy.ports import Member, MemberStore
from caio.tenancy.principals import Caller, permissions_of


class Members:
    """Lists, changes and removes members. ``changed`` is told a member's id, to forget what it was at once."""

    def __init__(
        self, store: MemberStore, acts: Acts, clock: Callable[[], int], changed: Callable[[str], None]
    ) -> None:
        self._store = store
        self._acts = acts
        self._clock = clock
        self._changed = changed

    async def page(self, scope: TenantScope, after: str, limit: int) -> Sequence[Member]:
        """Up to ``limit`` members, by id, removed ones included."""
        return await self._store.page(scope, after, limit)

    async def get(self, scope: TenantScope, member_id: str) -> Member:
        """Raises NotFound."""
        return await self._store.get(scope, member_id)

    async def change(
        self,
        caller: Caller,
        member_id: str,
        roles: Sequence[str] | None = None,
        trust_level: str | None = None,
        limits: Limits | None = None,
    ) -> Member:
        """Change what is stated of a member. Raises NotFound, InvalidInput, NotAllowed for more than the caller has
        or a member who has more, or for more from one who is bound, Conflict ``last_admin``. Effective here at once,
        elsewhere within seconds."""
        while True:
            before = await self._standing(caller, member_id)
            after = _changed(caller, before, roles, trust_level, limits)
            if after == before:
                return before
            details = {
                "roles": list(after.roles),
                "trust_level": after.trust_level,
                "limits": after.limits.document(),
            }
            leaf = await self._acts.leaf(
                caller.scope, Act("member.changed", caller.principal.principal_id, member_id, details)
            )
            stored = await self._store.change(caller.scope, before, after, leaf)
            if stored is not None:
                self._changed(member_id)
                return stored

    async def remove(self, caller: Caller, member_id: str) -> Member:
        """Raises NotFound, NotAllowed for a member who has more than the caller, Conflict ``last_admin``."""
        await self._standing(caller, member_id)
        act = Act("member.removed", caller.principal.principal_id, member_id)
        leaf = await self._acts.leaf(caller.scope, act)
        removed = await self._store.remove(caller.scope, member_id, self._clock(), leaf)
        self._changed(member_id)
        return removed

    async def _standing(self, caller: Caller, member_id: str) -> Member:
        member = await self._store.get(caller.scope, member_id)
        if member.removed_at is not None:
            raise NotFound("There is no such member.")
        check_reach(caller, member.roles, member.trust_level)
        return member


def _changed(
    caller: Caller, before: Member, roles: Sequence[str] | None, trust_level: str | None, limits: Limits | None
) -> Member:
    """The member with what is stated, as far as ``caller`` may give it."""
    trust = before.trust_level if trust_level is None else trust_level
    granted = granted_roles(caller, before.roles if roles is None else roles, trust)
    more_trust = TRUST_LEVELS.index(trust) > TRUST_LEVELS.index(before.trust_level)
    if more_trust or not permissions_of(granted) <= permissions_of(before.roles):
        check_unbound(caller)
    narrowed = before.limits if limits is None else granted_limits(caller, limits)
    return replace(before, roles=granted, trust_level=trust, limits=narrowed)
