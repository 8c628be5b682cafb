"""What a decision that was made would be if one thing were different.

Theory of operation
-------------------
A recorded decision's snapshot has every policy of its manifest attached, also those that the
request named or brought along: the rules in policy order are what decides, not where they came from.
A change gives the snapshot that would have stood there; deciding on both, with the request,
principal and history that were recorded, shows what the change does and nothing else does.

A policy that the request brought along is the caller's and no change touches it. A registered
one that applies to every request is replaced, or goes; of one that the request named, the next
version is named in its place, and without it the request could not be decided.

Laws (each has a test of the same name)
---------------------------------------
- no_change_moves_nothing: the document in force, put in place of itself.
- a_change_does_what_it_would_do: as registering it and asking again.

Not considered: a shared service that a tenant's own hides, and that would be seen once the own one is
retired; a policy in force for every request that a request named as well; limits and budgets.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from caio.routing.engine import decide
from caio.routing.model import Decision, Exclusion, History, InconsistentInputs, Offer, Principal, Ranked, Request
from caio.routing.questions import TooManyQuestions
from caio.routing.reasons import tightest
from caio.routing.rules import Rule
from caio.routing.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class PutService:
    """A service more, or in place of the one of that id."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class RetireService:
    service_id: str


@dataclass(frozen=True, slots=True)
class PutPolicy:
    """A policy more (when it applies to every request), or in place of the one of that id."""

    rule: Rule


@dataclass(frozen=True, slots=True)
class RetirePolicy:
    policy_id: str


@dataclass(frozen=True, slots=True)
class PutWeights:
    """Weights in place of each request's own; those of a policy in force still come first."""

    weights: tuple[tuple[str, int], ...]


Change = PutService | RetireService | PutPolicy | RetirePolicy | PutWeights


@dataclass(frozen=True, slots=True)
class World:
    """A recorded snapshot, and the hashes of those policies in it that came along with the request."""

    snapshot: Snapshot
    brought: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Past:
    """What a recorded decision was made from beside its snapshot, and its hash."""

    request: Request
    principal: Principal
    history: History
    decision_hash: str


class Cause(StrEnum):
    """Why another service, or none, is chosen."""

    EXCLUDED = "excluded"
    RETIRED = "retired"
    OUTSCORED = "outscored"
    NO_LONGER_EXCLUDED = "no_longer_excluded"
    NEW = "new"
    NOT_DECIDABLE = "not_decidable"


@dataclass(frozen=True, slots=True)
class Why:
    """The cause, in the words of the clause (``exclusion``) or as scores of the one that won and the
    one that lost; ``message`` says why a request cannot be decided at all."""

    cause: Cause
    exclusion: Exclusion | None = None
    scores: tuple[int, int] | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A winner's worst-case price and the p95 to expect of it, in nanos of a millisecond: as the rules
    weigh it, observed where enough calls were (``observed``), else promised, else None."""

    service_id: str
    version: str
    worst_cost: int
    p95: int | None
    observed: bool


@dataclass(frozen=True, slots=True)
class Replayed:
    """One decision without and with the change; None where it is a refusal."""

    before: Outcome | None
    after: Outcome | None
    _decided: tuple[Decision, Decision | ValueError]

    @property
    def moves(self) -> bool:
        """Whether another service is chosen; another version of the same is no move."""
        return _id(self.before) != _id(self.after)

    def why(self) -> Why:
        """Of one that moves, why. Walks the ranking, so it is asked of those that are shown."""
        before, after = self._decided
        if isinstance(after, ValueError):
            return Why(Cause.NOT_DECIDABLE, message=str(after))
        if self.before is None:
            excluded = _exclusion(before, _id(self.after))
            return Why(Cause.NEW) if excluded is None else Why(Cause.NO_LONGER_EXCLUDED, excluded)
        excluded = _exclusion(after, self.before.service_id)
        if excluded is not None:
            return Why(Cause.EXCLUDED, excluded)
        loser = next((each for each in after.ranked if each.offer.service_id == self.before.service_id), None)
        if loser is None:
            return Why(Cause.RETIRED)
        return Why(Cause.OUTSCORED, scores=(after.ranked[0].score, loser.score))


def changed(world: World, change: Change) -> Snapshot:
    """The snapshot that would have stood there. Raises InconsistentInputs when no request could be
    decided on it; the message says why."""
    snapshot = world.snapshot
    match change:
        case PutService(offer):
            return _without(snapshot, offer.service_id).with_service(offer)
        case RetireService(service_id):
            return _without(snapshot, service_id)
        case PutPolicy(rule):
            return _with_policy(world, rule)
        case RetirePolicy(policy_id):
            kept, gone = _parted(world, policy_id)
            if any(_waits_to_be_named(each) for each in gone):
                raise InconsistentInputs(
                    f"the request or its key names the policy {policy_id!r}, which would be retired"
                )
            return snapshot.with_rules(kept) if gone else snapshot
        case PutWeights():
            return snapshot


def replayed(world: World, after: Snapshot | InconsistentInputs, past: Past, change: Change) -> Replayed | None:
    """The decision made again on both snapshots, ``after`` being the changed one; None when without
    the change it is not the recorded one, bit by bit."""
    first = decide(world.snapshot, past.request, past.principal, past.history)
    if first.decision_hash != past.decision_hash:
        return None
    before = _outcome(world.snapshot, first.winner, past)
    if isinstance(after, InconsistentInputs):
        return Replayed(before, None, (first, after))
    request = past.request
    if isinstance(change, PutWeights):
        # Ties fall as they did: otherwise other weights would move requests that they say nothing of.
        request = replace(request, weights=change.weights, seed=first.certificate["seed"])
    try:
        second = decide(after, request, past.principal, past.history)
    except TooManyQuestions as error:
        return Replayed(before, None, (first, error))
    return Replayed(before, _outcome(after, second.winner, past), (first, second))


def _with_policy(world: World, rule: Rule) -> Snapshot:
    kept, gone = _parted(world, rule.policy.policy_id)
    if not _waits_to_be_named(rule) or any(_waits_to_be_named(each) for each in gone):
        kept.append(rule)
    return world.snapshot.with_rules(kept)


def _parted(world: World, policy_id: str) -> tuple[list[Rule], list[Rule]]:
    """The rules that a change of this policy leaves, and those it takes away."""
    kept: list[Rule] = []
    gone: list[Rule] = []
    for rule in world.snapshot.rules:
        touched = rule.policy.policy_id == policy_id and rule.policy.policy_hash not in world.brought
        (gone if touched else kept).append(rule)
    return kept, gone


def _waits_to_be_named(rule: Rule) -> bool:
    return bool(rule.policy.document["attach"] != "tenant")


def _without(snapshot: Snapshot, service_id: str) -> Snapshot:
    for offer in snapshot.offers[_first(snapshot.columns.keys, service_id) :]:
        if offer.service_id != service_id:
            break
        snapshot = snapshot.without(*offer.key)
    return snapshot


def _first(keys: Sequence[tuple[str, str]], service_id: str) -> int:
    return bisect_left(keys, (service_id, ""))


def _outcome(snapshot: Snapshot, winner: Ranked | None, past: Past) -> Outcome | None:
    if winner is None:
        return None
    offer, stream = winner.offer, past.request.stream
    seen = 0
    if not stream:  # what was observed is the time to a whole answer
        seen = int(snapshot.observed(past.history).p95[bisect_left(snapshot.columns.keys, offer.key)])
    promised = tightest(offer.bounds, "first_token_ms.p95" if stream else "latency_ms.p95")
    p95 = seen or (None if promised is None else promised[1])
    return Outcome(offer.service_id, offer.version, winner.worst_cost, p95, seen > 0)


def _exclusion(decision: Decision, service_id: str | None) -> Exclusion | None:
    """Those of a decision are in the order of their ids, and worked out one by one."""
    excluded: Any = decision.exclusions
    place = bisect_left(excluded, service_id or "", key=lambda each: each.service_id)
    found: Exclusion | None = excluded[place] if place < len(excluded) else None
    return found if found is not None and found.service_id == service_id else None


def _id(outcome: Outcome | None) -> str | None:
    return None if outcome is None else outcome.service_id
