"""`caio plan` from files, its refusals, and `caio verify` of what it wrote."""

import json
from pathlib import Path

import pytest
import yaml

from caio.cli.plan import picture
from caio.foundation.errors import InvalidInput
from caio.gateway.plan_intake import read_plan

EXAMPLES = Path(__file__).parents[3] / "examples"
CONTRACTS = EXAMPLES / "contracts"
PLAN = EXAMPLES / "plans" / "summarize-and-judge.yaml"


def changed(tmp_path, **changes):
    document = {**yaml.safe_load(PLAN.read_text()), **changes}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document))
    return path


def test_a_plan_shows_stages_services_and_promises(caio):
    code, shown, _ = caio("plan", PLAN, "--contracts", CONTRACTS)
    assert code == 0
    assert "  summary | sentiment\n  └─ answer (after sentiment, summary)" in shown
    assert "answer     answer-swift@1.0.0       1 of 2" in shown
    assert "latency_ms.p95     <= 900         450" in shown


def test_a_plan_is_verified_with_its_evidence_only(caio, tmp_path):
    certificate, evidence = tmp_path / "certificate.json", tmp_path / "evidence.json"
    files = ("--certificate-out", certificate, "--evidence-out", evidence)
    code, printed, _ = caio("plan", PLAN, "--contracts", CONTRACTS, "--json", *files)
    assert code == 0
    assert json.loads(printed)["plan_hash"] == json.loads(certificate.read_text())["plan_hash"]
    code, shown, _ = caio("verify", certificate, "--evidence", evidence)
    assert code == 0
    assert shown.count("✓") == 11
    code, _, error = caio("verify", certificate)
    assert code == 4
    assert "--evidence" in error
    forged = json.loads(certificate.read_text())
    forged["certificate"]["selection"][2]["rank"] = 1
    certificate.write_text(json.dumps(forged))
    code, shown, _ = caio("verify", certificate, "--evidence", evidence)
    assert code == 11
    assert "Not verified: plan hash, selection" in shown


def test_a_bound_that_nothing_meets_is_refused_with_the_best_there_is(caio, tmp_path):
    path = changed(tmp_path, requirements={"latency_ms": {"p95": 300}})
    code, shown, _ = caio("plan", path, "--contracts", CONTRACTS)
    assert code == 3
    assert "needs latency_ms.p95 <= 300 ms end to end, the best any selection offers is 450 ms" in shown


def test_a_stage_without_candidates_is_named_with_its_exclusions(caio, tmp_path):
    stages = yaml.safe_load(PLAN.read_text())["stages"]
    stages[1]["request"]["requirements"] = {"accuracy": {"min": 0.999}}
    code, shown, _ = caio("plan", changed(tmp_path, stages=stages), "--contracts", CONTRACTS)
    assert code == 3
    assert "stage 'sentiment' has no candidate" in shown
    assert ">= 0.999" in shown


def test_a_folder_without_contracts_says_so(caio, tmp_path):
    code, _, error = caio("plan", PLAN, "--contracts", tmp_path)
    assert code == 4
    assert "holds no contract" in error


def test_everything_wrong_with_a_plan_request_is_told_at_once():
    stage = {"name": "a", "input_bytes": 1, "request": {"capability": "chat"}}
    bad = {
        "stages": [stage, {**stage, "after": ["b"], "request": {}}],
        "requirements": {"toxicity": {"max": 1}, "regions": ["eu"], "max_latency_ms": 1e-12},
    }
    with pytest.raises(InvalidInput) as caught:
        read_plan(bad, tenant_id="default", currency="USD")
    assert {each.pointer for each in caught.value.violations} == {
        "/stages/1/name",
        "/stages/1/after/0",
        "/stages/1/request/capability",
        "/requirements/regions",
        "/requirements/max_latency_ms",
    }
    with pytest.raises(InvalidInput, match="no rule composes toxicity"):
        read_plan({"stages": [stage], "requirements": {"toxicity": {"max": 1}}}, tenant_id="default", currency="USD")


def test_a_plan_request_is_read_exactly():
    stage = {"name": "a", "input_bytes": 7, "request": {"capability": "chat", "policies": ["x"]}}
    needs = {"latency_ms": {"p95": 5, "max": 9}, "max_latency_ms": 8, "max_cost": 0.5, "deterministic": True}
    body = {"stages": [stage, {**stage, "name": "b", "after": ["a"]}], "requirements": needs, "policies": ["y"]}
    request, named = read_plan(body, tenant_id="default", currency="EUR")
    bounds = {"determinism.min": 10**9, "latency_ms.max": 8 * 10**9, "latency_ms.p95": 5 * 10**9}
    assert dict(request.bounds) == bounds
    assert request.max_cost == 5 * 10**8
    assert request.predecessors == ((), (0,))
    assert [each.request.input_bytes for each in request.stages] == [7, 7]
    assert named == ["x", "x", "y"]


def test_a_picture_has_a_line_for_each_wave():
    assert list(picture([("a", []), ("b", ["a"]), ("c", ["a"]), ("d", ["b", "c"]), ("e", [])])) == [
        "  a | e",
        "  └─ b (after a) | c (after a)",
        "     └─ d (after b, c)",
    ]
