"""Reading a contract's canonical document as the kernel's Offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caio.contracts import expression_variables
from caio.foundation.money import Prices, picos
from caio.foundation.quantity import NANO, nanos
from caio.routing.model import STRENGTH, TRUST_LEVELS, Access, Capability, Offer, Privacy

_STATISTICS = (*STRENGTH, "min")


def offer_of(tenant_id: str, document: Mapping[str, Any], contract_hash: str) -> Offer:
    """The offer of ``tenant_id``'s contract. The document must have passed contract validation;
    ``contract_hash`` is taken as stated."""
    api, cost = document["api"], document["cost"]
    return Offer(
        tenant_id=tenant_id,
        service_id=document["service_id"],
        version=document["version"],
        contract_hash=contract_hash,
        capabilities={each["type"]: _capability(each) for each in document["capabilities"]},
        bounds=_bounds(document["guarantees"]),
        prices=Prices(
            cost["currency"],
            picos(cost.get("per_request", 0)),
            picos(cost.get("per_input_token", 0)),
            picos(cost.get("per_output_token", 0)),
            picos(cost.get("per_second", 0)),
        ),
        privacy=_privacy(document["privacy"]),
        access=_access(document["access"]),
        protocol=api["protocol"],
        timeout_ms=api["timeout_ms"],
        needs_internet=document["constraints"]["requires"]["internet"],
        document=document,
        variables=expression_variables(document),
    )


def _capability(value: Mapping[str, Any]) -> Capability:
    limits = value.get("limits", {})
    return Capability(
        value["type"],
        frozenset(value["features"]),
        limits.get("context_length"),
        limits.get("max_tokens"),
        limits.get("max_input_bytes"),
    )


def _bounds(guarantees: Mapping[str, Any]) -> dict[str, int]:
    bounds = {
        f"{name}.{statistic}": nanos(promise[statistic])
        for name, promise in guarantees.items()
        for statistic in _STATISTICS
        if statistic in promise
    }
    if "determinism" in guarantees:
        bounds["determinism.min"] = NANO
    return bounds


def _privacy(value: Mapping[str, Any]) -> Privacy:
    locality, encryption = value["data_locality"], value["encryption"]
    listed = not isinstance(locality, str)
    return Privacy(
        "regions" if listed else locality,
        frozenset(locality) if listed else frozenset(),
        encryption["in_transit"],
        encryption["at_rest"],
        value.get("data_retention_days"),
        value.get("trains_on_data", True),
        frozenset(value["compliance"]),
    )


def _access(value: Mapping[str, Any]) -> Access:
    permissions = value["required_permissions"]
    return Access(
        frozenset(permissions["all_of"]),
        frozenset(permissions["any_of"]),
        value.get("required_trust_level", TRUST_LEVELS[0]),
        value["visibility"] == "shared",
    )
