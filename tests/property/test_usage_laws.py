"""The laws of what a call adds to usage, on made-up calls."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.foundation.canonical import read_canonical
from caio.foundation.scope import TenantScope
from caio.metering.statements import period_at
from caio.metering.usage import (
    DAY,
    MEASURES,
    Dimension,
    Finished,
    Recount,
    Sums,
    added_up,
    day_of,
    dimensions_of,
    grouped,
)
from caio.tenancy.ports import BudgetPeriod
from tests.support.calls import random_call, usage_of

few = st.sampled_from(("a", "b", "="))
counts = st.integers(0, 2**40)
calls = st.builds(
    Finished,
    principal_id=few,
    capability=few,
    finished_at=st.integers(0, 4 * DAY) | st.sampled_from((DAY - 1, DAY, 2 * DAY - 1)),
    status=st.sampled_from(("ok", "violated", "failed", "cancelled", "rejected", "interrupted")),
    service_id=few,
    latency_ms=counts,
    input_tokens=counts,
    output_tokens=counts,
    charged=counts,
    breaches=st.integers(0, 9),
)
ALL = [by for size in range(5) for by in combinations(Dimension, size)]


@given(st.lists(calls, max_size=30), st.randoms(use_true_random=False))
def test_every_outcome_counts_once(made: list[Finished], rng: Random) -> None:
    """In any order, in any batches."""
    shuffled, whole = rng.sample(made, len(made)), added_up(made)
    cut = rng.randint(0, len(made))
    first, second = added_up(shuffled[:cut]), added_up(shuffled[cut:])
    merged = {place: first.get(place, Sums()).plus(second.get(place, Sums())) for place in {**first, **second}}
    assert merged == whole
    assert sum(sums.calls for sums in whole.values()) == len(made)
    assert sum(sums.failed for sums in whole.values()) == sum(each.status not in ("ok", "violated") for each in made)


@given(st.lists(calls, max_size=30), st.sampled_from(ALL))
def test_groups_add_up_to_the_whole(made: list[Finished], by: tuple[Dimension, ...]) -> None:
    found = grouped(added_up(made), by)
    total = Sums()
    for sums in found.values():
        total = total.plus(sums)
    whole = grouped(added_up(made), ()).get((), Sums())
    assert total == whole
    assert whole.cost == sum(each.charged for each in made)
    assert len({len(key) for key in found} | {len(by)}) == 1


@given(calls)
def test_a_call_counts_on_the_day_it_ended(call: Finished) -> None:
    assert call.place.day * DAY <= call.finished_at < (call.place.day + 1) * DAY
    assert call.sums.plus(call.sums.negative) == Sums()


@given(st.integers(0, 2**32))
def test_records_say_what_the_columns_say(seed: int) -> None:
    rng, recount = Random(seed), Recount()
    made = [random_call(rng, TenantScope("acme"), f"dec_{number}") for number in range(rng.randrange(20))]
    records = [record for call in made for record in (call.decision, call.outcome) if record is not None]
    for record in records:
        recount.take(read_canonical(record.canonical()))
    assert recount.usage == usage_of(made)
    assert recount.unexplained == 0
    beheaded = Recount()
    for record in records:
        if record.kind == "outcome":
            beheaded.take(read_canonical(record.canonical()))
    assert (beheaded.usage, beheaded.unexplained) == ({}, sum(call.outcome is not None for call in made))


@given(st.lists(st.sampled_from(tuple(Dimension)), max_size=6))
def test_dimensions_are_read_in_their_order(named: Sequence[Dimension]) -> None:
    assert dimensions_of(",".join(named)) == tuple(each for each in Dimension if each in named)
    with pytest.raises(ValueError, match="'colour' is none of day, principal, service, capability"):
        dimensions_of(",".join([*named, "colour"]))


def test_a_document_names_every_measure() -> None:
    document = Sums(1, 2, 3, 4, 5_600, 7_000_000_000, 8).document()
    assert document == {
        "calls": 1,
        "failed": 2,
        "input_tokens": 3,
        "output_tokens": 4,
        "compute_seconds": "5.6",
        "cost": "7",
        "breaches": 8,
    }
    assert len(document) == len(MEASURES)


@given(st.integers(0, 4_000_000_000_000_000))
def test_a_month_holds_its_moments(now: int) -> None:
    name, start, end = period_at(BudgetPeriod.MONTH, now)
    assert start is not None
    assert end is not None
    assert start <= now < end
    assert start % DAY == end % DAY == 0
    assert 28 <= day_of(end) - day_of(start) <= 31
    assert period_at(BudgetPeriod.MONTH, start)[0] == period_at(BudgetPeriod.MONTH, end - 1)[0] == name
    assert period_at(BudgetPeriod.MONTH, end)[0] > name
    assert period_at(BudgetPeriod.TOTAL, now) == ("total", None, None)
