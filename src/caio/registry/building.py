"""Making a tenant's snapshot from what is published, and from the last one as far as that goes.

A tenant with ten thousand services who registers one more must not wait for ten thousand contracts
to be read and compiled. What the last snapshot knows under the same hash is taken from it; a few
changes are worked into it, many compile anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from caio.foundation.scope import TenantScope
from caio.registry.ports import Publications, Standing
from caio.routing.engine import Snapshot, compile_snapshot
from caio.routing.model import Offer
from caio.routing.offers import offer_of
from caio.routing.rules import Rule, in_order

#: So many services that came or went are worked in one by one.
_FEW = 16


async def offers_now(contracts: Publications, scope: TenantScope, known: Iterable[Offer]) -> list[Offer]:
    """An offer for each service that the tenant may see; only those that are not ``known`` are read."""
    read = {(offer.tenant_id, offer.contract_hash): offer for offer in known}
    standing = one_a_name(scope.tenant_id, await contracts.standing(scope))
    missing = [each.digest for each in standing if (each.tenant_id, each.digest) not in read]
    documents = await contracts.by_digest(scope, missing) if missing else {}
    return [
        read.get((each.tenant_id, each.digest))
        or offer_of(each.tenant_id, documents[each.digest].publication.document, each.digest)
        for each in standing
        # What went between the two readings has changed the tenant's generation: all is read again.
        if (each.tenant_id, each.digest) in read or each.digest in documents
    ]


def snapshot_of(tenant_id: str, known: Snapshot | None, offers: Sequence[Offer], rules: Sequence[Rule]) -> Snapshot:
    """The snapshot of these ``offers`` and attached ``rules``."""
    if known is None:
        return compile_snapshot(tenant_id, offers, rules)
    wanted = {(offer.tenant_id, offer.contract_hash): offer for offer in offers}
    had = {(offer.tenant_id, offer.contract_hash): offer for offer in known.offers}
    came, went = [wanted[key] for key in wanted.keys() - had.keys()], [had[key] for key in had.keys() - wanted.keys()]
    if len(came) + len(went) > _FEW:
        return compile_snapshot(tenant_id, offers, rules)
    for offer in went:
        known = known.without(*offer.key)
    for offer in came:
        known = known.with_service(offer)
    return known if in_order(rules) == known.rules else known.with_rules(rules)


def one_a_name(tenant_id: str, standing: Sequence[Standing]) -> list[Standing]:
    """One contract a service id: the tenant's own hides shared ones of that name; of those, the
    first by owner. What others share can thus never displace or break a tenant's own service."""
    chosen: dict[str, Standing] = {}
    for each in sorted(standing, key=lambda each: (each.tenant_id != tenant_id, each.tenant_id)):
        chosen.setdefault(each.name, each)
    return list(chosen.values())
