"""What is no number that the rules can be exact about is refused where it comes in, with its place."""

import json
from decimal import Decimal
from typing import Any

import pytest

from caio.contracts import parse_contract, parse_policy
from caio.foundation.errors import InvalidInput
from caio.foundation.quantity import NotExact, nanos, read_nanos
from caio.gateway.intake import OrchestrateBody, kernel_request, read
from caio.routing.model import Request
from tests.support.routing_cases import Document, changed, contract, policy, request

#: Numerals as they are written in JSON or YAML; none is a number of the domain.
NO_NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999", "-1e999")
NOT_JSON = NO_NUMBERS[:3]
AS_TEXT = ("nan", "inf", "-inf", "Infinity", "1e9999", "0x10", "1_000", "", " 1", "1,5", "٣")
OUTSIDE = ("1e10", "-1e10", '"1000000000.000000001"', "0.0000000001", '"0.00000000000001"')


def refused(parse: Any, document: Document, numeral: str) -> list[str]:
    """The pointers at which a file is refused in which the text "@" stands for a bare numeral. What is
    no JSON at all has none."""
    with pytest.raises(InvalidInput) as refusal:
        parse(json.dumps(document).replace('"@"', numeral))
    return [each.pointer for each in refusal.value.violations]


def quantity(name: str, statistic: str) -> Document:
    return contract(guarantees={name: {statistic: "@"}})


@pytest.mark.parametrize("numeral", [*NO_NUMBERS, *map(json.dumps, AS_TEXT), *OUTSIDE])
@pytest.mark.parametrize(
    ("name", "statistic"), [("grounding", "min"), ("grounding", "p50"), ("latency_ms", "max"), ("accuracy", "min")]
)
def test_a_promise_is_an_exact_number(name, statistic, numeral):
    pointers = refused(parse_contract, quantity(name, statistic), numeral)
    assert pointers == [""] if numeral in NOT_JSON else f"/guarantees/{name}/{statistic}" in pointers


@pytest.mark.parametrize(
    ("changes", "numeral", "pointer"),
    [
        ({"guarantees": {"latency_ms": {"p50": "@"}}}, "-1", "/guarantees/latency_ms/p50"),
        ({"guarantees": {"accuracy": {"min": "@"}}}, "-0.000000001", "/guarantees/accuracy/min"),
        ({"guarantees": {"accuracy": {"min": "@"}}}, "1.000000001", "/guarantees/accuracy/min"),
        ({"guarantees": {"latency_ms": {"p95": "@"}}}, "199.999999999", "/guarantees/latency_ms/p95"),
        ({"guarantees": {"latency_ms": {"p50": "@"}}}, "800.000000001", "/guarantees/latency_ms/p95"),
        ({"guarantees": {"toxicity": {"min": "0.2", "max": "@"}}}, "0.1", "/guarantees/toxicity/max"),
        ({"cost": {"per_request": "@"}}, "-0.01", "/cost/per_request"),
        ({"cost": {"per_request": "@"}}, "NaN", ""),
        ({"cost": {"per_request": "@"}}, "1e999", "/cost/per_request"),
        ({"cost": {"per_request": "@"}}, "1000000.000000000001", "/cost/per_request"),
        ({"cost": {"per_request": "@"}}, "1e-13", "/cost/per_request"),
        ({"api": {"timeout_ms": "@"}}, "0", "/api/timeout_ms"),
        ({"api": {"timeout_ms": "@"}}, "1e3", "/api/timeout_ms"),
        ({"privacy": {"data_retention_days": "@"}}, "-1", "/privacy/data_retention_days"),
    ],
)
def test_reversed_and_negative_numbers_in_a_contract(changes, numeral, pointer):
    """A statistic that holds more often is never the smaller one, and nothing costs less than nothing."""
    assert refused(parse_contract, contract(**changes), numeral) == [pointer]


@pytest.mark.parametrize("numeral", ["NaN", "Infinity", "-1", "1001", "1.5", "true", '"1"'])
@pytest.mark.parametrize("name", ["priority", "cost"])
def test_a_policys_weights_and_priority_are_whole_and_bounded(name, numeral):
    document = policy(**({"priority": "@"} if name == "priority" else {"weights": {"cost": "@"}}))
    pointer = "/priority" if name == "priority" else "/weights/cost"
    assert refused(parse_policy, document, numeral) == ["" if numeral in NOT_JSON else pointer]


def test_weights_of_nothing_at_all():
    assert refused(parse_policy, policy(weights={"cost": "@"}), "0") == ["/weights"]


@pytest.mark.parametrize(
    ("wish", "bad"),
    [
        ({"requirements": {"grounding": {"min": "@"}}}, (*NO_NUMBERS, *OUTSIDE, '"NaN"')),
        ({"requirements": {"latency_ms": {"p95": "@"}}}, (*NO_NUMBERS, *OUTSIDE, '"inf"')),
        ({"requirements": {"max_latency_ms": "@"}}, (*NO_NUMBERS, *OUTSIDE)),
        ({"requirements": {"max_cost": "@"}}, (*NO_NUMBERS, *OUTSIDE, "-0.01", '"-Infinity"')),
        ({"requirements": {"max_tokens": "@"}}, (*NO_NUMBERS, "0", "-1", "1.5", "1000000001")),
        ({"requirements": {"context_length": "@"}}, (*NO_NUMBERS, "0", "-1", "1000000001")),
        ({"constraints": {"max_retention_days": "@"}}, (*NO_NUMBERS, "-1", "36501")),
        ({"objective": {"weights": {"cost": "@"}}}, (*NO_NUMBERS, "-1", "0", "1001", "0.5")),
        ({"deadline_ms": "@"}, (*NO_NUMBERS, "0", "-1", "600001")),
    ],
    ids=str,
)
def test_a_wish_is_an_exact_number(wish, bad):
    for numeral in bad:
        raw = json.dumps({"request": {"capability": "chat", **wish}}).replace('"@"', numeral)
        with pytest.raises(InvalidInput):
            kernel_request(
                read(OrchestrateBody, raw.encode()).request, tenant_id="t", currency="USD", input_bytes=0, labels={}
            )


@pytest.mark.parametrize("text", ["NaN", "inf", "1e3", "+1", "01", "1.0", "1.50", "-0", ".5", "1.", "1e-1", " 1"])
def test_evidence_writes_a_number_in_one_way(text):
    """Two texts of one number would be two hashes of one request."""
    with pytest.raises(NotExact):
        read_nanos(text)
    with pytest.raises(NotExact):
        Request.from_document(changed(request(), {"bounds": {"latency_ms.p95": text}}))


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), "nan", True, 10**10, "1e-10"])
def test_quantities_are_exact(value):
    with pytest.raises(NotExact):
        nanos(value)
