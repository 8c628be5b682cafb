"""The published JSON Schemas: in step with the models, and of use to an editor."""

from pathlib import Path

import jsonschema_rs
import pytest

from caio.contracts import contract_schema, parse_contract, parse_policy, policy_schema
from caio.contracts.schema import fields_at, published
from caio.contracts.source import read_source
from caio.contracts.vocabulary import LOCALITIES, STRENGTH, TERMS, TRUST_LEVELS
from caio.routing import model as routing

ROOT = Path(__file__).parents[3]
EXAMPLES = [
    *((path, parse_contract, contract_schema) for path in sorted((ROOT / "examples" / "contracts").glob("*.*"))),
    *((path, parse_policy, policy_schema) for path in sorted((ROOT / "examples" / "policies").glob("*.*"))),
]


@pytest.mark.parametrize("name", published())
def test_the_published_files_have_not_drifted(name):
    assert (ROOT / "schemas" / name).read_bytes() == published()[name], "run `caio schemas --write`"


@pytest.mark.parametrize(("path", "parse", "schema"), EXAMPLES, ids=[path.name for path, _, _ in EXAMPLES])
def test_every_example_is_valid_for_the_parser_and_for_editors(path, parse, schema):
    assert parse(path.read_bytes()).warnings == ()
    jsonschema_rs.validator_for(schema(), offline=True).validate(read_source(path.read_bytes()).value)


def test_there_are_examples():
    assert {path.parent.name for path, _, _ in EXAMPLES} == {"contracts", "policies"}


@pytest.mark.parametrize(
    "change",
    [
        {"service_id": "A"},
        {"version": "1"},
        {"capabilities": []},
        {"capabilities": ["Chat"]},
        {"onwer": "x"},
        {"owner": None},
        {"guarantees": {"latency_ms": {"p95": "fast"}}},
        {"guarantees": {"accuracy": {"min": 2}}},
        {"guarantees": {"own": {"most": 2}}},
        {"cost": {"per_request": -1}},
        {"privacy": {"data_locality": "moon"}},
        {"api": {"protocol": "openai", "base_url": "http://u:p@host"}},
        {"api": {"protocol": "openai", "endpoints": [{"path": "/../x"}]}},
        {"api": {"protocol": "smtp"}},
    ],
)
def test_editors_see_the_mistakes_that_the_parser_sees(change):
    valid = {"service_id": "a", "name": "A", "version": "1.0.0", "capabilities": ["c"], "api": {"protocol": "process"}}
    schema = jsonschema_rs.validator_for(contract_schema(), offline=True)
    assert schema.is_valid(valid)
    assert not schema.is_valid({**valid, **change})


@pytest.mark.parametrize("schema", [contract_schema(), policy_schema()], ids=["contract", "policy"])
def test_schemas_are_valid_and_never_offer_null(schema):
    jsonschema_rs.validator_for(schema, offline=True)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "null" not in str(schema).replace("nullable", "").lower()


def test_editors_can_complete_and_explain():
    schema = contract_schema()
    assert {"service_id", "capabilities", "guarantees"} <= fields_at(schema, ())
    assert fields_at(schema, ("capabilities", 0, "limits")) == {"max_tokens", "context_length", "max_input_bytes"}
    assert "p95" in fields_at(schema, ("guarantees", "my_own"))
    assert fields_at(schema, ("metadata", "x")) == set()
    assert "description" in policy_schema()["properties"]["when"]
    assert schema["$defs"]["Capability"]["anyOf"][0]["examples"]


def test_schemas_are_fresh_values():
    contract_schema()["properties"].clear()
    assert contract_schema()["properties"]


def test_the_kernel_knows_the_same_words():
    assert (routing.TRUST_LEVELS, routing.LOCALITIES, routing.STRENGTH) == (TRUST_LEVELS, LOCALITIES, STRENGTH)
    assert routing.TERMS == TERMS
