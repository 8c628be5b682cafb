"""Snapshots: however they were made they decide alike, and what they keep changes no decision."""

import json
import tracemalloc
from dataclasses import fields, replace
from random import Random
from sys import getsizeof
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caio.foundation.canonical import MAX_INTEGER
from caio.routing import bits
from caio.routing.bits import FewSieve, rows_of
from caio.routing.columns import Columns, Offerings, Promises, Sets
from caio.routing.engine import Snapshot, compile_snapshot, decide
from caio.routing.few import Few
from caio.routing.matching import qualifying, tightest
from caio.routing.model import TRUST_LEVELS, History, Offer, Principal, Request
from caio.routing.rules import Acting, InForce, Rule
from caio.routing.sieve import Sieve
from tests.support.hard_worlds import hard_world
from tests.support.routing_cases import Document, changed, contract, policy
from tests.support.routing_engine import offers, rules
from tests.support.routing_strategies import world

seeds = st.integers(0, 2**63)


def read(evidence: Document) -> tuple[list[Offer], list[Rule], Request, Principal, History]:
    return (
        offers(evidence["services"]),
        rules(evidence["policies"]),
        Request.from_document(evidence["request"]),
        Principal.from_document(evidence["principal"]),
        History.from_document(evidence["history"]),
    )


def grown(given: list[Offer], attached: list[Rule], rng: Random) -> Snapshot:
    """A snapshot of ``given``, made service by service in any order, with strangers that come and go."""
    start = rng.sample(given, rng.randint(0, len(given)))
    snapshot = compile_snapshot("acme", start, attached)
    rest = [offer for offer in given if offer not in start]
    rng.shuffle(rest)
    for offer in rest:
        stranger = replace(offer, version="99.0.0", contract_hash="0" * 64)
        snapshot = snapshot.with_service(stranger).with_service(offer).without(*stranger.key)
    return snapshot


def plain(columns: Columns) -> Any:
    """Columns as comparable values; bits stand for whatever names they were given."""

    def shown(column: Any) -> Any:
        if isinstance(column, Sets):
            rows = np.arange(column.words.shape[1])
            held = {name: column.holds(name, rows) for name in column.bits}
            return [{name for name, flags in held.items() if flags[row]} for row in rows]
        if isinstance(column, Offerings | Promises):
            return {each.name: shown(getattr(column, each.name)) for each in fields(column)}
        return column.tolist() if isinstance(column, np.ndarray) else column

    dense = {each.name: shown(getattr(columns.dense, each.name)) for each in fields(columns.dense)}
    named = [{name: shown(each) for name, each in group.items()} for group in (columns.capabilities, columns.bounds)]
    return columns.tenant_id, columns.keys, columns.dearest, columns.rows.tolist(), dense, named


@settings(max_examples=40)
@given(seeds)
def test_snapshots_are_the_same_however_made(seed):
    given_offers, attached, request, principal, history = read(world(seed))
    compiled, rng = compile_snapshot("acme", given_offers, attached), Random(seed)
    other = grown(given_offers, attached, rng)
    assert other.services_hash == compiled.services_hash
    assert other.offers == compiled.offers
    assert plain(other.columns) == plain(compiled.columns)
    assert decide(other, request, principal, history) == decide(compiled, request, principal, history)


@settings(max_examples=30)
@given(seeds)
def test_a_snapshot_never_changes(seed):
    """Making others from it, and deciding over those, leaves its columns and its decisions as they were."""
    given_offers, attached, request, principal, history = read(world(seed))
    snapshot, fresh = (compile_snapshot("acme", given_offers, attached) for _ in range(2))
    before = plain(snapshot.columns)
    for offer in given_offers:
        other = snapshot.without(*offer.key)
        decide(other.with_service(offer), request, principal, history)
        decide(other, request, principal, history)
    assert plain(snapshot.columns) == before
    assert decide(snapshot, request, principal, history) == decide(fresh, request, principal, history)


#: What callers change from one request to the next, and a few things that they seldom do.
CHANGES: tuple[dict[str, Any], ...] = (
    {"input_bytes": 0},
    {"input_bytes": 10_000_000},
    {"deadline_ms": 1},
    {"deadline_ms": 3_600_000},
    {"max_cost": "0"},
    {"max_cost": "0.011"},
    {"max_cost": None},
    {"seed": "another"},
    {"labels": {"team": "red"}},
    {"max_tokens": 7},
    {"max_tokens": MAX_INTEGER},
    {"weights": {"cost": 1}},
    {"weights": None},
    {"stream": True},
    {"sensitive": True},
    {"regions": ["eu"]},
    {"excluded_services": ["alpha"]},
)


@settings(max_examples=20)
@given(seeds)
def test_what_is_kept_changes_no_decision(seed):
    """One snapshot that has seen many requests answers as one that has seen none."""
    evidence, rng = world(seed), Random(seed)
    given_offers, attached, _, principal, history = read(evidence)
    snapshot = compile_snapshot("acme", given_offers, attached)
    other = replace(principal, permissions=frozenset({"models:premium"}), trust_level=TRUST_LEVELS[-1])
    for _ in range(15):
        document = evidence["request"]
        for change in rng.sample(CHANGES, rng.randint(0, 3)):
            document = changed(document, {**change, "labels": {}}) | change
        asked = Request.from_document(document)
        caller, seen = rng.choice((principal, other)), rng.choice((history, History()))
        fresh = compile_snapshot("acme", given_offers, attached)
        assert decide(snapshot, asked, caller, seen) == decide(fresh, asked, caller, seen)


@settings(max_examples=60)
@given(seeds)
def test_few_are_asked_as_many(seed):
    """What bits of integers say of services, columns say of the same: verdicts, scores and all."""
    evidence, rng = hard_world(seed), Random(seed)
    given_offers, attached, _, principal, history = read(evidence)
    split = rng.randint(0, len(attached))
    as_few, as_many = (compile_snapshot("acme", given_offers, attached[:split]) for _ in range(2))
    for _ in range(6):
        document = evidence["request"]
        for change in rng.sample(CHANGES, rng.randint(0, 2)):
            document = changed(document, {**change, "labels": {}}) | change
        asked = Request.from_document(document)
        seen, named = rng.choice((history, History())), rng.choice((attached[split:], []))
        decisions = [decide(as_few, asked, principal, seen, named)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bits, "FEW", 0)
            decisions.append(decide(as_many, asked, principal, seen, named))
        assert decisions[0] == decisions[1]


@pytest.mark.parametrize("seed", range(12))
def test_few_are_preferred_and_excluded_as_many(seed):
    """By rules of every priority, in any two books, of which any hold and any fail."""
    rng = Random(seed)
    names = [f"s{number}" for number in range(20)]

    def some(number: int) -> Document:
        said = f"service.id in {json.dumps(rng.sample(names, rng.randint(0, 6)))}"
        then = rng.choice((said, said, "service.constraints.rate_limit.per_hour > 3"))
        effect = rng.choice(("prefer", "prefer", "forbid"))
        return policy(f"p{number}", priority=rng.randint(1, 1000), effect=effect, then=then)

    given_offers = offers([{"tenant": "acme", "contract": contract(name)} for name in names])
    written, split = rules([some(number) for number in range(30)]), rng.randint(1, 29)
    snapshot = compile_snapshot("acme", given_offers, written[:split])
    parts = snapshot.rule_set(written[split:]).parts
    for _ in range(5):
        masks = [(rng.getrandbits(30), rng.getrandbits(30) & rng.getrandbits(30)) for _ in parts]
        within = [(1 << len(book.rules)) - 1 for book, _ in parts]
        pairs = [(true & every, failed & ~true & every) for (true, failed), every in zip(masks, within, strict=True)]
        force = InForce(tuple(Acting(*part, *pair) for part, pair in zip(parts, pairs, strict=True)), None)
        rows = sorted(rng.sample(range(20), rng.randint(1, 20)))
        few = Few(snapshot.columns)
        assert few.preferences(force, rows) == force.preferences(np.array(rows)).tolist()
        sieve, columns = FewSieve(few.field.every), Sieve(snapshot.columns.rows)
        few.exclude(sieve, force, 7)
        force.exclude(columns, 7)
        assert rows_of(sieve.rows) == tuple(columns.rows.tolist())
        gone = {row: question for question, bits in sieve.gone for row in rows_of(bits)}
        assert [gone.get(row, 0) for row in range(20)] == columns.verdicts.tolist()


def test_the_shapes_that_are_kept_are_bounded():
    given_offers, attached, *_ = read(world(3))
    snapshot = compile_snapshot("acme", given_offers, attached)
    object.__setattr__(snapshot, "offers", snapshot.offers * 400_000)
    for number in range(20):
        snapshot.shape(number, object)  # type: ignore[arg-type]
    assert list(snapshot._shapes) == [16, 17, 18, 19]
    snapshot.shape(17, lambda: pytest.fail("it was kept"))
    assert list(snapshot._shapes) == [16, 18, 19, 17]


def test_the_columns_that_are_kept_are_bounded_and_right():
    """Bounds of more names than columns are kept for, asked again and again."""
    given_offers, attached, *_ = read(world(3))
    columns = compile_snapshot("acme", given_offers, attached).columns
    room = 256
    columns.derived.update({f"filler-{number}.max": columns.rows for number in range(room - 1)})
    first = tightest(columns, "latency_ms.p95")
    assert len(columns.derived) == room
    assert tightest(columns, "latency_ms.p95") is first
    other = tightest(columns, "accuracy.min")
    assert list(columns.derived) == ["accuracy.min"]
    assert tightest(columns, "latency_ms.p95").tolist() == first.tolist()
    assert tightest(columns, "accuracy.min") is other


def test_bounds_with_invented_names_weigh_and_are_forgotten() -> None:
    """The names are the callers': whoever asks for ever new ones must not fill the memory beside what is counted."""
    given_offers, attached, *_ = read(world(3))
    snapshot = compile_snapshot("acme", given_offers, attached)
    before = snapshot.weight
    for number in range(600):
        tightest(snapshot.columns, f"latency_of_{number}.max")
    assert len(snapshot.columns.derived) <= 256
    snapshot.columns.margins["accuracy.min", 1] = snapshot.columns.rows
    kept = [*snapshot.columns.derived.items(), *snapshot.columns.margins.items()]
    assert snapshot.weight - before >= sum(getsizeof(name) + getsizeof(column) for name, column in kept)
    snapshot.forget_requests()
    assert not snapshot.columns.derived
    assert not snapshot.columns.margins
    assert snapshot.weight == before


def test_what_is_kept_of_few_services_weighs_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each sort another set of services is affordable at each price: whoever asks at ever new ones must not fill
    the memory beside what is counted."""
    given_offers, *_, principal, history = read(world(3))
    costs = [1_000 + 10 * number for number in range(60)]
    services = [
        replace(
            given_offers[0], service_id=f"s{at:02}", prices=replace(given_offers[0].prices, per_request=cost * 1_000)
        )
        for at, cost in enumerate(costs)
    ]
    snapshot = compile_snapshot("acme", services)
    capability = next(iter(given_offers[0].capabilities))

    def ask(sorts: range, prices: range) -> None:
        for sort in sorts:
            for price in prices:
                wanted = Request(
                    tenant_id="acme",
                    currency=given_offers[0].prices.currency,
                    capabilities=(capability,),
                    max_tokens=1 + sort,
                    max_cost=costs[0] + 25 * price,
                )
                decide(snapshot, wanted, principal, history)

    ask(range(1), range(2))
    before = snapshot.weight
    tracemalloc.start()
    try:
        ask(range(1, 40), range(12))
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    few = snapshot.few
    assert few is not None
    assert len(few.cuts) > 300
    assert taken < snapshot.weight - before
    monkeypatch.setattr("caio.routing.shapes_of_few.KEPT_CUTS", 100)
    ask(range(40, 60), range(12))
    assert len(few.cuts) <= 100
    snapshot.forget_requests()
    assert few.weight == 0


def test_few_services_keep_no_more_shapes_than_many() -> None:
    """A shape weighs kilobytes even of no service: who asks ever new ones must not fill the memory."""
    snapshot = compile_snapshot("acme", [])
    for number in range(5_000):
        snapshot.shape(number, object)  # type: ignore[arg-type]
    assert len(snapshot._shapes) <= 4_000


def test_requests_that_are_long_are_not_kept() -> None:
    """What is kept is bounded in number, so each must be bounded in bytes."""
    evidence = world(3)
    given_offers, attached, _, principal, history = read(evidence)
    snapshot = compile_snapshot("acme", given_offers, attached)
    names = [f"service-{number:03}-of-many-with-a-long-name" for number in range(100)]
    for document, kept in (({}, 1), ({"excluded_services": names}, 1), ({"compliance": names[:40]}, 2)):
        asked = Request.from_document(changed(evidence["request"], document) | document)
        decide(snapshot, asked, principal, history)
        assert len(snapshot._sorts) == len(snapshot._shapes) == kept
    assert snapshot.weight > 2 * 5_000
    snapshot.forget_requests()
    assert len(snapshot._sorts) == len(snapshot._shapes) == len(snapshot._known) == 0


def test_names_of_bounds_are_forgotten() -> None:
    for number in range(2_000):
        qualifying(f"made_up_{number}.p95")
    assert qualifying.cache_info().currsize <= 1_024
