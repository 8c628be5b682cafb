"""Why a decision came out as it did, for people: from its evidence alone, as a pure function.

Theory of operation
-------------------
The decision is made again from the recorded documents, never from the state of today, and read:
the terms that put the winner before the runner-up, the first clause that each loser failed, grouped,
the policies in force, and for a refusal the single changes that would have helped, each decided
again (``explaining.remedies``). However many services were considered, it stays a page: counts, and
the nearest misses of each group.

Laws (each has a test of the same name)
---------------------------------------
- the_terms_add_up_to_the_score: of winner and runner-up, exactly.
- every_service_is_accounted_for: as feasible, or in one group.
- every_remedy_is_real: with that change alone, so many services qualify.
- an_explanation_is_a_page.

What is not checked: the evidence against the certificate's hashes, which is the checker's work
(``caio verify``); ``agrees`` says whether the decision made again is the recorded one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from heapq import nsmallest
from typing import Any, Literal

from caio.foundation.hashing import CONTRACT, POLICY, digest_of
from caio.foundation.quantity import decimal_text
from caio.routing.certificate import CLAUSES, decision_hash
from caio.routing.engine import compile_snapshot
from caio.routing.explaining.comparison import Comparison, Contest, prefers
from caio.routing.explaining.phrases import distance, lack
from caio.routing.explaining.remedies import Case, Remedy, remedies
from caio.routing.expressions import EvaluationError
from caio.routing.matching import Needs
from caio.routing.model import SCALE, Decision, Effect, Exclusion, History, Offer, Principal, Ranked, Request
from caio.routing.offers import offer_of
from caio.routing.policies import compile_policy
from caio.routing.rules import Rule
from caio.routing.variables import principal_variables, request_variables

__all__ = ["Comparison", "Explanation", "Group", "Loser", "PolicyPart", "Remedy", "Standing", "explain"]

#: At most so many are shown; the counts tell of the others.
SHOWN_RANKED = 5
SHOWN_GROUPS = 12
SHOWN_LOSERS = 3
SHOWN_POLICIES = 12

State = Literal["in force", "not in force", "failed to evaluate"]


@dataclass(frozen=True, slots=True)
class Standing:
    """A feasible service with its score in [0, 10⁹] and the most that the call could cost."""

    service: str
    score: int
    worst_cost: str


@dataclass(frozen=True, slots=True)
class Loser:
    """``words`` are a predicate of the service: "needs p95 <= 800 ms, offers 1,200 ms"."""

    service: str
    offered: str
    words: str


@dataclass(frozen=True, slots=True)
class Group:
    """The services that failed one requirement of one clause first; ``nearest`` are a few of them,
    those that missed a number by least first."""

    clause: str
    subject: str
    required: str
    count: int
    nearest: tuple[Loser, ...]


@dataclass(frozen=True, slots=True)
class PolicyPart:
    """What a policy did. ``excluded`` counts the services that it excluded first, ``failed`` those of
    them for which it failed to evaluate; ``prefers_winner`` is null where it prefers nothing."""

    policy: str
    effect: str
    state: State
    excluded: int
    failed: int
    prefers_winner: bool | None
    message: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """``agrees`` is null without a certificate to compare with. ``terms`` are empty when nothing tells
    the winner from the others, ``remedies`` unless the request was refused; ``tried`` counts the
    decisions made for them. ``groups`` are the largest first, ``policies`` those that mattered."""

    outcome: Literal["routed", "refused"]
    summary: str
    agrees: bool | None
    considered: int
    feasible: int
    ranked: tuple[Standing, ...]
    terms: tuple[Comparison, ...]
    groups: tuple[Group, ...]
    further_groups: int
    policies: tuple[PolicyPart, ...]
    further_policies: int
    remedies: tuple[Remedy, ...]
    tried: int


def explain(evidence: Mapping[str, Any], certificate: Mapping[str, Any] | None = None) -> Explanation:
    """Explain the decision of ``evidence`` (docs/reference/routing-rules.md).

    Raises KeyError, TypeError, ValueError or InvalidInput for what is no evidence.
    """
    case = _case(evidence)
    decision = case.decision()
    ranked, exclusions = tuple(decision.ranked), tuple(decision.exclusions)
    grouped = _grouped(exclusions)
    shown = sorted(grouped, key=lambda key: (-len(grouped[key]), _rank(key)))[:SHOWN_GROUPS]
    policies = _policies(case, ranked, exclusions)
    helping, tried = remedies(case, _representatives(case, grouped)) if not ranked else ((), 0)
    terms = _contest(case, decision, ranked).telling() if len(ranked) > 1 else []
    return Explanation(
        outcome="routed" if ranked else "refused",
        summary=_summary(ranked, len(case.snapshot.offers)),
        agrees=None if certificate is None else decision_hash(certificate) == decision.decision_hash,
        considered=len(case.snapshot.offers),
        feasible=len(ranked),
        ranked=tuple(map(_standing, ranked[:SHOWN_RANKED])),
        terms=tuple(terms),
        groups=tuple(_group(grouped[key], case.request) for key in shown),
        further_groups=len(grouped) - len(shown),
        policies=tuple(policies[:SHOWN_POLICIES]),
        further_policies=max(0, len(policies) - SHOWN_POLICIES),
        remedies=helping,
        tried=tried,
    )


def _case(evidence: Mapping[str, Any]) -> Case:
    request = Request.from_document(evidence["request"])
    offers = [
        offer_of(each["tenant"], each["contract"], digest_of(CONTRACT, each["contract"]))
        for each in evidence["services"]
    ]
    rules = [compile_policy(each, digest_of(POLICY, each)) for each in evidence["policies"]]
    return Case(
        compile_snapshot(request.tenant_id, offers, rules),
        request,
        Principal.from_document(evidence["principal"]),
        History.from_document(evidence["history"]),
    )


def _contest(case: Case, decision: Decision, ranked: Sequence[Ranked]) -> Contest:
    snapshot = case.snapshot
    return Contest(
        snapshot,
        ranked,
        Needs.of(case.request),
        snapshot.attached.in_force(_variables(case)),
        [rule for rule in snapshot.rules if _state(rule, _variables(case)) == "in force"],
        case.history,
        decision.certificate["weights"],
    )


def _variables(case: Case) -> dict[str, Any]:
    """What a policy's ``when`` reads."""
    return {
        "request": request_variables(case.request.document()),
        "principal": principal_variables(case.principal.document()),
    }


def _address(offer: Offer | Exclusion) -> str:
    return f"{offer.service_id}@{offer.version}"


def _standing(each: Ranked) -> Standing:
    return Standing(_address(each.offer), each.score, decimal_text(each.worst_cost))


def _summary(ranked: Sequence[Ranked], considered: int) -> str:
    if not considered:
        return "There was no service to choose from."
    if not ranked:
        return f"Refused: none of {considered:,} service{'s' * (considered > 1)} satisfies the request."
    winner = _address(ranked[0].offer)
    if len(ranked) == 1:
        return f"{winner} was chosen: of {considered:,} considered, it alone satisfies the request."
    chosen = f"{winner} was chosen among {len(ranked):,} that satisfy the request, of {considered:,} considered"
    first, second = ranked[0], ranked[1]
    other = _address(second.offer)
    if first.score == second.score:
        return f"{chosen}: {other} has the same score, {_score(first)}; decided by the seed's tie-break."
    return f"{chosen}: it scores {_score(first)}, {other} {_score(second)}."


def _score(each: Ranked) -> str:
    return decimal_text(each.score * (10**9 // SCALE))


# --- The losers ---------------------------------------------------------------------------------

_Key = tuple[str, str, str]


def _grouped(exclusions: Iterable[Exclusion]) -> dict[_Key, list[Exclusion]]:
    grouped: dict[_Key, list[Exclusion]] = {}
    for each in exclusions:
        grouped.setdefault((each.clause, each.subject, each.required), []).append(each)
    return grouped


def _rank(key: _Key) -> tuple[int, str, str]:
    return CLAUSES.index(key[0]), *key[1:]


def _group(losers: Sequence[Exclusion], request: Request) -> Group:
    nearest = tuple(Loser(_address(each), each.offered, lack(each, request)) for each in _nearest(losers, SHOWN_LOSERS))
    return Group(losers[0].clause, losers[0].subject, losers[0].required, len(losers), nearest)


def _nearest(losers: Sequence[Exclusion], count: int) -> list[Exclusion]:
    def order(place: int) -> tuple[bool, Decimal, int]:
        gap = distance(losers[place])
        return gap is None, gap or Decimal(0), place

    return [losers[place] for place in nsmallest(count, range(len(losers)), key=order)]


def _representatives(case: Case, grouped: Mapping[_Key, Sequence[Exclusion]]) -> list[tuple[Exclusion, Offer]]:
    """One of each group. Who failed a later clause met more of the request, and comes first."""
    offers = {offer.key: offer for offer in case.snapshot.offers}
    later_first = sorted(grouped, key=lambda key: (-CLAUSES.index(key[0]), -len(grouped[key]), *key))
    first = (grouped[key][0] for key in later_first)
    return [(each, offers[each.service_id, each.version]) for each in first]


# --- The policies -------------------------------------------------------------------------------


def _state(rule: Rule, variables: Mapping[str, Any]) -> State:
    try:
        return "in force" if rule.applies(variables) else "not in force"
    except EvaluationError:
        return "failed to evaluate"


def _policies(case: Case, ranked: Sequence[Ranked], exclusions: Iterable[Exclusion]) -> list[PolicyPart]:
    """Those that excluded somebody, then those in force, those that failed, and the rest; each in policy order."""
    excluded: dict[tuple[str, str], int] = {}
    for each in exclusions:
        if each.clause in ("policy", "policy_error"):
            key = (each.subject, each.clause)
            excluded[key] = excluded.get(key, 0) + 1
    variables = _variables(case)
    parts = []
    for rule in case.snapshot.rules:
        policy, state = rule.policy, _state(rule, variables)
        name = f"{policy.policy_id}@{policy.version}"
        failed = excluded.get((name, "policy_error"), 0)
        preferring = policy.effect is Effect.PREFER and state == "in force" and ranked
        prefers_winner = prefers(rule, ranked[0].offer) if preferring else None
        total = excluded.get((name, "policy"), 0) + failed
        parts.append(PolicyPart(name, policy.effect.value, state, total, failed, prefers_winner, policy.message))
    return sorted(parts, key=lambda part: (not part.excluded, _STATES.index(part.state)))


_STATES: tuple[State, ...] = ("in force", "failed to evaluate", "not in force")
