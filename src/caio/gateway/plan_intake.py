"""What a caller may ask of several services together: the wire form of a plan request.

``{"stages": [{"name", "after", "input_bytes", "request"}, …], "requirements": …, "policies": […],
"context": …}``: each stage's ``request`` says what ``/api/v1/orchestrate`` may be told, without a
payload; ``requirements`` are bounds from end to end. The kernel's own form of the same is
``routing.plans.PlanRequest``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from caio.foundation.errors import InvalidInput, Violation
from caio.gateway.intake import (
    NO_CONSTRAINTS,
    NO_CONTEXT,
    NO_REQUIREMENTS,
    Context,
    Name,
    Requirements,
    Wishes,
    kernel_request,
    read,
)
from caio.gateway.ports import PROTOCOLS
from caio.routing.model import Request
from caio.routing.plans import COMPOSABLE, MAX_STAGES, PlanRequest, Stage

#: Of the requirements that are no bounds, those that say something of a whole plan.
_WHOLE = {"max_latency_ms", "max_cost", "deterministic"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StageBody(_Strict):
    """One stage. ``input_bytes`` is the most its input may be, since what an earlier stage answers is
    not known yet; its worst-case price depends on it."""

    name: Name
    after: list[Name] = []
    input_bytes: Annotated[int, Field(ge=0, le=10**9)]
    request: Wishes


class PlanBody(_Strict):
    """A plan request from outside; policies by id, ``id@version`` or inline, and for every stage."""

    stages: Annotated[list[StageBody], Field(min_length=1, max_length=MAX_STAGES)]
    requirements: Annotated[Requirements, Field(default_factory=lambda: NO_REQUIREMENTS)]
    policies: Annotated[list[str | dict[str, Any]], Field(max_length=64)] = []
    context: Annotated[Context, Field(default_factory=lambda: NO_CONTEXT)]


def read_plan(
    source: bytes | Mapping[str, Any], *, tenant_id: str, currency: str
) -> tuple[PlanRequest, list[str | dict[str, Any]]]:
    """The kernel's plan request and the policies that were named. Raises InvalidInput with every violation."""
    body = read(PlanBody, source)
    violations = [*_graph_flaws(body.stages), *_requirement_flaws(body.requirements)]
    labels = dict(body.context.labels)
    if body.context.session is not None:
        labels["session"] = body.context.session

    def kernel(wishes: Wishes, input_bytes: int, pointer: str) -> Request | None:
        try:
            return kernel_request(
                wishes,
                tenant_id=tenant_id,
                currency=currency,
                input_bytes=input_bytes,
                labels=labels,
                protocols=PROTOCOLS,
            )
        except InvalidInput as error:
            flaws = [
                Violation(pointer + each.pointer.removeprefix("/request"), each.message) for each in error.violations
            ]
            violations.extend(flaws)
            return None

    requests = [
        kernel(each.request, each.input_bytes, f"/stages/{place}/request") for place, each in enumerate(body.stages)
    ]
    # Bounds are read as any request's are; the capability is not looked at.
    whole = kernel(Wishes(capability="plan", requirements=body.requirements, constraints=NO_CONSTRAINTS), 0, "")
    for bound, _ in whole.bounds if whole is not None else ():
        if bound not in COMPOSABLE:
            known = ", ".join(sorted(COMPOSABLE))
            message = f"no rule composes {bound}: ask it of single stages. These hold end to end: {known}"
            violations.append(Violation(f"/requirements/{bound.partition('.')[0]}", message))
    if violations or whole is None:
        raise _invalid(violations)
    stages = tuple(
        Stage(each.name, request, frozenset(each.after))
        for each, request in zip(body.stages, requests, strict=True)
        if request is not None
    )
    named = [*(reference for each in body.stages for reference in each.request.policies), *body.policies]
    return PlanRequest(tenant_id, currency, stages, whole.bounds, whole.max_cost), named


def _graph_flaws(stages: Sequence[StageBody]) -> list[Violation]:
    found: list[Violation] = []
    earlier: set[str] = set()
    for place, stage in enumerate(stages):
        if stage.name in earlier:
            found.append(Violation(f"/stages/{place}/name", f"{stage.name!r} is the name of an earlier stage"))
        for index, name in enumerate(stage.after):
            if name not in earlier:
                message = f"{name!r} is no earlier stage: list stages before those that come after them"
                found.append(Violation(f"/stages/{place}/after/{index}", message))
        earlier.add(stage.name)
    return found


def _requirement_flaws(requirements: Requirements) -> list[Violation]:
    """What only a stage can be asked for."""
    misplaced = requirements.model_fields_set - _WHOLE - set(requirements.__pydantic_extra__ or {})
    return [
        Violation(f"/requirements/{name}", "is for single stages: say it in a stage's request")
        for name in sorted(misplaced)
    ]


def _invalid(violations: Sequence[Violation]) -> InvalidInput:
    first = violations[0]
    more = f"; and {len(violations) - 1} more" if len(violations) > 1 else ""
    message = f"the plan request is not valid: {first.pointer}: {first.message}{more}"
    return InvalidInput(message, violations, code="invalid_request")
