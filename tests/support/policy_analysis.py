"""Rules and services for the analysis of policies, made through the real parsers."""

from __future__ import annotations

from typing import Any

from caio.contracts import parse_contract, parse_policy
from caio.routing.model import Offer
from caio.routing.offers import offer_of
from caio.routing.policies import compile_policy
from caio.routing.rules import Rule


def rule(policy_id: str = "new", effect: str = "forbid", then: str = "true", version: int = 1, **parts: Any) -> Rule:
    source = {"id": policy_id, "version": version, "effect": effect, "then": then} | parts
    policy = parse_policy(source).value
    return compile_policy(policy.document(), policy.digest)


def service(service_id: str, **parts: Any) -> Offer:
    source = {
        "service_id": service_id,
        "name": service_id,
        "version": "1.0.0",
        "capabilities": ["chat"],
        "api": {"protocol": "http-json", "base_url": "https://example.com", "endpoints": [{"path": "/"}]},
    } | parts
    contract = parse_contract(source).value
    return offer_of("acme", contract.document(), contract.digest)
