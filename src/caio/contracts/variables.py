"""What policy expressions read as ``service``: the contract's tree with numbers for decimals.

The names are the contract's own, so that a policy is written with the contract beside it. What
differs: ``id`` is the service id; ``capabilities`` lists type names and ``features`` the union of
their features; ``privacy.data_locality`` is one word, with ``privacy.regions`` beside it when the
contract lists regions; ``guarantees.determinism.min`` is 1.0 when determinism is declared.
Free-form parts, endpoints and authentication are left out: an expression over them could not be
compiled to masks, and a secret's name is no routing criterion. What a contract leaves out stays
absent, so that ``has(service.cost.per_request)`` answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caio.contracts.vocabulary import STATISTICS

_COPIED = ("service_id", "name", "version", "description", "tags", "owner", "constraints", "alignment", "access")
_PRICES = ("per_request", "per_input_token", "per_output_token", "per_second")
_API = ("protocol", "base_url", "timeout_ms", "model")


def expression_variables(document: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of a contract's canonical document; nothing is checked again."""
    return {
        "id": document["service_id"],
        **{name: document[name] for name in _COPIED if name in document},
        "capabilities": [capability["type"] for capability in document["capabilities"]],
        "features": sorted({name for capability in document["capabilities"] for name in capability["features"]}),
        "guarantees": {name: _guarantee(name, value) for name, value in document["guarantees"].items()},
        "cost": {name: float(value) if name in _PRICES else value for name, value in document["cost"].items()},
        "privacy": _privacy(document["privacy"]),
        "api": {name: document["api"][name] for name in _API if name in document["api"]},
    }


def _guarantee(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {field: float(item) if field in STATISTICS else item for field, item in value.items()}
    return {**numbers, "min": 1.0} if name == "determinism" else numbers


def _privacy(value: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(value["data_locality"], str):
        return dict(value)
    return {**value, "data_locality": "regions", "regions": list(value["data_locality"])}
