"""Verdicts on promises: exact where they accuse, silent where too little was seen."""

from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.audit.ports import Attempt
from caio.contracts import parse_contract
from caio.foundation.quantity import NANO, nanos
from caio.foundation.scope import TenantScope
from caio.registry.observed import (
    FEWEST,
    HOUR,
    WINDOWS,
    Counted,
    ObservedServices,
    Verdict,
    Window,
    hour_of,
    judged,
    measures_of,
    report_of,
)
from caio.registry.ports import Publication, PublicationStatus, Published

ACME = TenantScope("acme")
NOW = 1_700_000_123_000_000
GOOD = Attempt("svc", "1.0.0", True, 100, False, ())
KEPT, BREACHED, FEW = Verdict.KEPT, Verdict.BREACHED, Verdict.TOO_FEW_CALLS

CONTRACT = """\
service_id: svc
name: Service
version: 1.0.0
capabilities: [text.sentiment]
guarantees:
  latency_ms: {p50: 50.5, p95: 100, p99: 200, max: 300}
  first_token_ms: {p95: 40}
  availability: {min: 0.95}
  error_rate: {max: 0}
  accuracy: {min: 0.8}
  determinism: {seed_required: true}
cost: {currency: USD, per_request: "0.001"}
privacy: {data_locality: on_device, trains_on_data: false}
api:
  protocol: http-json
  base_url: http://127.0.0.1:1
  endpoints: [{path: /, method: POST, output_schema: {type: object}}]
  timeout_ms: 5000
"""
DOCUMENT = parse_contract(CONTRACT).value.document()
PUBLISHED = Published("acme", Publication("svc", "1.0.0", "ab", DOCUMENT, 1), PublicationStatus.ACTIVE, 1)


def window(*attempts):
    counts = Counter(place for each in attempts for place in measures_of(each))
    return Window.of("1h", 0, [Counted(measure, bucket, calls) for (measure, bucket), calls in counts.items()])


def answers(*latencies, **changes):
    stated: dict[str, Any] = {"succeeded": True, "streamed": False, "breached": ()} | changes
    return [Attempt("svc", "1.0.0", **stated, latency_ms=each) for each in latencies]


def failures(count):
    return [Attempt("svc", "1.0.0", False, 9, False, ())] * count


def verdict(bound, limit, *attempts):
    return judged(bound, nanos(limit), window(*attempts)).verdict


attempts = st.builds(
    Attempt,
    st.just("svc"),
    st.just("1.0.0"),
    st.booleans(),
    st.integers(0, 400),
    st.booleans(),
    st.lists(st.sampled_from(["latency_ms.max", "output_schema", "cost.max"]), unique=True).map(tuple),
)


@given(st.lists(attempts, max_size=40))
def test_an_attempt_is_counted_once(seen):
    found = window(*seen)
    assert found.calls == len(seen)
    assert found.errors == sum(not each.succeeded for each in seen)
    assert found.timed("first_token_ms") == sum(each.succeeded and each.streamed for each in seen)
    assert found.breaches == Counter(clause for each in seen for clause in each.breached)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=150), st.sampled_from([50, 95, 99]), st.integers(1, 400))
def test_breached_means_breached(latencies, percent, bound):
    exact = sorted(latencies)[-(-percent * len(latencies) // 100) - 1]
    said = verdict(f"latency_ms.p{percent}", bound, *answers(*latencies))
    if said is BREACHED:
        assert exact > bound
    if said is KEPT:
        assert exact * 20 <= bound * 21 + 20  # rounded down by at most a twentieth


@pytest.mark.parametrize(("bound", "limit", "needed"), [
    ("latency_ms.p50", "100", FEWEST), ("latency_ms.p95", "100", 20), ("latency_ms.p99", "100", 100),
])  # fmt: skip
def test_no_single_call_breaks_a_share(bound, limit, needed):
    assert verdict(bound, limit) is FEW
    assert verdict(bound, limit, *answers(*[10] * (needed - 2), 5_000)) is FEW
    assert verdict(bound, limit, *answers(*[10] * (needed - 1), 5_000)) is KEPT
    assert verdict(bound, limit, *answers(*[10] * (needed // 2 - 1), *[5_000] * (needed // 2 + 1))) is BREACHED


@pytest.mark.parametrize(("bound", "limit", "needed"), [
    ("error_rate.max", "0.05", 20), ("error_rate.max", "0.3", FEWEST), ("error_rate.max", "0.001", 1000),
    ("availability.min", "0.95", 20), ("availability.min", "0.999", 1000),
])  # fmt: skip
def test_no_single_failure_breaks_a_share(bound, limit, needed):
    assert verdict(bound, limit, *answers(*[1] * (needed - 2)), *failures(1)) is FEW
    assert verdict(bound, limit, *answers(*[1] * (needed - 1)), *failures(1)) is KEPT
    assert verdict(bound, limit, *answers(*[1] * needed), *failures(needed)) is BREACHED


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, NANO - 1))
def test_a_share_is_judged_exactly(good, bad, allowed):
    found = Window("1h", 0, bad, {}, {"latency_ms": {1: good}})
    share, of_answers = judged("error_rate.max", allowed, found), judged("availability.min", NANO - allowed, found)
    assert share.verdict is of_answers.verdict
    if share.verdict in (KEPT, BREACHED):
        assert (share.verdict is BREACHED) == (Fraction(bad, good + bad) > Fraction(allowed, NANO))


def test_a_promise_of_none_is_broken_by_one():
    assert verdict("error_rate.max", "0", *failures(1)) is BREACHED
    assert verdict("availability.min", "1", *answers(*[1] * 999), *failures(1)) is BREACHED
    assert verdict("availability.min", "1", *answers(1)) is KEPT
    assert verdict("latency_ms.max", "300", *answers(299)) is KEPT
    assert verdict("latency_ms.max", "300", *answers(301, breached=("latency_ms.max",))) is BREACHED
    assert verdict("latency_ms.max", "300", *answers(2, streamed=True)) is FEW
    assert verdict("output_schema", "0", *answers(1)) is KEPT
    assert verdict("output_schema", "0", *answers(1, breached=("output_schema",))) is BREACHED
    assert verdict("cost.max", "0", *failures(3)) is FEW


def test_the_bound_itself_is_kept():
    assert verdict("latency_ms.p95", "10", *answers(*[10] * 20)) is KEPT
    assert verdict("latency_ms.p95", "9.999", *answers(*[10] * 20)) is BREACHED


def test_streams_and_whole_answers_are_judged_apart():
    seen = [*answers(*[90] * 20), *answers(*[30] * 20, streamed=True)]
    assert verdict("latency_ms.p95", "80", *seen) is BREACHED
    assert verdict("first_token_ms.p95", "40", *seen) is KEPT
    assert verdict("first_token_ms.p95", "20", *seen) is BREACHED


def test_what_nobody_measured_has_no_verdict():
    for bound in ("accuracy.min", "throughput.min", "determinism.min", "toxicity.max", "latency_ms.min"):
        assert judged(bound, 1, window(*answers(*[1] * 500))) == judged(bound, 1, window())
        assert verdict(bound, "1", *answers(*[1] * 500)) is Verdict.NOT_MEASURED


def test_a_report_names_every_promise():
    seen = [*answers(*[60] * 30), *failures(1), *answers(310, breached=("latency_ms.max",))]
    report = report_of(PUBLISHED, [window(*seen), window(), window(*seen)])
    told = {each.bound: (each.promised, *(found.verdict.value for found in each.findings)) for each in report.promises}
    few, breached, kept, unknown = "too few calls", "breached", "kept", "not measured"
    assert told == {
        "accuracy.min": (">= 0.8", unknown, unknown, unknown),
        "availability.min": (">= 0.95", kept, few, kept),
        "cost.max": ("<= the reserved price", kept, few, kept),
        "determinism.min": (">= 1", unknown, unknown, unknown),
        "error_rate.max": ("<= 0", breached, few, breached),
        "first_token_ms.p95": ("<= 40", few, few, few),
        "latency_ms.max": ("<= 300", breached, few, breached),
        "latency_ms.p50": ("<= 50.5", breached, few, breached),
        "latency_ms.p95": ("<= 100", kept, few, kept),
        "latency_ms.p99": ("<= 200", few, few, few),
        "output_schema": ("fits", kept, few, kept),
    }
    (found, *_) = [each.findings[0] for each in report.promises if each.bound == "availability.min"]
    assert found.observed == "0.96875"
    assert report.windows[0].error_rate == NANO // 32
    assert report.windows[1].percentiles("latency_ms") == {"p50": None, "p95": None, "p99": None}


async def test_windows_reach_back_to_the_start_of_an_hour():
    asked = []

    class Hours:
        async def totals(self, scope, service_id, version, since):
            asked.append((scope, service_id, version, since))
            return [Counted("error", 0, 2)]

    class Contracts:
        async def get(self, scope, name, version=None):
            assert (scope, name, version) == (ACME, "svc", None)
            return PUBLISHED

    services = ObservedServices(Contracts(), Hours(), lambda: NOW)  # type: ignore[arg-type]
    report = await services.report(ACME, "svc", None)
    assert [(each.name, each.calls) for each in report.windows] == [("1h", 2), ("24h", 2), ("30d", 2)]
    for (_, length), each, (*place, since) in zip(WINDOWS, report.windows, asked, strict=True):
        assert place == [ACME, "svc", "1.0.0"]
        assert each.since == since == hour_of(since)
        assert length <= NOW - since < length + HOUR
