"""The laws of contracts over generated documents, texts and bytes."""

import json
from decimal import Decimal

import jsonschema_rs
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from caio.contracts import (
    Promise,
    contract_schema,
    diff_contracts,
    expression_variables,
    parse_contract,
    parse_policy,
)
from caio.contracts.model import Contract
from caio.contracts.source import read_source
from caio.contracts.tree import Unreadable
from caio.contracts.vocabulary import STATISTICS
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import InvalidInput
from tests.support.contract_strategies import contracts, free_form, numbers, texts

#: A generated contract costs some thirty milliseconds; a quarter of the profile's examples is enough.
few = settings(max_examples=max(10, settings.default.max_examples // 4) if settings.default else 15)

SCHEMA = jsonschema_rs.validator_for(contract_schema(), offline=True)


def as_json(document):
    """JSON text with every decimal as the numeral it was written as."""
    numerals: dict[str, str] = {}

    def marked(value):
        if isinstance(value, Decimal):
            numerals[f"<<numeral {len(numerals)}>>"] = f"{value:f}"
            return f"<<numeral {len(numerals) - 1}>>"
        if isinstance(value, dict):
            return {key: marked(item) for key, item in value.items()}
        return [marked(item) for item in value] if isinstance(value, list) else value

    text = json.dumps(marked(document))
    for name, numeral in numerals.items():
        text = text.replace(f'"{name}"', numeral)
    return text


class Quoted(yaml.SafeDumper):
    """Writes every text in quotes: PyYAML knows which words YAML 1.1 would misread, not YAML 1.2 (5e-324, 0o17)."""


Quoted.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def as_yaml(document):
    return yaml.dump(document, Dumper=Quoted)


def shuffled(value, draw):
    if isinstance(value, dict):
        return {name: shuffled(value[name], draw) for name in draw(st.permutations(list(value)))}
    return value


@few
@given(contracts)
def test_documents_round_trip(source):
    contract = parse_contract(source).value
    document = contract.document()
    for again in (document, canonical_json(document), canonical_json(document).decode(), as_yaml(document)):
        parsed = parse_contract(again)
        assert parsed.value == contract
        assert parsed.value.digest == contract.digest
        assert not any("known field" in warning.message for warning in parsed.warnings)


@few
@given(contracts, st.data())
def test_digests_ignore_form(source, data):
    digest = parse_contract(source).value.digest
    assert parse_contract(shuffled(source, data.draw)).value.digest == digest
    assert parse_contract(as_json(source)).value.digest == digest
    padded = {**source, "cost": {**source.get("cost", {}), "per_request": "0.50"}}
    plain = {**source, "cost": {**source.get("cost", {}), "per_request": Decimal("0.5")}}
    assert parse_contract(padded).value.digest == parse_contract(plain).value.digest


@few
@given(contracts, contracts)
def test_equal_contracts_do_not_differ(one, other):
    left, right = parse_contract(one).value, parse_contract(other).value
    assert diff_contracts(left, parse_contract(left.document()).value) == ()
    assert (diff_contracts(left, right) == ()) == (left.digest == right.digest)


@few
@given(contracts, contracts)
def test_going_back_undoes(one, other):
    left, right = parse_contract(one).value, parse_contract(other).value
    reverse = {Promise.WEAKER: Promise.STRONGER, Promise.STRONGER: Promise.WEAKER, Promise.OTHER: Promise.OTHER}
    forth = [repr((change.old, change.new, change.promise)) for change in diff_contracts(left, right)]
    back = [repr((change.new, change.old, reverse[change.promise])) for change in diff_contracts(right, left)]
    assert sorted(forth) == sorted(back)


@few
@given(contracts)
def test_the_published_schema_accepts_what_the_parser_accepts(source):
    SCHEMA.validate(json.loads(as_json(source)))
    SCHEMA.validate(parse_contract(source).value.document())


@few
@given(contracts)
def test_expressions_see_every_number_as_a_float(source):
    document = parse_contract(source).value.document()
    variables = expression_variables(document)
    assert variables["id"] == document["service_id"]
    for name, promise in document["guarantees"].items():
        for statistic in STATISTICS:
            if statistic in promise:
                assert variables["guarantees"][name][statistic] == float(promise[statistic])
                assert type(variables["guarantees"][name][statistic]) is float
    assert not {"metadata", "invariants"} & set(variables)
    assert not {"endpoints", "auth"} & set(variables["api"])


@given(free_form)
def test_yaml_and_json_agree(value):
    wrapped = {"value": value}
    from_json = read_source(as_json(wrapped)).value
    assert read_source(wrapped).value == from_json
    assert read_source(as_yaml(wrapped)).value == from_json


@given(st.decimals(allow_nan=False, allow_infinity=False), st.booleans())
def test_numbers_stay_exact(number, block):
    text = f"value: {number}\n" if block else f'{{"value": {number}}}'
    assert Decimal(read_source(text).value["value"]) == number


@few
@given(contracts, texts, free_form)
def test_unknown_fields_are_warnings(source, name, value):
    name = f"x {name}"
    plain = parse_contract(source)
    parsed = parse_contract({**source, name: value, "api": {**source["api"], name: value}})
    assert parsed.value == plain.value
    assert len(parsed.warnings) == len(plain.warnings) + 2


@few
@given(st.dictionaries(texts, numbers | texts), contracts)
def test_broken_contracts_do_not_construct(noise, source):
    broken = {**source, "capabilities": [*source["capabilities"], source["capabilities"][0]]}
    with pytest.raises(ValidationError):
        Contract.model_validate(broken)
    with pytest.raises(ValidationError):
        Contract.model_validate({**noise, "service_id": source["service_id"]})


def refusal(parse, source):
    """The InvalidInput that ``parse`` raises, or None; anything else it raises fails the test."""
    try:
        parse(source)
    except InvalidInput as error:
        return error
    return None


ALPHABET = st.sampled_from(list("{}[]:,-&*!|>'\"#%@`?~<\\/ \t\n\r0123456789.eE+-abtfnu_\u0000\u0085\u2028\ufeff\ud83d"))
CONTRACT_LINES = [
    "service_id: a\n",
    "name: b\n",
    "version: 1.0.0\n",
    "capabilities: [c]\n",
    "api: {protocol: process}\n",
]
POLICY_LINES = ["id: p\n", "version: 1\n", "effect: forbid\n", "then: true\n", "when: |\n  x\n"]
YAML_PARTS = ["&a ", "*a", "- ", "  ", "? ", "!!python/name:os.system ", "<<: "]
FRAGMENTS = st.sampled_from([*CONTRACT_LINES, *POLICY_LINES, *YAML_PARTS])
anything = st.text() | st.text(ALPHABET) | st.lists(FRAGMENTS | st.text(ALPHABET, max_size=3)).map("".join)


@given(st.binary() | anything | anything.map(lambda text: text.encode("utf-16", "surrogatepass")))
@example(b"\xff\xfe")
@example("")
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example("a: &a [*a]")
@example("a: !!python/object/apply:os.system [id]")
@example("a: 1e99999999999999999999")
def test_only_invalid_input_is_raised(source):
    for parse, code in ((parse_contract, "invalid_contract"), (parse_policy, "invalid_policy")):
        if error := refusal(parse, source):
            assert error.code == code
            assert error.violations
            assert error.message.encode()
            assert all(each.message.encode() and isinstance(each.pointer.encode(), bytes) for each in error.violations)


wild = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals() | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=10,
)
REQUIRED = ["service_id", "name", "version", "capabilities", "api"]
FIELDS = st.sampled_from([*REQUIRED, "guarantees", "constraints", "cost", "privacy", "metadata"])


@few
@given(st.dictionaries(FIELDS | st.text(max_size=3), wild), contracts, FIELDS, wild)
def test_only_invalid_input_is_raised_for_mappings(noise, source, field, value):
    api = {**source["api"], "auth": value, "endpoints": [value], "base_url": value}
    variants = [{**source, field: value}, {**source, field: {"max": value, "x": value}}, {**source, "api": api}]
    assert all(error.violations for each in variants if (error := refusal(parse_contract, each)))
    error = refusal(parse_contract, noise)
    assert error is not None
    assert len(error.violations) >= len(set(REQUIRED) - set(noise))


@given(st.binary() | anything)
def test_reading_ends_or_refuses(source):
    try:
        read = read_source(source)
    except Unreadable:
        return
    # Whatever was read can be written: no surrogates, no NaN, no cycles.
    json.dumps(read.value, default=str, allow_nan=False, ensure_ascii=False).encode()


@few
@given(contracts, st.data())
def test_nothing_repeats_in_silence(source, data):
    key = data.draw(st.sampled_from(sorted(source)))
    text = as_json(source)
    repeated = f'{text[:-1]}, "{key}": null}}'
    with pytest.raises(InvalidInput) as caught:
        parse_contract(repeated)
    assert [violation.pointer for violation in caught.value.violations] == [f"/{key}"]
