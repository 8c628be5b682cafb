"""From a plan request to a plan: every stage decided, and the best sound selection of them all.

Theory of operation
-------------------
``plan`` decides each stage by ``engine.decide``; nothing that a stage's clauses exclude can come back
through a plan. Its first 200 services are the stage's candidates; of all ways to take one for each
stage, the plan is the sound one with the largest sum of scores, of equals the one of the smallest
ranks. The search is exact or says that it cannot be (TooLarge): there is no second-best plan.

Laws (each has a test of the same name)
---------------------------------------
- the_plan_is_the_one_the_specification_finds.
- the_solver_changes_no_plan: with one or without, byte for byte.
- a_refusal_says_what_is_missing: the stage without candidates, or each bound with the best offer.

Not checked: that services keep their promises, and that they fail independently, which
``availability.min`` supposes (docs/explanation/guarantees.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from caio.foundation.canonical import MAX_INTEGER
from caio.foundation.errors import TooLarge
from caio.foundation.hashing import PLAN, digest_of
from caio.foundation.quantity import decimal_text
from caio.routing.engine import Snapshot, decide
from caio.routing.model import Decision, History, Principal, Ranked
from caio.routing.plans.composition import Composition, Offers, is_met
from caio.routing.plans.problem import Candidate, Problem, Selection
from caio.routing.plans.request import PlanRequest
from caio.routing.plans.search import MOST_STEPS, Guide, TooManySelections, best_selection
from caio.routing.rules import Rule

VERSION = 1

#: Of each stage, so many services in rank order may be selected.
MAX_CANDIDATES = 200

#: What guides the search through a large problem: ``milp.guided``, or nothing.
Solver = Callable[[Problem], Guide]

#: Before a solver is asked, the search may look at so many candidates by itself: some milliseconds.
_STEPS_ALONE = 1_000

_UNITS = {"latency_ms": " ms"}


@dataclass(frozen=True, slots=True)
class Choice:
    """The service that a stage is to use; ``rank`` counts from 0 in the stage's own ranking."""

    stage: str
    chosen: Ranked
    rank: int


@dataclass(frozen=True, slots=True)
class Shortfall:
    """An end-to-end bound beside the best that any selection offers for it alone (nanos; None: undeclared)."""

    bound: str
    required: int
    best: int | None

    @property
    def can_be_met(self) -> bool:
        """By some selection, if not by one that meets the other bounds too."""
        return is_met(self.bound, self.required, self.best)

    def sentence(self) -> str:
        prop = self.bound.rpartition(".")[0]
        unit, sign = _UNITS.get(prop, ""), ">=" if self.bound.endswith(".min") else "<="
        needs = f"needs {self.bound} {sign} {grouped(self.required)}{unit} end to end"
        if self.best is None:
            return f"{needs}, and some stage has no candidate that declares enough for it"
        return f"{needs}, the best any selection offers is {grouped(self.best)}{unit}"


@dataclass(frozen=True, slots=True)
class PlanDecision:
    """The pure result. ``choices`` has one entry a stage, in stage order, and is empty for a refusal.

    Of a refusal, ``refused_stage`` names the first stage without candidates (its decision says why);
    when all have some, ``shortfalls`` has every end-to-end bound. ``guarantees`` are nanos.
    """

    request: PlanRequest
    decisions: tuple[Decision, ...]
    choices: tuple[Choice, ...]
    guarantees: Mapping[str, int]
    refused_stage: str | None
    shortfalls: tuple[Shortfall, ...]
    certificate: Mapping[str, Any]
    plan_hash: str

    @property
    def is_refused(self) -> bool:
        return not self.choices

    def refusal(self) -> str:
        """Why there is no plan, in sentences; empty when there is one."""
        if not self.is_refused:
            return ""
        if self.refused_stage is not None:
            return f"stage {self.refused_stage!r} has no candidate: no service satisfies its request"
        missed = [each for each in self.shortfalls if not each.can_be_met]
        if missed:
            return "; ".join(each.sentence() for each in missed)
        alone = "; ".join(each.sentence() for each in self.shortfalls)
        return f"each bound can be met alone, and no selection meets all of them together: {alone}"


def plan(
    snapshot: Snapshot,
    request: PlanRequest,
    principal: Principal,
    history: History,
    named: Sequence[Rule] = (),
    solver: Solver | None = None,
    most_steps: int = MOST_STEPS,
) -> PlanDecision:
    """Choose a service for each stage, or refuse and say what is missing.

    ``named`` are the rules that came with the request; they bind every stage. ``solver`` is asked
    where the search alone would be long. Raises as ``engine.decide`` does, and TooLarge
    ``plan_too_hard`` when the best plan cannot be told in ``most_steps`` steps of the search.
    """
    decisions = tuple(decide(snapshot, stage.request, principal, history, named) for stage in request.stages)
    candidates = [tuple(islice(decision.ranked, MAX_CANDIDATES)) for decision in decisions]
    empty = next((stage.name for stage, own in zip(request.stages, candidates, strict=True) if not own), None)
    problem = _problem(request, candidates)
    selection = None if empty is not None else _select(problem, solver, most_steps)
    choices: tuple[Choice, ...] = ()
    guarantees: dict[str, int] = {}
    if selection is not None:
        rows = zip(request.stages, candidates, selection, strict=True)
        choices = tuple(Choice(stage.name, own[rank], rank) for stage, own, rank in rows)
        guarantees = _guarantees(request, problem.composition, [_offers(each.chosen) for each in choices])
    shortfalls = _shortfalls(problem) if selection is None and empty is None else ()
    certificate = {
        "v": VERSION,
        "tenant": request.tenant_id,
        "request": request.digest,
        "stages": [
            {
                "name": stage.name,
                "after": sorted(stage.after),
                "decision": decision.decision_hash,
                "candidates": len(own),
            }
            for stage, decision, own in zip(request.stages, decisions, candidates, strict=True)
        ],
        "selection": [_step(each) for each in choices],
        "score": sum(each.chosen.score for each in choices),
        "guarantees": {bound: decimal_text(value) for bound, value in guarantees.items()},
        "refusal": None if choices else {"stage": empty},
    }
    plan_hash = digest_of(PLAN, certificate)
    return PlanDecision(request, decisions, choices, guarantees, empty, shortfalls, certificate, plan_hash)


def grouped(nanos: int) -> str:
    """A quantity for people: ``1,340``, ``0.9405``."""
    whole, point, part = decimal_text(nanos).partition(".")
    return f"{int(whole):,}{point}{part}" if whole.lstrip("-") != "0" else decimal_text(nanos)


def _problem(request: PlanRequest, candidates: Sequence[Sequence[Ranked]]) -> Problem:
    stages = tuple(
        tuple(Candidate(rank, each.score, _offers(each)) for rank, each in enumerate(own)) for own in candidates
    )
    limits = dict(request.bounds)
    most = MAX_INTEGER if request.max_cost is None else min(request.max_cost, MAX_INTEGER)
    limits["cost.max"] = min(most, limits.get("cost.max", most))
    return Problem(Composition(request.predecessors), stages, tuple(sorted(limits.items())))


def _offers(each: Ranked) -> Offers:
    return {**each.offer.bounds, "cost.max": each.worst_cost}


def _select(problem: Problem, solver: Solver | None, most_steps: int) -> Selection | None:
    smaller = problem.reduced()
    if not all(smaller.stages):
        return None
    if solver is not None:
        try:
            return best_selection(smaller, None, min(_STEPS_ALONE, most_steps))
        except TooManySelections:
            pass
    try:
        return best_selection(smaller, None if solver is None else solver(smaller), most_steps)
    except TooManySelections:
        advice = (
            "install the extra caio-platform[plans], which searches far larger plans"
            if solver is None
            else "ask for fewer stages, name the services of some, or loosen the end-to-end bounds"
        )
        counts = " x ".join(str(len(stage)) for stage in smaller.stages)
        raise TooLarge(
            f"the best plan cannot be told within {most_steps:,} steps of search over {counts} candidates; {advice}",
            code="plan_too_hard",
        ) from None


def _guarantees(request: PlanRequest, composition: Composition, offers: Sequence[Offers]) -> dict[str, int]:
    bounds = [bound for bound, _ in request.bounds]
    composed = {bound: composition.compose(bound, offers) for bound in dict.fromkeys([*bounds, "cost.max"])}
    return {bound: value for bound, value in composed.items() if value is not None}


def _shortfalls(problem: Problem) -> tuple[Shortfall, ...]:
    """Every limit that was stated, with the best any selection offers for it."""
    return tuple(
        Shortfall(bound, required, problem.best_offer(bound))
        for bound, required in problem.limits
        if (bound, required) != ("cost.max", MAX_INTEGER) or len(problem.limits) == 1
    )


def _step(each: Choice) -> dict[str, Any]:
    offer = each.chosen.offer
    return {"service": offer.service_id, "version": offer.version, "contract": offer.contract_hash, "rank": each.rank}
