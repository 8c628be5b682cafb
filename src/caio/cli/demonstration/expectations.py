"""What must hold of each step, worked out from contracts, requests and answers; pure.

Nothing here knows what any service answers. Who must win, who must be ruled out and what an answer
must look like follow from the contracts; whether the receipt agrees is compared every time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from math import sqrt
from typing import Any

import jsonschema_rs

from caio.cli.demonstration.examples import Promise
from caio.cli.demonstration.story import Act, Check

Promises = Mapping[str, Promise]


def answered(act: Act) -> Check:
    """The answer came from the best ranked service, at the first attempt, and keeps its schema."""
    first = act.ranked[0].service if act.ranked else "nobody"
    holds = act.status == 200 and act.answered_by == first and act.attempts == (first,) and not act.first_violation
    return Check(f"{first} ranks first and answered within its contract", holds, _what_happened(act))


def cost_optimal(act: Act, promises: Promises) -> list[Check]:
    """Every service that promises enough is considered, and the cheapest of them wins."""
    capability, wanted = act.request["request"]["capability"], _wanted(act, "accuracy", "min")
    enough = {one.service for one in _offering(promises, capability) if (one.accuracy or Decimal(0)) >= wanted}
    considered = {one.service for one in act.ranked}
    cheapest = min(act.ranked, key=lambda one: one.worst_cost, default=None)
    winner = act.ranked[0] if act.ranked else None
    return [
        Check(
            f"the {len(enough)} services that promise accuracy ≥ {wanted} were all considered",
            considered == enough and len(enough) > 1,
            f"considered {_names(considered)}, expected {_names(enough)}",
        ),
        Check(
            "the winner has the lowest worst-case price of them",
            winner is not None and winner is cheapest,
            f"{winner} won, {cheapest} is the cheapest",
        ),
        answered(act),
    ]


def latency_bound(act: Act, promises: Promises) -> list[Check]:
    """Only services whose promise is as strong as the bound are admitted; the others lack just that."""
    capability, most = act.request["request"]["capability"], _wanted(act, "latency_ms", "p95")
    fast = {one.service for one in _offering(promises, capability) if one.p95 is not None and one.p95 <= most}
    slow = {one.service for one in _offering(promises, capability)} - fast
    late = {one.service_id for one in act.reasons if (one.clause, one.subject) == ("guarantee", "latency_ms.p95")}
    ranked = {one.service for one in act.ranked}
    return [
        Check(
            f"only services that promise p95 ≤ {most} ms were admitted",
            ranked == fast and bool(fast),
            f"admitted {_names(ranked)}, expected {_names(fast)}",
        ),
        Check(
            f"{_names(slow)} was ruled out by that bound",
            late >= slow and bool(slow),
            f"ruled out by latency: {_names(late)}",
        ),
        answered(act),
    ]


def kept_inside(act: Act, promises: Promises, policy: str) -> list[Check]:
    """Sensitive data reaches no service outside, although one of those is cheaper."""
    rivals = _offering(promises, act.request["request"]["capability"])
    outside = {one.service for one in rivals if not one.stays_inside}
    barred = {one.service_id for one in act.reasons if one.clause == "policy" and one.subject.startswith(f"{policy}@")}
    winner = promises.get(act.answered_by or "")
    cheaper = [one for one in rivals if winner and one.service in barred and one.per_request < winner.per_request]
    return [
        Check(
            f"policy {policy} ruled out {_names(outside)}",
            barred == outside and bool(outside),
            f"it ruled out {_names(barred)}",
        ),
        Check(
            f"the text stayed inside, although {_count(len(cheaper), 'cheaper service')} stood ready",
            winner is not None and winner.stays_inside and bool(cheaper),
            _what_happened(act),
        ),
        answered(act),
    ]


def fell_back(act: Act, promises: Promises, killed: str, forbidden_region: str) -> list[Check]:
    """The killed service ranks first and is tried, perhaps more than once; the next ranked one answers, and both
    obey the policy."""
    ranked = [one.service for one in act.ranked]
    expected = tuple(ranked[:2])
    obeying = [name for name in expected if forbidden_region not in promises[name].regions]
    faults = [each.fault for each in act.outcome.attempts] if act.outcome else []
    repeated = len(faults) - 1
    return [
        Check(f"{killed} was still ranked first", ranked[:1] == [killed], f"ranked {_names(ranked)}"),
        Check(
            f"{expected[-1] if expected else 'nobody'}, ranked next, answered in its place",
            act.status == 200 and len(expected) == 2 and act.answered_by == expected[1],
            _what_happened(act),
        ),
        Check(
            "the receipt names every attempt, and the fault of each but the last",
            len(expected) == 2
            and repeated >= 1
            and act.attempts == (*[killed] * repeated, expected[1])
            and act.answer["attempts"] == len(faults)
            and all(isinstance(each, str) for each in faults[:-1])
            and not isinstance(faults[-1], str),
            f"attempts {_in_turn(act)}, faults {faults}",
        ),
        Check(
            f"both satisfy the policies: neither is in region {forbidden_region}",
            len(obeying) == len(expected) == 2,
            f"obeying: {_names(obeying)}",
        ),
    ]


def refused(act: Act, promises: Promises) -> list[Check]:
    """Nobody is called, every registered service is named with the clause that excluded it."""
    rivals = {one.service for one in _offering(promises, act.request["request"]["capability"])}
    clauses = {one.service_id: one.clause for one in act.reasons}
    differing = {clauses.get(name) for name in rivals}
    return [
        Check(
            "refused with 422 no_service_satisfies",
            act.status == 422 and act.answer.get("code") == "no_service_satisfies",
            f"status {act.status}, code {act.answer.get('code')}",
        ),
        Check(
            f"each of the {len(promises)} services is named with a reason",
            set(clauses) == set(promises) and len(act.reasons) == len(promises),
            f"named: {_names(clauses)}",
        ),
        Check(
            f"its {len(rivals)} rivals fail {len(rivals)} different clauses",
            len(differing) == len(rivals) and None not in differing,
            f"clauses: {clauses}",
        ),
        Check("nobody was called and nothing was charged", act.outcome is None and not act.ranked, _what_happened(act)),
    ]


def caught(act: Act, promises: Promises) -> list[Check]:
    """The answer breaks the contract's own output schema, checked here again, with the same library."""
    said = act.answer.get("violations", []) if act.status == 200 else []
    status = act.outcome.status if act.outcome else None
    return [
        Check(
            "the answer does not fit the contract's output schema, checked again outside CAIO",
            act.answered_by is not None and not _fits(act, promises),
            _what_happened(act),
        ),
        Check(
            "CAIO reported the violation with the answer",
            [one["clause"] for one in said] == ["output_schema"],
            f"reported: {said}",
        ),
        Check("the receipt records it: outcome “violated”", status == "violated", f"outcome {status}"),
    ]


def recovered(act: Act, promises: Promises, culprit: str | None) -> list[Check]:
    """With fallback on a violation the same question is answered by the next ranked service."""
    ranked = [one.service for one in act.ranked[:2]]
    return [
        Check(
            f"with on_violation: fallback, {ranked[-1] if ranked else 'nobody'} took over from {culprit}",
            act.status == 200 and len(ranked) == 2 and ranked[0] == culprit and act.attempts == tuple(ranked),
            _what_happened(act),
        ),
        Check(
            "this answer fits its contract's schema and carries no violation",
            act.status == 200 and _fits(act, promises) and act.answer["violations"] == [],
            _what_happened(act),
        ),
    ]


def streamed(act: Act, pieces: Sequence[str], ended: bool, direct: str) -> list[Check]:
    """A stream comes in pieces, ends properly, and says what the service itself says."""
    return [
        Check(
            f"{len(pieces)} pieces came as server-sent events, then [DONE]",
            len(pieces) > 1 and ended,
            f"{len(pieces)} pieces, {'ended' if ended else 'never ended'}",
        ),
        Check(
            "joined, they are what the service answers when asked directly",
            bool(direct) and "".join(pieces) == direct,
            f"{''.join(pieces)!r} instead of {direct!r}",
        ),
        answered(act),
    ]


def embedded(act: Act, vectors: Sequence[Sequence[float]]) -> list[Check]:
    """Of three texts the first two mean the same: their vectors must be closer."""
    sizes = {len(vector) for vector in vectors}
    alike = cosine(vectors[0], vectors[1]) if len(vectors) == 3 else 0.0
    apart = cosine(vectors[0], vectors[2]) if len(vectors) == 3 else 0.0
    return [
        Check(
            f"the paraphrase is closer ({alike:.2f}) than the unrelated sentence ({apart:.2f})",
            len(sizes) == 1 and alike > apart,
            f"{len(vectors)} vectors of {sorted(sizes)} numbers",
        ),
        answered(act),
    ]


def cosine(one: Sequence[float], two: Sequence[float]) -> float:
    """The cosine of two vectors' angle; 0 if one of them is nothing."""
    length = sqrt(sum(value * value for value in one) * sum(value * value for value in two))
    return sum(a * b for a, b in zip(one, two, strict=False)) / length if length else 0.0


def _fits(act: Act, promises: Promises) -> bool:
    promise = promises.get(act.answered_by or "")
    if promise is None:
        return False
    schema = promise.output_schema(act.request["request"]["capability"])
    return bool(schema) and jsonschema_rs.is_valid(dict(schema), act.output)


def _offering(promises: Promises, capability: str) -> list[Promise]:
    return [one for one in promises.values() if capability in one.capabilities]


def _wanted(act: Act, guarantee: str, statistic: str) -> Decimal:
    stated: Any = act.request["request"]["requirements"][guarantee][statistic]
    return Decimal(str(stated))


def _what_happened(act: Act) -> str:
    told = act.answer.get("detail") or (act.answer.get("error") or {}).get("message")
    return " · ".join(
        part
        for part in (
            f"status {act.status}",
            f"answered by {act.answered_by}",
            f"attempts: {_in_turn(act)}",
            f"violation {act.first_violation}" if act.first_violation else "",
            str(told) if told else "",
        )
        if part
    )


def _in_turn(act: Act) -> str:
    return ", then ".join(act.attempts) or "none"


def _names(names: Iterable[str]) -> str:
    listed = sorted(names)
    return " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed) or "nobody"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
