"""Columns of 64-bit integers give what Python's own integers give, also where products leave 64 bits."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from caio.foundation.canonical import MAX_INTEGER
from caio.foundation.money import Prices, Usage
from caio.routing.columns import Columns
from caio.routing.matching import Needs, Tariff
from caio.routing.model import SCALE, Access, Capability, History, Offer, Privacy, Request
from caio.routing.observed import Observed
from caio.routing.optimization import _KEPT_MARGINS, _KEPT_ROWS, fraction, standing_terms

EDGES = (0, 1, 2, 3, 9, 10**9 - 1, 10**9, 2**33 - 1, 2**33, 10**17 + 1, 10**18 - 1, 10**18, 2 * 10**18)

OTHERS = {"performance": 0, "reliability": 0, "preference": 0}


def test_fractions_are_exact_at_the_edges():
    for whole in EDGES[1:]:
        parts = sorted(
            {part for edge in EDGES for part in (edge, whole - edge, whole // 3, whole - 1) if 0 <= part <= whole}
        )
        expected = [part * SCALE // whole for part in parts]
        assert fraction(np.array(parts), whole).tolist() == expected
        assert fraction(np.array(parts), np.full(len(parts), whole)).tolist() == expected


def test_fractions_are_exact_where_doubles_are_not():
    rng = Random(1)
    for bits in (34, 47, 53, 54, 59, 60):
        wholes = [rng.randrange(2 ** (bits - 1), 2**bits) for _ in range(2000)]
        # Parts just at, above and below a multiple: where a quotient of doubles rounds to the wrong side.
        parts = [
            min(whole, max(0, -(-rng.randrange(SCALE) * whole // SCALE) + rng.choice((-1, 0, 1)))) for whole in wholes
        ]
        expected = [part * SCALE // whole for part, whole in zip(parts, wholes, strict=True)]
        assert fraction(np.array(parts), np.array(wholes)).tolist() == expected


def offer(number: int, prices: Prices, timeout_ms: int, limit: int | None) -> Offer:
    capability = Capability("chat", frozenset(), limit, limit)
    return Offer(
        *("acme", f"s{number:04}", "1.0.0", "0" * 64, {"chat": capability}, {}, prices),
        *(Privacy("cloud"), Access(), "openai", timeout_ms),
    )


@pytest.mark.parametrize("size", [0, 1, 10**6, 2**31, MAX_INTEGER])
@pytest.mark.parametrize("tokens", [None, 0, 5, 2**40, MAX_INTEGER])
def test_prices_are_exact_or_known_to_be_too_much(size, tokens):
    rng = Random(size)
    picos = (0, 1, 999, 10**6, 10**12, 10**18)
    offers = [
        offer(
            number,
            Prices("EUR", *(rng.choice(picos[: 2 + number % 5]) for _ in range(4))),
            rng.choice((1, 999, 3_600_000)),
            rng.choice((None, 0, 4096, 10**9)),
        )
        for number in range(40)
    ]
    for cheap in (offers[:8:5], offers):
        columns = Columns.of("acme", cheap)
        request = Request("acme", "EUR", ("chat",), input_bytes=size, max_tokens=tokens, deadline_ms=60_000)
        priced = Tariff.of(columns.rows, columns, request).worst(size, 60_000)
        assert priced.dtype == np.int64
        found = priced.tolist()
        for each, price in zip(cheap, found, strict=True):
            longest = each.capabilities["chat"].max_tokens or 0 if tokens is None else tokens
            exact = each.prices.of(Usage(size, longest, min(60_000, each.timeout_ms)))
            assert price == exact or (price > MAX_INTEGER < exact)


def test_prices_of_the_cheap_are_columns_too_when_another_is_too_dear():
    """A price that needs more than 64 bits, of a service that is not asked, leaves the others' in 64."""
    cheap, dear = (offer(number, Prices("EUR", 0, 0, picos, 0), 1, 10**9) for number, picos in ((1, 5), (2, 10**18)))
    columns = Columns.of("acme", [cheap, dear])
    request = Request("acme", "EUR", ("chat",))
    assert Tariff.of(columns.rows[:1], columns, request).worst(0, 1).dtype == np.int64
    assert Tariff.of(columns.rows, columns, request).worst(0, 1).tolist() == [5_000_000, MAX_INTEGER + 1]


@pytest.mark.parametrize("services", [3, _KEPT_ROWS, _KEPT_ROWS + 1])
def test_margins_are_exact_kept_or_not(services: int) -> None:
    rng = Random(services)
    amounts = (1, 7, 10**9, 10**17 + 1, 10**18)
    offers = [
        replace(offer(number, Prices("EUR"), 1, None), bounds={"latency_ms.max": up, "accuracy.min": low})
        for number, up, low in ((number, rng.choice(amounts), rng.choice(amounts)) for number in range(services))
    ]
    columns = Columns.of("acme", offers)
    observed, alike = Observed.of(columns, History()), np.zeros(services, np.int64)
    for required in (*amounts, *range(2, _KEPT_MARGINS // 2 + 10), *amounts):
        needs = Needs.of(Request("acme", "EUR", ("chat",), (("accuracy.min", required), ("latency_ms.max", required))))
        bounds = [each.bounds for each in offers]
        rows = [n for n, each in enumerate(bounds) if each["accuracy.min"] >= required >= each["latency_ms.max"]]
        if not rows:
            continue
        margins = standing_terms(np.array(rows), needs, columns, observed, alike[rows], {"margin": 1} | OTHERS)
        assert list(margins) == ["margin"]
        assert margins["margin"].tolist() == [
            (
                (bounds[row]["accuracy.min"] - required) * SCALE // bounds[row]["accuracy.min"]
                + (required - bounds[row]["latency_ms.max"]) * SCALE // required
            )
            // 2
            for row in rows
        ]
        assert len(columns.margins) <= (_KEPT_MARGINS if services <= _KEPT_ROWS else 0)
