"""The laws of the analysis, against random expressions, requests and services.

The other evaluator, ``interpret``, is the judge: the analysis itself evaluates with the compiler.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from caio.contracts.vocabulary import LOCALITIES
from caio.routing.analysis import analyse
from caio.routing.analysis.formulas import ERROR, FALSE, TRUE
from caio.routing.analysis.search import Budget, Goal, Status, ask
from caio.routing.analysis.values import Constants, numbers, texts
from caio.routing.analysis.worlds import request_of, service_of
from caio.routing.expressions import EvaluationError, interpret, parse
from caio.routing.model import CLASSIFICATIONS
from tests.support.policy_analysis import rule, service

NAMES = ["a", "ab", "b"]
TEXT = st.sampled_from(NAMES)
WHOLE = st.sampled_from([0, 1, 2, 5])
COMPARISON = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])


def about_texts(path: str) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds('{} == "{}"'.format, st.just(path), TEXT),
        st.builds('{} in ["a", "{}"]'.format, st.just(path), TEXT),
        st.builds('{}.{}("{}")'.format, st.just(path), st.sampled_from(["startsWith", "endsWith", "contains"]), TEXT),
    )


def about_lists(path: str) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds('"{}" in {}'.format, TEXT, st.just(path)),
        st.builds("{}.{}(x, {})".format, st.just(path), st.sampled_from(["all", "exists"]), about_texts("x")),
        st.builds("size({}) {} {}".format, st.just(path), COMPARISON, WHOLE),
    )


def about_numbers(path: str) -> st.SearchStrategy[str]:
    return st.builds("{} {} {}".format, st.just(path), COMPARISON, WHOLE)


def combined(atoms: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        atoms,
        lambda parts: st.one_of(
            st.builds("!({})".format, parts),
            st.builds("({}) {} ({})".format, parts, st.sampled_from(["&&", "||"]), parts),
            st.builds("({}) ? ({}) : ({})".format, parts, parts, parts),
        ),
        max_leaves=6,
    )


WHEN = combined(
    st.one_of(
        st.sampled_from(
            ["request.sensitive", "true", "has(request.labels.team)", "has(request.max_tokens)", "1 / 0 == 1"]
        ),
        about_texts("request.labels.team"),
        about_texts("request.capability"),
        about_lists("request.capabilities"),
        about_lists("principal.roles"),
        about_numbers("request.max_tokens"),
        about_numbers("request.max_tokens + request.input_bytes"),
        st.sampled_from([f'request.data_classification == "{word}"' for word in (*CLASSIFICATIONS, "secret")]),
    )
)
THEN = combined(
    st.one_of(
        st.sampled_from(
            [
                "has(service.guarantees.accuracy)",
                "has(service.guarantees.accuracy.min)",
                "has(service.privacy.regions)",
                "has(service.privacy.trains_on_data)",
            ]
        ),
        about_lists("service.tags"),
        about_lists("service.privacy.regions"),
        about_numbers("service.privacy.data_retention_days"),
        about_numbers("service.guarantees.accuracy.min"),
        st.sampled_from([f'service.privacy.data_locality == "{word}"' for word in (*LOCALITIES, "moon")]),
    )
)
REQUESTS = st.builds(
    request_of,
    st.fixed_dictionaries(
        {
            "request": st.fixed_dictionaries(
                {},
                optional={
                    "sensitive": st.booleans(),
                    "labels": st.dictionaries(st.just("team"), st.text("abx", max_size=3)),
                    "capabilities": st.lists(st.text("abx", min_size=1, max_size=3), min_size=1, unique=True),
                    "max_tokens": st.integers(1, 6),
                    "input_bytes": st.integers(0, 6),
                    "data_classification": st.sampled_from(CLASSIFICATIONS),
                },
            ),
            "principal": st.fixed_dictionaries({"roles": st.lists(st.text("abx", max_size=3))}),
        }
    ),
)
SERVICES = st.builds(
    service,
    st.sampled_from(["one", "two", "three"]),
    tags=st.lists(TEXT | st.just("z"), unique=True),
    privacy=st.fixed_dictionaries(
        {
            "data_locality": st.sampled_from(["on_device", "private", "cloud"])
            | st.lists(TEXT | st.just("z"), min_size=1, unique=True)
        },
        optional={"data_retention_days": st.integers(0, 6), "trains_on_data": st.booleans()},
    ),
    guarantees=st.fixed_dictionaries(
        {}, optional={"accuracy": st.fixed_dictionaries({"min": st.sampled_from(["0", "0.5", "1"])})}
    ),
)


def judged(source: str, variables: Any) -> int:
    try:
        return TRUE if interpret(parse(source), variables) else FALSE
    except EvaluationError:
        return ERROR


@given(WHEN, WHEN, REQUESTS, st.sampled_from([TRUE, FALSE, ERROR]))
def test_found_is_real_and_impossible_is_proved_of_requests(one: str, other: str, witness: Any, wanted: int) -> None:
    answer = ask([Goal(parse(one), wanted), Goal(parse(other), TRUE)], request_of, Budget(10_000))
    if answer.status is Status.FOUND:
        assert (judged(one, answer.variables), judged(other, answer.variables)) == (wanted, TRUE)
    elif answer.status is Status.IMPOSSIBLE:
        assert (judged(one, witness), judged(other, witness)) != (wanted, TRUE)


@given(THEN, THEN, SERVICES, st.sampled_from([TRUE, FALSE, ERROR]))
def test_found_is_real_and_impossible_is_proved_of_services(one: str, other: str, witness: Any, wanted: int) -> None:
    answer = ask([Goal(parse(one), wanted), Goal(parse(other), TRUE)], service_of, Budget(10_000))
    if answer.status is Status.FOUND:
        assert (judged(one, answer.variables), judged(other, answer.variables)) == (wanted, TRUE)
    elif answer.status is Status.IMPOSSIBLE:
        variables = {"service": witness.variables}
        assert (judged(one, variables), judged(other, variables)) != (wanted, TRUE)


@given(WHEN, st.integers(0, 12))
def test_steps_are_bounded(when: str, steps: int) -> None:
    budget = Budget(steps)
    answer = ask([Goal(parse(when), TRUE)], request_of, budget)
    assert 0 <= budget.left <= steps
    if answer.status is Status.IMPOSSIBLE:
        assert ask([Goal(parse(when), TRUE)], request_of, Budget(10_000)).status is Status.IMPOSSIBLE


@given(st.lists(st.integers(-5, 5)), st.booleans(), st.integers(-50, 50))
def test_every_region_has_its_value_of_numbers(constants: list[int], whole: bool, value: int) -> None:
    tenth = value // 10 if whole else value / 10
    tried = numbers(constants, whole=whole)
    assert any(all((t < c, t == c) == (tenth < c, tenth == c) for c in constants) for t in tried)  # type: ignore[operator]


@given(
    st.sets(st.text("ab", max_size=2), max_size=2),
    st.sets(st.text("ab", max_size=2), max_size=2),
    st.sets(st.text("ab", max_size=2), max_size=2),
    st.sets(st.text("ab", max_size=2), max_size=2),
    st.text("abc", max_size=5),
)
def test_every_region_has_its_value_of_texts(
    equal: set[Any], begins: set[str], ends: set[str], parts: set[str], value: str
) -> None:
    tried, exhaustive = texts(Constants(equal, begins, ends, parts))

    def fares(text: Any) -> Any:
        return (
            [text == each for each in equal],
            [text.startswith(each) for each in begins],
            [text.endswith(each) for each in ends],
            [each in text for each in parts],
        )

    assert exhaustive
    assert any(fares(each) == fares(value) for each in tried)


RULES = st.builds(rule, st.just("new"), st.sampled_from(["forbid", "require", "prefer"]), THEN, when=WHEN)
OTHERS = st.builds(rule, st.sampled_from(["p", "q"]), st.sampled_from(["forbid", "require"]), THEN, when=WHEN)


def excludes(policy: Any, request: Any, variables: Any) -> bool:
    """The rules page, read by hand."""
    effect, applies = policy.policy.effect, judged(policy.policy.when, request)
    if effect == "prefer" or applies == FALSE:
        return False
    says = judged(policy.policy.then, variables)
    return ERROR in (applies, says) or says == (TRUE if effect == "forbid" else FALSE)


@given(RULES, RULES, st.lists(OTHERS, max_size=2), st.lists(SERVICES, max_size=3, unique_by=lambda each: each.key))
def test_counterexamples_are_real(new: Any, old: Any, others: Any, offers: Any) -> None:
    registered = {f"{each.service_id}@{each.version}": {"service": each.variables} for each in offers}
    rest = {f"{each.policy.policy_id}@{each.policy.version}": each for each in others}
    for finding in analyse(new, list(rest.values()), offers, old):
        seen = finding.counterexample
        if seen is None or seen.request is None:
            continue
        request = request_of({"request": seen.request, "principal": seen.principal})
        if seen.service is None:
            pair = None if seen.contract is None else service_of({"service": seen.contract})
        else:
            pair = registered[seen.service]
        match finding.code:
            case "newly_permits":
                assert excludes(old, request, pair)
                assert not excludes(new, request, pair)
            case "newly_forbids":
                assert excludes(new, request, pair)
                assert not excludes(old, request, pair)
            case "contradicts":
                other = rest[finding.policies[0]]
                assert not any(
                    not excludes(new, request, each) and not excludes(other, request, each)
                    for each in registered.values()
                )
                if pair is not None:
                    assert excludes(other, request, pair)
                    assert not excludes(new, request, pair)
            case "forbids_everything" | "matches_nothing":
                assert all(excludes(new, request, each) for each in registered.values())
            case "may_err" if finding.pointer == "/when":
                assert judged(new.policy.when, request) == ERROR


@given(
    RULES, st.lists(OTHERS, min_size=1, max_size=3, unique_by=lambda each: each.policy.policy_id), REQUESTS, SERVICES
)
def test_what_is_called_redundant_adds_nothing(new: Any, others: Any, request: Any, offer: Any) -> None:
    for finding in analyse(new, others, []):
        if finding.code == "redundant":
            (other,) = [each for each in others if f"{each.policy.policy_id}@1" == finding.policies[0]]
            pair = {"service": offer.variables}
            assert excludes(other, request, pair) or not excludes(new, request, pair)
        if finding.code in ("never_matches", "always_errs") and finding.pointer == "/then":
            assert judged(new.policy.then, {"service": offer.variables}) != TRUE
        if finding.code in ("never_applies", "always_errs") and finding.pointer == "/when":
            assert judged(new.policy.when, request) != TRUE
