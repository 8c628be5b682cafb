"""What the ``model`` of a call stands for.

``auto`` and ``auto:<capability>`` leave the choice to the decision. Any other name is a service of the tenant's own,
else an alias of the tenant's, else a service that others share: what a tenant named itself comes before what others
bring, as its own services hide shared ones. ``id@version`` always means a service. A name that is nothing is not
found; nothing is decided for it.

The names are read off the tenant's compiled view once for each view, so that a call pays a look-up; so is the list
of models, of whose services nothing is read but when they were published.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from caio.foundation.errors import NotFound
from caio.foundation.scope import TenantScope
from caio.gateway.aliases import Terms, terms_of
from caio.gateway.ports import PROTOCOLS_OF, Operation
from caio.registry.aliases import Alias, Aliases
from caio.registry.ports import Publications
from caio.registry.views import View, Views

AUTO = "auto"
_CAPABILITY = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")

#: Tenants whose names are kept.
TENANTS_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Meant:
    """What a model's name asks for: a capability other than the surface's own, the services named, an alias's terms."""

    capability: str | None = None
    services: frozenset[str] = frozenset()
    terms: Terms | None = None


ANY = Meant()


@dataclass(frozen=True, slots=True)
class Listed:
    """A name that a model may have. ``created`` is in seconds since the epoch."""

    id: str
    created: int
    owned_by: str


#: The protocols whose services answer OpenAI-shaped calls.
SPEAKING = PROTOCOLS_OF[Operation.CHAT] | PROTOCOLS_OF[Operation.EMBEDDINGS]


@dataclass(slots=True)
class _Names:
    """The names in one view: of the tenant's own services, of shared ones, and of both with their versions.
    ``listed`` is made when somebody asks for it."""

    view: View
    own: frozenset[str]
    shared: frozenset[str]
    pinned: frozenset[str]
    listed: Mapping[str, Listed] | None = None

    @classmethod
    def of(cls, tenant_id: str, view: View) -> _Names:
        offers = view.snapshot.offers
        own = frozenset(each.service_id for each in offers if each.tenant_id == tenant_id)
        shared = frozenset(each.service_id for each in offers) - own
        return cls(view, own, shared, frozenset(f"{each.service_id}@{each.version}" for each in offers))


class ModelNames:
    """Resolves the models that calls name."""

    def __init__(self, views: Views, aliases: Aliases, contracts: Publications) -> None:
        self._views = views
        self._aliases = aliases
        self._contracts = contracts
        self._names: OrderedDict[str, _Names] = OrderedDict()

    async def meant(self, scope: TenantScope, model: str) -> Meant:
        """Raises NotFound ``model_not_found``."""
        if model == AUTO:
            return ANY
        if model.startswith(AUTO + ":"):
            capability = model.removeprefix(AUTO + ":")
            if capability and _CAPABILITY.fullmatch(capability) is None:
                raise _unknown(model)
            return Meant(capability or None)
        names = await self._of(scope)
        if model in names.own or model in names.pinned:
            return Meant(services=frozenset((model,)))
        if (alias := (await self._aliases_of(scope)).get(model)) is not None:
            terms = terms_of(alias.name, alias.content)
            return Meant(capability=next(iter(terms.capabilities), None), terms=terms)
        if model in names.shared:
            return Meant(services=frozenset((model,)))
        raise _unknown(model)

    async def listed(self, scope: TenantScope) -> list[Listed]:
        """All names: services, then aliases, then ``auto`` and what it may be asked for. A service that is hidden by
        an alias is not among them."""
        services, aliases = await self._services(scope), await self._aliases_of(scope)
        names = await self._of(scope)
        own = [_of_alias(scope, each) for each in aliases.values() if each.name not in names.own]
        hidden = {each.id for each in own}
        return [*(each for name, each in services.items() if name not in hidden), *own]

    async def one(self, scope: TenantScope, model: str) -> Listed:
        """Raises NotFound ``model_not_found``."""
        found = {each.id: each for each in await self.listed(scope)}
        if model in found:
            return found[model]
        name, pinned, _ = model.partition("@")
        services = await self._services(scope)
        if pinned and name in services and model in (await self._of(scope)).pinned:
            return replace(services[name], id=model)
        raise _unknown(model)

    async def _services(self, scope: TenantScope) -> Mapping[str, Listed]:
        """The services that answer OpenAI-shaped calls, and what ``auto`` may be asked for, by name."""
        names = await self._of(scope)
        if names.listed is None:
            offers = [each for each in names.view.snapshot.offers if each.protocol in SPEAKING]
            standing = await self._contracts.standing(scope)
            published = {(each.tenant_id, each.name): each.published_at // 1_000_000 for each in standing}
            listed = [
                Listed(
                    each.service_id,
                    published.get((each.tenant_id, each.service_id), 0),
                    each.document.get("owner", each.tenant_id),
                )
                for each in sorted(offers, key=lambda each: each.service_id)
            ]
            capabilities = sorted({name for each in offers for name in each.capabilities})
            chosen = [Listed(name, 0, "caio") for name in (AUTO, *(f"{AUTO}:{each}" for each in capabilities))]
            names.listed = {each.id: each for each in (*listed, *chosen)}
        return names.listed

    async def _aliases_of(self, scope: TenantScope) -> Mapping[str, Alias]:
        fresh = self._aliases.fresh(scope.tenant_id)
        return await self._aliases.read(scope) if fresh is None else fresh

    async def _of(self, scope: TenantScope) -> _Names:
        view = await self._views.current(scope)
        names = self._names.get(scope.tenant_id)
        if names is None or names.view is not view:
            names = self._names[scope.tenant_id] = _Names.of(scope.tenant_id, view)
            self._names.move_to_end(scope.tenant_id)
            if len(self._names) > TENANTS_KEPT:
                self._names.popitem(last=False)
        return names


def _of_alias(scope: TenantScope, alias: Alias) -> Listed:
    return Listed(alias.name, alias.created_at // 1_000_000, scope.tenant_id)


def _unknown(model: str) -> NotFound:
    message = f"no service and no alias is named {model!r}: GET /v1/models lists what may be"
    return NotFound(message, code="model_not_found")
