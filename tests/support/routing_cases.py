# ruff: noqa: E501 - a table is read one case a line
"""The routing rules by example, as plain documents: one table that every implementation runs.

``CASES`` has at least one literal exclusion record for each row of the rules' table, ``ALLOWED``
what lies exactly at a clause's edge and must pass, and ``LADDER`` the order of the clauses: a
service that fails all of them, repaired one by one.

A case changes the baseline below, in which ``alpha`` is feasible. Changes are merged into nested
objects; a list or a value replaces; ``REMOVED`` takes a field away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]

REMOVED = object()
TENANT = "acme"

_CHAT = {
    "type": "chat",
    "limits": {"max_tokens": 1000, "context_length": 8000, "max_input_bytes": 100_000},
    "features": ["json", "streaming", "tools"],
}
_EMBED = {"type": "embed", "limits": {"context_length": 500}, "features": ["streaming"]}

_CONTRACT: Document = {
    "service_id": "alpha",
    "name": "Alpha",
    "version": "1.0.0",
    "tags": [],
    "capabilities": [_CHAT],
    "guarantees": {
        "latency_ms": {"p50": "200", "p95": "800", "p99": "1200"},
        "first_token_ms": {"p95": "300"},
        "accuracy": {"min": "0.95"},
        "availability": {"min": "0.99"},
    },
    "constraints": {"requires": {"gpu": False, "internet": False}},
    "cost": {"currency": "USD", "per_request": "0.01", "per_input_token": "0.000001", "per_output_token": "0.000002"},
    "privacy": {
        "data_locality": ["eu"],
        "encryption": {"in_transit": True, "at_rest": True},
        "data_retention_days": 30,
        "trains_on_data": False,
        "compliance": ["gdpr", "soc2"],
    },
    "access": {"required_permissions": {"all_of": [], "any_of": []}, "visibility": "tenant"},
    "api": {"protocol": "openai", "base_url": "https://alpha.example", "endpoints": [], "timeout_ms": 30_000},
}

_REQUEST: Document = {
    "tenant_id": TENANT,
    "currency": "USD",
    "capabilities": ["chat"],
    "bounds": {},
    "max_cost": None,
    "features": [],
    "context_length": None,
    "data_locality": None,
    "regions": [],
    "compliance": [],
    "classification": "internal",
    "sensitive": False,
    "egress": True,
    "training": True,
    "max_retention_days": None,
    "services": [],
    "excluded_services": [],
    "protocols": [],
    "stream": False,
    "input_bytes": 1000,
    "max_tokens": None,
    "deadline_ms": 30_000,
    "labels": {},
    "weights": None,
    "on_violation": None,
    "seed": "seed",
}

_PRINCIPAL: Document = {
    "id": "ada",
    "kind": "user",
    "roles": ["user"],
    "permissions": ["services:use"],
    "trust_level": "standard",
}


def contract(service_id: str = "alpha", version: str = "1.0.0", **changes: Any) -> Document:
    """The baseline contract, changed; by itself feasible for the baseline request."""
    return changed(_CONTRACT, {"service_id": service_id, "version": version, **changes})


def request(**changes: Any) -> Document:
    return changed(_REQUEST, changes)


def principal(**changes: Any) -> Document:
    return changed(_PRINCIPAL, changes)


def policy(policy_id: str = "rule", **changes: Any) -> Document:
    baseline: Document = {
        "id": policy_id,
        "version": 1,
        "priority": 10,
        "effect": "forbid",
        "when": "true",
        "then": "true",
    }
    return changed({**baseline, "message": "", "attach": "tenant"}, changes)


def evidence(
    *contracts: Document,
    request: Document | None = None,
    principal: Document | None = None,
    policies: list[Document] | None = None,
    history: Document | None = None,
    owner: str = TENANT,
) -> Document:
    """The evidence of one decision over ``contracts``, all owned by ``owner``."""
    return {
        "request": request or changed(_REQUEST, {}),
        "principal": principal or changed(_PRINCIPAL, {}),
        "services": [{"tenant": owner, "contract": each} for each in contracts],
        "policies": policies or [],
        "history": history or {},
    }


def changed(document: Document, changes: Document) -> Document:
    """A copy of ``document`` with ``changes`` merged into its objects."""
    merged = dict(document)
    for name, value in changes.items():
        before = merged.get(name)
        merged[name] = changed(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return {name: value for name, value in merged.items() if value is not REMOVED}


@dataclass(frozen=True)
class Case:
    """One service, one request, the number of the question that the service fails (0: feasible), and the record
    ``[clause, subject, required, offered]`` (None: feasible)."""

    name: str
    question: int
    expected: list[str] | None
    request: Document = field(default_factory=dict)
    contract: Document = field(default_factory=dict)
    principal: Document = field(default_factory=dict)
    policies: list[Document] = field(default_factory=list)
    owner: str = TENANT

    def __str__(self) -> str:
        return self.name

    def evidence(self) -> Document:
        return evidence(
            contract(**self.contract),
            request=request(**self.request),
            principal=principal(**self.principal),
            policies=self.policies,
            owner=self.owner,
        )


def _locality(name: Any, **changes: Any) -> Document:
    return {"privacy": {"data_locality": name, **changes}}


def _limits(**changes: Any) -> Document:
    return {"capabilities": [{**_CHAT, "limits": changes}]}


_TWO = {"capabilities": ["chat", "embed"]}
_UNENCRYPTED = {"encryption": {"in_transit": True, "at_rest": False}}

CASES = [
    Case("service not named", 1, ["service", "services", "beta, gamma", "alpha@1.0.0"], {"services": ["beta", "gamma"]}),
    Case("another version named", 1, ["service", "services", "alpha@2.0.0", "alpha@1.0.0"], {"services": ["alpha@2.0.0"]}),
    Case("excluded id", 2, ["service", "excluded_services", "not alpha, b", "alpha@1.0.0"], {"excluded_services": ["alpha", "b"]}),
    Case("excluded version", 2, ["service", "excluded_services", "not alpha@1.0.0", "alpha@1.0.0"], {"excluded_services": ["alpha@1.0.0"]}),
    Case("excluded beats named", 2, ["service", "excluded_services", "not alpha", "alpha@1.0.0"], {"services": ["alpha"], "excluded_services": ["alpha"]}),
    Case("capability missing", 4, ["capability", "vision", "vision", "chat"], {"capabilities": ["chat", "vision", "audio"]}),
    Case("capability missing, several offered", 3, ["capability", "audio", "audio", "chat, embed"], {"capabilities": ["audio"]}, {"capabilities": [_EMBED, _CHAT]}),
    Case("protocol", 4, ["protocol", "protocol", "anthropic, bedrock", "openai"], {"protocols": ["anthropic", "bedrock"]}),
    Case("feature missing", 6, ["feature", "chat", "vision", "json, streaming, tools"], {"features": ["tools", "vision", "web"]}),
    Case("stream needs streaming", 5, ["feature", "chat", "streaming", "tools"], {"stream": True}, {"capabilities": [{**_CHAT, "features": ["tools"]}]}),
    Case("streaming sorts among the features", 5, ["feature", "chat", "batch", "none"], {"stream": True, "features": ["batch", "tools"]}, {"capabilities": [{**_CHAT, "features": []}]}),
    Case("feature missing in the second capability", 7, ["feature", "embed", "json", "streaming"], {**_TWO, "features": ["json"]}, {"capabilities": [_CHAT, _EMBED]}),
    Case("features in request order", 6, ["feature", "embed", "json", "streaming"], {"capabilities": ["embed", "chat"], "features": ["json"]}, {"capabilities": [{**_CHAT, "features": []}, _EMBED]}),
    Case("features in request order, turned round", 6, ["feature", "chat", "json", "none"], {"capabilities": ["chat", "embed"], "features": ["json"]}, {"capabilities": [{**_CHAT, "features": []}, _EMBED]}),
    Case("context too small", 5, ["context_length", "chat", "8001", "8000"], {"context_length": 8001}),
    Case("context undeclared", 5, ["context_length", "chat", "1", "undeclared"], {"context_length": 1}, _limits(max_tokens=1000)),
    Case("context in request order", 6, ["context_length", "embed", "9000", "500"], {"capabilities": ["embed", "chat"], "context_length": 9000}, {"capabilities": [_CHAT, _EMBED]}),
    Case("output too small", 6, ["max_tokens", "chat", "1001", "1000"], {"max_tokens": 1001}),
    Case("output undeclared", 6, ["max_tokens", "chat", "1", "undeclared"], {"max_tokens": 1}, {**_limits(max_input_bytes=5000), "cost": {"per_output_token": REMOVED}}),
    Case("context stands in for output", 9, ["max_tokens", "embed", "501", "500"], {**_TWO, "max_tokens": 501}, {"capabilities": [_CHAT, _EMBED]}),
    Case("output in request order", 8, ["max_tokens", "embed", "9000", "500"], {"capabilities": ["embed", "chat"], "max_tokens": 9000}, {"capabilities": [_CHAT, _EMBED]}),
    Case("input too large in the second capability", 11, ["input_size", "embed", "100", "99"], {**_TWO, "input_bytes": 100}, {"capabilities": [_CHAT, {**_EMBED, "limits": {"context_length": 1, "max_input_bytes": 99}}]}),
    Case("input too large", 7, ["input_size", "chat", "100001", "100000"], {"input_bytes": 100_001}),
    Case("bound exceeded", 8, ["guarantee", "latency_ms.p95", "<= 799.999999999", "p95 800"], {"bounds": {"latency_ms.p95": "799.999999999"}}),
    Case("tightest stronger bound shown", 8, ["guarantee", "latency_ms.p95", "<= 1000", "p99 1200"], {"bounds": {"latency_ms.p95": "1000"}}, {"guarantees": {"latency_ms": {"p95": REMOVED, "max": "5000"}}}),
    Case("weakest of equals shown", 8, ["guarantee", "latency_ms.p50", "<= 100", "p95 800"], {"bounds": {"latency_ms.p50": "100"}}, {"guarantees": {"latency_ms": {"p50": REMOVED, "p99": "800", "max": "800"}}}),
    Case("a weaker statistic meets nothing", 8, ["guarantee", "latency_ms.max", "<= 5000", "undeclared"], {"bounds": {"latency_ms.max": "5000"}}),
    Case("lower bound missed", 8, ["guarantee", "accuracy.min", ">= 0.95000001", "0.95"], {"bounds": {"accuracy.min": "0.95000001"}}),
    Case("property undeclared", 8, ["guarantee", "grounding.min", ">= -1", "undeclared"], {"bounds": {"grounding.min": "-1"}}),
    Case("determinism undeclared", 8, ["guarantee", "determinism.min", ">= 1", "undeclared"], {"bounds": {"determinism.min": "1"}}),
    Case("determinism is 1", 8, ["guarantee", "determinism.min", ">= 2", "1"], {"bounds": {"determinism.min": "2"}}, {"guarantees": {"determinism": {"seed_required": True}}}),
    Case("bounds in order of name", 8, ["guarantee", "accuracy.min", ">= 0.99", "0.95"], {"bounds": {"latency_ms.p95": "1", "accuracy.min": "0.99"}}),
    Case("a stream's latency is its first token's", 9, ["guarantee", "first_token_ms.p95", "<= 250", "p95 300"], {"stream": True, "bounds": {"latency_ms.p95": "250"}}),
    Case("a stream's order is of the names as evaluated", 9, ["guarantee", "first_token_ms.p95", "<= 250", "p95 300"], {"stream": True, "bounds": {"latency_ms.p95": "250", "grounding.min": "1"}}),
    Case("a stream's two bounds are the tighter", 9, ["guarantee", "first_token_ms.p95", "<= 250", "p95 300"], {"stream": True, "bounds": {"latency_ms.p95": "400", "first_token_ms.p95": "250"}}),
    Case("another currency", 8, ["currency", "currency", "USD", "EUR"], {}, {"cost": {"currency": "EUR"}}),
    Case("too dear", 9, ["cost", "cost.max", "<= 0.012999999", "0.013"], {"max_cost": "0.012999999"}),
    Case("too dear with the tokens asked for", 9, ["cost", "cost.max", "<= 0.0111", "0.0112"], {"max_cost": "0.0111", "max_tokens": 100}),
    Case("too dear with several answers", 9, ["cost", "cost.max", "<= 0.0111", "0.0112"], {"max_cost": "0.0111", "max_tokens": 25, "answers": 4}),
    Case("too dear with several of the longest answers", 9, ["cost", "cost.max", "<= 0.0169", "0.017"], {"max_cost": "0.0169", "answers": 3}),
    Case("time is priced to the earlier end", 9, ["cost", "cost.max", "<= 1", "1.013"], {"max_cost": "1", "deadline_ms": 2000}, {"cost": {"per_second": "0.5"}}),
    Case("rounded up once", 9, ["cost", "cost.max", "<= 0", "0.000000001"], {"max_cost": "0", "input_bytes": 1}, {"cost": {"per_request": REMOVED, "per_output_token": REMOVED, "per_input_token": "0.000000000001"}}),
    Case("beyond exact amounts", 9, ["cost", "cost.max", "<= 9007199.254740991", "10000000.003"], {"input_bytes": 100_000}, {"cost": {"per_request": "0.001", "per_input_token": "100"}}),
    Case("forbidden", 11, ["policy", "no-eu@1", "forbid", ""], policies=[policy("no-eu", then='"eu" in service.privacy.regions')]),
    Case("required", 11, ["policy", "fedramp@3", "require", ""], policies=[policy("fedramp", version=3, effect="require", then='"fedramp" in service.privacy.compliance')]),
    Case("erring condition", 10, ["policy_error", "odd@1", "require", ""], policies=[policy("odd", effect="require", when="request.max_tokens > 5")]),
    Case("erring rule", 10, ["policy_error", "odd@1", "forbid", ""], policies=[policy("odd", then="service.cost.per_second > 1.0")]),
    Case("higher priority first", 11, ["policy", "b@1", "forbid", ""], policies=[policy("a"), policy("b", priority=11)]),
    Case("then by id, an error like a verdict", 10, ["policy_error", "a@1", "forbid", ""], policies=[policy("b"), policy("a", then="service.cost.per_second > 1.0")]),
    Case("then by version", 11, ["policy", "a@2", "forbid", ""], policies=[policy("a", version=10), policy("a", version=2)]),
    Case("forbid beats require", 13, ["policy", "b@1", "forbid", ""], policies=[policy("a", effect="require", priority=99), policy("b", priority=0)]),
    Case("another tenant's", 10, ["visibility", "visibility", "own or shared", "not shared"], owner="other"),
    Case("permission missing, the first by name", 11, ["permission", "permission", "b", "not held"], {}, {"access": {"required_permissions": {"all_of": ["e", "d", "c", "b", "a"]}}}, {"permissions": ["a"]}),
    Case("permission missing", 11, ["permission", "permission", "b", "not held"], {}, {"access": {"required_permissions": {"all_of": ["a", "b", "c"]}}}, {"permissions": ["a"]}),
    Case("no permission of several", 12, ["permission", "permission", "one of a, b", "none held"], {}, {"access": {"required_permissions": {"any_of": ["a", "b"]}}}),
    Case("trust", 13, ["trust", "trust_level", "elevated", "standard"], {}, {"access": {"required_trust_level": "elevated"}}),
    Case("locality", 14, ["locality", "data_locality", "private", "regions"], {"data_locality": "private"}),
    Case("locality of the cloud", 14, ["locality", "data_locality", "regions", "cloud"], {"data_locality": "regions"}, _locality("cloud")),
    Case("outside the regions", 15, ["residency", "regions", "eu, uk", "eu, us"], {"regions": ["eu", "uk"]}, _locality(["eu", "us"])),
    Case("cloud proves no region", 15, ["residency", "regions", "eu", "cloud"], {"regions": ["eu"]}, _locality("cloud")),
    Case("private proves no region", 15, ["residency", "regions", "eu", "private"], {"regions": ["eu"]}, _locality("private")),
    Case("restricted stays at home", 16, ["sensitivity", "data_classification", "on_device or private", "regions"], {"classification": "restricted"}),
    Case("confidential unencrypted", 17, ["sensitivity", "data_classification", "on_device, private or encrypted", "regions"], {"classification": "confidential"}, {"privacy": _UNENCRYPTED}),
    Case("sensitive unencrypted", 17, ["sensitivity", "data_classification", "on_device, private or encrypted", "cloud"], {"sensitive": True}, _locality("cloud", encryption={"in_transit": False, "at_rest": True})),
    Case("training forbidden", 18, ["training", "trains_on_data", "false", "true"], {"training": False}, {"privacy": {"trains_on_data": True}}),
    Case("training unsaid", 18, ["training", "trains_on_data", "false", "true"], {"training": False}, {"privacy": {"trains_on_data": REMOVED}}),
    Case("sensitive is not for training", 18, ["training", "trains_on_data", "false", "true"], {"sensitive": True}, {"privacy": {"trains_on_data": True}}),
    Case("confidential is not for training", 18, ["training", "trains_on_data", "false", "true"], {"classification": "confidential"}, {"privacy": {"trains_on_data": True}}),
    Case("restricted is not for training", 18, ["training", "trains_on_data", "false", "true"], {"classification": "restricted"}, _locality("private", trains_on_data=True)),
    Case("kept too long", 19, ["retention", "data_retention_days", "<= 29", "30"], {"max_retention_days": 29}),
    Case("retention undeclared", 19, ["retention", "data_retention_days", "<= 0", "undeclared"], {"max_retention_days": 0}, {"privacy": {"data_retention_days": REMOVED}}),
    Case("compliance of many, in order of name", 23, ["compliance", "compliance", "d", "a, b, c, e"], {"compliance": ["a", "b", "c", "d", "e", "f"]}, {"privacy": {"compliance": ["e", "c", "b", "a"]}}),
    Case("compliance", 21, ["compliance", "compliance", "hipaa", "gdpr, soc2"], {"compliance": ["gdpr", "hipaa", "iso27001"]}),
    Case("egress", 20, ["egress", "egress", "none", "regions"], {"egress": False}),
    Case("egress by need of the internet", 20, ["egress", "egress", "none", "internet"], {"egress": False}, {**_locality("private"), "constraints": {"requires": {"internet": True}}}),
]  # fmt: skip

ALLOWED = [
    Case("the baseline", 0, None),
    Case("named by id", 0, None, {"services": ["alpha"]}),
    Case("named by version", 0, None, {"services": ["alpha@1.0.0", "beta"]}),
    Case("another version excluded", 0, None, {"excluded_services": ["alpha@2.0.0"]}),
    Case("one protocol of several", 0, None, {"protocols": ["anthropic", "openai"]}),
    Case("all limits at their edge", 0, None, {"context_length": 8000, "max_tokens": 1000, "input_bytes": 100_000}),
    Case("input limit undeclared", 0, None, {"input_bytes": 10**9}, {**_limits(max_tokens=1), "cost": {"currency": "USD"}}),
    Case("bound met exactly", 0, None, {"bounds": {"latency_ms.p95": "800", "accuracy.min": "0.95"}}),
    Case("stronger bound serves", 0, None, {"bounds": {"latency_ms.p50": "800"}}, {"guarantees": {"latency_ms": {"p50": REMOVED}}}),
    Case("a stronger bound may be the tighter", 0, None, {"bounds": {"latency_ms.p50": "150"}}, {"guarantees": {"latency_ms": {"p99": "150"}}}),
    Case("determinism", 0, None, {"bounds": {"determinism.min": "1"}}, {"guarantees": {"determinism": {"seed_required": False}}}),
    Case("latency unread for a stream", 0, None, {"stream": True, "bounds": {"latency_ms.p95": "300"}}),
    Case("free in another currency", 0, None, {}, {"cost": {"currency": "EUR", "per_request": "0", "per_input_token": REMOVED, "per_output_token": REMOVED}}),
    Case("cost at its edge", 0, None, {"max_cost": "0.013"}),
    Case("deadline beyond the timeout", 0, None, {"max_cost": "0.513", "deadline_ms": 60_000}, {"cost": {"per_second": "0.5"}, "api": {"timeout_ms": 1000}}),
    Case("the largest exact amount", 0, None, {"input_bytes": 0}, {"cost": {"per_request": "0.254740991", "per_input_token": REMOVED, "per_output_token": "9007.199"}}),
    Case("forbid of something else", 0, None, policies=[policy(then='service.id == "beta"')]),
    Case("require met", 0, None, policies=[policy(effect="require", then='service.id == "alpha"')]),
    Case("policy not in force", 0, None, policies=[policy(when="request.sensitive"), policy("b", effect="require", when="request.sensitive", then="false")]),
    Case("unasked rule cannot err", 0, None, policies=[policy(when="false", then="service.cost.per_second > 1.0")]),
    Case("erring preferences", 0, None, policies=[policy(effect="prefer", when="request.max_tokens > 5"), policy("b", effect="prefer", then="service.cost.per_second > 1.0")]),
    Case("another tenant's, shared", 0, None, {}, {"access": {"visibility": "shared"}}, owner="other"),
    Case("permissions held", 0, None, {}, {"access": {"required_permissions": {"all_of": ["a"], "any_of": ["b", "c"]}}}, {"permissions": ["a", "c"]}),
    Case("trust at its edge", 0, None, {}, {"access": {"required_trust_level": "standard"}}),
    Case("untrusted without requirement", 0, None, {}, {}, {"trust_level": "untrusted"}),
    Case("stricter locality", 0, None, {"data_locality": "cloud"}, _locality("on_device")),
    Case("same locality", 0, None, {"data_locality": "regions"}),
    Case("confined to fewer regions", 0, None, {"regions": ["eu", "us"]}),
    Case("on device is everywhere at home", 0, None, {"regions": ["eu"]}, _locality("on_device")),
    Case("restricted and private", 0, None, {"classification": "restricted"}, _locality("private", **_UNENCRYPTED)),
    Case("confidential and encrypted", 0, None, {"classification": "confidential", "sensitive": True}),
    Case("training allowed", 0, None, {}, {"privacy": {"trains_on_data": True}}),
    Case("retention at its edge", 0, None, {"max_retention_days": 30}),
    Case("compliance held", 0, None, {"compliance": ["gdpr", "soc2"]}),
    Case("no egress", 0, None, {"egress": False}, _locality("on_device")),
]  # fmt: skip

#: Fails every clause at once with the request, principal and policies of ``ladder``.
_HOPELESS: Document = {
    "capabilities": [{"type": "embed", "limits": {"max_input_bytes": 1}, "features": []}],
    "guarantees": {},
    "cost": {"currency": "EUR"},
    "privacy": {
        "data_locality": "cloud",
        "encryption": {"in_transit": False, "at_rest": False},
        "data_retention_days": 90,
        "trains_on_data": True,
        "compliance": [],
    },
    "access": {
        "required_permissions": {"all_of": ["root"], "any_of": ["owner"]},
        "required_trust_level": "privileged",
    },
    "constraints": {"requires": {"internet": True}},
    "api": {"protocol": "process"},
}

_DEMANDS: Document = {
    "services": ["beta"],
    "excluded_services": ["alpha"],
    "protocols": ["openai"],
    "features": ["tools"],
    "context_length": 10,
    "max_tokens": 10,
    "input_bytes": 10,
    "bounds": {"accuracy.min": "0.9"},
    "max_cost": "0",
    "data_locality": "regions",
    "regions": ["eu"],
    "classification": "confidential",
    "training": False,
    "max_retention_days": 1,
    "compliance": ["gdpr"],
    "egress": False,
}

_CLAUSES_BY_REPAIR: list[tuple[str, Document, Document]] = [
    ("service", {"services": []}, {}),
    ("service", {"excluded_services": []}, {}),
    ("capability", {}, {"capabilities": [{"type": "chat", "limits": {"max_input_bytes": 1}, "features": []}]}),
    ("protocol", {}, {"api": {"protocol": "openai"}}),
    ("feature", {}, {"capabilities": [{"type": "chat", "limits": {"max_input_bytes": 1}, "features": ["tools"]}]}),
    ("context_length", {"context_length": None}, {}),
    ("max_tokens", {}, {"capabilities": [{**_CHAT, "limits": {"max_tokens": 10, "max_input_bytes": 1}}]}),
    ("input_size", {}, {"capabilities": [_CHAT]}),
    ("guarantee", {}, {"guarantees": {"accuracy": {"min": "0.9"}}}),
    ("currency", {}, {"cost": {"currency": "USD"}}),
    ("cost", {"max_cost": None}, {}),
    ("policy_error", {"labels": {"step": "1"}}, {}),
    ("policy", {"labels": {"step": "2"}}, {}),
    ("visibility", {}, {"access": {"visibility": "shared"}}),
    ("permission", {}, {"access": {"required_permissions": {"all_of": []}}}),
    ("permission", {}, {"access": {"required_permissions": {"any_of": []}}}),
    ("trust", {}, {"access": {"required_trust_level": "standard"}}),
    ("locality", {"data_locality": "cloud"}, {}),
    ("residency", {"regions": []}, {}),
    ("sensitivity", {"classification": "internal"}, {}),
    ("training", {}, {"privacy": {"trains_on_data": False}}),
    ("retention", {}, {"privacy": {"data_retention_days": 1}}),
    ("compliance", {}, {"privacy": {"compliance": ["gdpr"]}}),
    ("egress", {"egress": True}, {}),
]


def ladder() -> list[tuple[str | None, Document]]:
    """The clause that must be named, and the evidence, for each further repair; None at the end."""
    policies = [
        policy("erring", when='!("step" in request.labels)', then="service.cost.per_second > 1.0"),
        policy("forbidding", priority=1, when='!("step" in request.labels) || request.labels["step"] == "1"'),
    ]
    wanted, offered = request(**_DEMANDS), contract(**_HOPELESS)
    offered["guarantees"] = {}  # merging adds promises and takes none away
    steps: list[tuple[str | None, Document]] = []
    for clause, easier, better in [*_CLAUSES_BY_REPAIR, (None, {}, {})]:
        steps.append((clause, evidence(offered, request=wanted, policies=policies, owner="other")))
        wanted, offered = changed(wanted, easier), changed(offered, better)
    return steps


LADDER = ladder()
