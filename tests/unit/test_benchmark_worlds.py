"""The kernel's benchmark measures what it says: rules in force, candidates, and the same choice by a plain scan."""

import pytest

from benchmarks.kernel.naive import choose
from benchmarks.kernel.worlds import PRINCIPAL, TENANT, requests, world
from caio.routing.engine import compile_snapshot, decide


@pytest.mark.parametrize("everybody", [False, True])
def test_the_worlds_are_what_they_are_called(everybody):
    made = world(600, 80, everybody=everybody)
    snapshot = compile_snapshot(TENANT, made.offers, made.rules)
    asked = list(requests(12, 12))
    assert len({repr(request.document()) for request in asked}) == 12
    ruled_out = 0
    for request in asked:
        decision = decide(snapshot, request, PRINCIPAL, made.history)
        ruled_out += sum(each["count"] for each in decision.certificate["excluded"] if each["clause"] == "policy")
        assert len(decision.ranked) >= 60
        found = choose(snapshot.offers, snapshot.rules, request, PRINCIPAL)
        cheapest = min(decision.ranked, key=lambda each: each.worst_cost)
        assert found is not None
        prices = {each.offer.key: each.worst_cost for each in decision.ranked}
        assert prices[found.key] == cheapest.worst_cost
    assert ruled_out > 0
