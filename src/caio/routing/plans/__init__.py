"""Chains and graphs of stages: one service for each, and what they promise together.

``plan`` decides every stage by the engine, composes promises exactly and chooses the sound selection
of the highest score. The rules are docs/reference/routing-rules.md, "Chains and graphs of stages".
"""

from caio.routing.plans.planner import Choice, PlanDecision, Shortfall, Solver, plan
from caio.routing.plans.request import COMPOSABLE, MAX_STAGES, PlanRequest, Stage

__all__ = [
    "COMPOSABLE",
    "MAX_STAGES",
    "Choice",
    "PlanDecision",
    "PlanRequest",
    "Shortfall",
    "Solver",
    "Stage",
    "plan",
]
