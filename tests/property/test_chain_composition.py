"""What a plan promises end to end is true of everything that its services' promises allow.

A *history* is a hundred calls, as bad as the promises permit: each stage is slow in as many of them
as each of its statistics leaves open, in calls of its own choosing.
"""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from spec.chains import composed, longest_path
from tests.support.hard_plans import every_path, graph, hard_plan, latencies
from tests.support.routing_spec import planned

CALLS = 100
#: How many of them may take longer than each statistic says.
RISKS = {"p50": 50, "p95": 5, "p99": 1, "max": 0}
FOREVER = 10**7
seeds = st.integers(0, 2**32)


def history(rng: Random, promised: dict[str, int]) -> list[int]:
    """The latency of each call of one stage, as slow as the promises allow."""
    times: list[int] = []
    ceiling = promised.get("max", FOREVER)
    for name in ("p99", "p95", "p50"):
        if name in promised:
            times += [ceiling] * (RISKS[name] - len(times))
            ceiling = promised[name]
    times += [ceiling] * (CALLS - len(times))
    return rng.sample(times, CALLS)


@given(seeds)
def test_composed_latency_is_true_of_every_history(seed):
    rng = Random(seed)
    stages = graph(rng, rng.randint(1, 5))
    promises = [latencies(rng) for _ in stages]
    contracts = [{"guarantees": {"latency_ms": {name: str(v) for name, v in each.items()}}} for each in promises]
    times = [history(rng, each) for each in promises]
    whole = [longest_path({"stages": stages}, call) for call in zip(*times, strict=True)]
    for statistic, risk in RISKS.items():
        offered = composed(f"latency_ms.{statistic}", {"stages": stages}, contracts)
        if offered is not None:
            assert sum(length * 10**9 > offered for length in whole) <= risk, statistic


@given(seeds)
def test_a_promise_of_less_risk_is_never_shorter(seed):
    rng = Random(seed)
    stages = graph(rng, rng.randint(1, 5))
    contracts = [
        {"guarantees": {"latency_ms": {name: str(value) for name, value in latencies(rng).items()}}} for _ in stages
    ]
    offers = [composed(f"latency_ms.{statistic}", {"stages": stages}, contracts) for statistic in RISKS]
    known = [offer for offer in offers if offer is not None]
    assert known == sorted(known)
    assert [offer is None for offer in offers] == sorted(offer is None for offer in offers)


@given(seeds)
def test_the_longest_path_is_the_longest_of_all_paths(seed):
    rng = Random(seed)
    stages = graph(rng, rng.randint(1, 6))
    lengths = {each["name"]: rng.randint(0, 9) for each in stages}
    longest = max(sum(lengths[name] for name in path) for path in every_path(stages))
    assert longest_path({"stages": stages}, lengths.values()) == longest


@given(seeds)
def test_errors_that_never_coincide(seed):
    """A call is wrong when any stage is; at worst, no two stages are wrong in the same call."""
    rng = Random(seed)
    wrong = [rng.randint(0, 40) for _ in range(rng.randint(1, 4))]
    stages = graph(rng, len(wrong))
    contracts = [
        {"guarantees": {"accuracy": {"min": f"{1 - each / 100:.2f}"}, "error_rate": {"max": f"{each / 100:.2f}"}}}
        for each in wrong
    ]
    share = min(CALLS, sum(wrong)) * 10**9 // CALLS
    assert composed("error_rate.max", {"stages": stages}, contracts) == share
    assert composed("accuracy.min", {"stages": stages}, contracts) == 10**9 - share


def test_hard_plans_are_worth_making():
    """Many are found, often not with the best of each stage, and many are refused, for either reason."""
    plans = [planned(hard_plan(seed)) for seed in range(300)]
    found = [each.selection for each in plans if each.selection is not None]
    refusals = [each.certificate["refusal"] for each in plans if each.selection is None]
    assert len(found) > 80
    assert sum(any(selection) for selection in found) > 20
    assert sum(refusal["stage"] is None for refusal in refusals) > 40
    assert sum(refusal["stage"] is not None for refusal in refusals) > 20
