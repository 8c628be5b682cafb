"""What each step of a planned run may take, so that whatever the steps do, the whole keeps its bounds.

Theory of operation
-------------------
The plan names a service for each step, and what these promise together keeps every end-to-end bound. A step is
not tied to its service: it may go to any that promises at least as much of what the plan counted on. Composition
is monotone (``routing.plans.composition``: a better offer never composes worse), so the whole then promises at
least what was planned. Of the money a step may take what its planned service costs at worst, and an equal part of
what the bound leaves over; without a bound, what any of the services costs that its call might be handed on to.

Laws (each has a test of the same name)
---------------------------------------
- services_within_their_shares_keep_the_whole: every composed bound, whichever services they are.
- shares_of_money_never_exceed_the_bound: and each covers its planned service.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from caio.gateway.most import FORESEEN
from caio.routing.model import Request
from caio.routing.plans import PlanDecision
from caio.routing.plans.composition import usable


@dataclass(frozen=True, slots=True)
class Share:
    """One step's: the most that it may cost, in nano-units, and bounds (nanos) that its service must promise."""

    max_cost: int
    bounds: tuple[tuple[str, int], ...] = ()


def shares_of(decision: PlanDecision) -> tuple[Share, ...]:
    """The shares of a plan that was made, in the order of its stages."""
    needed = [bound for bound, _ in decision.request.bounds if bound != "cost.max"]
    counted_on = dict.fromkeys(name for bound in needed for name in usable(bound))
    planned = [each.chosen.worst_cost for each in decision.choices]
    limit = _limit(decision)
    if limit is None:
        costs = [
            max(ranked.worst_cost for ranked in stage.ranked[: each.rank + FORESEEN])
            for each, stage in zip(decision.choices, decision.decisions, strict=True)
        ]
    else:
        spare = (limit - sum(planned)) // len(planned)
        costs = [each + spare for each in planned]
    offers = [each.chosen.offer.bounds for each in decision.choices]
    return tuple(
        Share(cost, tuple((name, offer[name]) for name in counted_on if name in offer))
        for cost, offer in zip(costs, offers, strict=True)
    )


def within(request: Request, share: Share) -> Request:
    """The step's request, held to its share as well."""
    bounds = dict(request.bounds)
    for name, value in share.bounds:
        tighter = max if name.endswith(".min") else min
        bounds[name] = tighter(value, bounds.get(name, value))
    cost = share.max_cost if request.max_cost is None else min(request.max_cost, share.max_cost)
    return replace(request, bounds=tuple(sorted(bounds.items())), max_cost=cost)


def _limit(decision: PlanDecision) -> int | None:
    stated = [value for bound, value in decision.request.bounds if bound == "cost.max"]
    if decision.request.max_cost is not None:
        stated.append(decision.request.max_cost)
    return min(stated, default=None)
