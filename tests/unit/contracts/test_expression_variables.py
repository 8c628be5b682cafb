"""What policy expressions see of a contract."""

from caio.contracts import expression_variables, parse_contract

SOURCE = {
    "service_id": "answers",
    "name": "Answers",
    "version": "1.0.0",
    "description": "d",
    "tags": ["b", "a"],
    "capabilities": [
        {"type": "chat", "features": ["tools", "streaming"], "limits": {"max_tokens": 5}, "parameters": {"secret": 1}},
        {"type": "embed", "features": ["tools"], "limits": {"max_tokens": 5}},
    ],
    "guarantees": {
        "latency_ms": {"p95": "800.5", "verified": "measured"},
        "determinism": {"seed_required": True},
        "toxicity": {"max": "0.01"},
    },
    "constraints": {"context_length": 4096},
    "cost": {"per_output_token": "0.0000000375"},
    "privacy": {"data_locality": ["us", "eu"], "data_retention_days": 0},
    "access": {"required_trust_level": "elevated"},
    "api": {
        "protocol": "openai",
        "base_url": "https://api.example.com",
        "model": "m",
        "auth": {"scheme": "bearer", "secret_ref": "key"},
        "endpoints": [{"path": "/x"}],
    },
    "invariants": ["i"],
    "metadata": {"m": 1},
}


def test_the_whole_tree():
    assert expression_variables(parse_contract(SOURCE).value.document()) == {
        "id": "answers",
        "service_id": "answers",
        "name": "Answers",
        "version": "1.0.0",
        "description": "d",
        "tags": ["a", "b"],
        "capabilities": ["chat", "embed"],
        "features": ["streaming", "tools"],
        "guarantees": {
            "latency_ms": {"p95": 800.5, "verified": "measured"},
            "determinism": {"seed_required": True, "min": 1.0},
            "toxicity": {"max": 0.01},
        },
        "constraints": {"context_length": 4096, "requires": {"gpu": False, "internet": False}},
        "cost": {"currency": "USD", "per_output_token": 3.75e-8},
        "privacy": {
            "data_locality": "regions",
            "regions": ["eu", "us"],
            "data_retention_days": 0,
            "encryption": {"in_transit": False, "at_rest": False},
            "compliance": [],
        },
        "access": {
            "required_permissions": {"all_of": [], "any_of": []},
            "required_trust_level": "elevated",
            "visibility": "tenant",
        },
        "api": {"protocol": "openai", "base_url": "https://api.example.com", "model": "m", "timeout_ms": 30_000},
    }


def test_a_place_has_no_regions():
    document = parse_contract({**SOURCE, "privacy": {"data_locality": "private"}}).value.document()
    privacy = expression_variables(document)["privacy"]
    assert privacy["data_locality"] == "private"
    assert "regions" not in privacy
