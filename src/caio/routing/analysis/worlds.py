"""From chosen values to a real request with its principal, or a valid contract.

What was not chosen is filled in. A contract is made only if the contract's own parser accepts it, so
that no example shows a service that could not be registered.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from caio.contracts import expression_variables, parse_contract
from caio.foundation.errors import InvalidInput
from caio.foundation.quantity import NotExact, nanos
from caio.routing.model import Principal, Request
from caio.routing.variables import principal_variables, request_variables

_SETS = ("features", "regions", "compliance", "services")
_PLAIN = ("sensitive", "stream", "data_locality", "context_length", "input_bytes", "max_tokens", "deadline_ms")
_PRICES = ("per_request", "per_input_token", "per_output_token", "per_second")
_LEAST = ("accuracy", "availability", "throughput")


def request_of(fragment: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The variables of a request and principal that have the chosen values; None if none can."""
    chosen, caller = fragment.get("request", {}), fragment.get("principal", {})
    capability = chosen.get("capability") or next(iter(chosen.get("capabilities", ())), "any")
    others = [name for name in chosen.get("capabilities", ()) if name != capability]
    fields: dict[str, Any] = {name: chosen[name] for name in _PLAIN if name in chosen}
    fields |= {name: frozenset(chosen[name]) for name in _SETS if name in chosen}
    try:
        request = Request(
            tenant_id="tenant",
            currency="USD",
            capabilities=(capability, *others),
            bounds=tuple(sorted((name, _nanos(value)) for name, value in chosen.get("bounds", {}).items())),
            max_cost=None if "max_cost" not in chosen else _nanos(chosen["max_cost"]),
            classification=chosen.get("data_classification", "internal"),
            labels=tuple(sorted(chosen.get("labels", {}).items())),
            **fields,
        )
    except NotExact:
        return None
    principal = Principal(
        caller.get("id", "key"),
        caller.get("kind", "api_key"),
        frozenset(caller.get("roles", ())),
        frozenset(caller.get("permissions", ())),
        caller.get("trust_level", "standard"),
    )
    return {
        "request": request_variables(request.document()),
        "principal": principal_variables(principal.document()),
    }


def _nanos(value: float) -> int:
    return nanos(Decimal(repr(value)))


def service_of(fragment: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The variables of a valid contract that has the chosen values; None if none can."""
    chosen = fragment.get("service", {})
    names = {chosen[name] for name in ("id", "service_id") if name in chosen}
    if len(names) > 1:
        return None
    first, *others = chosen.get("capabilities") or ["any"]
    document: dict[str, Any] = {
        **{
            name: chosen[name]
            for name in ("tags", "owner", "description", "constraints", "alignment", "access")
            if name in chosen
        },
        "service_id": next(iter(names), "example"),
        "name": chosen.get("name", "Example"),
        "version": chosen.get("version", "1.0.0"),
        "capabilities": [{"type": first, "features": chosen.get("features", [])}, *others],
        "guarantees": {name: _promise(name, value) for name, value in chosen.get("guarantees", {}).items()},
        "cost": {name: _text(value) if name in _PRICES else value for name, value in chosen.get("cost", {}).items()},
        "privacy": _privacy(chosen.get("privacy", {})),
        "api": {
            "protocol": "http-json",
            "base_url": "https://example.com",
            "model": "example",
            "endpoints": [{"path": "/"}],
            **chosen.get("api", {}),
        },
    }
    try:
        contract = parse_contract(document).value
    except InvalidInput:
        return None
    return {"service": expression_variables(contract.document())}


def _promise(name: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    if name == "determinism":
        return {"seed_required": False}
    stated = {field: _text(value) if isinstance(value, int | float) else value for field, value in chosen.items()}
    if not set(stated) - {"verified"}:
        stated["min" if name in _LEAST else "max"] = "1"
    return stated


def _privacy(chosen: Mapping[str, Any]) -> dict[str, Any]:
    stated = {name: value for name, value in chosen.items() if name not in ("data_locality", "regions")}
    locality = chosen.get("data_locality", "regions" if "regions" in chosen else "cloud")
    stated["data_locality"] = (chosen.get("regions") or ["somewhere"]) if locality == "regions" else locality
    return stated


def _text(value: float) -> str:
    return format(Decimal(repr(value)), "f")
