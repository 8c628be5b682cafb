"""Requests of one sort: how they are written, how few services are valued, and which rules tell them apart."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.foundation.canonical import MAX_INTEGER, canonical_json
from caio.routing.columns import Columns
from caio.routing.expressions import Conditions, parse
from caio.routing.few import Charges, Standing
from caio.routing.matching import Tariff
from caio.routing.model import SCALE, OnViolation, Request
from caio.routing.optimization import Weighed
from caio.routing.sights import Sight
from caio.routing.sorts import VARYING, Sort, sort_key
from caio.routing.variables import request_variables

texts = st.text(st.characters(codec="utf-8"), max_size=5) | st.sampled_from(["", '"', "\\", "é", "😀", "\x7f"])
sets = st.frozensets(texts, max_size=3)
pairs = st.dictionaries(texts, texts, max_size=3).map(lambda members: tuple(sorted(members.items())))
naturals = st.integers(0, MAX_INTEGER)
maybe = st.none() | naturals
requests = st.builds(
    Request,
    *(texts, texts, st.lists(texts, min_size=1, max_size=2).map(tuple)),
    bounds=st.dictionaries(texts.map("{}.min".format), st.integers(-(10**18), 10**18), max_size=3).map(
        lambda bounds: tuple(sorted(bounds.items()))
    ),
    max_cost=st.none() | st.integers(0, 10**18),
    features=sets,
    context_length=maybe,
    data_locality=st.none() | st.just("cloud"),
    services=sets,
    protocols=sets,
    stream=st.booleans(),
    input_bytes=naturals,
    max_tokens=maybe,
    answers=st.integers(1, 2),
    deadline_ms=naturals,
    labels=pairs,
    weights=st.none() | st.just((("cost", 1), ("margin", 2))),
    on_violation=st.none() | st.sampled_from(OnViolation),
    seed=st.none() | texts,
)


@given(requests, requests)
def test_a_request_is_written_as_its_document(first, other):
    """Also by the sort of another request, that differs in what varies alone."""
    sort = Sort.of(first, Columns.of("acme", []))
    alike = replace(first, **{name: getattr(other, name) for name in VARYING})
    assert sort_key(alike) == sort_key(first)
    for request in (first, alike):
        assert sort.written(request) == canonical_json(request.document())


@pytest.mark.parametrize("name", Request.__dataclass_fields__)
def test_all_that_does_not_vary_is_the_sort(name):
    plain, other = Request("acme", "USD", ("chat",)), Request("acme", "USD", ("chat",))
    object.__setattr__(other, name, object())
    assert (sort_key(other) == sort_key(plain)) is (name in VARYING)


amounts = st.integers(0, 10**4) | st.integers(0, 10**18)
columns = st.lists(st.tuples(amounts, amounts, amounts, st.integers(1, 10**6)), min_size=1, max_size=6)


@given(columns, st.integers(0, 10**4) | naturals, st.integers(0, 10**6), st.data())
def test_few_are_as_many(charges, size, deadline_ms, data):
    """Prices and scores are those that columns give."""
    fixed, token_in, second, timeout = (np.array(column, object) for column in zip(*charges, strict=True))
    dearest = (int(fixed.max()), int(token_in.max()) * 1000, int(second.max()))
    tariff = Tariff(fixed, token_in.astype(np.int64), second.astype(np.int64), timeout.astype(np.int64), dearest)
    each = [(-call, -byte * 1000, -millisecond, most) for call, byte, millisecond, most in charges]
    prices = Charges(each, bool(tariff.second.any())).worst(size, deadline_ms)
    assert [min(price, MAX_INTEGER + 1) for price in prices] == tariff.worst(size, deadline_ms).tolist()

    weight = data.draw(st.integers(0, 1000))
    terms = st.lists(st.integers(0, SCALE) | st.just(7), min_size=len(prices), max_size=len(prices))
    weights = {name: data.draw(st.integers(0, 9)) for name in ("margin", "preference")}
    stated = {name: data.draw(terms) for name in weights}
    standing = Standing.of([(weights[name], stated[name]) for name in weights if weights[name]])
    payable = [min(price, MAX_INTEGER) for price in prices]
    columns_of = {name: np.array(term, np.int64) for name, term in stated.items()}
    many = Weighed.of(columns_of, weights) + Weighed.of_costs(np.array(payable, np.int64), weight)
    assert standing.scores(payable, weight) == many.scores(len(payable)).tolist()


REQUESTS = [
    replace(Request("acme", "USD", ("chat",)), input_bytes=size, deadline_ms=deadline, max_cost=cost, labels=labels)
    for size, deadline, cost, labels in product(
        (1, 2, 3, 4, 5),
        (1, 3, 4),
        (None, 250_000_000, 500_000_000, 1_250_000_000, 2_000_000_000),
        (
            (),
            *((("team", colour),) for colour in ("red", "blue", "green")),
            (("zone", "red"),),
            (("team", "red"), ("zone", "green")),
        ),
    )
]
CONDITIONS = [
    "request.input_bytes > 3",
    "5 >= request.input_bytes",
    "request.input_bytes == 4 || request.input_bytes < 2.5",
    "request.max_cost <= 0.5",
    "has(request.max_cost) && request.max_cost > 1.25",
    'request.labels.team == "red"',
    'has(request.labels.team) && request.labels.team in ["blue", "red"]',
    'request.labels["zone"] != "red"',
    'request.labels.zone.startsWith("g")',
    '"team" in request.labels',
    "request.labels.size() > 1",
    "request.deadline_ms % 2 == 0",
    "request.deadline_ms == true || request.deadline_ms > request.input_bytes",
    'request.features.exists(request, request == "x") || request.input_bytes in [1, 2]',
    "request.labels.team == request.labels.zone",
    "request.sensitive",
]


@pytest.mark.parametrize("number", range(len(CONDITIONS)))
def test_equal_sights_equal_rules(number):
    """Of every two of the requests; for each condition alone, and with the one before it."""
    for conditions in (CONDITIONS[number : number + 1], CONDITIONS[max(0, number - 1) : number + 1]):
        expressions = [parse(condition) for condition in conditions]
        sight, rules = Sight.of(expressions), Conditions(expressions)
        seen: dict[object, object] = {}
        for request in REQUESTS:
            outcome = rules.outcome({"request": request_variables(request.document())})
            assert seen.setdefault(sight.glance(request), outcome) == outcome


@pytest.mark.parametrize(
    ("condition", "first", "second"),
    [
        ("true", {"input_bytes": 1, "max_cost": 1}, {"input_bytes": 2, "deadline_ms": 3}),
        ('request.capability == "chat" && principal.id == "x"', {"input_bytes": 1}, {"labels": (("a", "b"),)}),
        ("request.bounds.accuracy > 0.5 || request.sensitive", {"max_cost": 1}, {"max_cost": None}),
        ("request.input_bytes > 5 && request.input_bytes < 9", {"input_bytes": 6}, {"input_bytes": 8}),
        ('request.labels.team == "a"', {"labels": (("team", "b"), ("x", "1"))}, {"labels": (("team", "c"),)}),
    ],
)
def test_what_rules_do_not_tell_apart_looks_the_same(condition, first, second):
    sight, asked = Sight.of([parse(condition)]), Request("acme", "USD", ("chat",))
    assert sight.glance(replace(asked, **first)) == sight.glance(replace(asked, **second))


@pytest.mark.parametrize("condition", ["[request].size() == 1", 'request[principal.id] == "x"'])
def test_a_request_that_is_read_as_one_thing_is_never_alike(condition):
    assert Sight.of([parse(condition)]).is_whole
