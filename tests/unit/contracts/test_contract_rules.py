"""Every rule of a contract, broken one at a time, with the pointer and the line that are reported."""
# ruff: noqa: E501 - a table is read by its rows

import pytest

from caio.contracts import parse_contract
from caio.contracts.json_schema_field import MAX_SCHEMA_BYTES
from caio.foundation.errors import InvalidInput

#: Each line of it is replaced by some case below.
BASE = """\
service_id: answers
name: Answers
version: 1.2.3
description: Answers questions.
tags: [demo]
owner: team-a
capabilities:
  - type: chat
    limits: {max_tokens: 100}
    features: [tools]
    parameters: {}
  - embed
guarantees:
  latency_ms: {p50: 1, p95: 2.5, max: "3"}
  accuracy: {min: 0.9, verified: measured, test_set: squad}
constraints:
  max_concurrent_requests: 4
  rate_limit: {per_minute: 5}
  requires: {gpu: false}
cost:
  currency: USD
  per_request: 0.001
privacy:
  data_locality: cloud
  encryption: {in_transit: true}
  data_retention_days: 30
  compliance: [gdpr]
alignment:
  content_filtering: true
access:
  required_permissions: {all_of: ["orchestrate:chat"]}
  required_trust_level: standard
  visibility: tenant
api:
  protocol: http-json
  base_url: http://127.0.0.1:8080/v1
  timeout_ms: 1000
  endpoints:
    - path: /answer
      method: POST
      capability: chat
      output_schema: {type: object}
  auth: {scheme: bearer, secret_ref: my-key}
invariants: [Never lies.]
metadata: {a: 1}
"""

ID = "must be 1 to 63 of a-z, 0-9, - and _, starting with a letter or digit"
NAME = "must be 1 to 63 of a-z, 0-9, ., - and _, starting with a letter or digit"
ADDRESS = "must be an http or https address"
PATH = "must be a path that begins with /"


def broken(line, replacement, pointer, message, at=None):
    """A case: ``line`` of BASE replaced; ``at`` is the 1-based line reported, if not that one."""
    number = BASE.splitlines().index(line) + 1
    return pytest.param(line, replacement, pointer, message, at or number, id=f"{pointer} {replacement.strip()[:50]}")


def scalar(line, pointer, cases):
    key = line.partition(":")[0]
    return [broken(line, f"{key}: {written}", pointer, message) for written, message in cases.items()]


CASES = [
    # identity
    *scalar("service_id: answers", "/service_id", {"Answers": ID, "''": ID, "-a": ID, "a b": ID, "a" * 64: ID, "ä": ID}),
    *scalar("service_id: answers", "/service_id", {"5": "must be text, got the number 5; put it in quotes"}),
    broken("service_id: answers", "# none", "/service_id", "is required", 2),
    broken("name: Answers", "# none", "/name", "is required", 1),
    *scalar("name: Answers", "/name", {"''": "must not be empty", "x" * 201: "may have at most 200 characters"}),
    *scalar("name: Answers", "/name", {'"a\\nb"': "must be one line", '"\\e[31m"': "must be one line", "[a]": "got a list"}),
    *scalar("name: Answers", "/name", {"true": "must be text, got true; put it in quotes", "~": "must be text, got nothing"}),
    broken("version: 1.2.3", "# none", "/version", "is required", 1),
    broken("version: 1.2.3", "verison: 1.2.3", "/version", "is required; is 'verison' a misspelling of it?", 1),
    *scalar("version: 1.2.3", "/version", {"1.2": "must be text, got the number 1.2; put it in quotes"}),
    *scalar("version: 1.2.3", "/version", {"v1.2.3": "a semantic version such as 1.0.0", "01.2.3": "a semantic version"}),
    *scalar("version: 1.2.3", "/version", {"1.2.3-01": "a semantic version", "'1.2.3\n\n  '": "a semantic version"}),
    *scalar("version: 1.2.3", "/version", {"1.2.3-" + "a" * 60: "may have at most 64 characters"}),
    *scalar("description: Answers questions.", "/description", {'"\\e"': "control characters", "": "leave the field out"}),
    *scalar("description: Answers questions.", "/description", {"x" * 4001: "at most 4000 characters"}),
    *scalar("tags: [demo]", "/tags", {"demo": "must be a list, got the text 'demo'", "": "must be a list, got nothing"}),
    *scalar("tags: [demo]", "/tags/1", {"[a, A]": NAME, "[a, 5]": "must be text, got the number 5; put it in quotes"}),
    *scalar("tags: [demo]", "/tags", {str(["a"] * 257): "may have at most 256 entries"}),
    *scalar("owner: team-a", "/owner", {"{a: b}": "must be text, got a mapping"}),
    # capabilities
    broken("  - embed", "  - chat", "/capabilities/1", "repeats the capability 'chat'"),
    broken("  - embed", "  - Embed", "/capabilities/1", NAME),
    broken("  - embed", "  - 7", "/capabilities/1", "must be a mapping of fields, got the number 7"),
    broken("  - embed", "  - features: []", "/capabilities/1/type", "is required"),
    broken("    limits: {max_tokens: 100}", "    limits: {max_tokens: 0}", "/capabilities/0/limits/max_tokens", "at least 1"),
    broken(
        "    limits: {max_tokens: 100}", "    limits: {context_length: 1.5}", "/capabilities/0/limits/context_length",
        "must be a whole number, got the number 1.5",
    ),
    broken(
        "    limits: {max_tokens: 100}", "    limits: {max_tokens: fast}", "/capabilities/0/limits/max_tokens",
        "must be a whole number, got the text 'fast'",
    ),
    broken(
        "    limits: {max_tokens: 100}", "    limits: {max_tokens: true}", "/capabilities/0/limits/max_tokens",
        "must be a whole number, got true",
    ),
    broken("    limits: {max_tokens: 100}", "    limits: many", "/capabilities/0/limits", "must be a mapping of fields, got"),
    broken(
        "    limits: {max_tokens: 100}", "    limits: {max_input_bytes: 1000000001}",
        "/capabilities/0/limits/max_input_bytes", "must be at most 1000000000",
    ),
    broken("    features: [tools]", "    features: [a, B]", "/capabilities/0/features/1", NAME),
    broken("    parameters: {}", "    parameters: []", "/capabilities/0/parameters", "must be a mapping of fields, got a list"),
    broken("    parameters: {}", "    parameters: {a: {b/c: 1e30}}", "/capabilities/0/parameters/a/b~1c", "beyond 2**53 - 1"),
    # guarantees
    *[
        broken("  latency_ms: {p50: 1, p95: 2.5, max: \"3\"}", f"  latency_ms: {written}", f"/guarantees/latency_ms{at}", message)
        for written, at, message in [
            ("{p50: fast}", "/p50", "must be a number, got the text 'fast'"),
            ("{p50: yes}", "/p50", "must be a number, got the text 'yes'"),
            ("{p50: true}", "/p50", "must be a number, got true"),
            ("{p50: '1e3'}", "/p50", "must be a number, got the text '1e3'"),
            ("{p50: }", "/p50", "must not be empty; leave the field out instead"),
            ("{p50: -1}", "/p50", "must be between 0 and 1000000000"),
            ("{p50: 1000000001}", "/p50", "must be at most 1000000000 in magnitude"),
            ("{p50: 1e999999}", "/p50", "must be at most 1000000000 in magnitude"),
            ("{p50: 1e-999999}", "/p50", "may have at most 9 decimal places"),
            ("{p50: 0.1234567891}", "/p50", "may have at most 9 decimal places"),
            ("{p50: 2, p95: 1}", "/p95", "must not be below p50 (2)"),
            ("{p50: 2, max: '1.5'}", "/max", "must not be below p50 (2)"),
            ("{p99: 20, max: 19.999999999}", "/max", "must not be below p99 (20)"),
            ("{}", "", "promises nothing; state at least one of min, p50, p95, p99, max"),
            ("{verified: measured}", "", "promises nothing"),
            ("5", "", "must be a mapping of fields, got the number 5"),
            ("", "", "must not be empty; leave the field out instead"),
        ]
    ],
    *[
        broken("  accuracy: {min: 0.9, verified: measured, test_set: squad}", f"  {written}", f"/guarantees/{at}", message)
        for written, at, message in [
            ("accuracy: {min: 1.000000001}", "accuracy/min", "must be between 0 and 1"),
            ("availability: {min: 99.9}", "availability/min", "must be between 0 and 1"),
            ("error_rate: {max: -0.1}", "error_rate/max", "must be between 0 and 1"),
            ("throughput: {min: -1}", "throughput/min", "must be between 0 and"),
            ("accuracy: {verified: measured, min: 1, test_set: ''}", "accuracy/test_set", "must not be empty"),
            ("accuracy: {min: 1, verified: measure}", "accuracy/verified", "measured, declared, got the text 'measure'; did you mean"),
            ("determinism: {seed_required: no}", "determinism/seed_required", "got the text 'no'; did you mean false?"),
            ("determinism: {}", "determinism/seed_required", "is required"),
            ("toxicity: {min: 2, max: 1}", "toxicity/max", "must not be below min (2)"),
            ("Toxicity: {max: 1}", "Toxicity", "a property's name is a lower-case letter"),
            ("a/b~c: {max: 1}", "a~1b~0c", "a property's name is a lower-case letter"),
            ("toxicity: {max: [1]}", "toxicity/max", "must be a number, got a list"),
        ]
    ],
    broken(
        "guarantees:", "guarantees:\n" + "\n".join(f"  own_{n}: {{min: 1}}" for n in range(23)),
        "/guarantees", "may name at most 24 properties",
    ),
    # constraints, cost
    broken("  max_concurrent_requests: 4", "  max_concurrent_requests: 0", "/constraints/max_concurrent_requests", "at least 1"),
    broken("  rate_limit: {per_minute: 5}", "  rate_limit: {per_hour: -5}", "/constraints/rate_limit/per_hour", "at least 1"),
    broken("  requires: {gpu: false}", "  requires: {gpu: 'on'}", "/constraints/requires/gpu", "did you mean true?"),
    broken("  requires: {gpu: false}", "  requires:", "/constraints/requires", "must be a mapping of fields, got nothing"),
    *scalar("  currency: USD", "/cost/currency", {"usd": "currency code of three capital letters", "DOLLAR": "currency code"}),
    *scalar("  per_request: 0.001", "/cost/per_request", {"-1": "must be between 0 and 1000000", "free": "must be a number"}),
    *scalar("  per_request: 0.001", "/cost/per_request", {"0.0000000000001": "may have at most 12 decimal places"}),
    *scalar("  per_request: 0.001", "/cost/per_request", {"1000000.01": "must be between 0 and 1000000", "5e9": "at most"}),
    broken(
        "  per_request: 0.001", "  per_output_token: 0.001", "/capabilities/1",
        "'embed' needs limits.max_tokens or limits.context_length", 12,
    ),
    # privacy, alignment, access
    *scalar("  data_locality: cloud", "/privacy/data_locality", {"clod": "on_device, private, cloud, got the text 'clod'"}),
    *scalar("  data_locality: cloud", "/privacy/data_locality", {"[]": "needs at least 1 entry", "5": "must be one of"}),
    *scalar("  data_locality: cloud", "/privacy/data_locality/1", {"[eu, US]": NAME}),
    broken("  encryption: {in_transit: true}", "  encryption: {at_rest: 1}", "/privacy/encryption/at_rest", "true or false, got the number 1"),
    *scalar("  data_retention_days: 30", "/privacy/data_retention_days", {"-1": "at least 0", "36501": "at most 36500"}),
    broken("  compliance: [gdpr]", "  compliance: [GDPR]", "/privacy/compliance/0", NAME),
    *scalar("  content_filtering: true", "/alignment/content_filtering", {"high": "must be true or false, got the text 'high'"}),
    broken("  content_filtering: true", "  safety_level: Very High", "/alignment/safety_level", NAME),
    broken(
        '  required_permissions: {all_of: ["orchestrate:chat"]}', "  required_permissions: {any_of: [a b]}",
        "/access/required_permissions/any_of/0", "must be 1 to 63 of a-z, 0-9, ., :, - and _",
    ),
    broken(
        '  required_permissions: {all_of: ["orchestrate:chat"]}', "  required_permissions: {all_of: }",
        "/access/required_permissions/all_of", "must be a list, got nothing",
    ),
    *scalar("  required_trust_level: standard", "/access/required_trust_level", {"root": "untrusted, standard, elevated, privileged"}),
    *scalar("  visibility: tenant", "/access/visibility", {"tennant": "must be one of tenant, shared, got the text 'tennant'; did you mean 'tenant'?"}),
    # api
    *scalar("  protocol: http-json", "/api/protocol", {"http": "must be one of openai, anthropic, bedrock, http-json, process", "": "got nothing"}),
    broken("  protocol: http-json", "  model: m", "/api/protocol", "is required", 34),
    broken("  base_url: http://127.0.0.1:8080/v1", "  model: m", "/api/base_url", "is required for the protocol 'http-json'", 34),
    *scalar(
        "  base_url: http://127.0.0.1:8080/v1",
        "/api/base_url",
        dict.fromkeys(
            [
                "ftp://a", "a.example.com", "http://", "http:///v1", "http://user:pw@a", "http://user@a", "http://a?q=1",
                "'http://a#f'", "http://a:0", "http://a:65536", "http://a/../b", "http://a/./b", "http://a//b",
                "http://a/%2e%2e/b", "http://a/%5cb", "http://a\\b", "'http://a b'", '"http://a\\n"', "http://ä.example",
                "HTTP://a", "file:///etc/passwd", "http://[::1", "http://-a",
            ],
            ADDRESS,
        ),
    ),
    *scalar("  base_url: http://127.0.0.1:8080/v1", "/api/base_url", {"http://" + "a" * 2050: "may have at most 2048 characters"}),
    *scalar("  timeout_ms: 1000", "/api/timeout_ms", {"0": "at least 1", "3600001": "at most 3600000", "1s": "a whole number"}),
    *[
        broken("    - path: /answer", f"    - path: {written}", "/api/endpoints/0/path", PATH)
        for written in ("answer", "''", "/a//b", "/../a", "/a/..", "/a?b", "'/a#b'", "/a b", "/%2E%2e/a", "//host/a", '"/a\\n"')
    ],
    broken("      method: POST", "      method: post", "/api/endpoints/0/method", "GET, POST, PUT, PATCH, got the text 'post'"),
    broken("      capability: chat", "      capability: chatter", "/api/endpoints/0/capability", "'chatter' is none of the contract's"),
    *[
        broken("      output_schema: {type: object}", f"      output_schema: {written}", f"/api/endpoints/0/output_schema{at}", message)
        for written, at, message in [
            ("[]", "", "must be a mapping of fields, got a list"),
            ("{type: objekt}", "/type", "is not valid JSON Schema"),
            ("{properties: {a: {minimum: low}}}", "/properties/a/minimum", "is not valid JSON Schema"),
            ("{pattern: '('}", "/pattern", "is not valid JSON Schema"),
            ("{$ref: 'http://127.0.0.1:1/x'}", "/$ref", "must be a JSON pointer into the schema"),
            ("{items: [{$ref: other.json}]}", "/items/0/$ref", "must be a JSON pointer into the schema"),
            ("{allOf: [{$dynamicRef: 'file:///etc/passwd'}]}", "/allOf/0/$dynamicRef", "dynamic references are not supported"),
            ("{$ref: '#/$defs/missing'}", "/$ref", "the reference points at nothing"),
            ("{$schema: 'http://127.0.0.1:1/dialect'}", "", "is not valid JSON Schema"),
            (f"{{description: {'x' * MAX_SCHEMA_BYTES}}}", "", f"may have at most {MAX_SCHEMA_BYTES} bytes"),
            ("{maximum: 1e30}", "/maximum", "beyond 2**53 - 1"),
        ]
    ],
    *[
        broken("  auth: {scheme: bearer, secret_ref: my-key}", f"  auth: {written}", f"/api/auth{at}", message)
        for written, at, message in [
            ("{scheme: bearer}", "/secret_ref", "is required for the scheme 'bearer'"),
            ("{scheme: 'header:X-Key'}", "/secret_ref", "is required for the scheme 'header:X-Key'"),
            ("{scheme: none, secret_ref: a}", "/secret_ref", "must be left out with the scheme 'none'"),
            ("{secret_ref: a}", "/scheme", "is required"),
            ("{scheme: basic, secret_ref: a}", "/scheme", "must be bearer, none, aws or header:<Name>"),
            ("{scheme: 'header:Host', secret_ref: a}", "/scheme", "must be bearer, none, aws or header:<Name>"),
            ('{scheme: "header:A\\r\\nB", secret_ref: a}', "/scheme", "must be bearer, none, aws or header:<Name>"),
            ("{scheme: bearer, secret_ref: sk-ABCDEF}", "/secret_ref", "must be the name of a stored secret"),
            ("{scheme: bearer, secret_ref: 12345}", "/secret_ref", "must be text: the name of a stored secret"),
        ]
    ],
    # free parts
    *scalar("invariants: [Never lies.]", "/invariants/0", {"[{a: 1}]": "must be text, got a mapping", "['']": "must not be empty"}),
    *scalar("metadata: {a: 1}", "/metadata/a/0", {"{a: [9007199254740992]}": "a number beyond 2**53 - 1 must be written as text"}),
    *scalar("metadata: {a: 1}", "/metadata", {"text": "must be a mapping of fields, got the text 'text'"}),
]  # fmt: skip


def test_the_base_of_the_cases_is_valid():
    parsed = parse_contract(BASE)
    assert parsed.warnings == ()
    assert parsed.value.service_id == "answers"


@pytest.mark.parametrize(("line", "replacement", "pointer", "message", "at"), CASES)
def test_one_mistake_is_one_violation_in_its_place(line, replacement, pointer, message, at):
    with pytest.raises(InvalidInput) as caught:
        parse_contract("\n".join(replacement if each == line else each for each in BASE.splitlines()))
    (violation,) = caught.value.violations
    assert (violation.pointer, violation.line) == (pointer, at)
    assert message in violation.message
    assert caught.value.code == "invalid_contract"
    assert violation.message in caught.value.message


@pytest.mark.parametrize(
    ("line", "replacement"),
    [
        ('  latency_ms: {p50: 1, p95: 2.5, max: "3"}', "  latency_ms: {p50: 1, p95: 1, p99: '1.0', max: 1}"),
        ('  latency_ms: {p50: 1, p95: 2.5, max: "3"}', "  own: {min: -1, max: -1}"),
        ("  accuracy: {min: 0.9, verified: measured, test_set: squad}", "  accuracy: {min: 1}"),
        ("  per_request: 0.001", "  per_output_token: 0"),
        ("  auth: {scheme: bearer, secret_ref: my-key}", "  auth: {scheme: none}"),
        ("  base_url: http://127.0.0.1:8080/v1", "  base_url: https://[::1]:65535"),
        ("    - path: /answer", "    - path: /"),
    ],
)
def test_the_edges_are_allowed(line, replacement):
    text = "\n".join(replacement if each == line else each for each in BASE.splitlines())
    parse_contract(text)


def test_either_limit_bounds_the_price_of_an_answer():
    text = BASE.replace("  per_request: 0.001", "  per_output_token: 0.001")
    parse_contract(text.replace("  - embed", "  - {type: embed, limits: {context_length: 1}}"))
    parse_contract(text.replace("  - embed", "  - {type: embed, limits: {max_tokens: 1}}"))


def test_a_broken_field_is_not_reported_twice():
    text = BASE.replace("  - embed", "  - embed\n" * 65).replace("{p50: 1, p95: 2.5", "{p50: 1, p95: -2.5")
    with pytest.raises(InvalidInput) as caught:
        parse_contract(text)
    assert [violation.pointer for violation in caught.value.violations] == [
        "/capabilities",
        "/guarantees/latency_ms/p95",
    ]


def test_every_violation_at_once():
    """The fields' own mistakes, the rules between fields, and the text's problems, in order of line."""
    source = """\
name: [x]
version: 1.0
version: 2.0.0
capabilities: [chat, chat, {type: embed, limits: {max_tokens: many}}]
guarantees: {latency_ms: {p50: 3, p95: 2, p99: .inf}}
cost: {per_output_token: 0.1}
api:
  protocol: openai
  auth: {scheme: bearer}
  endpoints: [{path: x, capability: other, output_schema: {type: objekt}}]
privacy: !secret {data_locality: nowhere}
"""
    with pytest.raises(InvalidInput) as caught:
        parse_contract(source)
    assert [(violation.line, violation.pointer) for violation in caught.value.violations] == [
        (1, "/name"),
        (1, "/service_id"),
        (2, "/version"),
        (4, "/capabilities/0"),
        (4, "/capabilities/1"),
        (4, "/capabilities/1"),
        (4, "/capabilities/2/limits/max_tokens"),
        (5, "/guarantees/latency_ms/p95"),
        (5, "/guarantees/latency_ms/p99"),
        (7, "/api/base_url"),
        (9, "/api/auth/secret_ref"),
        (10, "/api/endpoints/0/capability"),
        (10, "/api/endpoints/0/output_schema/type"),
        (10, "/api/endpoints/0/path"),
        (11, "/privacy"),
        (11, "/privacy/data_locality"),
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("[a, b]", "must be a mapping of fields, got a list"),
        ("just text", "must be a mapping of fields, got the text 'just text'"),
        ("a: [", "is not valid YAML"),
        ('{"a": ', "is not valid JSON"),
        (b"\xff", "is not valid UTF-8 text"),
        ("", "is empty"),
    ],
)
def test_what_is_no_contract_at_all_says_so(source, message):
    with pytest.raises(InvalidInput) as caught:
        parse_contract(source)
    (violation,) = caught.value.violations
    assert violation.pointer == ""
    assert message in violation.message


def test_secrets_in_the_wrong_place_are_not_repeated():
    text = BASE.replace("secret_ref: my-key", "secret_ref: sk-Live1234").replace("127.0.0.1", "user:hunter2@host")
    with pytest.raises(InvalidInput) as caught:
        parse_contract(text)
    said = caught.value.message + "".join(violation.message for violation in caught.value.violations)
    assert len(caught.value.violations) == 2
    assert "Live1234" not in said
    assert "hunter2" not in said


def test_unknown_fields_are_named_with_what_was_meant():
    text = BASE.replace("owner: team-a", "onwer: team-a").replace("  timeout_ms: 1000", "  timeout: 1000")
    text = text.replace("accuracy: {min: 0.9,", "acuracy: {min: 0.9, mim: 1,").replace(
        "- embed", "- {type: embed, feature: [x]}"
    )
    warnings = parse_contract(text).warnings
    ignored = "is not a known field and was ignored"
    assert [(warning.line, warning.pointer, warning.message) for warning in warnings] == [
        (6, "/onwer", f"{ignored}; did you mean 'owner'?"),
        (12, "/capabilities/1/feature", f"{ignored}; did you mean 'features'?"),
        (15, "/guarantees/acuracy", "is a property of your own naming; did you mean 'accuracy'?"),
        (15, "/guarantees/acuracy/mim", f"{ignored}; did you mean 'min'?"),
        (37, "/api/timeout", f"{ignored}; did you mean 'timeout_ms'?"),
    ]


def test_defaults_are_written_out_and_absence_stays_absence():
    source = {
        "service_id": "a",
        "name": "A",
        "version": "1.0.0",
        "capabilities": ["chat"],
        "api": {"protocol": "process"},
    }
    assert parse_contract(source).value.document() == {
        **source,
        "tags": [],
        "capabilities": [{"type": "chat", "features": []}],
        "guarantees": {},
        "constraints": {"requires": {"gpu": False, "internet": False}},
        "cost": {"currency": "USD"},
        "privacy": {
            "data_locality": "cloud",
            "encryption": {"in_transit": False, "at_rest": False},
            "compliance": [],
        },
        "access": {"required_permissions": {"all_of": [], "any_of": []}, "visibility": "tenant"},
        "api": {"protocol": "process", "endpoints": [], "timeout_ms": 30_000},
    }


def test_the_document_is_canonical():
    text = BASE.replace("[demo]", "[b, a, b]").replace("0.001", "0.0000000375000").replace("{a: 1}", "{a: 1.50, b: ~}")
    document = parse_contract(text).value.document()
    assert document["tags"] == ["a", "b"]
    assert document["cost"] == {"currency": "USD", "per_request": "0.0000000375"}
    assert document["guarantees"]["latency_ms"] == {"p50": "1", "p95": "2.5", "max": "3"}
    assert document["metadata"] == {"a": 1.5, "b": None}
