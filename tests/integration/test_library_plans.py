"""`Orchestrator.plan`: the same plans in a process of one's own."""

from pathlib import Path

import yaml

from caio import Orchestrator

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_library_plans_over_registered_services(tmp_path):
    request = yaml.safe_load((EXAMPLES / "plans" / "summarize-and-judge.yaml").read_text())
    forbid = {
        "id": "no-swift",
        "version": 1,
        "priority": 1,
        "effect": "forbid",
        "when": "true",
        "then": 'service.id == "answer-swift"',
        "attach": "request",
    }
    with Orchestrator(tmp_path / "data") as caio:
        for name in ("summarize-cloud", "sentiment-lexicon", "answer-swift", "answer-careful"):
            caio.register_service(EXAMPLES / "contracts" / f"{name}.yaml")
        found = caio.plan(request)
        assert [each.chosen.offer.service_id for each in found.choices][2] == "answer-swift"
        # A policy that comes with the request binds every stage.
        found = caio.plan(request, policies=[forbid])
        assert [each.chosen.offer.service_id for each in found.choices][2] == "answer-careful"
        refused = caio.plan({**request, "requirements": {"latency_ms": {"max": 1}}})
        assert refused.is_refused
        assert "the best any selection offers is" in refused.refusal()
