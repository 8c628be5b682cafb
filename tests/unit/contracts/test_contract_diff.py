"""What each kind of change does to a contract's promise."""

from typing import Any

import pytest

from caio.contracts import Promise, diff_contracts, parse_contract

CHAT = {"type": "chat", "limits": {"max_tokens": 10}, "features": ["tools"]}
BASE: dict[str, Any] = {
    "service_id": "a",
    "name": "A",
    "version": "1.0.0",
    "capabilities": [CHAT],
    "guarantees": {"latency_ms": {"p95": 10}, "accuracy": {"min": 0.5}, "determinism": {"seed_required": False}},
    "constraints": {"max_concurrent_requests": 5, "rate_limit": {"per_minute": 5}},
    "cost": {"per_request": 1},
    "privacy": {"data_locality": ["eu", "us"], "data_retention_days": 5, "compliance": ["gdpr"]},
    "access": {"required_permissions": {"all_of": ["a"], "any_of": ["x", "y"]}, "required_trust_level": "standard"},
    "alignment": {"content_filtering": False, "safety_level": "high"},
    "api": {"protocol": "process", "auth": {"scheme": "none"}},
    "metadata": {"a": {"b": 1}},
}
OLD = parse_contract(BASE).value
WEAKER, STRONGER, OTHER = Promise.WEAKER, Promise.STRONGER, Promise.OTHER


def changed(**parts):
    """BASE with those parts: mappings are merged one level deep, and None takes a field away."""
    source = dict(BASE)
    for name, part in parts.items():
        merged = {**BASE.get(name, {}), **part} if isinstance(part, dict) else part
        source[name] = {k: v for k, v in merged.items() if v is not None} if isinstance(merged, dict) else merged
    return parse_contract({name: part for name, part in source.items() if part is not None}).value


@pytest.mark.parametrize(
    ("parts", "pointer", "promise"),
    [
        ({"guarantees": {"latency_ms": {"p95": 11}}}, "/guarantees/latency_ms/p95", WEAKER),
        ({"guarantees": {"latency_ms": {"p95": 9}}}, "/guarantees/latency_ms/p95", STRONGER),
        ({"guarantees": {"latency_ms": {"p95": 10, "max": 20}}}, "/guarantees/latency_ms/max", STRONGER),
        ({"guarantees": {"latency_ms": None}}, "/guarantees/latency_ms", WEAKER),
        ({"guarantees": {"accuracy": {"min": 0.4}}}, "/guarantees/accuracy/min", WEAKER),
        ({"guarantees": {"accuracy": {"min": "0.6"}}}, "/guarantees/accuracy/min", STRONGER),
        ({"guarantees": {"accuracy": {"min": 0.5, "verified": "measured"}}}, "/guarantees/accuracy/verified", STRONGER),
        ({"guarantees": {"accuracy": {"min": 0.5, "test_set": "t"}}}, "/guarantees/accuracy/test_set", OTHER),
        ({"guarantees": {"toxicity": {"max": 1}}}, "/guarantees/toxicity", STRONGER),
        ({"guarantees": {"determinism": None}}, "/guarantees/determinism", WEAKER),
        ({"guarantees": {"determinism": {"seed_required": True}}}, "/guarantees/determinism/seed_required", WEAKER),
        ({"capabilities": [CHAT, "embed"]}, "/capabilities/1", STRONGER),
        ({"capabilities": [{**CHAT, "features": []}]}, "/capabilities/0/features", WEAKER),
        ({"capabilities": [{**CHAT, "features": ["tools", "x"]}]}, "/capabilities/0/features", STRONGER),
        ({"capabilities": [{**CHAT, "features": ["x"]}]}, "/capabilities/0/features", OTHER),
        ({"capabilities": [{**CHAT, "limits": {"max_tokens": 9}}]}, "/capabilities/0/limits/max_tokens", WEAKER),
        ({"capabilities": [{"type": "chat", "features": ["tools"]}]}, "/capabilities/0/limits", WEAKER),
        ({"capabilities": [{**CHAT, "parameters": {"a": 1}}]}, "/capabilities/0/parameters", OTHER),
        ({"constraints": {"max_concurrent_requests": 4}}, "/constraints/max_concurrent_requests", WEAKER),
        ({"constraints": {"max_concurrent_requests": None}}, "/constraints/max_concurrent_requests", STRONGER),
        ({"constraints": {"rate_limit": {"per_minute": 6}}}, "/constraints/rate_limit/per_minute", STRONGER),
        ({"constraints": {"rate_limit": None}}, "/constraints/rate_limit", STRONGER),
        ({"constraints": {"context_length": 5}}, "/constraints/context_length", WEAKER),
        ({"constraints": {"requires": {"internet": True}}}, "/constraints/requires/internet", WEAKER),
        ({"cost": {"per_request": "0.9"}}, "/cost/per_request", STRONGER),
        ({"cost": {"per_request": None}}, "/cost/per_request", STRONGER),
        ({"cost": {"per_second": 1}}, "/cost/per_second", WEAKER),
        ({"cost": {"currency": "EUR"}}, "/cost/currency", OTHER),
        ({"privacy": {"data_locality": ["eu"]}}, "/privacy/data_locality", STRONGER),
        ({"privacy": {"data_locality": ["eu", "uk", "us"]}}, "/privacy/data_locality", WEAKER),
        ({"privacy": {"data_locality": ["uk"]}}, "/privacy/data_locality", OTHER),
        ({"privacy": {"data_locality": "on_device"}}, "/privacy/data_locality", STRONGER),
        ({"privacy": {"data_locality": "cloud"}}, "/privacy/data_locality", WEAKER),
        ({"privacy": {"encryption": {"at_rest": True}}}, "/privacy/encryption/at_rest", STRONGER),
        ({"privacy": {"data_retention_days": 6}}, "/privacy/data_retention_days", WEAKER),
        ({"privacy": {"data_retention_days": None}}, "/privacy/data_retention_days", WEAKER),
        ({"privacy": {"trains_on_data": False}}, "/privacy/trains_on_data", STRONGER),
        ({"privacy": {"trains_on_data": True}}, "/privacy/trains_on_data", OTHER),
        ({"privacy": {"compliance": []}}, "/privacy/compliance", WEAKER),
        ({"alignment": {"content_filtering": True}}, "/alignment/content_filtering", STRONGER),
        ({"alignment": {"safety_level": "low"}}, "/alignment/safety_level", OTHER),
        ({"alignment": None}, "/alignment", WEAKER),
        ({"access": {"required_trust_level": "elevated"}}, "/access/required_trust_level", WEAKER),
        ({"access": {"required_trust_level": None}}, "/access/required_trust_level", STRONGER),
        ({"access": {"visibility": "shared"}}, "/access/visibility", STRONGER),
        ({"version": "1.0.1"}, "/version", OTHER),
        ({"tags": ["t"]}, "/tags", OTHER),
        ({"api": {"timeout_ms": 5}}, "/api/timeout_ms", OTHER),
        ({"metadata": {"a": {"b": None}}}, "/metadata", OTHER),
    ],
)
def test_one_change(parts, pointer, promise):
    (change,) = diff_contracts(OLD, changed(**parts))
    assert (change.pointer, change.promise) == (pointer, promise)


@pytest.mark.parametrize(
    ("permissions", "pointer", "promise"),
    [
        ({"all_of": ["a", "b"], "any_of": ["x", "y"]}, "all_of", WEAKER),
        ({"all_of": [], "any_of": ["x", "y"]}, "all_of", STRONGER),
        ({"all_of": ["b"], "any_of": ["x", "y"]}, "all_of", OTHER),
        ({"all_of": ["a"], "any_of": ["x"]}, "any_of", WEAKER),
        ({"all_of": ["a"], "any_of": ["x", "y", "z"]}, "any_of", STRONGER),
        ({"all_of": ["a"], "any_of": []}, "any_of", STRONGER),
    ],
)
def test_permissions(permissions, pointer, promise):
    (change,) = diff_contracts(OLD, changed(access={"required_permissions": permissions}))
    assert (change.pointer, change.promise) == (f"/access/required_permissions/{pointer}", promise)


def test_a_change_carries_both_values():
    (change,) = diff_contracts(OLD, changed(cost={"per_request": 2}))
    assert (change.old, change.new) == ("1", "2")
    (change,) = diff_contracts(OLD, changed(cost={"per_second": 2}))
    assert (change.old, change.new) == (None, "2")


def test_capabilities_are_matched_by_type():
    one = changed(capabilities=["a", CHAT, "b"])
    other = changed(capabilities=[{**CHAT, "limits": {"max_tokens": 11}}, "c", "a"])
    assert [(change.pointer, change.promise) for change in diff_contracts(one, other)] == [
        ("/capabilities", OTHER),
        ("/capabilities/0/limits/max_tokens", STRONGER),
        ("/capabilities/1", STRONGER),
        ("/capabilities/2", WEAKER),
    ]
