"""Reading a workflow: its order, its violations, what is known at the start."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from caio.foundation.errors import InvalidInput
from caio.gateway.workflows.definition import UNKNOWN_INPUT_BYTES, Workflow, read_workflow


def step(name: str, payload: Any = None, **changes: Any) -> dict[str, Any]:
    return {"id": name, "request": {"capability": "text.sentiment"}, "payload": payload} | changes


def taking(*names: str) -> dict[str, Any]:
    return {name: {"$from": name} for name in names}


def read(*steps: dict[str, Any], run_input: Any = None, **changes: Any) -> Workflow:
    body = {"workflow": {"steps": list(steps), **changes}, "input": run_input}
    return read_workflow(body, tenant_id="acme", currency="USD")


def violations(*steps: dict[str, Any], **changes: Any) -> list[str]:
    with pytest.raises(InvalidInput) as raised:
        read(*steps, **changes)
    assert raised.value.code == "invalid_request"
    return [each.pointer for each in raised.value.violations]


def test_steps_come_after_what_they_refer_to() -> None:
    steps = [step("d", taking("b", "c")), step("c", taking("a")), step("b", after=["a"]), step("a", taking("input"))]
    for listed in itertools.permutations(steps):
        workflow = read(*listed, run_input=1)
        seen: set[str] = set()
        for each, before in zip(workflow.steps, workflow.graph, strict=True):
            assert each.after <= seen
            assert {workflow.steps[place].step_id for place in before} == each.after
            seen.add(each.step_id)
        assert seen == {"a", "b", "c", "d"}


def test_what_is_known_at_the_start_is_measured() -> None:
    workflow = read(
        step("a", taking("input")), step("b", taking("a")), step("c", taking("a"), input_bytes=7), run_input="ü"
    )
    weights = {stage.name: stage.request.input_bytes for stage in workflow.plan.stages}
    assert weights == {"a": len('{"input":"ü"}'.encode()), "b": UNKNOWN_INPUT_BYTES, "c": 7}


def test_steps_are_labelled() -> None:
    workflow = read(step("a"), context={"labels": {"team": "blue"}, "session": "s"})
    assert workflow.plan.stages[0].request.labels == (("session", "s"), ("step", "a"), ("team", "blue"))


@pytest.mark.parametrize(
    ("steps", "changes", "pointers"),
    [
        ([step("a", taking("b")), step("b", taking("a"))], {}, ["/workflow/steps/0"]),
        ([step("a", taking("a"))], {}, ["/workflow/steps/0"]),
        ([step("a", after=["b"])], {}, ["/workflow/steps/0/after/0"]),
        ([step("a", taking("b"))], {}, ["/workflow/steps/0/payload/b/$from"]),
        ([step("a"), step("a")], {}, ["/workflow/steps/1/id"]),
        ([step("input")], {}, ["/workflow/steps/0/id"]),
        ([step(f"s{number}") for number in range(9)], {}, ["/workflow/steps"]),
        ([], {}, ["/workflow/steps"]),
        ([step("a", input_bytes=1, payload="long")], {}, ["/workflow/steps/0/payload"]),
        ([step("a", more=1)], {}, ["/workflow/steps/0/more"]),
        ([step("a")], {"result": {"$from": "b"}}, ["/workflow/result/$from"]),
        ([step("a")], {"context": {"labels": {"step": "x"}}}, ["/workflow/context/labels/step"]),
        ([step("a")], {"requirements": {"accuracy": {"max": 1}}}, ["/workflow/requirements/accuracy"]),
        ([step("a")], {"deadline_ms": 0}, ["/workflow/deadline_ms"]),
        ([step("b", taking("a")), step("a", request={})], {}, ["/workflow/steps/1/request/capability"]),
        (
            [step("a", taking("x", "y")), step("b", after=["z"])],
            {},
            [
                "/workflow/steps/0/payload/x/$from",
                "/workflow/steps/0/payload/y/$from",
                "/workflow/steps/1/after/0",
            ],
        ),
    ],
)
def test_every_violation_is_listed(steps: list[dict[str, Any]], changes: dict[str, Any], pointers: list[str]) -> None:
    assert sorted(violations(*steps, **changes)) == pointers


def test_a_cycle_names_its_steps() -> None:
    with pytest.raises(
        InvalidInput, match=r"'a' after 'b' after 'c' after 'a'|'b' after 'c' after 'a' after 'b'|'c' after"
    ):
        read(step("a", taking("b")), step("b", taking("c")), step("c", taking("a")))


def test_an_unresolvable_input_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as raised:
        read(step("a", {"x": {"$from": "input", "pointer": "/y"}}), run_input={})
    assert [each.pointer for each in raised.value.violations] == ["/workflow/steps/0/payload/x"]


def test_a_result_is_what_the_last_steps_answered() -> None:
    workflow = read(step("a"), step("b", taking("a")), step("c", taking("a")))
    assert workflow.result_of({"a": 1, "b": 2, "c": 3}) == {"b": 2, "c": 3}
    stated = read(step("a"), result=["is", {"$from": "a", "pointer": "/x"}])
    assert stated.result_of({"a": {"x": 5}}) == ["is", 5]
