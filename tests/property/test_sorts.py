"""Requests of one sort: how they are written, how few services are valued, and which rules tell them apart."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.foundation.canonical import MAX_INTEGER, canonical_json
from caio.routing import few
from caio.routing.columns import Columns
from caio.routing.expressions import parse
from caio.routing.few import Charges
from caio.routing.matching import Tariff
from caio.routing.model import SCALE, OnViolation, Request
from caio.routing.optimization import Weighed
from caio.routing.sorts import VARYING, Sort, reads_what_varies, sort_key

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
    prices = Charges.of(tariff).worst(size, deadline_ms)
    assert [min(price, MAX_INTEGER + 1) for price in prices] == tariff.worst(size, deadline_ms).tolist()

    weight = data.draw(st.integers(0, 1000))
    terms = st.lists(st.integers(0, SCALE), min_size=len(prices), max_size=len(prices))
    standing = Weighed.of({"margin": np.array(data.draw(terms), np.int64)}, {"margin": data.draw(st.integers(0, 9))})
    payable = [min(price, MAX_INTEGER) for price in prices]
    column = np.array(payable, np.int64)
    many = (standing + Weighed.of_costs(column, weight)).scores(len(payable))
    assert few.scores(standing, payable, weight) == many.tolist()


@pytest.mark.parametrize(
    ("condition", "varies"),
    [
        ("true", False),
        ('request.capability == "chat" && principal.id == "x"', False),
        ("request.bounds.accuracy > 0.5", False),
        ("request.sensitive || request.input_bytes > 5", True),
        ('has(request.labels.team) && "a" in request.features', True),
        ('request.labels["team"] == "a"', True),
        ('request["labels"].team == "a"', True),
        ("request.deadline_ms < 5", True),
        ("has(request.max_cost)", True),
        ("request.features.exists(request, request.size() > 0)", False),
        ("[request].size() == 1", True),
    ],
)
def test_a_rule_that_may_tell_requests_of_one_sort_apart_is_known(condition, varies):
    assert reads_what_varies(parse(condition)) is varies
