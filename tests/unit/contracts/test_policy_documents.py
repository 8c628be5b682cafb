"""A policy's document: its rules, and where its expressions stand in the file."""

import pytest
import yaml

from caio.contracts import parse_policy
from caio.contracts.policy import MAX_EXPRESSION_BYTES
from caio.contracts.vocabulary import Attach, Effect, OnViolation
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import InvalidInput

POLICY = """\
id: keep-private
version: 3
effect: forbid
when: request.sensitive
then: service.privacy.data_locality == "cloud"
"""


def test_defaults_and_types():
    policy = parse_policy(POLICY).value
    assert (policy.policy_id, policy.version, policy.priority) == ("keep-private", 3, 100)
    assert (policy.effect, policy.attach, policy.message) == (Effect.FORBID, Attach.TENANT, "")
    assert (policy.weights, policy.on_violation) == (None, None)
    assert policy.document() == {
        "id": "keep-private",
        "version": 3,
        "priority": 100,
        "effect": "forbid",
        "when": "request.sensitive",
        "then": 'service.privacy.data_locality == "cloud"',
        "message": "",
        "attach": "tenant",
    }


def test_documents_round_trip():
    text = (
        POLICY
        + "message: Not there.\nattach: request\nweights: {cost: 3, margin: 0}\non_violation: retry\npriority: 7\n"
    )
    policy = parse_policy(text).value
    assert policy.on_violation is OnViolation.RETRY
    for again in (policy.document(), canonical_json(policy.document()), yaml.safe_dump(policy.document())):
        assert parse_policy(again).value == policy
        assert parse_policy(again).value.digest == policy.digest
    assert parse_policy(POLICY).value.digest != policy.digest


def test_a_truth_value_is_an_expression():
    policy = parse_policy("id: p\nversion: 1\neffect: prefer\nthen: true\n").value
    assert (policy.when, policy.then) == ("true", "true")


@pytest.mark.parametrize(
    ("line", "replacement", "pointer", "message"),
    [
        ("id: keep-private", "id: Keep", "/id", "must be 1 to 63 of a-z"),
        ("id: keep-private", "", "/id", "is required"),
        ("version: 3", "version: 0", "/version", "must be at least 1"),
        ("version: 3", "version: 1.0.0", "/version", "must be a whole number, got the text '1.0.0'"),
        ("version: 3", "", "/version", "is required"),
        ("effect: forbid", "effect: deny", "/effect", "must be one of forbid, require, prefer, got the text 'deny'"),
        ("effect: forbid", "effect: [forbid]", "/effect", "must be one of forbid, require, prefer, got a list"),
        ("effect: forbid", "effect: forbid\npriority: 0", "/priority", "must be at least 1"),
        ("effect: forbid", "effect: forbid\npriority: 1001", "/priority", "must be at most 1000"),
        ("effect: forbid", "effect: forbid\nattach: key", "/attach", "must be one of tenant, request"),
        ("effect: forbid", f"effect: forbid\nmessage: {'x' * 501}", "/message", "may have at most 500 characters"),
        ("effect: forbid", 'effect: forbid\nmessage: "\\e[0m"', "/message", "must not hold control characters"),
        ("effect: forbid", "effect: forbid\non_violation: ignore", "/on_violation", "report, retry, fallback, fail"),
        ("effect: forbid", "effect: forbid\nweights: {cost: 0}", "/weights", "at least one weight must be above 0"),
        ("effect: forbid", "effect: forbid\nweights: {}", "/weights", "at least one weight must be above 0"),
        ("effect: forbid", "effect: forbid\nweights: {cost: 1001}", "/weights/cost", "must be at most 1000"),
        ("effect: forbid", "effect: forbid\nweights: {cost: -1}", "/weights/cost", "must be at least 0"),
        ("effect: forbid", "effect: forbid\nweights: {cost: 0.5}", "/weights/cost", "must be a whole number"),
        ("effect: forbid", "effect: forbid\nweights: {costs: 1}", "/weights/costs", "did you mean 'cost'?"),
        ("when: request.sensitive", "when: ''", "/when", "must be an expression, such as true"),
        ("when: request.sensitive", "when: 5", "/when", "must be text, got the number 5; put it in quotes"),
        ("when: request.sensitive", "when:", "/when", "must be text, got nothing"),
        ("when: request.sensitive", f"when: {'é' * 2049}", "/when", f"at most {MAX_EXPRESSION_BYTES} bytes"),
        ('then: service.privacy.data_locality == "cloud"', "", "/then", "is required"),
    ],
)
def test_one_mistake_is_one_violation_in_its_place(line, replacement, pointer, message):
    source = POLICY.replace(line, replacement)
    with pytest.raises(InvalidInput) as caught:
        parse_policy(source)
    (violation,) = caught.value.violations
    assert violation.pointer == pointer
    assert message in violation.message
    added = replacement.splitlines()[-1:]
    expected = source.splitlines().index(added[0]) + 1 if added else None
    assert violation.line == (expected or (2 if line.startswith("id") else 1))
    assert caught.value.code == "invalid_policy"


def test_the_longest_expression_is_allowed():
    assert parse_policy(POLICY.replace("request.sensitive", "é" * 2048)).value.when == "é" * 2048


def test_unknown_fields_are_warnings():
    (warning,) = parse_policy(POLICY + "atach: request\n").warnings
    assert (warning.pointer, warning.line) == ("/atach", 6)
    assert warning.message.endswith("did you mean 'attach'?")


@pytest.mark.parametrize(
    ("when", "line", "column", "expected"),
    [
        ("when: a == b", 1, 3, "== b"),
        ("when: 'a == b'", 1, 3, "== b"),
        ('when:   "a == b"', 1, 3, "== b"),
        ("when:\n  a == b", 1, 3, "== b"),
        ("when: |\n  a ==\n    b", 1, 3, "=="),
        ("when: |\n  a ==\n    b", 2, 3, "b"),
        ("when: |-\n\n     a ==\n       b", 3, 3, "b"),
    ],
)
def test_places_in_an_expression_are_places_in_the_file(when, line, column, expected):
    """``expected`` is what stands in the file where the compiler's complaint is said to be."""
    text = POLICY.replace("when: request.sensitive", when)
    parsed = parse_policy(text)
    at_line, at_column = parsed.locate("/when", line, column)
    assert parsed.value.when.split("\n")[line - 1][column - 1 :].startswith(expected)
    assert at_line is not None
    assert at_column is not None
    assert text.split("\n")[at_line - 1][at_column - 1 :].startswith(expected)


def test_places_are_not_guessed():
    folded = parse_policy(POLICY.replace("when: request.sensitive", "when: >\n  a\n  == b"))
    assert folded.locate("/when", 1, 3) == (5, None)
    wrapped = parse_policy(POLICY.replace("when: request.sensitive", "when: a\n  == b"))
    assert wrapped.locate("/when", 1, 3) == (4, None)
    assert parse_policy(folded.value.document()).locate("/when", 1, 3) == (None, None)


def test_places_in_json():
    parsed = parse_policy('{"id": "p", "version": 1, "effect": "forbid",\n "then": "a == b"}')
    assert parsed.locate("/then", 1, 3) == (2, 13)
    assert parsed.lines == {"": 1, "/id": 1, "/version": 1, "/effect": 1, "/then": 2}
