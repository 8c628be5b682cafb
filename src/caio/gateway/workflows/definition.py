"""What a caller may ask to be run: the wire form of a workflow, and its reading as steps and a plan request.

``{"workflow": {"steps": [{"id", "after", "input_bytes", "request", "payload"}, …], "requirements": …,
"deadline_ms": …, "policies": […], "context": …, "result": …}, "input": …}``: each step's ``request`` says what
``/api/v1/orchestrate`` may be told; its ``payload`` and the ``result`` are templates (``templates``). A step comes
after those it names in ``after`` and those its payload refers to; steps may be listed in any order.
``requirements`` are bounds from end to end, as a plan's (``plan_intake``).

Laws (each has a test of the same name)
---------------------------------------
- every_violation_is_listed: with its pointer into what was sent; cycles by the steps on them.
- steps_come_after_what_they_refer_to.
- what_is_known_at_the_start_is_measured: a payload that needs no other step's answer counts its own bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from caio.foundation.errors import InvalidInput, Violation
from caio.gateway.chats import ANSWERS, BOUNDS, as_payload
from caio.gateway.intake import NO_CONTEXT, NO_REQUIREMENTS, Context, Name, Requirements, Wishes, read
from caio.gateway.plan_intake import read_plan
from caio.gateway.ports import PROTOCOLS_OF, Operation
from caio.gateway.workflows.templates import INPUT, fill, flaws, references
from caio.registry.views import Reference
from caio.routing.plans import MAX_STAGES, PlanRequest, Stage

#: How long a run may take at most, in milliseconds; kept answers of its steps live longer.
MAX_RUN_MS = 12 * 3_600_000
RUN_MS = 600_000

#: The most that a payload may weigh which is not known yet, unless its step says otherwise.
UNKNOWN_INPUT_BYTES = 16_384

#: Labels that a run gives its steps' calls, so that an auditor finds them.
LABELS = ("workflow", "step")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StepBody(_Strict):
    """One step. ``input_bytes`` is the most its payload may weigh when it begins; its worst-case price depends on
    it. By default what it weighs, where that is known at the start, else 16 KiB."""

    id: Name
    after: Annotated[list[Name], Field(max_length=MAX_STAGES)] = []
    input_bytes: Annotated[int, Field(ge=0, le=10**9)] | None = None
    request: Wishes
    payload: Any = None


class WorkflowBody(_Strict):
    """Steps, and what holds for all of them together. Without ``result`` a run's result is what its last steps
    answered, by their ids."""

    steps: Annotated[list[StepBody], Field(min_length=1, max_length=MAX_STAGES)]
    requirements: Annotated[Requirements, Field(default_factory=lambda: NO_REQUIREMENTS)]
    deadline_ms: Annotated[int, Field(ge=1, le=MAX_RUN_MS)] = RUN_MS
    policies: Annotated[list[str | dict[str, Any]], Field(max_length=64)] = []
    context: Annotated[Context, Field(default_factory=lambda: NO_CONTEXT)]
    result: Any = None


class RunBody(_Strict):
    """``POST /api/v1/workflows/runs``: a workflow and the input of this run of it."""

    workflow: WorkflowBody
    input: Any = None


@dataclass(frozen=True, slots=True)
class Step:
    """``after`` are all steps that it comes after, also those that only its payload names."""

    step_id: str
    after: frozenset[str]
    payload: Any


@dataclass(frozen=True, slots=True)
class Workflow:
    """Steps in an order in which each comes after those it needs; ``plan`` has them as stages, in that order."""

    steps: tuple[Step, ...]
    plan: PlanRequest
    policies: Sequence[Reference]
    deadline_ms: int
    result: Any
    run_input: Any

    @property
    def graph(self) -> tuple[tuple[int, ...], ...]:
        """For each step, the places of those it comes after."""
        return self.plan.predecessors

    def result_of(self, outputs: Mapping[str, Any]) -> Any:
        """A complete run's result; raises Unresolved."""
        if self.result is not None:
            return fill(self.result, {INPUT: self.run_input, **outputs}, "/result")
        inner = frozenset[str]().union(*(each.after for each in self.steps))
        return {each.step_id: outputs[each.step_id] for each in self.steps if each.step_id not in inner}


def read_workflow(source: bytes | Mapping[str, Any], *, tenant_id: str, currency: str) -> Workflow:
    """Raises InvalidInput ``invalid_request`` with every violation."""
    body = read(RunBody, source)
    found = _template_flaws(body.workflow)
    after = [_after(each) for each in body.workflow.steps]
    order = _order(body.workflow.steps, after, found)
    if found:
        raise _invalid(found)
    plan, policies = _plan(body, order, after, tenant_id, currency)
    steps = tuple(Step(body.workflow.steps[at].id, after[at], body.workflow.steps[at].payload) for at in order)
    return Workflow(steps, plan, policies, body.workflow.deadline_ms, body.workflow.result, body.input)


def _template_flaws(body: WorkflowBody) -> list[Violation]:
    found: list[Violation] = []
    names = [each.id for each in body.steps]
    for at, step in enumerate(body.steps):
        where = f"/workflow/steps/{at}"
        if step.id == INPUT:
            found.append(Violation(f"{where}/id", f"{INPUT!r} names the run's own input: call the step otherwise"))
        elif step.id in names[:at]:
            found.append(Violation(f"{where}/id", f"{step.id!r} is the name of an earlier step"))
        for place, name in enumerate(step.after):
            if name not in names:
                found.append(Violation(f"{where}/after/{place}", f"{name!r} is no step of this workflow"))
        found += flaws(step.payload, {*names, INPUT}, f"{where}/payload")
    found += flaws(body.result, {*names, INPUT}, "/workflow/result")
    for label in LABELS:
        if label in body.context.labels:
            found.append(Violation(f"/workflow/context/labels/{label}", "is a label that the run itself gives"))
    return found


def _after(step: StepBody) -> frozenset[str]:
    return frozenset(step.after) | {each.name for each in references(step.payload) if each.name != INPUT}


def _order(steps: Sequence[StepBody], after: Sequence[frozenset[str]], found: list[Violation]) -> list[int]:
    """The steps' places, each behind those it comes after, and otherwise as they are listed."""
    places = {step.id: at for at, step in reversed(list(enumerate(steps)))}
    graph = {at: sorted(places[name] for name in names if name in places) for at, names in enumerate(after)}
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as error:
        names = [steps[at].id for at in reversed(error.args[1])]
        at = min(error.args[1])
        found.append(Violation(f"/workflow/steps/{at}", f"waits for itself: {' after '.join(map(repr, names))}"))
        return []
    order: list[int] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


def _plan(
    body: RunBody, order: Sequence[int], after: Sequence[frozenset[str]], tenant_id: str, currency: str
) -> tuple[PlanRequest, Sequence[Reference]]:
    workflow = body.workflow
    stages = [
        {
            "name": workflow.steps[at].id,
            "after": sorted(after[at]),
            "input_bytes": _input_bytes(workflow.steps[at], body.input, f"/workflow/steps/{at}/payload"),
            "request": workflow.steps[at].request.model_dump(mode="json", exclude_unset=True),
        }
        for at in order
    ]
    document = {
        "stages": stages,
        "requirements": workflow.requirements.model_dump(mode="json", exclude_unset=True),
        "policies": workflow.policies,
        "context": workflow.context.model_dump(mode="json", exclude_unset=True),
    }
    try:
        plan, policies = read_plan(document, tenant_id=tenant_id, currency=currency)
    except InvalidInput as error:
        raise _invalid([replace(each, pointer=_placed(each.pointer, order)) for each in error.violations]) from None
    planned = [
        _bounded(_labelled(stage), workflow.steps[at].payload, f"/workflow/steps/{at}/payload")
        for at, stage in zip(order, plan.stages, strict=True)
    ]
    return replace(plan, stages=tuple(planned)), policies


def _labelled(stage: Stage) -> Stage:
    """The stage as its call will be decided: as plain JSON, and labelled with the step."""
    labels = tuple(sorted({**dict(stage.request.labels), "step": stage.name}.items()))
    return replace(stage, request=replace(stage.request, labels=labels, protocols=PROTOCOLS_OF[Operation.JSON]))


def _bounded(stage: Stage, template: Any, at: str) -> Stage:
    """The stage, planned with what a chat as its payload says of its answers; what a reference will say is held to
    the step's share when it is known."""
    if not isinstance(template, dict) or "messages" not in template:
        return stage
    known = {name: template[name] for name in (ANSWERS, *BOUNDS) if not isinstance(template.get(name), dict | None)}
    return replace(stage, request=as_payload({**known, "messages": []}, stage.request, at)[1])


def _input_bytes(step: StepBody, run_input: Any, at: str) -> int:
    if any(each.name != INPUT for each in references(step.payload)):
        return UNKNOWN_INPUT_BYTES if step.input_bytes is None else step.input_bytes
    weight = len(msgspec.json.encode(fill(step.payload, {INPUT: run_input}, at)))
    if step.input_bytes is not None and weight > step.input_bytes:
        raise _invalid([Violation(at, f"weighs {weight} bytes, more than the step's input_bytes")])
    return weight if step.input_bytes is None else step.input_bytes


def _placed(pointer: str, order: Sequence[int]) -> str:
    """A plan's pointer as one into what was sent."""
    parts = pointer.split("/")
    if len(parts) > 2 and parts[1] == "stages" and parts[2].isdecimal():
        parts[1:3] = ["steps", str(order[int(parts[2])])]
    return "/workflow" + "/".join(parts)


def _invalid(violations: Sequence[Violation]) -> InvalidInput:
    first = violations[0]
    more = f"; and {len(violations) - 1} more" if len(violations) > 1 else ""
    message = f"the workflow is not valid: {first.pointer}: {first.message}{more}"
    return InvalidInput(message, violations, code="invalid_request")
