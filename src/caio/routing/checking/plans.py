"""The independent checker of plans: from the evidence alone, what a plan's certificate must say.

Theory of operation
-------------------
Every stage's decision is worked out again (``routing.checker``), and with it the stage's candidates.
What the stated selection promises end to end is composed here by trying every choice of statistics, as
the definition has it, and compared. That the selection is the *best* sound one is a claim of its own:
it is proved by trying every other selection that could come before it, up to a stated number;
beyond, it is said to be not checked, and never to be proved. The same goes for a refusal.

Nothing is shared with ``routing.plans``: form, composition and search are written a second time.

Laws (each has a test of the same name)
---------------------------------------
- a_true_plan_is_proved.
- every_mutation_of_a_plan_is_caught.
- an_unsound_or_second_best_plan_is_refuted.
- optimality_beyond_the_limit_is_not_checked.
- nothing_is_raised.

Not checked: what ``routing.checker`` does not check, and that services fail independently, which the
composition of ``availability.min`` supposes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from typing import Any, NamedTuple

from caio.foundation import hashing
from caio.foundation.canonical import MAX_INTEGER, canonical_json
from caio.foundation.errors import CaioError
from caio.foundation.quantity import NANO, decimal_text, read_nanos
from caio.routing import certificate as form
from caio.routing import checker
from caio.routing.checking.clauses import tightest
from caio.routing.checking.evidence import Document, Unreadable, exactly, plain
from caio.routing.checking.ranking import Row

FIELDS = ("v", "tenant", "request", "stages", "selection", "score", "guarantees", "refusal")
EVIDENCE_FIELDS = ("plan", "principal", "services", "policies", "history")

#: The names of all claims, in the order in which ``check_plan`` returns them.
CLAIMS = (
    *("form", "plan hash", "evidence", "tenant", "request", "stages"),
    *("selection", "score", "guarantees", "sound", "optimal"),
)

#: So many selections, each with all its choices of statistics, are tried to prove that none is better: seconds.
MOST_TRIALS = 200_000

_MOST_STAGES, _MOST_CANDIDATES = 8, 200
_RISKS = {"p50": 50, "p95": 5, "p99": 1, "max": 0}
_COMPOSABLE = {
    *(f"latency_ms.{name}" for name in _RISKS),
    *("availability.min", "accuracy.min", "error_rate.max", "throughput.min", "determinism.min", "cost.max"),
}
_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, CaioError)


class Claim(NamedTuple):
    """One statement about a plan. ``proved`` is None when it was not checked; ``detail`` says why."""

    name: str
    proved: bool | None
    detail: str


class _World(NamedTuple):
    """The plan request read, and every stage decided again: hash of the decision, candidates best first."""

    asked: Document
    decisions: Sequence[str]
    candidates: Sequence[Sequence[Row]]


def check_plan(certificate: Mapping[str, Any], evidence: Mapping[str, Any], plan_hash: str) -> list[Claim]:
    """Every claim of a plan's certificate, in the order of ``CLAIMS``; the plan is proved when all are.

    ``plan_hash`` comes from where it is trusted. Raises nothing: what cannot be read is an unproved
    claim that says why.
    """
    try:
        stated = exactly(plain(certificate), FIELDS)
        if stated["v"] != 1 or type(stated["v"]) is not int:
            raise Unreadable(f"version {stated['v']!r} is not 1")
    except _UNREADABLE as error:
        return _none_after("form", [], f"{error}")
    digest = hashing.digest_of(hashing.PLAN, stated)
    claims = [
        Claim("form", True, "version 1"),
        Claim("plan hash", digest == plan_hash, f"the certificate's digest is {digest}"),
    ]
    try:
        world = _read(evidence)
    except _UNREADABLE as error:
        return _none_after("evidence", claims, f"{type(error).__name__}: {error}")
    claims.append(Claim("evidence", True, "complete"))
    try:
        return [*claims, *_contents(stated, world)]
    except _UNREADABLE as error:
        return _none_after(CLAIMS[len(claims)], claims, f"the certificate cannot be read: {error}")


def _none_after(failed: str, claims: list[Claim], why: str) -> list[Claim]:
    left = CLAIMS[len(claims) :]
    return [*claims, *(Claim(name, False, why if name == failed else "cannot be checked") for name in left)]


def _read(evidence: Mapping[str, Any]) -> _World:
    parts = exactly(plain(evidence), EVIDENCE_FIELDS)
    asked = exactly(parts["plan"], ("tenant_id", "currency", "stages", "bounds", "max_cost"))
    stages = [exactly(each, ("name", "after", "request")) for each in asked["stages"]]
    names = [each["name"] for each in stages]
    if not 1 <= len(names) <= _MOST_STAGES or len(set(names)) < len(names) or "" in names:
        raise Unreadable(f"a plan has 1 to {_MOST_STAGES} stages of different names")
    for place, each in enumerate(stages):
        if each["after"] != sorted(set(each["after"]) & set(names[:place])):
            raise Unreadable(f"{each['name']} comes after the sorted names of stages listed before it")
        if any(each["request"][name] != asked[name] for name in ("tenant_id", "currency")):
            raise Unreadable(f"{each['name']} is of another tenant or currency")
    if unknown := set(asked["bounds"]) - _COMPOSABLE:
        raise Unreadable(f"no rule composes {', '.join(sorted(unknown))}")
    for text in (*asked["bounds"].values(), *([] if asked["max_cost"] is None else [asked["max_cost"]])):
        read_nanos(text)
    shared = {name: parts[name] for name in EVIDENCE_FIELDS[1:]}
    decisions, candidates = [], []
    for each in stages:
        own = {**shared, "request": each["request"]}
        decisions.append(form.decision_hash(checker.recompute(own)))
        candidates.append(checker.decide_again(own).ranked[:_MOST_CANDIDATES])
    return _World(asked, decisions, candidates)


def _contents(stated: Document, world: _World) -> list[Claim]:
    names = [(each["name"], each["after"]) for each in world.asked["stages"]]
    stages = [
        {"name": name, "after": after, "decision": decision, "candidates": len(own)}
        for (name, after), decision, own in zip(names, world.decisions, world.candidates, strict=True)
    ]
    claims = [
        _compared("tenant", stated["tenant"], world.asked["tenant_id"]),
        _compared("request", stated["request"], hashing.digest_of(hashing.PLAN_REQUEST, world.asked)),
        _compared("stages", stated["stages"], stages),
    ]
    if not stated["selection"]:
        return [*claims, *_refusal(stated, world)]
    ranks = [each["rank"] for each in stated["selection"]]
    if len(ranks) != len(names) or any(type(rank) is not int or rank < 0 for rank in ranks):
        raise Unreadable("a selection has one rank for each stage")
    chosen = [own[rank] for own, rank in zip(world.candidates, ranks, strict=True)]
    steps = [
        {"service": row.service.key[0], "version": row.service.key[1], "contract": row.service.digest, "rank": rank}
        for row, rank in zip(chosen, ranks, strict=True)
    ]
    score = sum(row.score for row in chosen)
    offers = {bound: composed(bound, world.asked, chosen) for bound in (*world.asked["bounds"], "cost.max")}
    offered = {bound: decimal_text(value) for bound, value in offers.items() if value is not None}
    sound = stated["refusal"] is None and _is_sound(world.asked, chosen)
    return [
        *claims,
        _compared("selection", stated["selection"], steps),
        _compared("score", stated["score"], score),
        _compared("guarantees", stated["guarantees"], offered),
        Claim("sound", sound, "every end-to-end bound is met" if sound else "an end-to-end bound is not met"),
        _optimal(world, score, ranks),
    ]


def _refusal(stated: Document, world: _World) -> list[Claim]:
    names = [each["name"] for each in world.asked["stages"]]
    empty = next((name for name, own in zip(names, world.candidates, strict=True) if not own), None)
    said = _compared("sound", stated["refusal"], {"stage": empty})
    claims = [
        _compared("selection", stated["selection"], []),
        _compared("score", stated["score"], 0),
        _compared("guarantees", stated["guarantees"], {}),
        Claim("sound", said.proved, f"refused: {said.detail}"),
    ]
    if empty is not None:
        return [*claims, Claim("optimal", True, f"stage {empty} has no candidate")]
    return [*claims, _optimal(world, -1, [])]


def _optimal(world: _World, score: int, ranks: Sequence[int]) -> Claim:
    """Whether no sound selection comes before the stated one, by trying all that could."""
    fronts = [_front(world.asked, own) for own in world.candidates]
    count = prod(len(front) for front in fronts)
    if (trials := count * _choice_count(world.asked)) > MOST_TRIALS:
        return Claim("optimal", None, f"{count} selections could be better; it would take {trials} trials to know")
    for places in product(*fronts):
        chosen = [own[place] for own, place in zip(world.candidates, places, strict=True)]
        reached = sum(row.score for row in chosen)
        before = reached > score or (reached == score and list(places) < list(ranks))
        if before and _is_sound(world.asked, chosen):
            better = ", ".join(row.service.pinned for row in chosen)
            return Claim("optimal", False, f"{better} is sound and comes before it")
    return Claim("optimal", True, f"none of {count} selections that could be better is sound")


def _front(asked: Document, candidates: Sequence[Row]) -> list[int]:
    """The places of a stage's candidates that an earlier one, scoring no less, does not serve just as well."""
    offers = [_everything(asked, row) for row in candidates]
    kept: list[int] = []
    for place, own in enumerate(offers):
        if not any(all(better <= mine for better, mine in zip(offers[other], own, strict=True)) for other in kept):
            kept.append(place)
    return kept


def _everything(asked: Document, row: Row) -> list[tuple[int, int]]:
    """What a candidate brings to every bound asked for, lower is better, and undeclared the worst."""
    found = [(0, row.worst_cost)]
    for bound in asked["bounds"]:
        prop, _, statistic = bound.rpartition(".")
        for name in (_RISKS if prop == "latency_ms" else (statistic,)) if bound != "cost.max" else ():
            offered = row.service.contract["guarantees"].get(prop, {}).get(name)
            if prop == "determinism":
                offered = "1" if prop in row.service.contract["guarantees"] else None
            value = 0 if offered is None else read_nanos(offered)
            found.append((int(offered is None), -value if name == "min" else value))
    return found


def _is_sound(asked: Document, chosen: Sequence[Row]) -> bool:
    most = MAX_INTEGER if asked["max_cost"] is None else min(MAX_INTEGER, read_nanos(asked["max_cost"]))
    if sum(row.worst_cost for row in chosen) > most:
        return False
    for bound, text in asked["bounds"].items():
        offered, required = composed(bound, asked, chosen), read_nanos(text)
        if offered is None or (offered < required if bound.endswith(".min") else offered > required):
            return False
    return True


def composed(bound: str, asked: Document, chosen: Sequence[Row]) -> int | None:
    """What the chosen services offer from end to end, in nanos; None while one of them declares too little."""
    if bound == "cost.max":
        return sum(row.worst_cost for row in chosen)
    prop, _, statistic = bound.partition(".")
    contracts = [row.service.contract for row in chosen]
    if prop == "latency_ms":
        promises = [contract["guarantees"].get(prop, {}) for contract in contracts]
        options = [[name for name in _RISKS if name in each] for each in promises]
        lengths = [
            _longest(asked, [read_nanos(each[name]) for each, name in zip(promises, choice, strict=True)])
            for choice in _choices(options, _RISKS[statistic])
        ]
        return min(lengths, default=None)
    values = [value for value, _ in (tightest(contract, bound) for contract in contracts) if value is not None]
    if len(values) < len(contracts):
        return None
    whole = {
        "availability": prod(values) // int(NANO ** (len(values) - 1)),
        "accuracy": max(0, NANO - sum(NANO - value for value in values)),
        "error_rate": min(NANO, sum(values)),
        "throughput": min(values),
        "determinism": NANO,
    }
    return whole[prop]


def _choices(options: Sequence[Sequence[str]], risk: int) -> list[tuple[str, ...]]:
    """Every choice of one statistic a stage whose risks together are within ``risk``."""
    found: list[tuple[str, ...]] = [()]
    for own in options:
        longer = [(*choice, name) for choice in found for name in own]
        found = [choice for choice in longer if sum(_RISKS[name] for name in choice) <= risk]
    return found


def _choice_count(asked: Document) -> int:
    """How many choices of statistics it takes, at most, to compose all the bounds of one selection."""
    stages = [list(_RISKS)] * len(asked["stages"])
    percentiles = [bound.rpartition(".")[2] for bound in asked["bounds"] if bound.startswith("latency_ms.")]
    return 1 + sum(len(_choices(stages, _RISKS[name])) for name in percentiles)


def _longest(asked: Document, lengths: Sequence[int]) -> int:
    """When the last stage ends, each beginning as soon as those it comes after have ended."""
    ends: dict[str, int] = {}
    for stage, length in zip(asked["stages"], lengths, strict=True):
        ends[stage["name"]] = max((ends[name] for name in stage["after"]), default=0) + length
    return max(ends.values())


def _compared(name: str, stated: Any, expected: Any) -> Claim:
    """Equality of bytes, as in ``routing.checker``."""
    claimed, found = canonical_json(stated), canonical_json(expected)
    return Claim(
        name, claimed == found, found.decode()[:80] if claimed == found else f"recomputed {found.decode()[:80]}"
    )
