"""The laws of enforcement."""

import pytest

from caio.audit.record import Breach
from caio.foundation.errors import Misconfigured
from caio.gateway.enforcement import AnswerRules

ANSWER = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["good", "bad"]}}}


def document(**guarantees):
    return {
        "service_id": "judge",
        "guarantees": guarantees,
        "api": {
            "protocol": "http-json",
            "base_url": "http://service.example",
            "endpoints": [
                {"path": "/other", "method": "POST", "capability": "other"},
                {"path": "/judge", "method": "POST", "input_schema": {"required": ["text"]}, "output_schema": ANSWER},
            ],
        },
    }


def test_only_a_max_can_be_broken_by_one_call():
    contract = document(
        latency_ms={"p50": "1", "p95": "2", "p99": "3"}, accuracy={"min": "1"}, availability={"min": "1"}
    )
    rules = AnswerRules.of(contract, "judge")
    assert rules.check({"label": "good"}, 10_000) == ()
    assert rules.check_first_token(10_000) == ()


def test_the_bound_itself_is_kept():
    rules = AnswerRules.of(document(latency_ms={"max": "800"}, first_token_ms={"max": "99.5"}), "judge")
    assert rules.check({"label": "good"}, 800) == ()
    assert rules.check({"label": "good"}, 801) == (Breach("latency_ms.max", "<= 800", "801"),)
    assert rules.check_first_token(99) == ()
    assert rules.check_first_token(100) == (Breach("first_token_ms.max", "<= 99.5", "100"),)


def test_breaches_hold_no_payload():
    rules = AnswerRules.of(document(), "judge")
    (breach,) = rules.check({"label": "SECRET"}, 1)
    assert breach.clause == "output_schema"
    assert breach.observed == "/label breaks enum"
    (breach,) = rules.check(["SECRET"], 1)
    assert breach.observed == "/ breaks type: object"


def test_every_breach_of_an_answer_is_named():
    rules = AnswerRules.of(document(latency_ms={"max": "1"}), "judge")
    assert [breach.clause for breach in rules.check({}, 2)] == ["latency_ms.max", "output_schema"]


def test_the_input_is_checked_by_the_endpoint_of_the_capability():
    assert [v.message for v in AnswerRules.of(document(), "judge").check_input({})] == ["breaks required: text"]
    assert AnswerRules.of(document(), "judge").check_input({"text": "x"}) == ()
    assert AnswerRules.of(document(), "other").check_input({}) == ()
    assert AnswerRules.of(document(), "other").check("anything", 1) == ()


def test_a_schema_that_cannot_be_run_is_the_contracts_mistake():
    contract = document()
    contract["api"]["endpoints"][1]["output_schema"] = {"$ref": "#"}
    with pytest.raises(Misconfigured, match="output_schema in the contract of 'judge'"):
        AnswerRules.of(contract, "judge")
