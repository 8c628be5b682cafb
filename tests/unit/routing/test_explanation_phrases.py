# ruff: noqa: E501 - a table is read one case a line
"""What people read: one phrase for every row of the rules' table, and what would have helped."""

from __future__ import annotations

from typing import Any

from caio.routing.certificate import CLAUSES
from caio.routing.explaining.phrases import bound_words, thousands
from caio.routing.explanation import explain
from tests.support.routing_cases import CASES, Document, contract, evidence, policy, request
from tests.support.routing_engine import decided

#: Of each case: what the service lacked, and with what single change it would qualify.
PHRASES = {
    "service not named": ("is not among the services asked for: beta, gamma", "if any service might be chosen"),
    "another version named": ("is not among the services asked for: alpha@2.0.0", "if any service might be chosen"),
    "excluded id": ("is excluded by the request, which does not want alpha, b", "if no service were excluded by the request"),
    "excluded version": ("is excluded by the request, which does not want alpha@1.0.0", "if no service were excluded by the request"),
    "excluded beats named": ("is excluded by the request, which does not want alpha", "if no service were excluded by the request"),
    "capability missing": ("does not offer vision, only chat", None),
    "capability missing, several offered": ("does not offer audio, only chat, embed", None),
    "protocol": ("speaks openai, the request allows anthropic, bedrock", "with any protocol"),
    "feature missing": ("needs the feature vision for chat, offers json, streaming, tools", None),
    "stream needs streaming": ("needs the feature streaming for chat, offers tools", "without streaming"),
    "streaming sorts among the features": ("needs the feature batch for chat, offers none", None),
    "feature missing in the second capability": ("needs the feature json for embed, offers streaming", "without the feature json"),
    "features in request order": ("needs the feature json for embed, offers streaming", "without the feature json"),
    "features in request order, turned round": ("needs the feature json for chat, offers none", "without the feature json"),
    "context too small": ("needs a context of 8,001 tokens for chat, offers 8,000", "with a context of 8,000 tokens"),
    "context undeclared": ("needs a context of 1 tokens for chat, declares no limit", "if no context length were asked for"),
    "context in request order": ("needs a context of 9,000 tokens for embed, offers 500", "with a context of 500 tokens"),
    "output too small": ("needs 1,001 tokens of output for chat, offers 1,000", "with 1,000 tokens of output"),
    "output undeclared": ("needs 1 tokens of output for chat, declares no limit", "if no length of output were asked for"),
    "context stands in for output": ("needs 501 tokens of output for embed, offers 500", "with 500 tokens of output"),
    "output in request order": ("needs 9,000 tokens of output for embed, offers 500", "with 500 tokens of output"),
    "input too large in the second capability": ("takes at most 99 bytes of input for embed, the request has 100", "with 99 bytes of input"),
    "input too large": ("takes at most 100,000 bytes of input for chat, the request has 100,001", "with 100,000 bytes of input"),
    "bound exceeded": ("needs p95 <= 799.999999999 ms, offers 800 ms", "at p95 <= 800 ms"),
    "tightest stronger bound shown": ("needs p95 <= 1,000 ms, offers p99 1,200 ms", "at p95 <= 1,200 ms"),
    "weakest of equals shown": ("needs p50 <= 100 ms, offers p95 800 ms", "at p50 <= 800 ms"),
    "a weaker statistic meets nothing": ("needs latency <= 5,000 ms, promises none", "without the bound on latency"),
    "lower bound missed": ("needs accuracy >= 0.95000001, offers 0.95", "at accuracy >= 0.95"),
    "property undeclared": ("needs grounding >= -1, promises none", "without the bound on grounding"),
    "determinism undeclared": ("needs determinism >= 1, promises none", "without the bound on determinism"),
    "determinism is 1": ("needs determinism >= 2, offers 1", "at determinism >= 1"),
    "bounds in order of name": ("needs accuracy >= 0.99, offers 0.95", None),
    "a stream's latency is its first token's": ("needs first token p95 <= 250 ms, offers 300 ms", "at first token p95 <= 300 ms"),
    "a stream's order is of the names as evaluated": ("needs first token p95 <= 250 ms, offers 300 ms", None),
    "a stream's two bounds are the tighter": ("needs first token p95 <= 250 ms, offers 300 ms", "at first token p95 <= 300 ms"),
    "another currency": ("prices in EUR, the tenant pays in USD", "if the tenant paid in EUR"),
    "too dear": ("may cost 0.013 USD, at most 0.012999999 USD were allowed", "at up to 0.013 USD"),
    "too dear with the tokens asked for": ("may cost 0.0112 USD, at most 0.0111 USD were allowed", "at up to 0.0112 USD"),
    "too dear with several answers": ("may cost 0.0112 USD, at most 0.0111 USD were allowed", "at up to 0.0112 USD"),
    "too dear with several of the longest answers": (
        "may cost 0.017 USD, at most 0.0169 USD were allowed",
        "at up to 0.017 USD",
    ),
    "time is priced to the earlier end": ("may cost 1.013 USD, at most 1 USD were allowed", "at up to 1.013 USD"),
    "rounded up once": ("may cost 0.000000001 USD, at most 0 USD were allowed", "at up to 0.000000001 USD"),
    "beyond exact amounts": ("may cost 10,000,000.003 USD, at most 9,007,199.254740991 USD were allowed", None),
    "forbidden": ("policy no-eu@1 forbids it", "without policy no-eu@1"),
    "required": ("does not meet what policy fedramp@3 requires", "without policy fedramp@3"),
    "erring condition": ("policy odd@1 (require) failed to evaluate, which denies", "without policy odd@1"),
    "erring rule": ("policy odd@1 (forbid) failed to evaluate, which denies", "without policy odd@1"),
    "higher priority first": ("policy b@1 forbids it", None),
    "then by id, an error like a verdict": ("policy a@1 (forbid) failed to evaluate, which denies", None),
    "then by version": ("policy a@2 forbids it", None),
    "forbid beats require": ("policy b@1 forbids it", "without policy b@1"),
    "another tenant's": ("belongs to another tenant, which does not share it", None),
    "permission missing, the first by name": ("needs permission b, which the caller does not hold", None),
    "permission missing": ("needs permission b, which the caller does not hold", None),
    "no permission of several": ("needs one of the permissions a, b, the caller holds none", "if the caller held the permission a"),
    "trust": ("needs trust level elevated, the caller has standard", "if the caller's trust level were elevated"),
    "locality": ("processes data in listed regions, the request keeps it in a private network or closer", "if data might be processed in listed regions"),
    "locality of the cloud": ("processes data in the cloud, the request keeps it in listed regions or closer", "if data might be processed in the cloud"),
    "outside the regions": ("processes data in eu, us, which is not confined to eu, uk", "if data were not confined to eu, uk"),
    "cloud proves no region": ("processes data in the cloud, which is not confined to eu", "if data were not confined to eu"),
    "private proves no region": ("processes data in a private network, which is not confined to eu", "if data were not confined to eu"),
    "restricted stays at home": ("processes data in listed regions, restricted data stays on the device or in a private network", "if the data were internal and not sensitive"),
    "confidential unencrypted": ("processes data in listed regions without encryption in transit and at rest, which confidential data needs there", "if the data were internal and not sensitive"),
    "sensitive unencrypted": ("processes data in the cloud without encryption in transit and at rest, which sensitive data needs there", "if the data were internal and not sensitive"),
    "training forbidden": ("trains on data or does not say, and the request forbids it", "if training were allowed"),
    "training unsaid": ("trains on data or does not say, and the request forbids it", "if training were allowed"),
    "sensitive is not for training": ("trains on data or does not say, and the data is sensitive", "if the data were internal and not sensitive"),
    "confidential is not for training": ("trains on data or does not say, and the data is sensitive", "if the data were internal and not sensitive"),
    "restricted is not for training": ("trains on data or does not say, and the data is sensitive", "if the data were internal and not sensitive"),
    "kept too long": ("keeps data 30 days, at most 29 were allowed", "if data might be kept for 30 days"),
    "retention undeclared": ("does not say how many days it keeps data, at most 0 were allowed", "if data might be kept for any time"),
    "compliance of many, in order of name": ("does not declare d, only a, b, c, e", None),
    "compliance": ("does not declare hipaa, only gdpr, soc2", None),
    "egress": ("processes data in listed regions, the request forbids egress", "if egress were allowed"),
    "egress by need of the internet": ("needs the internet, the request forbids egress", "if egress were allowed"),
}  # fmt: skip


def test_every_case_of_the_rules_in_words() -> None:
    explained = {each.name: explain(each.evidence()) for each in CASES}
    assert {name: found.groups[0].nearest[0].words for name, found in explained.items()} == {
        name: words for name, (words, _) in PHRASES.items()
    }
    assert {name: [each.words for each in found.remedies] for name, found in explained.items()} == {
        name: [] if change is None else [f"1 service would qualify {change}"] for name, (_, change) in PHRASES.items()
    }
    assert {group.clause for found in explained.values() for group in found.groups} == set(CLAUSES)


def test_the_winner_against_the_runner_up() -> None:
    found = explain(
        evidence(
            contract(),
            contract("beta", guarantees={"latency_ms": {"p95": "900"}}, cost={"per_request": "0.02"}),
            request=request(bounds={"latency_ms.p95": "1000"}),
            policies=[policy("likes", effect="prefer", then='service.id == "alpha"')],
            history={"alpha": [240, 236, 0], "beta": [1, 1, 5000]},
        )
    )
    assert {each.term: each.words for each in found.terms} == {
        "margin": "stays 20 % within the requested bounds on average, against 10 %",
        "cost": "cheaper by 0.01 USD in the worst case (0.013 against 0.023)",
        "performance": "promises p95 800 ms against p95 900 ms",
        "reliability": "was reliable in 98.3 % of 240 calls against 100 % of 1 call",
        "preference": "preferred by likes, the other by no policy",
    }
    assert [each.contribution > 0 for each in found.terms] == [True, True, True, False, True]


def test_what_was_observed_counts_from_20_calls_on() -> None:
    def words(calls: int) -> str:
        history = {"alpha": [calls, calls, 400]}
        slower = contract("beta", guarantees={"latency_ms": {"p95": "900"}})
        terms = explain(evidence(contract(), slower, history=history)).terms
        return next(each.words for each in terms if each.term == "performance")

    assert words(19) == "promises p95 800 ms against p95 900 ms"
    assert words(20) == "was observed at p95 400 ms; the other promises p95 900 ms"


def test_equal_scores_are_decided_by_the_seed() -> None:
    found = explain(evidence(contract(), contract("beta")))
    assert found.terms == ()
    assert found.summary.endswith("has the same score, 1; decided by the seed's tie-break.")


def test_the_nearest_misses_come_first_and_silence_last() -> None:
    offers = {"far": "5000", "near": "810", "nearer": "801", "silent": None, "middle": "1200"}
    services = [
        contract(name, guarantees={"latency_ms": {"p50": "1", "p95": value or "1", "p99": "9999"}})
        for name, value in offers.items()
    ]
    for each in services:
        if each["service_id"] == "silent":
            each["guarantees"] = {"accuracy": {"min": "0.9"}}
    found = explain(evidence(*services, request=request(bounds={"latency_ms.p95": "800"})))
    assert [(each.count, [loser.service for loser in each.nearest]) for each in found.groups] == [
        (5, ["nearer@1.0.0", "near@1.0.0", "middle@1.0.0"])
    ]
    assert [each.words for each in found.remedies] == [
        "5 services would qualify without the bound on p95",
        "1 service would qualify at p95 <= 801 ms",
    ]
    assert found.remedies[1].request == {"bounds": {"latency_ms.p95": "801"}}


def test_policies_say_what_they_did() -> None:
    policies = [
        policy("eu-only", version=2, message="Data stays in the EU.", then='service.id == "beta"'),
        policy("odd", then='service.id == "gamma" && service.cost.per_second > 1.0'),
        policy("idle", when="false"),
        policy("broken", effect="prefer", when="request.max_tokens > 5"),
        policy("likes", effect="prefer", then='service.id == "alpha"'),
    ]
    found = explain(evidence(contract(), contract("beta"), contract("gamma"), policies=policies))
    told = {each.policy: (each.state, each.excluded, each.failed, each.prefers_winner) for each in found.policies}
    assert told == {
        "eu-only@2": ("in force", 1, 0, None),
        "odd@1": ("in force", 1, 1, None),
        "likes@1": ("in force", 0, 0, True),
        "broken@1": ("failed to evaluate", 0, 0, None),
        "idle@1": ("not in force", 0, 0, None),
    }
    assert list(told)[-2:] == ["broken@1", "idle@1"]
    words = {loser.words for group in found.groups for loser in group.nearest}
    assert "policy eu-only@2 forbids it: Data stays in the EU." in words


def test_evidence_of_another_decision_is_noticed() -> None:
    one, other = evidence(contract()), evidence(contract("beta"))
    assert explain(one, decided(one).certificate).agrees is True
    assert explain(one, decided(other).certificate).agrees is False
    assert explain(one).agrees is None


def test_bounds_and_numbers_are_written_for_people() -> None:
    assert bound_words("latency_ms.p95", "1200") == "p95 <= 1,200 ms"
    assert bound_words("first_token_ms.max", "0.5") == "first token <= 0.5 ms"
    assert bound_words("error_rate.max", "0.01") == "error rate <= 0.01"
    assert bound_words("accuracy.min", "0.95") == "accuracy >= 0.95"
    assert (thousands("1234567.125"), thousands("-0.5"), thousands("-1500")) == ("1,234,567.125", "-0.5", "-1,500")


def test_a_requirement_is_relaxed_to_the_best_that_is_offered() -> None:
    def helping(first: Document, second: Document, **asked: Any) -> list[str]:
        found = explain(evidence(contract(**first), contract("beta", **second), request=request(**asked)))
        return [f"{each.qualifying} {each.words.split('would qualify ')[1]}" for each in found.remedies]

    exact, rough = ({"guarantees": {"accuracy": {"min": value}}} for value in ("0.9", "0.8"))
    assert helping(exact, rough, bounds={"accuracy.min": "0.99"}) == [
        "2 without the bound on accuracy",
        "1 at accuracy >= 0.9",
    ]
    cheap, dear = ({"cost": {"per_request": value}} for value in ("0.02", "0.03"))
    assert helping(cheap, dear, max_cost="0.01") == ["2 without a limit of cost", "1 at up to 0.023 USD"]
    brief, long = ({"privacy": {"data_retention_days": value}} for value in (30, 60))
    assert helping(brief, long, max_retention_days=7) == [
        "2 if data might be kept for any time",
        "1 if data might be kept for 30 days",
    ]
    near, far = ({"privacy": {"data_locality": value}} for value in (["eu"], "cloud"))
    assert helping(near, far, data_locality="private") == [
        "2 if data might be processed anywhere",
        "1 if data might be processed in listed regions",
    ]


def test_a_smaller_input_is_smaller() -> None:
    small: Document = {
        "capabilities": [{"type": "chat", "features": [], "limits": {"max_tokens": 1, "max_input_bytes": 100}}]
    }
    dear = contract("dear", cost={"per_input_token": "0.001"})
    found = explain(evidence(contract(**small), dear, request=request(input_bytes=1000, max_cost="0.5")))
    assert [each.words for each in found.remedies] == [
        "2 services would qualify with 100 bytes of input",
        "1 service would qualify at up to 1.012 USD",
    ]


def test_a_limit_of_cost_is_not_read_in_another_currency() -> None:
    found = explain(evidence(contract(cost={"currency": "EUR"}), request=request(max_cost="1")))
    assert (found.remedies, found.tried) == ((), 0)


def test_a_handful_is_tried_and_who_came_furthest_first() -> None:
    def needing(number: int) -> Document:
        access = {"required_permissions": {"all_of": [f"p{number:02}"]}}
        return contract(f"s{number:02}", access=access, privacy={"data_locality": "on_device"})

    services = [*map(needing, range(20)), contract("abroad"), contract("also-abroad")]
    found = explain(evidence(*services, request=request(egress=False)))
    assert (len(found.groups), found.further_groups, found.tried, len(found.remedies)) == (12, 9, 12, 12)
    assert (found.groups[0].clause, found.groups[0].count) == ("egress", 2)
    assert found.remedies[0].words == "2 services would qualify if egress were allowed"
    assert found.remedies[1].principal == {"permissions": ["p00", "services:use"]}


def test_a_stream_is_compared_by_its_first_token() -> None:
    slower = contract("beta", guarantees={"first_token_ms": {"p95": "500"}})
    found = explain(
        evidence(contract(), slower, request=request(stream=True), history={"alpha": [30, 30, 9], "beta": [30, 30, 9]})
    )
    assert [each.words for each in found.terms] == ["promises first token p95 300 ms against first token p95 500 ms"]


def test_only_a_prefer_prefers() -> None:
    policies = [
        policy("must", effect="require", then='service.id != "gamma"'),
        policy("likes", effect="prefer", then='service.id == "alpha"'),
    ]
    found = explain(evidence(contract(), contract("beta"), policies=policies))
    assert [each.words for each in found.terms] == ["preferred by likes, the other by no policy"]


def test_long_lists_are_cut() -> None:
    named = [f"service-{number}" for number in range(1000)]
    (group,) = explain(evidence(contract(), request=request(services=named))).groups
    assert len(group.nearest[0].words) < 200
    assert group.nearest[0].words.endswith("…")
