"""``Conditions`` against the compiler, rule by rule: generated policies, requests and principals."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caio.routing.expressions import Conditions, EvaluationError, compile_expression, parse
from caio.routing.expressions.errors import MAX_STEPS
from caio.routing.expressions.operations import Steps

VALUES: tuple[Any, ...] = (
    "a",
    "b",
    "",
    0,
    -0.0,
    1,
    1.0,
    True,
    False,
    None,
    2**53 + 1,
    float(2**53),
    float("nan"),
    ["a"],
    [],
    {"a": 1},
)
LITERALS = ("'a'", "'b'", "''", "0", "1", "1.0", "true", "false", "null", "9007199254740993", "9007199254740992.0")
NUMBERS = ("-1", "0", "1", "1.0", "2", "2.5", "9007199254740992", "9007199254740993", "9007199254740992.0")
PATHS = ("request.x", "request.y", "principal.x", "request.x.a", 'request["y"]', "request")
LISTS: tuple[Any, ...] = (
    ["a"],
    ["b", "a"],
    [],
    ["a", 1],
    [True, 1.0],
    "a",
    {"a": 1},
    1,
    ("a", "b"),
    ["a"] * 40,
    ["b"] * 4000,
)
LIST_PATHS = ("request.names", "principal.names", "request.x")


def conjunct(rng):
    path, literal, names = rng.choice(PATHS), rng.choice(LITERALS), rng.choice(LIST_PATHS)
    text, number_or_text = rng.choice(("'a'", "'b'")), rng.choice(("1", "'a'"))
    order = rng.choice(("<", "<=", ">", ">="))
    number = rng.choice(NUMBERS)
    several = ", ".join(rng.choices(LITERALS, k=rng.randint(1, 3)))
    return rng.choice(
        (
            f"{path} == {literal}",
            f"{path} == {literal}",
            f"{literal} == {path}",
            f"{path} in [{several}]",
            f"{path} in []",
            f"{path} != {literal}",
            f"{path} == {rng.choice(PATHS)}",
            f"{number_or_text} in {names}",
            f"{text} in {names}",
            f"!({literal} in {names})",
            f"{names}.exists(n, n == {literal})",
            f"has({rng.choice(PATHS[:4])})",
            f"{path} {order} {literal}",
            f"{path} {order} {number}",
            f"{number} {order} {path}",
            f"({path} == {literal} || {path} == {literal})",
            f"({path} == {literal} && {names}.all(n, n != {literal}))",
            f"request.x.startsWith({literal}) && true",
            path,
            "true",
            "false",
            "1 / 0 == 1",
            f"{names}.all(n, {names}.all(m, m != 'c' && n != 'c'))",
        )
    )


def condition(rng):
    return parse(" && ".join(conjunct(rng) for _ in range(rng.choice((1, 1, 2, 3, 5)))))


def some(rng):
    def fields():
        values = {name: rng.choice(VALUES) for name in ("x", "y")} | {"names": rng.choice(LISTS)}
        return {name: value for name, value in values.items() if rng.random() > 0.2}

    return {"request": fields(), "principal": fields()}


def said_by(expressions, variables):
    """The outcome of each expression alone."""
    for expression in expressions:
        try:
            yield compile_expression(expression)(variables)
        except EvaluationError:
            yield "error"


def indexed(conditions, variables, count):
    true, error = conditions.outcome(variables)
    assert true & error == 0
    assert (true | error) >> count == 0
    return ["error" if error >> rule & 1 else bool(true >> rule & 1) for rule in range(count)]


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_indexed_is_compiled(seed):
    rng = Random(seed)
    expressions = [condition(rng) for _ in range(rng.randint(0, 40))]
    conditions = Conditions(expressions)
    for _ in range(5):
        variables = some(rng)
        expected = list(said_by(expressions, variables))
        found = indexed(conditions, variables, len(expressions))
        wrong = [
            (expression.source, one, other)
            for expression, one, other in zip(expressions, found, expected, strict=True)
            if one != other
        ]
        assert not wrong, variables


def test_the_generated_conditions_reach_every_outcome():
    rng = Random(0)
    said = [outcome for _ in range(400) for outcome in said_by([condition(rng)], some(rng))]
    assert min(said.count(outcome) for outcome in (True, False, "error")) > len(said) // 20


def test_no_conditions():
    assert Conditions([]).outcome({}) == (0, 0)


WALK = "request.l.all(n, n == 1)"


@pytest.mark.parametrize(
    ("source", "length"),
    [
        (f"{WALK} && request.x == 'b'", 9_999),  # false, for the steps suffice
        (f"{WALK} && request.x == 'b'", 10_001),  # an error that false does not absorb
        (f"request.x == 'b' && {WALK}", 10_001),  # false, before the steps are spent
        (f"{WALK} && request.l.exists(n, n == 2)", 5_000),
        (f"{WALK} && request.l.exists(n, n == 2)", 5_001),
        (f"{WALK} && 'a' in request.names", 9_999),
        (f"{WALK} && 'b' in request.names", 9_999),
        ("'a' in request.l && 'b' in request.x", 6_000),
        ("'a' in request.names && 'a' in request.many", 6_000),
        ("'a' in request.many && 'b' in request.many", 5_001),
        (f"'a' in request.many && {WALK}", 5_000),
        (f"{WALK} && request.x.startsWith('b')", 10_001),
        (f"request.x == 'b' && {WALK} && request.x == 'c'", 10_001),
        (f"{WALK} && request.x == 'b' && request.l.exists(n, n == 2)", 10_001),
        (f"{WALK} && request.x == 'b' && request.l.exists(n, n == 2)", 6_000),
        (f"request.x == 'a' && {WALK} && request.x == 'b'", 10_001),
    ],
)
def test_steps_run_out_as_in_the_whole(source, length):
    variables = {"request": {"l": [1] * length, "x": "a", "names": ["a", "a"], "many": ["a"] * length}}
    expressions = [parse(source), parse("request.x == 'a'")]
    assert indexed(Conditions(expressions), variables, 2) == list(said_by(expressions, variables))


HEAVY = "request.l.all(n, request.l.all(m, n != 'x' || m != 'x'))"


@pytest.fixture
def spent(monkeypatch):
    """The steps that were spent, one entry each time."""
    each, spend = [], Steps.spend

    def counted(steps, count):
        each.append(count)
        spend(steps, count)

    monkeypatch.setattr(Steps, "spend", counted)
    return each


def test_a_rule_costs_at_most_twice_the_limit(spent):
    expressions = [parse(" && ".join(HEAVY.replace("'x'", f"'{number}'") for number in range(20)))]
    assert indexed(Conditions(expressions), {"request": {"l": ["a"] * 99}}, 1) == ["error"]
    assert MAX_STEPS < sum(spent) <= 2 * MAX_STEPS + 20 + 1


@pytest.mark.parametrize(
    "guard",
    [
        "request.x == 'b'",
        "request.x in ['b', 'c']",
        "request.n < 0",
        "'b' in request.names",
        "request.x.startsWith('b')",
        "(1 / 0 == 1 && request.x.startsWith('b'))",
        "size(request.x) > 1 && request.x == 'a'",
        "request.x.contains('b')",
    ],
)
@pytest.mark.parametrize("other", ["1 / 0 == 1", "request.x.endsWith('z')", "true"])
def test_what_stands_behind_a_false_guard_is_not_evaluated(spent, guard, other):
    variables = {"request": {"l": ["a"] * 90, "x": "a", "n": 0, "names": ["a"]}}
    guarded = [parse(f"{guard} && {HEAVY}"), parse(f"{other} && {guard} && true && {HEAVY} && request.x != 'a'")]
    conditions = Conditions(guarded)
    assert indexed(conditions, variables, 2) == [False, False]
    assert sum(spent) <= 1
    unguarded = [*guarded, parse(f"{HEAVY} && {guard}")]
    assert indexed(Conditions(unguarded), variables, 3) == list(said_by(unguarded, variables))


def test_a_guard_between_two_walks_spares_the_second(spent):
    variables = {"request": {"l": ["a"] * 90, "x": "a"}}
    first = "request.l.all(n, n != 'b')"
    conditions = Conditions([parse(f"{first} && request.x == 'b' && {HEAVY} && request.x != 'c'")])
    assert indexed(conditions, variables, 1) == [False]
    assert sum(spent) == 90
