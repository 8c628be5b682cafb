"""The aliases that tenants give to models, and the copy of them that calls are resolved by.

What an alias means is the gateway's affair (``gateway.aliases``); here its content is a document. A process that is
alone knows every change; where others serve too, a copy is taken for true for two seconds, so that a change is seen
everywhere soon after it was made and a call pays a look-up in a dictionary.

A service of the tenant's own comes before an alias of its name, so a name that one of them has is refused to the
other. Only two changes at the same moment can give both the same name; then the service is meant.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

import msgspec

from caio.audit.acts import Act, Acts
from caio.audit.ports import Leaf
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import Conflict, InvalidInput, NotFound, Violation
from caio.foundation.scope import TenantScope
from caio.registry.ports import Publications, PublicationStatus
from caio.registry.views import Views
from caio.tenancy.principals import Caller

#: How long a copy is taken for true where other processes serve too, in seconds.
KEPT_SECONDS = 2.0
#: Tenants whose aliases are kept.
TENANTS_KEPT = 1_000
#: Aliases that a tenant may have, and the bytes of one.
ALIAS_QUOTA = 1_000
ALIAS_BYTES = 16_384
#: What an alias may be called: never a service's version, nor what chooses by capability.
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
RESERVED = frozenset({"auto"})


@dataclass(frozen=True, slots=True)
class Alias:
    """One alias. ``content`` is its canonical JSON; ``revision`` moves with every change; times in microseconds."""

    name: str
    content: str
    revision: int
    created_at: int
    updated_at: int

    @staticmethod
    def content_of(document: Mapping[str, Any]) -> str:
        """The content that holds ``document``."""
        return canonical_json(dict(document)).decode()

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.content)
        return found


class AliasStore(Protocol):
    """``leaf`` tells of a change and is written in its transaction."""

    async def all(self, scope: TenantScope) -> Sequence[Alias]:
        """All of the tenant's, by name."""
        ...

    async def create(self, scope: TenantScope, name: str, content: str, now: int, quota: int, leaf: Leaf) -> Alias:
        """Raises Conflict ``already_exists``, and ``quota_exceeded`` for a tenant that has ``quota`` of them."""
        ...

    async def change(self, scope: TenantScope, name: str, content: str, now: int, if_match: int, leaf: Leaf) -> Alias:
        """Raises NotFound, and PreconditionFailed when the revision is not ``if_match``."""
        ...

    async def delete(self, scope: TenantScope, name: str, if_match: int | None, leaf: Leaf) -> Alias:
        """What was deleted. Raises NotFound, and PreconditionFailed when the revision is not ``if_match``."""
        ...


class Aliases:
    """The tenants' aliases. ``clock`` gives microseconds since the epoch, ``monotonic`` seconds; ``alone`` is whether
    every change comes through this process."""

    def __init__(
        self,
        store: AliasStore,
        contracts: Publications,
        views: Views,
        acts: Acts,
        clock: Callable[[], int],
        monotonic: Callable[[], float],
        *,
        alone: bool = True,
    ) -> None:
        self._store = store
        self._contracts = contracts
        self._views = views
        self._acts = acts
        self._clock = clock
        self._monotonic = monotonic
        self._kept_seconds = inf if alone else KEPT_SECONDS
        self._kept: OrderedDict[str, tuple[float, Mapping[str, Alias]]] = OrderedDict()
        self._changes = 0

    def fresh(self, tenant_id: str) -> Mapping[str, Alias] | None:
        """The tenant's aliases by name if they are at hand, else None: then ``read`` them."""
        kept = self._kept.get(tenant_id)
        return kept[1] if kept is not None and self._monotonic() < kept[0] else None

    async def read(self, scope: TenantScope) -> Mapping[str, Alias]:
        """The tenant's aliases by name, as they are stored now."""
        until, before = self._monotonic() + self._kept_seconds, self._changes
        aliases = {each.name: each for each in await self._store.all(scope)}
        if before == self._changes:  # else a change came meanwhile, and what was read may be old: the next call reads
            self._kept[scope.tenant_id] = until, aliases
            self._kept.move_to_end(scope.tenant_id)
            if len(self._kept) > TENANTS_KEPT:
                self._kept.popitem(last=False)
        return aliases

    async def list(self, scope: TenantScope) -> Sequence[Alias]:
        """All of the tenant's, by name."""
        return await self._store.all(scope)

    async def get(self, scope: TenantScope, name: str) -> Alias:
        """Raises NotFound."""
        found = next((each for each in await self._store.all(scope) if each.name == name), None)
        if found is None:
            raise NotFound(f"no alias is named {name!r}")
        return found

    async def create(
        self, caller: Caller, name: str, document: Mapping[str, Any], policies: Sequence[str], services: Sequence[str]
    ) -> Alias:
        """A new alias of a valid ``document``, which names ``policies`` and ``services``. Raises InvalidInput for a
        name that cannot be one, or names that are nothing; Conflict ``already_exists`` or ``quota_exceeded``."""
        content = await self._checked(caller.scope, name, document, policies, services)
        await self._refuse_a_services_name(caller.scope, name)
        leaf = await self._leaf(caller, "alias.set", name, document)
        made = await self._store.create(caller.scope, name, content, self._clock(), ALIAS_QUOTA, leaf)
        self._forget(caller.scope.tenant_id)
        return made

    async def replace(
        self,
        caller: Caller,
        name: str,
        document: Mapping[str, Any],
        policies: Sequence[str],
        services: Sequence[str],
        if_match: int,
    ) -> Alias:
        """Give an alias another content. Raises InvalidInput, NotFound, PreconditionFailed."""
        content = await self._checked(caller.scope, name, document, policies, services)
        leaf = await self._leaf(caller, "alias.set", name, document)
        made = await self._store.change(caller.scope, name, content, self._clock(), if_match, leaf)
        self._forget(caller.scope.tenant_id)
        return made

    async def delete(self, caller: Caller, name: str, if_match: int | None) -> Alias:
        """What was removed. Raises NotFound, and PreconditionFailed."""
        leaf = await self._leaf(caller, "alias.removed", name, {})
        removed = await self._store.delete(caller.scope, name, if_match, leaf)
        self._forget(caller.scope.tenant_id)
        return removed

    async def refuse_an_aliass_name(self, scope: TenantScope, service_id: str) -> None:
        """Raises Conflict ``already_exists`` when a service would take the name of an alias."""
        if any(each.name == service_id for each in await self._store.all(scope)):
            raise Conflict(
                f"{service_id!r} is an alias: remove it, or choose another service_id", code="already_exists"
            )

    async def _refuse_a_services_name(self, scope: TenantScope, name: str) -> None:
        try:
            found = await self._contracts.get(scope, name)
        except NotFound:
            return
        if found.tenant_id == scope.tenant_id and found.status is PublicationStatus.ACTIVE:
            raise Conflict(f"{name!r} is a service: choose another name for the alias", code="already_exists")

    async def _checked(
        self,
        scope: TenantScope,
        name: str,
        document: Mapping[str, Any],
        policies: Sequence[str],
        services: Sequence[str],
    ) -> str:
        violations = []
        if NAME.fullmatch(name) is None or name in RESERVED:
            rule = "must be lower-case letters, digits, '.', '_' and '-', at most 63, and not 'auto'"
            violations.append(Violation("/alias", rule))
        content = Alias.content_of(document)
        if len(content) > ALIAS_BYTES:
            violations.append(Violation("", f"an alias may have {ALIAS_BYTES} bytes"))
        view = await self._views.current(scope)
        for index, policy in enumerate(policies):
            if policy not in view.nameable:
                violations.append(Violation(f"/policies/{index}", f"no policy is named {policy!r}"))
        known = {name for each in view.snapshot.offers for name in (each.service_id, "@".join(each.key))}
        for index, service in enumerate(services):
            if service not in known:
                violations.append(Violation(f"/target/services/{index}", f"no service is named {service!r}"))
        if violations:
            raise InvalidInput(f"the alias is not valid: {violations[0].message}", violations, code="invalid_request")
        return content

    def _forget(self, tenant_id: str) -> None:
        self._changes += 1
        self._kept.pop(tenant_id, None)

    async def _leaf(self, caller: Caller, action: str, name: str, document: Mapping[str, Any]) -> Leaf:
        details = {"alias": dict(document)} if document else {}
        return await self._acts.leaf(caller.scope, Act(action, caller.principal.principal_id, name, details))
