"""Generated contracts, as source documents: what a tenant could write, in any of the allowed forms."""

from decimal import Decimal

from hypothesis import strategies as st

from caio.contracts.vocabulary import TRUST_LEVELS
from caio.foundation.canonical import MAX_INTEGER

names = st.text("abcxyz019_", max_size=8).map("p{}".format)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1, max_size=12)
counts = st.integers(1, 10**9)
numbers = st.integers(-MAX_INTEGER, MAX_INTEGER) | st.floats(-1e15, 1e15)
free_form = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(texts, free_form, max_size=3)
json_schemas = st.sampled_from(
    [
        {"type": "object", "required": ["answer"], "properties": {"answer": {"type": "string", "minLength": 1}}},
        {"$defs": {"word": {"type": "string"}}, "items": {"$ref": "#/$defs/word"}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "minimum": 0.5},
        {},
    ]
)


@st.composite
def decimals(draw, least=0, most=10**9, places=9):
    """A decimal as an integer, a Decimal or text, always exact."""
    value = draw(st.decimals(least, most, places=draw(st.integers(0, places))))
    return draw(st.sampled_from([value, f"{value:f}", int(value)]))


def sets(values):
    return st.lists(values, max_size=3)


def optional(**fields):
    """A mapping with any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


PROMISE = {"verified": st.sampled_from(["measured", "declared"]), "test_set": texts}


@st.composite
def upper_bounds(draw):
    """At least one of the statistics, in ascending order."""
    stated = draw(st.lists(st.sampled_from(["p50", "p95", "p99", "max"]), min_size=1, unique=True))
    ordered = [name for name in ("p50", "p95", "p99", "max") if name in stated]
    bounds = sorted(draw(st.lists(decimals(), min_size=len(ordered), max_size=len(ordered))), key=Decimal)
    return {**dict(zip(ordered, bounds, strict=True)), **draw(optional(**PROMISE))}


def floor(values):
    return st.fixed_dictionaries({"min": values}, optional=PROMISE)


guarantees = st.builds(
    lambda own, known: own | known,
    st.dictionaries(names, floor(decimals(-(10**9))) | upper_bounds(), max_size=3),
    optional(
        latency_ms=upper_bounds(),
        first_token_ms=upper_bounds(),
        accuracy=floor(decimals(0, 1)),
        availability=floor(decimals(0, 1)),
        throughput=floor(decimals()),
        error_rate=st.fixed_dictionaries({"max": decimals(0, 1)}, optional=PROMISE),
        determinism=st.fixed_dictionaries({"seed_required": st.booleans()}, optional=PROMISE),
    ),
)
prices = {name: decimals(0, 10**6, 12) for name in ("per_request", "per_input_token", "per_output_token", "per_second")}
limits = st.fixed_dictionaries({"max_tokens": counts}, optional={"context_length": counts, "max_input_bytes": counts})


@st.composite
def capability_lists(draw):
    kinds = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    fields = st.fixed_dictionaries({"limits": limits}, optional={"parameters": mappings, "features": sets(names)})
    return [{"type": kind, **draw(fields)} for kind in kinds]


privacy = optional(
    data_locality=st.sampled_from(["on_device", "private", "cloud"]) | st.lists(names, min_size=1, max_size=3),
    encryption=optional(in_transit=st.booleans(), at_rest=st.booleans(), type=texts),
    data_retention_days=st.integers(0, 36_500),
    trains_on_data=st.booleans(),
    compliance=sets(names),
)
access = optional(
    required_permissions=optional(all_of=sets(names), any_of=sets(names)),
    required_trust_level=st.sampled_from(TRUST_LEVELS),
    visibility=st.sampled_from(["tenant", "shared"]),
)
endpoints = st.fixed_dictionaries(
    {"path": st.sampled_from(["/", "/v1/answers", "/a.b/c-d"])},
    optional={
        "method": st.sampled_from(["GET", "POST"]),
        "input_schema": json_schemas,
        "output_schema": json_schemas,
    },
)
apis = st.fixed_dictionaries(
    {
        "protocol": st.sampled_from(["openai", "anthropic", "bedrock", "http-json", "process"]),
        "base_url": st.sampled_from(["http://127.0.0.1:8080", "https://api.example.com/v1/", "http://[::1]:9"]),
    },
    optional={
        "endpoints": st.lists(endpoints, max_size=2),
        "auth": st.sampled_from(
            [{"scheme": "none"}, {"scheme": "bearer", "secret_ref": "k"}, {"scheme": "header:X-Key", "secret_ref": "k"}]
        ),
        "timeout_ms": st.integers(1, 3_600_000),
        "model": texts,
    },
)

#: Valid contracts; none has an unknown field.
contracts = st.fixed_dictionaries(
    {
        "service_id": names,
        "name": texts,
        "version": st.sampled_from(["1.0.0", "0.0.1-rc.1+build.5", "10.20.30"]),
        "capabilities": capability_lists(),
        "api": apis,
    },
    optional={
        "description": st.just("") | texts,
        "tags": sets(names),
        "owner": texts,
        "guarantees": guarantees,
        "constraints": optional(
            max_concurrent_requests=counts,
            rate_limit=optional(per_minute=counts, per_hour=counts),
            context_length=counts,
            requires=optional(gpu=st.booleans(), internet=st.booleans()),
        ),
        "cost": optional(currency=st.sampled_from(["USD", "EUR"]), **prices),
        "privacy": privacy,
        "alignment": optional(safety_level=names, content_filtering=st.booleans(), bias_mitigation=st.booleans()),
        "access": access,
        "invariants": st.lists(texts, max_size=2),
        "metadata": mappings,
    },
)
