"""What a plan needs: stages in order, each with its own request, and bounds from end to end.

A ``PlanRequest`` that exists is a graph: every stage names only earlier ones in ``after``, so there
is no cycle to look for. Its form is that of docs/reference/routing-rules.md, "Chains and graphs of
stages".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caio.foundation.hashing import PLAN_REQUEST, digest_of
from caio.foundation.quantity import decimal_text, read_nanos
from caio.routing.model import Request

MAX_STAGES = 8

#: The bounds that have a composition rule (``plans.composition``), and no others may be asked of a plan.
COMPOSABLE = frozenset(
    {
        "accuracy.min",
        "availability.min",
        "cost.max",
        "determinism.min",
        "error_rate.max",
        "latency_ms.max",
        "latency_ms.p50",
        "latency_ms.p95",
        "latency_ms.p99",
        "throughput.min",
    }
)

_FIELDS = {"tenant_id", "currency", "stages", "bounds", "max_cost"}
_STAGE_FIELDS = {"name", "after", "request"}


@dataclass(frozen=True, slots=True)
class Stage:
    """One step: a request of its own, which begins when every stage in ``after`` has answered."""

    name: str
    request: Request
    after: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a stage has a name")

    def document(self) -> dict[str, Any]:
        return {"name": self.name, "after": sorted(self.after), "request": self.request.document()}

    @classmethod
    def from_document(cls, value: Mapping[str, Any]) -> Stage:
        """The inverse of ``document``; raises KeyError, TypeError or ValueError on anything else."""
        after = list(value["after"])
        if set(value) != _STAGE_FIELDS or after != sorted(set(after)):
            raise ValueError(f"stage {value['name']!r} is not in its canonical form")
        return cls(value["name"], Request.from_document(value["request"]), frozenset(after))


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """One to eight stages, and what they must keep together. ``bounds`` and ``max_cost`` are in nanos.

    Raises ValueError for what is no graph of stages of one tenant and currency, and for a bound
    that has no composition rule.
    """

    tenant_id: str
    currency: str
    stages: tuple[Stage, ...]
    bounds: tuple[tuple[str, int], ...] = ()
    max_cost: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.stages) <= MAX_STAGES:
            raise ValueError(f"a plan has 1 to {MAX_STAGES} stages, not {len(self.stages)}")
        earlier: frozenset[str] = frozenset()
        for stage in self.stages:
            if stage.name in earlier:
                raise ValueError(f"two stages are named {stage.name!r}")
            if unknown := stage.after - earlier:
                raise ValueError(f"{stage.name!r} is after {min(unknown)!r}, which is no stage listed before it")
            if (stage.request.tenant_id, stage.request.currency) != (self.tenant_id, self.currency):
                raise ValueError(f"{stage.name!r} is of another tenant or currency than the plan")
            earlier |= {stage.name}
        names = [name for name, _ in self.bounds]
        if names != sorted(set(names)):
            raise ValueError("bounds are sorted by name, each once")
        if unruled := set(names) - COMPOSABLE:
            raise ValueError(f"no rule composes {min(unruled)!r}; these compose: {', '.join(sorted(COMPOSABLE))}")

    @property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """For each stage, the places of those it comes after."""
        place = {stage.name: index for index, stage in enumerate(self.stages)}
        return tuple(tuple(sorted(place[name] for name in stage.after)) for stage in self.stages)

    def document(self) -> dict[str, Any]:
        """The canonical content: what the plan request's hash covers and evidence shows."""
        return {
            "tenant_id": self.tenant_id,
            "currency": self.currency,
            "stages": [stage.document() for stage in self.stages],
            "bounds": {name: decimal_text(value) for name, value in self.bounds},
            "max_cost": None if self.max_cost is None else decimal_text(self.max_cost),
        }

    @property
    def digest(self) -> str:
        return digest_of(PLAN_REQUEST, self.document())

    @classmethod
    def from_document(cls, value: Mapping[str, Any]) -> PlanRequest:
        """The inverse of ``document``; raises KeyError, TypeError or ValueError on anything else."""
        if set(value) != _FIELDS:
            raise ValueError(f"a plan request has the fields {', '.join(sorted(_FIELDS))}")
        return cls(
            value["tenant_id"],
            value["currency"],
            tuple(Stage.from_document(each) for each in value["stages"]),
            tuple(sorted((name, read_nanos(text)) for name, text in value["bounds"].items())),
            None if value["max_cost"] is None else read_nanos(value["max_cost"]),
        )
