"""Stage 3, security: may this caller's data go to this service?

Default deny: what a contract does not say about privacy counts against it. The clauses, their
order and their texts are those of ``docs/reference/routing-rules.md``.
"""

from __future__ import annotations

from caio.routing.matching import Lack, join
from caio.routing.model import LOCALITIES, TRUST_LEVELS, Offer, Principal, Request

_LOCAL = frozenset({"on_device", "private"})
_CONFIDENTIAL = frozenset({"confidential", "restricted"})


def lack(offer: Offer, request: Request, principal: Principal) -> Lack | None:
    """The first clause of this stage that ``offer`` fails, or None."""
    if offer.tenant_id != request.tenant_id and not offer.access.shared:
        return ("visibility", "visibility", "own or shared", "not shared")
    return _no_access(offer, principal) or _wrong_place(offer, request) or _unsafe(offer, request)


def _no_access(offer: Offer, principal: Principal) -> Lack | None:
    access, held = offer.access, principal.permissions
    for permission in sorted(access.all_of - held):
        return ("permission", "permission", permission, "not held")
    if access.any_of and not access.any_of & held:
        return ("permission", "permission", f"one of {join(access.any_of)}", "none held")
    if TRUST_LEVELS.index(principal.trust_level) < TRUST_LEVELS.index(access.trust_level):
        return ("trust", "trust_level", access.trust_level, principal.trust_level)
    return None


def _wrong_place(offer: Offer, request: Request) -> Lack | None:
    privacy, wanted = offer.privacy, request.data_locality
    if wanted is not None and LOCALITIES.index(privacy.locality) > LOCALITIES.index(wanted):
        return ("locality", "data_locality", wanted, privacy.locality)
    confined = bool(privacy.regions) and privacy.regions <= request.regions
    if request.regions and privacy.locality != "on_device" and not confined:
        offered = join(privacy.regions) if privacy.regions else privacy.locality
        return ("residency", "regions", join(request.regions), offered)
    return None


def _unsafe(offer: Offer, request: Request) -> Lack | None:
    privacy = offer.privacy
    local = privacy.locality in _LOCAL
    sensitive = request.sensitive or request.classification in _CONFIDENTIAL
    if request.classification == "restricted" and not local:
        return ("sensitivity", "data_classification", "on_device or private", privacy.locality)
    if sensitive and not local and not (privacy.encrypted_in_transit and privacy.encrypted_at_rest):
        return ("sensitivity", "data_classification", "on_device, private or encrypted", privacy.locality)
    if (sensitive or not request.training) and privacy.trains_on_data:
        return ("training", "trains_on_data", "false", "true")
    longest = request.max_retention_days
    if longest is not None and (privacy.retention_days is None or privacy.retention_days > longest):
        offered = "undeclared" if privacy.retention_days is None else str(privacy.retention_days)
        return ("retention", "data_retention_days", f"<= {longest}", offered)
    for framework in sorted(request.compliance - privacy.compliance):
        return ("compliance", "compliance", framework, join(privacy.compliance))
    if not request.egress and (offer.needs_internet or not local):
        return ("egress", "egress", "none", "internet" if offer.needs_internet else privacy.locality)
    return None
