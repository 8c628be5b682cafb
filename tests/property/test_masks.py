"""``compile_mask`` against the compiler, service by service, and a sample against Google's CEL."""

import math
from random import Random
from typing import Any

import pytest
from cel_expr_python import cel
from hypothesis import given, settings
from hypothesis import strategies as st

from caio.contracts.variables import expression_variables
from caio.routing.expressions import EvaluationError, ServiceColumns, compile_expression, compile_mask, parse
from caio.routing.expressions.errors import MAX_STEPS
from caio.routing.expressions.operations import Steps
from tests.support.routing_strategies import make_contract

NUMBERS = (
    0,
    0.0,
    -0.0,
    1,
    1.0,
    -1,
    1.5,
    2**53,
    float(2**53),
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    math.inf,
    math.nan,
    5e-324,
)
DOUBLES = tuple(number for number in NUMBERS if type(number) is float)
TEXTS = ("", "a", "ab", "b", "é", "😀")
LISTS: tuple[Any, ...] = (
    [],
    ["a"],
    ["a", "b"],
    ["b", "a"],
    ["a", 1],
    [1.0],
    [True],
    ("a",),
    [math.nan],
    [["a"]],
    ["b"] * 70,
)
ANY: tuple[Any, ...] = (*NUMBERS, *TEXTS, *LISTS, True, False, None, {}, {"a": 1}, {"a": {"b": "a"}})
LITERALS = (
    *("0", "0.0", "1", "1.0", "1.5", "9007199254740993", "9007199254740992.0", "9223372036854775807", "''", "'a'"),
    *("'ab'", "'é'", "true", "false", "null"),
)
PATHS = (
    *("n.x", "n.y", "t", "l", "any", "any.a", "any.a.b", "n", "n['x']", "absent.x", "flag"),
    *("n.x", "n.y", "t", "l", "flag"),
)


def path(rng):
    return "service." + rng.choice(PATHS)


def atom(rng):
    one, other, literal = path(rng), path(rng), rng.choice(LITERALS)
    items = ", ".join(rng.choices(LITERALS, k=rng.randint(0, 3)))
    text = rng.choice(("'a'", "'b'", "''"))
    third = rng.choice(("0.0", "1.5", "service.d.x", "service.n.x"))
    order = rng.choice(("<", "<=", ">", ">=", "==", "!="))
    return rng.choice(
        (
            f"{one} {order} {literal}",
            f"{one} {order} {literal}",
            f"{literal} {order} {one}",
            f"{one} {order} {other}",
            f"{one} in [{items}]",
            f"{one} in {other}",
            f"{literal} in {one}",
            f"{text} in {one}",
            f"has(service.{rng.choice(('n.x', 'n.y', 't', 'any.a', 'any.a.b', 'absent.x'))})",
            f"1.0 / {one} > 0.0",
            f"{one} + {other} {order} {literal}",
            f"-service.d.x {rng.choice('+-*/')} service.d.y {order} {third}",
            f"service.d.x {order} service.d.y {rng.choice('+-*/')} 2.0",
            f"{one} * 2 {order} {literal}",
            f"{one}.{rng.choice(('startsWith', 'endsWith', 'contains'))}({rng.choice((other, literal))})",
            f"size({one}) {order} {rng.choice(('0', '1', '2'))}",
            f"service.l.{rng.choice(('all', 'exists', 'exists_one'))}(x, x {order} {rng.choice((literal, other))})",
            f"service.l.exists(service, service == {literal})",
            f"service.any[{rng.choice((other, literal))}] == {literal}",
            f"string({one}) == '1'",
            "request.x == 1",
            "service == service",
            one,
            "true",
            "1 / 0 == 1",
        )
    )


def written(rng, depth):
    if depth == 0 or rng.random() < 0.2:
        return atom(rng)
    parts = [written(rng, depth - 1) for _ in range(rng.choice((2, 2, 3)))]
    return rng.choice(
        (
            f"({' && '.join(parts)})",
            f"({' || '.join(parts)})",
            f"!({parts[0]})",
            f"({parts[0]} ? {parts[1]} : {parts[-1]})",
        )
    )


def service(rng):
    fields = {
        "n": {name: rng.choice(NUMBERS) for name in ("x", "y") if rng.random() > 0.1},
        "d": {name: rng.choice(DOUBLES) for name in ("x", "y") if rng.random() > 0.1},
        "t": rng.choice(TEXTS),
        "l": rng.choice(LISTS),
        "flag": rng.random() < 0.5,
        "any": rng.choice(ANY),
    }
    if rng.random() < 0.1:
        fields["n"] = rng.choice(ANY)
    return {name: value for name, value in fields.items() if rng.random() > 0.1}


def masked(expression, columns):
    true, error = compile_mask(expression)(columns)
    assert true.shape == error.shape == (len(columns),)
    return ["error" if failed else bool(holds) for holds, failed in zip(true, error, strict=True)]


def compiled(expression, services):
    condition = compile_expression(expression)
    for variables in services:
        try:
            yield condition({"service": variables})
        except EvaluationError:
            yield "error"


def agree(source, services, columns=None):
    expression = parse(source)
    said = list(compiled(expression, services))
    assert masked(expression, columns or ServiceColumns(services)) == said, source
    return said


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_masked_is_compiled(seed):
    rng = Random(seed)
    services = [service(rng) for _ in range(rng.choice((0, 1, 40)))]
    columns = ServiceColumns(services)
    for _ in range(25):
        agree(written(rng, rng.randint(0, 3)), services, columns)


CONTRACT_ATOMS = (
    "service.guarantees.latency_ms.p95 <= 800.0",
    "has(service.guarantees.latency_ms) && service.guarantees['latency_ms'].max < 1200.0",
    "service.guarantees.accuracy.min >= 0.95 || service.guarantees.grounding.min > 0.0",
    "has(service.cost.per_request) && service.cost.per_request < 0.02",
    "service.cost.per_second > service.cost.per_request",
    "service.cost.per_request + service.cost.per_second * 10.0 < 0.11",
    "service.privacy.data_locality in ['on_device', 'private']",
    "'eu' in service.privacy.regions",
    "!('gdpr' in service.privacy.compliance)",
    "service.features.exists(f, f.startsWith('to'))",
    "service.capabilities.size() == 1",
    "service.api.timeout_ms < 30000 && service.api.protocol != 'openai'",
    "service.privacy.trains_on_data",
    "service.constraints.requires.internet ? service.version.startsWith('1') : service.id == 'x'",
)
ORACLE = cel.NewEnv(variables={"service": cel.Type.DYN})


def test_masks_of_contracts_are_cel():
    rng = Random(5)
    services = [
        expression_variables(make_contract(Random(seed), f"s{seed}", rng.choice(("1.0.0", "2.0.0"))))
        for seed in range(60)
    ]
    reached = set()
    for source in CONTRACT_ATOMS:
        said = agree(source, services)
        program = ORACLE.compile(source, disable_check=True)
        for variables, outcome in zip(services, said, strict=True):
            value = program.eval(data={"service": variables})
            assert outcome == (value.plain_value() if value.type() == cel.Type.BOOL else "error"), source
        reached |= set(said)
    assert reached == {True, False, "error"}


def test_the_generated_expressions_reach_every_outcome():
    rng = Random(1)
    services = [service(rng) for _ in range(20)]
    said = [outcome for _ in range(100) for outcome in agree(written(rng, 2), services)]
    assert min(said.count(outcome) for outcome in (True, False, "error")) > len(said) // 20


@pytest.mark.parametrize(
    "source",
    [
        "service.l.all(x, x == 'a') && service.t == 'b'",
        "service.l.all(x, x == 'a') && service.l.exists(x, x == 'b')",
        "service.l.all(x, x == 'a') && 'b' in service.l",
        "service.t == 'b' && service.l.all(x, x == 'a') && service.m.all(x, x == 'a')",
        "service.t == 'b' ? 'a' in service.l : 'b' in service.m",
        "'b' in service.l && 'b' in service.m",
        "'b' in service.l || service.t in ['b', 'c']",
    ],
)
def test_steps_run_out_as_in_the_whole(source):
    """Some services run out of steps where a mask, which evaluates every atom alone, does not."""
    sizes = (0, 1, 4_999, 5_000, 5_001, 9_998, 9_999, 10_000, 10_001)
    services = [{"l": ["a"] * size, "m": ["a"] * more, "t": t} for size in sizes for more in (1, 5_000) for t in "ab"]
    agree(source, services)
    for one in services:  # where no other is dearer
        agree(source, [one])


@pytest.mark.parametrize("other", [1.0, 1, "a"])
def test_the_two_zeros_are_told_apart(other):
    """In a column of doubles as in a mixed one, and in arrays."""
    services = [{"d": 0.0}, {"d": -0.0}, {"d": other}]
    assert agree("(1.0 / service.d > 0.0) == true", services)[:2] == [True, False]
    assert agree("1.0 / service.d > 0.0", services)[:2] == [True, False]


def test_a_service_costs_at_most_twice_the_limit(monkeypatch):
    spent, spend = [], Steps.spend

    def counted(steps, count):
        spent.append(count)
        spend(steps, count)

    monkeypatch.setattr(Steps, "spend", counted)
    walk = "service.l.all(x, service.l.all(y, x != '{0}' || y != '{0}'))"
    source = " && ".join(walk.format(number) for number in range(20))
    services = [{"l": [f"{number} {each}" for each in range(98)]} for number in range(3)]
    _, error = compile_mask(parse(source))(ServiceColumns(services))
    assert error.all()
    assert len(services) * MAX_STEPS < sum(spent) <= len(services) * (2 * MAX_STEPS + 20)
