"""Each finding on a policy that deserves it, literally, and its silence on one that does not."""

import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest

from caio.foundation.errors import InvalidInput
from caio.routing.analysis import Counterexample, Severity, analyse, analyse_contract
from caio.routing.analysis.worlds import request_of
from caio.routing.engine import compile_snapshot, decide
from caio.routing.model import History, Principal, Request
from tests.support.policy_analysis import rule, service

US = 'service.privacy.data_locality == "regions" && "us" in service.privacy.regions'
LOCAL = 'service.privacy.data_locality == "on_device"'
SERVICES = [
    service("eu", privacy={"data_locality": ["eu"]}),
    service("local", privacy={"data_locality": "on_device"}),
    service("us", privacy={"data_locality": ["us"]}, cost={"per_request": "0.5"}),
]


def found(new, others=(), offers=SERVICES, old=None):
    """The findings by code; of several the first."""
    return {each.code: each for each in reversed(analyse(new, others, offers, old))}


def codes(*arguments, **named):
    return [each.code for each in analyse(*arguments, **named)]


def test_a_sensible_policy_is_only_described():
    (finding,) = analyse(rule(then=US), [], SERVICES)
    assert (finding.code, finding.severity) == ("newly_forbids", Severity.INFORMATION)
    assert finding.message == "newly forbids us@1.0.0 (1 of 3 registered services) to requests such as the example's"
    assert finding.counterexample == Counterexample({}, {}, "us@1.0.0")


@pytest.mark.parametrize(
    "when",
    [
        "false",
        "request.sensitive && !request.sensitive",
        'request.data_classification == "secret"',
        "has(request.max_tokens) && request.max_tokens > 5 && request.max_tokens < 6",
        "request.input_bytes < 0",
        '"a" in principal.roles && principal.roles.all(r, r == "b")',
        'request.capability.startsWith("text.") && request.capability.startsWith("image.")',
        'has(request.labels.team) && request.labels.team == "hr" && request.labels.team.endsWith("x")',
        "size(request.regions) == 0 && 'eu' in request.regions",
    ],
)
def test_never_applies(when):
    (finding,) = analyse(rule(then=US, when=when), [], SERVICES)
    assert (finding.code, finding.severity, finding.pointer) == ("never_applies", Severity.WARNING, "/when")


@pytest.mark.parametrize(
    "when",
    [
        "request.sensitive || !request.sensitive",
        "has(request.max_cost) && request.max_cost > 5.0 && request.max_cost < 6.0",
        '"a" in principal.roles && principal.roles.exists(r, r == "b")',
        'request.capability.startsWith("text.") && request.capability.endsWith(".text")',
        "size(request.regions) == 2",
        "!has(request.max_tokens)",
        'request.capability > "a" && request.capability < "b"',
        "double(request.input_bytes) * 0.5 > 100.0",
    ],
)
def test_what_can_hold_is_not_said_never_to_apply(when):
    assert "never_applies" not in codes(rule(then=US, when=when), [], SERVICES)


def test_what_is_beyond_the_method_is_not_decided():
    when = "request.input_bytes * 3 == 7"
    finding = found(rule(then=US, when=when))["not_decided"]
    assert (finding.severity, finding.pointer) == (Severity.INFORMATION, "/when")
    assert finding.message == "could not decide whether `when` ever holds"


@pytest.mark.parametrize("when", ["1 / 0 == 1", 'request.bounds["latency_ms"] < 800.0'])
def test_always_errs_when(when):
    finding = found(rule(then=US, when=when))["always_errs"]
    assert (finding.severity, finding.pointer) == (Severity.SEVERE, "/when")
    assert finding.message == "`when` fails for every request: every request is denied"
    assert found(rule("new", "prefer", US, when=when))["always_errs"].severity is Severity.WARNING
    assert "always_errs" not in found(rule(then=US, when='request.bounds["latency_ms.p95"] < 800.0'))


@pytest.mark.parametrize("then", ["service.guarantees.accuracy.p95 > 0.9", "service.guarantees.latency_ms.min < 5.0"])
def test_always_errs_then(then):
    finding = found(rule(then=then), offers=[])["always_errs"]
    assert (finding.severity, finding.pointer) == (Severity.SEVERE, "/then")
    name, statistic = then.split(" ")[0].split(".")[2:]
    with suppress(InvalidInput):
        stated = service("any", guarantees={name: {statistic: "0.5", "p95": "0.5"}})
        assert statistic not in stated.variables["guarantees"][name]


def test_a_condition_that_fails_without_a_label_denies_everything():
    finding = found(rule(then=US, when='request.labels.team == "hr"'))["may_err"]
    assert (finding.severity, finding.pointer) == (Severity.WARNING, "/when")
    assert finding.counterexample == Counterexample({"labels": {}}, {})
    assert "may_err" not in found(rule(then=US, when='has(request.labels.team) && request.labels.team == "hr"'))
    assert "may_err" not in found(rule("new", "prefer", US, when='request.labels.team == "hr"'))


def test_a_then_that_fails_for_some_services_is_counted():
    findings = found(rule(then="service.cost.per_request > 0.1"))
    assert findings["newly_forbids"].message.startswith("newly forbids eu@1.0.0 (3 of 3 registered services)")
    finding = findings["may_err"]
    assert finding.message.startswith("`then` fails for 2 of 3 registered services, and an error excludes")
    assert finding.counterexample == Counterexample(service="eu@1.0.0")


def test_matches_nothing():
    finding = found(rule("new", "require", 'service.privacy.data_locality == "private"'))["matches_nothing"]
    assert (finding.severity, finding.pointer) == (Severity.SEVERE, "/then")
    assert finding.counterexample == Counterexample({}, {}, "eu@1.0.0")
    for effect, verb in (("forbid", "forbids"), ("prefer", "prefers")):
        finding = found(rule("new", effect, 'service.id == "nobody"'))["matches_nothing"]
        assert (finding.severity, finding.message) == (
            Severity.INFORMATION,
            f"{verb} none of the 3 registered services now",
        )
    assert "matches_nothing" not in found(
        rule("new", "require", 'service.privacy.data_locality == "private"'), offers=[]
    )


def test_forbids_everything():
    finding = found(rule(then="!service.access.required_permissions.all_of.exists(p, true)", when="request.sensitive"))
    assert finding["forbids_everything"].severity is Severity.SEVERE
    assert finding["forbids_everything"].counterexample == Counterexample({"sensitive": True}, {}, "eu@1.0.0")
    assert "forbids_everything" not in found(rule(then=f"!({LOCAL})"))


def test_never_matches():
    then = "has(service.guarantees.accuracy) && service.guarantees.accuracy.min >= 95.0"
    assert found(rule("new", "require", then))["never_matches"].severity is Severity.SEVERE
    assert found(rule("new", "forbid", then))["never_matches"].severity is Severity.WARNING
    both = 'service.privacy.data_locality == "cloud" && "us" in service.privacy.regions'
    assert "never_matches" in found(rule("new", "forbid", both), offers=[])
    assert "never_matches" not in found(rule("new", "require", then.replace("95.0", "0.95")), offers=[])


def test_contradicts():
    other = rule("regional", "require", 'service.privacy.data_locality == "regions"', when="request.sensitive")
    new = rule("new", "require", LOCAL, when='"doctor" in principal.roles')
    for offers, kept in ((SERVICES, "local@1.0.0"), ([], None)):
        finding = found(new, [other], offers)["contradicts"]
        assert (finding.severity, finding.policies) == (Severity.SEVERE, ("regional@1",))
        assert "no possible service passes" in finding.message
        assert finding.counterexample == Counterexample({"sensitive": True}, {"roles": ["doctor"]}, kept)
    apart = rule("new", "require", LOCAL, when="!request.sensitive")
    assert "contradicts" not in found(apart, [other])
    assert "contradicts" not in found(rule("new", "prefer", LOCAL), [other])


def test_what_contradicts_among_the_services_there_are():
    other = rule("cheap", "forbid", 'service.id in ["eu", "local"]')
    finding = found(rule("new", "forbid", US), [other])["contradicts"]
    assert "no registered service passes" in finding.message
    assert "contradicts" not in found(rule("new", "forbid", US), [other], [])


def test_a_contradiction_is_what_the_engine_does():
    other = rule("regional", "require", 'service.privacy.data_locality == "regions"', when="request.sensitive")
    new = rule("new", "require", LOCAL)
    seen = found(new, [other])["contradicts"].counterexample
    request = Request("acme", "USD", ("chat",), sensitive=seen.request["sensitive"], training=True)
    caller = Principal("key", "api_key", frozenset(), frozenset())

    def by_policy(*rules):
        decision = decide(compile_snapshot("acme", SERVICES, rules), request, caller, History())
        return sum(each.clause == "policy" for each in decision.exclusions)

    assert (by_policy(new), by_policy(other), by_policy(new, other)) == (2, 1, 3)


def test_redundant():
    regional = rule("regional", "forbid", 'service.privacy.data_locality == "regions"')
    finding = found(rule(then=US, when="request.sensitive"), [regional])["redundant"]
    assert (finding.severity, finding.policies) == (Severity.WARNING, ("regional@1",))
    assert "redundant" not in found(regional, [rule("narrow", then=US)])
    assert "redundant" not in found(rule(then=US), [rule("later", then=US, when="request.sensitive")])
    assert "redundant" not in found(rule(then=US, weights={"cost": 1}), [regional])
    assert "redundant" not in found(rule(then=US), [rule("named", then=US, attach="request")])


def test_a_narrowed_policy_newly_permits():
    old, new = rule(then=US), rule(then=US, when="request.sensitive", version=2)
    (finding,) = analyse(new, [], SERVICES, old)
    assert (finding.code, finding.severity) == ("newly_permits", Severity.WARNING)
    assert finding.message == "newly permits us@1.0.0 (1 of 3 registered services) to requests such as the example's"
    assert finding.counterexample == Counterexample({"sensitive": False}, {}, "us@1.0.0")
    (back,) = analyse(old, [], SERVICES, new)
    assert (back.code, back.counterexample) == ("newly_forbids", finding.counterexample)


def test_an_error_that_is_put_right_newly_permits():
    failing = 'request.labels.team == "hr"'
    old, new = rule(then=US, when=failing), rule(then=US, when=f"has(request.labels.team) && {failing}", version=2)
    (finding,) = analyse(new, [], SERVICES, old)
    assert finding.message.startswith("newly permits eu@1.0.0 (3 of 3 registered services)")
    assert finding.counterexample == Counterexample({"labels": {}}, {}, "eu@1.0.0")


def test_what_was_not_found_is_not_shown():
    undecided = rule(then="!has(service.alignment.safety_level)", when="request.input_bytes * 3 == 7")
    finding = found(undecided)["forbids_everything"]
    assert finding.counterexample == Counterexample(service="eu@1.0.0")


def test_a_change_that_no_registered_service_sees_is_shown_on_one_that_could_be():
    (finding,) = analyse(rule(then="false", version=2), [], SERVICES[:2], rule(then=US))[-1:]
    assert (finding.code, finding.severity) == ("newly_permits", Severity.INFORMATION)
    assert finding.counterexample == Counterexample(
        {}, {}, None, {"privacy": {"data_locality": "regions", "regions": ["us"]}}
    )


def test_a_change_that_others_hide_says_so():
    old, new = rule(then=US), rule(then='service.id == "nobody"', version=2)
    finding = found(new, [rule("other", then=US)], old=old)["newly_permits"]
    assert finding.severity is Severity.INFORMATION
    assert finding.message.endswith("; other policies, such as other@1, exclude them all the same")
    finding = found(new, [rule("other", then=US, when="!request.sensitive")], old=old)["newly_permits"]
    assert (finding.severity, finding.counterexample) == (
        Severity.WARNING,
        Counterexample({"sensitive": True}, {}, "us@1.0.0"),
    )


def test_a_policy_that_waits_to_be_named_changes_nothing_by_itself():
    named = rule(then=US, attach="request")
    assert codes(named, [], SERVICES) == []
    assert "newly_permits" in codes(rule(then=US, attach="request", version=2), [], SERVICES, rule(then=US))
    assert codes(rule(then=US, version=2, message="other words"), [], SERVICES, rule(then=US)) == []


def test_the_policy_itself_is_not_among_the_others():
    assert "redundant" not in found(rule(then=US, version=2), [rule(then=US)], old=rule(then=US))


def test_findings_are_ordered_and_the_same_again():
    new = rule("new", "require", LOCAL, when='request.labels.team == "hr"')
    others = [rule("regional", "require", 'service.privacy.data_locality == "regions"')]
    findings = analyse(new, others, SERVICES)
    assert [each.severity for each in findings] == sorted(
        (each.severity for each in findings), key=list(Severity).index
    )
    assert findings == analyse(new, others, SERVICES)


def test_too_many_others_are_left_out_and_that_is_said(monkeypatch):
    monkeypatch.setattr("caio.routing.analysis.questions.VERDICTS", 3)
    findings = analyse(rule(then=US), [rule("other", then=US), rule("more", then=US)], SERVICES)
    (finding,) = [each for each in findings if each.code == "not_decided"]
    assert finding.message == "not compared with 1 of the 2 other policies: too many"


def test_every_field_called_always_there_is_there():
    from caio.routing.analysis import values

    asked = request_of({})
    assert asked is not None
    variables: dict[str, Any] = {"service": service("least").variables, **asked}
    for path in values._IN_EVERY_CONTRACT | {("request", name) for name in asked["request"]}:
        assert values.always_there(path)
        here = variables
        for name in path:
            here = here[name]


def test_neither_engine_nor_checker_knows_the_analysis():
    code = "import sys, caio.routing.engine, caio.routing.checker; print('caio.routing.analysis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_an_error_that_the_other_does_not_make_is_not_redundant():
    new = rule(then=US, when='request.labels.team == "hr"')
    assert "redundant" not in found(new, [rule("always", then=US)])
    assert "redundant" in found(rule(then=US, when='"hr" in principal.roles'), [rule("always", then=US)])


def test_what_leaves_nothing_by_itself_contradicts_nobody():
    alone = rule("alone", "require", 'service.id == "nobody"')
    assert "contradicts" not in found(rule("new", "require", LOCAL), [alone])
    assert "contradicts" not in found(alone, [rule("other", "require", LOCAL)])


def moved(version, locality):
    return service("mover", version=version, privacy={"data_locality": locality})


def test_a_contracts_change_is_told_of_each_policy_it_matters_to():
    rules = [
        rule("no-us", then=US, when="request.sensitive"),
        rule("stay", "require", f"!({LOCAL})", when="request.stream"),
        rule("named", then=US, attach="request"),
        rule("liked", "prefer", US),
    ]
    permits, forbids = analyse_contract(moved("1.0.0", ["us"]), moved("2.0.0", "on_device"), rules)
    assert (forbids.code, forbids.severity, forbids.policies) == ("newly_forbids", Severity.INFORMATION, ("stay@1",))
    assert forbids.message == "stay@1 now excludes mover, for requests such as the example's"
    assert (permits.code, permits.policies) == ("newly_permits", ("no-us@1",))
    assert analyse_contract(moved("1.0.0", ["us"]), moved("2.0.0", ["us", "eu"]), rules) == ()


def test_a_contracts_change_that_others_hide_is_not_told():
    old, new = moved("1.0.0", ["us"]), moved("2.0.0", "cloud")
    no_us, no_cloud = rule("no-us", then=US), rule("no-cloud", then='service.privacy.data_locality == "cloud"')
    assert analyse_contract(old, new, [no_us, no_cloud]) == ()
    secret = rule("no-cloud", then='service.privacy.data_locality == "cloud"', when="!request.sensitive")
    permits = analyse_contract(old, new, [no_us, secret])
    assert [(each.code, each.policies) for each in permits] == [("newly_permits", ("no-us@1",))]
    assert permits[0].counterexample == Counterexample({"sensitive": True}, {}, "mover@2.0.0")
