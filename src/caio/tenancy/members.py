"""Members: the people and programs of identity providers that belong to a tenant.

They join by invitation. What a member may do is the membership's, whatever a token says.

Laws (each has a test of the same name)
---------------------------------------
- a_tenant_keeps_an_admin: the last one among its members is neither removed nor demoted.
- nobody_changes_who_has_more: nor gives more than they have (``grants``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from caio.audit.acts import Act, Acts
from caio.foundation.errors import NotFound
from caio.foundation.scope import TenantScope
from caio.tenancy.grants import check_reach, granted_limits, granted_roles
from caio.tenancy.limits import Limits
from caio.tenancy.ports import Member, MemberStore
from caio.tenancy.principals import Caller


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
        or a member who has more, Conflict ``last_admin``. Effective here at once, elsewhere within seconds."""
        before = await self._standing(caller, member_id)
        trust = before.trust_level if trust_level is None else trust_level
        after = replace(
            before,
            roles=granted_roles(caller, before.roles if roles is None else roles, trust),
            trust_level=trust,
            limits=before.limits if limits is None else granted_limits(caller, limits),
        )
        if after == before:
            return before
        details = {"roles": list(after.roles), "trust_level": trust, "limits": after.limits.document()}
        leaf = await self._acts.leaf(
            caller.scope, Act("member.changed", caller.principal.principal_id, member_id, details)
        )
        stored = await self._store.change(caller.scope, after, leaf)
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
