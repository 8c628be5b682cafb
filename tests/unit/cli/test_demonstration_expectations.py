"""The demonstration's expectations can fail: each is met by one course of events, and broken by each change of it."""

from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest

from caio.audit.shapes import Outcome
from caio.cli.demonstration import expectations
from caio.cli.demonstration.examples import Examples
from caio.cli.demonstration.story import Act, Candidate, Check, Step
from caio.foundation.errors import Reason

EXAMPLES = Examples.find()
PROMISES = EXAMPLES.promises


def outcome(*attempts, status="ok", faults=(), violations=()):
    """An outcome whose ``attempts`` were made in turn; the first ones failed with ``faults`` or ``violations``."""
    made = [
        {
            "service": service,
            "version": "1.0.0",
            "latency_ms": 3,
            "violations": [{"clause": violations[number], "required": "", "observed": ""}]
            if number < len(violations)
            else [],
            **({"fault": faults[number]} if number < len(faults) else {}),
        }
        for number, service in enumerate(attempts)
    ]
    document = {
        "v": 1,
        "kind": "outcome",
        "tenant": "default",
        "decision_id": "dec_1",
        "finished_at": 1,
        "status": status,
        "service": attempts[-1],
        "latency_ms": 3,
        "attempts": made,
        "usage": {"input_tokens": 1, "output_tokens": 1, "milliseconds": 3},
        "reserved": "0.002",
        "charged": "0.001",
    }
    return msgspec.convert(document, Outcome)


def act(name, *ranked, reasons=(), came=None, status=200, output=None, **answer):
    candidates = tuple(
        Candidate(service, 1 - place / 10, Decimal(place + 1) / 1000) for place, service in enumerate(ranked)
    )
    came = came if came is not None else outcome(ranked[0])
    return Act(EXAMPLES.request(name), status, "dec_1", output, answer, candidates, tuple(reasons), came, 0.01)


def reason(service, clause, subject="", required="", offered=""):
    return Reason(service, "1.0.0", clause, subject, required, offered)


def holds(checks):
    assert checks
    return all(check.holds for check in checks)


SLOW = reason("answer-careful", "guarantee", "latency_ms.p95")
BARRED = [reason(name, "policy", "keep-sensitive-private@1") for name in ("summarize-cloud", "summarize-erratic")]
REFUSALS = [
    reason("summarize-cloud", "compliance"),
    reason("summarize-erratic", "residency"),
    reason("summarize-textrank", "guarantee"),
    *(reason(name, "capability") for name in PROMISES if not name.startswith("summarize")),
]


def test_the_cheapest_that_promises_enough_must_win():
    def judged(told):
        return holds(expectations.cost_optimal(told, PROMISES))

    good = act("cost-optimal", "sentiment-lexicon", "sentiment-trained")
    assert judged(good)
    dearest_first = (replace(good.ranked[0], worst_cost=Decimal(9)), good.ranked[1])
    assert not judged(replace(good, ranked=dearest_first))
    assert not judged(replace(good, ranked=good.ranked[:1]))  # a rival was not considered
    assert not judged(replace(good, outcome=outcome("sentiment-trained")))
    assert not judged(replace(good, outcome=outcome("sentiment-lexicon", "sentiment-trained")))
    assert not judged(replace(good, status=502))
    assert not judged(replace(good, outcome=outcome("sentiment-lexicon", violations=["output_schema"])))


def test_only_a_promise_as_strong_as_the_bound_may_be_admitted():
    def judged(told):
        return holds(expectations.latency_bound(told, PROMISES))

    good = act("latency-bound", "answer-swift", reasons=[SLOW])
    assert judged(good)
    assert not judged(act("latency-bound", "answer-swift", "answer-careful"))
    assert not judged(act("latency-bound", "answer-careful", reasons=[SLOW]))
    assert not judged(replace(good, reasons=()))
    assert not judged(replace(good, reasons=(replace(SLOW, clause="capability"),)))


def test_what_is_sensitive_must_stay_inside():
    def judged(told):
        return holds(expectations.kept_inside(told, PROMISES, "keep-sensitive-private"))

    good = act("sensitive", "summarize-textrank", reasons=BARRED)
    assert judged(good)
    assert not judged(act("sensitive", "summarize-cloud", reasons=BARRED))
    assert not judged(replace(good, reasons=tuple(BARRED[:1])))
    assert not judged(replace(good, reasons=tuple(replace(each, clause="cost") for each in BARRED)))
    assert not judged(replace(good, reasons=tuple(replace(each, subject="another@1") for each in BARRED)))


def test_the_next_ranked_service_must_take_over():
    ranked = ("answer-swift", "answer-careful")

    def judged(told, killed="answer-swift"):
        return holds(expectations.fell_back(told, PROMISES, killed, "us"))

    good = act("fallback", *ranked, came=outcome(*ranked, faults=["unreachable"]), attempts=2)
    assert judged(good)
    again = outcome("answer-swift", *ranked, faults=["unreachable", "unreachable"])
    assert judged(replace(good, outcome=again, answer={"attempts": 3}))
    assert not judged(good, killed="answer-careful")
    assert not judged(replace(good, answer={"attempts": 1}))
    assert not judged(replace(good, outcome=outcome(*ranked)))  # no fault recorded
    assert not judged(replace(good, outcome=outcome("answer-swift")))
    assert not judged(replace(good, outcome=outcome("answer-swift", "sentiment-lexicon", faults=["unreachable"])))
    assert not judged(replace(good, status=502))
    cloud = ("answer-swift", "summarize-cloud")
    assert not judged(act("fallback", *cloud, came=outcome(*cloud, faults=["unreachable"]), attempts=2))


def test_a_refusal_must_name_everybody():
    def judged(told):
        return holds(expectations.refused(told, PROMISES))

    good = replace(act("refusal-reasons", "x", reasons=REFUSALS, status=422), ranked=(), outcome=None)
    good = replace(good, answer={"code": "no_service_satisfies"})
    assert judged(good)
    assert not judged(replace(good, status=200))
    assert not judged(replace(good, answer={"code": "internal_error"}))
    assert not judged(replace(good, reasons=tuple(REFUSALS[1:])))
    assert not judged(replace(good, reasons=(replace(REFUSALS[0], clause="residency"), *REFUSALS[1:])))
    assert not judged(replace(good, outcome=outcome("summarize-cloud")))


def test_a_broken_schema_must_be_reported():
    def judged(told):
        return holds(expectations.caught(told, PROMISES))

    broken = {"violations": [{"clause": "output_schema"}]}
    came = outcome("summarize-erratic", status="violated", violations=["output_schema"])
    good = act("violation", "summarize-erratic", came=came, output={"sentences": 26}, **broken)
    assert judged(good)
    assert not judged(replace(good, output={"summary": "S.", "sentences": 26}))  # nothing was broken at all
    assert not judged(replace(good, answer={"violations": []}))
    assert not judged(replace(good, outcome=outcome("summarize-erratic")))
    assert not judged(replace(good, status=502))


def test_a_fallback_must_repair_what_was_broken():
    ranked = ("summarize-erratic", "summarize-cloud")

    def judged(told, culprit="summarize-erratic"):
        return holds(expectations.recovered(told, PROMISES, culprit))

    came = outcome(*ranked, violations=["output_schema"])
    good = act("violation", *ranked, came=came, output={"summary": "S.", "sentences": 26}, violations=[])
    assert judged(good)
    assert not judged(good, culprit="summarize-textrank")
    assert not judged(replace(good, output={"sentences": 26}))
    assert not judged(replace(good, answer={"violations": [{"clause": "output_schema"}]}))
    assert not judged(replace(good, outcome=outcome("summarize-cloud")))


@pytest.mark.parametrize(
    ("pieces", "ended", "direct", "expected"),
    [
        (["The ", "House"], True, "The House", True),
        (["The ", "House"], False, "The House", False),
        (["The House"], True, "The House", False),
        (["The ", "Senate"], True, "The House", False),
        (["", ""], True, "", False),
    ],
)
def test_a_stream_must_be_whole(pieces, ended, direct, expected):
    assert holds(expectations.streamed(act("chat", "local-openai"), pieces, ended, direct)) is expected


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        ([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], True),
        ([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]], False),
        ([[1.0, 0.0], [0.9, 0.1]], False),
        ([[1.0, 0.0], [0.9], [0.0, 1.0]], False),
        ([[0.0, 0.0]] * 3, False),
    ],
)
def test_paraphrases_must_be_closer(vectors, expected):
    assert holds(expectations.embedded(act("embeddings", "local-openai"), vectors)) is expected


def test_a_step_without_checks_shows_nothing():
    step = Step("empty", "Empty")
    assert not step.holds
    step.checks = [Check("yes", True), Check("no", False)]
    assert not step.holds
    step.checks.pop()
    assert step.holds
