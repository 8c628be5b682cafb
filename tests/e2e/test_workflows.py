"""Workflows over HTTP: begun, followed, looked at, cancelled; each step through the gateway."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from sqlalchemy import update

from caio.foundation.errors import NotReady
from caio.gateway.workflows import conductor
from caio.storage.sql.tables_tenancy import tenants
from caio.storage.sql.workflows import SqlWorkflows
from caio.tenancy.authentication import embedded_scope
from tests.e2e.conftest import Served, chat_contract, contract, served
from tests.support.acts import acts_told
from tests.support.tenants import add_bare_tenants, tenant_named
from tests.support.upstreams import Upstream, upstream

ROOT = Path(__file__).parents[2]
RUNS = "/api/v1/workflows/runs"
SENTIMENT = {"capability": "text.sentiment"}
ANSWER = {"label": "good", "usage": {"input_tokens": 5, "output_tokens": 2}}


def step(name: str, payload: Any, **changes: Any) -> dict[str, Any]:
    return {"id": name, "request": SENTIMENT, "payload": payload} | changes


def diamond(**changes: Any) -> dict[str, Any]:
    """Two classifiers side by side, and a third that is told what both said."""
    both = {"first": {"$from": "left", "pointer": "/label"}, "second": {"$from": "right"}}
    return {
        "steps": [
            step("left", {"text": {"$from": "input", "pointer": "/text"}}),
            step("right", {"text": "Fine."}),
            step("both", both, input_bytes=500),
        ],
        "requirements": {"max_cost": "0.01"},
        "deadline_ms": 60_000,
    } | changes


def alone(**changes: Any) -> dict[str, Any]:
    return {"steps": [step("only", {"text": "Fine."})]} | changes


async def asked(
    http: aiohttp.ClientSession, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, Any, Any]:
    async with http.request(method, path, json=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None), answer.headers


async def begin(caio: Served, workflow: dict[str, Any], **headers: str) -> str:
    body = {"workflow": workflow, "input": {"text": "Secretive."}}
    status, begun, _ = await asked(caio.http, "POST", RUNS, body, headers)
    assert status == 202, begun
    return str(begun["run_id"])


async def until(caio: Served, run_id: str, *states: str) -> Any:
    async with asyncio.timeout(60):
        while True:
            status, run = await caio.get(f"{RUNS}/{run_id}")
            assert status == 200, run
            if run["status"] in (states or ("succeeded", "failed", "cancelled")):
                return run
            await asyncio.sleep(0.05)


async def told(caio: Served, run_id: str, after: str | None = None) -> list[dict[str, str]]:
    """The events of a run's stream, to its end."""
    headers = {} if after is None else {"Last-Event-ID": after}
    async with caio.http.get(f"{RUNS}/{run_id}/events", headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        text = await answer.text()
    return [dict(line.split(": ", 1) for line in event.split("\n")) for event in text.split("\n\n") if event]


async def session_of(caio: Served, roles: Sequence[str], name: str = "other") -> tuple[str, aiohttp.ClientSession]:
    status, made, _ = await asked(caio.http, "POST", "/api/v1/keys", {"name": name, "roles": list(roles)})
    assert status == 201, made
    return made["key_id"], aiohttp.ClientSession(caio.url, headers={"Authorization": f"Bearer {made['token']}"})


@pytest.fixture
async def service() -> AsyncIterator[Upstream]:
    async with upstream() as running:

        async def held(request: web.Request) -> web.StreamResponse:
            await running.hold.wait()
            return await running.counted(request)

        running.held = held  # type: ignore[attr-defined]
        yield running


async def called(service: Upstream, times: int = 1) -> None:
    async with asyncio.timeout(60):
        while len(service.received) < times:
            await asyncio.sleep(0.01)


async def test_each_step_is_a_call_like_any_other(caio: Served) -> None:
    await caio.register("echo")
    run_id = await begin(caio, diamond())
    run = await until(caio, run_id)
    assert (run["status"], run["result"], run["charged"]) == ("succeeded", {"both": ANSWER}, "0.003"), run
    assert [each["after"] for each in run["steps"]] == [[], [], ["left", "right"]]
    sent = [json.loads(body) for _, body in caio.service.received]
    assert sorted(json.dumps(each) for each in sent[:2]) == ['{"text": "Fine."}', '{"text": "Secretive."}']
    assert sent[2] == {"first": "good", "second": ANSWER}
    for each in run["steps"]:
        _, evidence = await caio.get(f"/api/v1/decisions/{each['decision_id']}/evidence")
        request = evidence["request"]
        assert request["labels"] == {"workflow": run_id, "step": each["id"]}
        assert request["max_cost"] == each["max_cost"]
    assert sum(float(each["max_cost"]) for each in run["steps"]) <= 0.01

    events = await told(caio, run_id)
    assert [each["id"] for each in events] == [str(number + 1) for number in range(len(events))]
    kinds = [each["event"] for each in events]
    assert (kinds[:2], kinds[-1], len(kinds)) == (["run.queued", "run.started"], "run.succeeded", 9)
    assert await told(caio, run_id, "7") == events[7:]
    assert "Secretive" not in json.dumps(events)

    installation, scope = caio.installation, embedded_scope()
    acts = await acts_told(installation.stores.journal, installation.vault, scope)
    mine = [(each["action"], each["details"]) for each in acts if each["subject"] == run_id]
    assert [action for action, _ in mine] == ["workflow.started", "workflow.ended"]
    assert mine[0][1]["most_cost"] == run["most_cost"]
    assert mine[1][1] == {"status": "succeeded", "code": "", "charged": "0.003"}


async def test_what_cannot_keep_its_bounds_never_begins(caio: Served) -> None:
    await caio.register("echo")
    for bounds, why in (({"max_cost": "0.0029"}, "cost.max"), ({"latency_ms": {"p95": 150}}, "latency_ms.p95")):
        status, problem, _ = await asked(caio.http, "POST", RUNS, {"workflow": diamond(requirements=bounds)} | TEXT)
        assert (status, problem["code"]) == (422, "no_plan"), problem
        assert why in problem["detail"]
    unknown = diamond(steps=[step("a", None, request={"capability": "nothing"})])
    status, problem, _ = await asked(caio.http, "POST", RUNS, {"workflow": unknown})
    assert (status, problem["code"], len(problem["reasons"])) == (422, "no_plan", 1)
    assert (await caio.get(RUNS))[1]["items"] == []
    assert caio.service.received == []


TEXT = {"input": {"text": "Fine."}}


async def test_one_key_begins_one_run(caio: Served) -> None:
    await caio.register("echo")
    first = await begin(caio, alone(), **{"Idempotency-Key": "k"})
    assert await begin(caio, alone(), **{"Idempotency-Key": "k"}) == first
    status, problem, _ = await asked(caio.http, "POST", RUNS, {"workflow": diamond()} | TEXT, {"Idempotency-Key": "k"})
    assert (status, problem["code"]) == (422, "idempotency_key_reused")
    assert (await until(caio, first))["status"] == "succeeded"


async def test_a_full_tenant_begins_no_run(caio: Served) -> None:
    await caio.register("echo")
    metering = caio.installation.metering
    taken = await metering.storage_measure.measure(embedded_scope())
    metering.storage_gauge.forget("default")
    async with caio.installation.database.writing(embedded_scope()) as connection:
        await connection.execute(update(tenants).values(quota_storage_bytes=taken))
    caio.installation.authenticator._cache.clear()
    status, problem, _ = await asked(caio.http, "POST", RUNS, {"workflow": alone()})
    assert (status, problem["code"]) == (429, "rate_limited"), problem
    assert (await caio.get(RUNS))[1]["items"] == []


async def test_a_run_is_seen_by_its_own_principal(caio: Served) -> None:
    await caio.register("echo")
    run_id = await begin(caio, alone())
    await until(caio, run_id)
    strange = "wfr_00000000000000000000000000"
    _, service = await session_of(caio, ["service"])
    _, user = await session_of(caio, ["user"])
    async with service, user:
        for path in ("", "/events", "/cancel"):
            method = "POST" if path == "/cancel" else "GET"
            answers = [await asked(service, method, f"{RUNS}/{each}{path}") for each in (run_id, strange)]
            assert [(status, body) for status, body, _ in answers] == [(404, answers[1][1])] * 2
        assert (await asked(user, "POST", f"{RUNS}/{run_id}/cancel"))[0] == 404  # may read it, and no more
        status, run, _ = await asked(user, "GET", f"{RUNS}/{run_id}")
        assert (status, run["result"]) == (200, {"only": ANSWER})
        assert (await asked(user, "GET", RUNS))[1]["items"] == []
        assert [each["run_id"] for each in (await asked(user, "GET", f"{RUNS}?everyones=true"))[1]["items"]] == [run_id]
        assert (await asked(service, "GET", f"{RUNS}?everyones=true"))[0] == 403
    installation = caio.installation
    acts = await acts_told(installation.stores.journal, installation.vault, embedded_scope())
    assert [each["details"] for each in acts if each["action"] == "audit.read"] == [{"run": run_id}]


async def test_a_run_acts_as_its_principal_at_every_step(caio: Served) -> None:
    await caio.register("slow", "/held")
    key_id, http = await session_of(caio, ["service"])
    steps = [step("a", {"text": "Fine."}), step("b", {"text": {"$from": "a", "pointer": "/label"}})]
    async with http:
        status, begun, _ = await asked(http, "POST", RUNS, {"workflow": {"steps": steps}})
        assert status == 202, begun
    await called(caio.service)
    assert (await asked(caio.http, "DELETE", f"/api/v1/keys/{key_id}"))[0] == 200
    caio.service.hold.set()
    run = await until(caio, begun["run_id"])
    assert (run["status"], run["code"]) == ("failed", "unauthenticated"), run
    assert len(caio.service.received) == 1


async def test_a_failed_step_lets_no_other_begin(caio: Served) -> None:
    await caio.register("broken", "/status/500")
    run = await until(caio, await begin(caio, diamond()))
    assert (run["status"], run["code"]) == ("failed", "upstream_failed"), run
    assert run["error"]["step"] in ("left", "right")
    assert run["steps"][2]["status"] == "skipped"
    assert run["charged"] == "0"


async def test_a_pointer_that_leads_nowhere_fails_its_step(caio: Served) -> None:
    await caio.register("echo")
    steps = [step("a", {"text": "Fine."}), step("b", {"text": {"$from": "a", "pointer": "/nothing"}})]
    run = await until(caio, await begin(caio, alone(steps=steps)))
    assert (run["status"], run["code"], run["error"]["step"]) == ("failed", "unresolved_reference", "b")
    assert (run["charged"], len(caio.service.received)) == ("0.001", 1)


async def test_a_cancelled_run_is_cut_off(caio: Served) -> None:
    await caio.register("slow", "/held")
    run_id = await begin(caio, alone())
    await called(caio.service)
    status, cancelling, _ = await asked(caio.http, "POST", f"{RUNS}/{run_id}/cancel")
    assert (status, cancelling["status"]) == (202, "cancelling")
    run = await until(caio, run_id)
    assert (run["status"], run["charged"], run["steps"][0]["status"]) == ("cancelled", "0", "cancelled"), run
    await asyncio.wait_for(caio.service.left.wait(), 60)
    assert (await asked(caio.http, "POST", f"{RUNS}/{run_id}/cancel"))[1]["status"] == "cancelled"


async def test_what_was_charged_before_a_run_was_cut_off_is_told(caio: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off between a call's end and its step's: the call was charged, and its decision is the step's."""
    await caio.register("echo")
    answered, written = asyncio.Event(), SqlWorkflows.end_step

    async def late(self: SqlWorkflows, scope: Any, run_id: str, owner: str, row: Any, news: Any) -> None:
        if not answered.is_set():
            answered.set()
            await asyncio.Event().wait()
        await written(self, scope, run_id, owner, row, news)

    monkeypatch.setattr(SqlWorkflows, "end_step", late)
    run_id = await begin(caio, alone())
    await asyncio.wait_for(answered.wait(), 60)
    assert (await asked(caio.http, "POST", f"{RUNS}/{run_id}/cancel"))[0] == 202
    run = await until(caio, run_id)
    (only,) = run["steps"]
    assert (run["status"], run["charged"], only["status"]) == ("cancelled", "0.001", "succeeded"), run
    _, receipt = await caio.get(f"/api/v1/decisions/{only['decision_id']}/receipt")
    assert receipt["outcome"]["payload"]["charged"] == "0.001", receipt
    assert len(caio.service.received) == 1


async def test_payloads_are_sealed(caio: Served) -> None:
    await caio.register("echo")
    await until(caio, await begin(caio, diamond()))
    kept = {path.name: path.read_bytes() for path in caio.data_dir.iterdir() if ".db" in path.name}
    assert {"caio.db", "workflows.db"} <= set(kept)
    assert [name for name, raw in kept.items() if b"Secretive" in raw] == []
    recorded = b"".join(raw for name, raw in kept.items() if name.startswith("workflows.db"))
    assert b"caio.run" in recorded
    assert [name for name in (b"key_", b"left", b"echo", b"good") if name in recorded] == []


async def test_a_claim_of_a_dead_process_is_fenced_off(caio: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conductor, "UNRECORDED_SECONDS", 0.3)
    await caio.register("echo")
    idempotency, scope = caio.installation.stores.idempotency, embedded_scope()
    worker = caio.installation.worker
    assert worker is not None
    carrying = next(loop for loop in worker.loops if loop.name == "runs of workflows")
    stepping, carrying._step = carrying._step, _nothing  # nobody carries runs out for now
    run_id = await begin(caio, alone())
    assert await idempotency.claim(scope, f"{run_id}/only", f"{run_id}/only", "dec_dead", 2**50) is None
    carrying._step = stepping
    carrying.wake()
    run = await until(caio, run_id)
    assert (run["status"], run["charged"]) == ("succeeded", "0.001"), run


async def _nothing() -> int:
    return 0


async def stopped_in_its_second_step(data_dir: Path, token: str, service: Upstream) -> str:
    """A run whose process has stopped when its first step had ended, and its second was under way."""
    steps = [step("a", {"text": "Fine."}), step("b", {"text": {"$from": "a", "pointer": "/label"}}, request=HELD)]
    async with served(data_dir, token, service) as caio:
        await caio.register("echo")
        await caio.register("held", "/held", capabilities=["text.held"])
        run_id = await begin(caio, alone(steps=steps))
        await called(service, 2)
    service.hold.set()
    return run_id


HELD = {"capability": "text.held"}


async def test_a_run_goes_on_at_the_step_it_was_in(
    tmp_path: Path, template: tuple[Path, str], service: Upstream
) -> None:
    shutil.copytree(template[0], tmp_path / "data")
    run_id = await stopped_in_its_second_step(tmp_path / "data", template[1], service)
    async with served(tmp_path / "data", template[1], service) as caio:
        run = await until(caio, run_id)
        assert (run["status"], run["charged"]) == ("succeeded", "0.002"), run
        kinds = [each["event"] for each in await told(caio, run_id)]
    assert [request.path for request, _ in service.received] == ["/counted", "/held", "/held"]
    assert (kinds.count("step.started"), kinds.count("step.resumed")) == (2, 1)


async def test_a_lost_record_loses_no_run(tmp_path: Path, template: tuple[Path, str], service: Upstream) -> None:
    shutil.copytree(template[0], tmp_path / "data")
    run_id = await stopped_in_its_second_step(tmp_path / "data", template[1], service)
    for path in (tmp_path / "data").glob("workflows.db*"):
        path.unlink()
    async with served(tmp_path / "data", template[1], service) as caio:
        run = await until(caio, run_id)
        assert (run["status"], run["charged"]) == ("succeeded", "0.002"), run
    assert [request.path for request, _ in service.received] == ["/counted", "/held", "/held"]


async def test_what_has_ended_is_tidied_away(caio: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caio.worker.durable._TIDIED_AT_ONCE", 1)
    await caio.register("echo")
    for _ in range(3):
        await until(caio, await begin(caio, alone()))
    worker = caio.installation.worker
    assert worker is not None
    tidying = next(loop for loop in worker.loops if loop.name == "tidying of runs")
    async with asyncio.timeout(30):
        while executions(caio.data_dir, "SUCCESS") < 3:  # a run has ended a moment before its execution
            await asyncio.sleep(0.02)
    await tidying._step()
    assert executions(caio.data_dir, "SUCCESS") == 0


def executions(data_dir: Path, state: str) -> int:
    with closing(sqlite3.connect(data_dir / "workflows.db")) as connection:
        query = "SELECT count(*) FROM workflow_status WHERE status = ?"
        return int(connection.execute(query, (state,)).fetchone()[0])


async def test_what_is_recorded_names_no_tenant(caio: Served) -> None:
    await caio.register("echo")
    run_id = await begin(caio, diamond())
    await until(caio, run_id)
    recorded = b"".join(path.read_bytes() for path in caio.data_dir.glob("workflows.db*"))
    assert run_id.encode() in recorded
    assert [name for name in (b"key_", b"left", b"echo", b"good", b"Secretive") if name in recorded] == []


async def test_a_beginning_is_an_act(caio: Served) -> None:
    await caio.register("echo")
    run_id = await begin(caio, alone())
    run = await until(caio, run_id)
    acts = await acts_told(caio.installation.stores.journal, caio.installation.vault, embedded_scope())
    (begun,) = [each for each in acts if each["action"] == "workflow.started"]
    assert (begun["subject"], begun["principal"]) == (run_id, run["principal_id"])
    expected = {"plan": run["plan_hash"], "steps": 1, "most_cost": "0.001", "deadline_at": run["deadline_at"]}
    assert begun["details"] == expected


async def test_a_step_is_held_to_its_share_and_the_time_left(caio: Served) -> None:
    await caio.register("echo")
    bounds = {"max_cost": "0.005", "latency_ms": {"p95": 6000}}
    run = await until(caio, await begin(caio, diamond(requirements=bounds, deadline_ms=20_000)))
    assert run["status"] == "succeeded", run
    for each in run["steps"]:
        _, evidence = await caio.get(f"/api/v1/decisions/{each['decision_id']}/evidence")
        request = evidence["request"]
        assert request["max_cost"] == each["max_cost"] == "0.001666666"
        assert request["bounds"] == {"latency_ms.max": "5000", "latency_ms.p95": "100"}
        assert request["deadline_ms"] < 20_000


async def test_a_step_reserves_what_its_chat_asks_for(caio: Served) -> None:
    prices = {"currency": "USD", "per_output_token": "0.001"}
    assert (await asked(caio.http, "POST", "/api/v1/services", priced_chat(caio, prices)))[0] == 201
    chat = {"messages": [{"role": "user", "content": "x"}], "n": 3, "max_tokens": 50}
    talk = {"id": "talk", "request": {"capability": "chat"}, "payload": chat}
    run = await until(caio, await begin(caio, alone(steps=[talk])))
    assert (run["status"], run["most_cost"]) == ("succeeded", "0.15"), run
    _, evidence = await caio.get(f"/api/v1/decisions/{run['steps'][0]['decision_id']}/evidence")
    assert (evidence["request"]["answers"], evidence["request"]["max_tokens"]) == (3, 50)

    unplanned = chat | {"n": {"$from": "input", "pointer": "/n"}}
    body = {"workflow": alone(steps=[talk | {"payload": unplanned}]), "input": {"n": 128}}
    _, begun, _ = await asked(caio.http, "POST", RUNS, body)
    run = await until(caio, begun["run_id"])
    assert (run["status"], run["code"]) == ("failed", "no_service_satisfies"), run
    wrong = {"workflow": alone(steps=[talk | {"payload": chat | {"n": 129}}])}
    status, problem, _ = await asked(caio.http, "POST", RUNS, wrong)
    assert (status, problem["errors"][0]["pointer"]) == (422, "/workflow/steps/0/payload/n"), problem


def priced_chat(caio: Served, prices: dict[str, str]) -> dict[str, Any]:
    return chat_contract("talker", caio.service.url) | {"cost": prices}


@pytest.mark.parametrize("depth", [180, 400, 940])
async def test_an_answer_that_is_too_deep_fails_its_step(caio: Served, depth: int) -> None:
    async def deep(request: web.Request) -> web.StreamResponse:
        await request.read()
        text = '{"label": "good", "deep": ' + "[" * depth + "]" * depth + "}"
        return web.Response(text=text, content_type="application/json")

    caio.service.deep = deep  # type: ignore[attr-defined]
    await caio.register("deep", "/deep")
    template: Any = {"$from": "only"}
    for _ in range(30):
        template = [template]
    run = await until(caio, await begin(caio, alone(result=template)))
    expected = ("succeeded", None) if depth == 180 else ("failed", "upstream_failed")
    assert (run["status"], run["code"]) == expected
    # How deep an answer may be to be read at all differs between interpreters; what cannot be read costs nothing.
    assert run["charged"] in ({"0.001", "0"} if depth == 940 else {"0.001"})
    assert run["steps"][0]["decision_id"]


async def test_references_put_in_no_more_than_they_may(caio: Served) -> None:
    await caio.register("echo")
    many = [{"$from": "input"}] * 255
    body: dict[str, Any] = {"input": "x" * 100_000, "workflow": alone(steps=[step("only", {"text": many})])}
    status, problem, _ = await asked(caio.http, "POST", RUNS, body)
    assert (status, problem["code"]) == (422, "references_too_large"), problem
    _, begun, _ = await asked(caio.http, "POST", RUNS, body | {"workflow": alone(result=many)})
    run = await until(caio, begun["run_id"])
    assert (run["status"], run["code"], run["charged"]) == ("failed", "references_too_large", "0.001"), run["code"]


async def test_one_tenants_runs_leave_room_for_anothers(caio: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caio.worker.workflows.SHARE", 1)
    await add_bare_tenants(caio.installation.database, tenant_named("rival"))
    key = await caio.installation.api_keys.create_first(embedded_scope("rival"))
    assert key is not None
    await caio.register("held", "/held")
    ours = [await begin(caio, alone()) for _ in range(3)]
    async with aiohttp.ClientSession(caio.url, headers={"Authorization": f"Bearer {key.token}"}) as rival:
        contracted = contract("held", caio.service.url, "/held")
        assert (await asked(rival, "POST", "/api/v1/services", contracted))[0] == 201
        status, begun, _ = await asked(rival, "POST", RUNS, {"workflow": alone()})
        assert status == 202, begun
        await called(caio.service, 2)
        assert (await asked(rival, "GET", f"{RUNS}/{begun['run_id']}"))[1]["status"] == "running"
        states = [(await caio.get(f"{RUNS}/{run_id}"))[1]["status"] for run_id in ours]
        assert states == ["running", "queued", "queued"]
        caio.service.hold.set()
    for run_id in ours:
        assert (await until(caio, run_id))["status"] == "succeeded"


async def test_a_process_has_one(caio: Served) -> None:
    from caio.worker.durable import DurableRuns

    await caio.register("echo")
    await until(caio, await begin(caio, alone()))
    with pytest.raises(NotReady, match="another installation"):
        await DurableRuns.open(caio, "sqlite://", "somebody")  # type: ignore[arg-type]


async def test_a_plan_over_the_api(caio: Served) -> None:
    await caio.register("echo")
    stages = [{"name": name, "input_bytes": 10, "request": SENTIMENT, "after": after} for name, after in CHAIN]
    body = {"stages": stages, "requirements": {"latency_ms": {"max": 10_000}}}
    status, plan, _ = await asked(caio.http, "POST", "/api/v1/plan", body)
    assert (status, plan["outcome"], plan["refusal"]) == (200, "planned", None), plan
    assert [each["service_id"] for each in plan["choices"]] == ["echo", "echo"]
    assert plan["guarantees"] == {"cost.max": "0.002", "latency_ms.max": "10000"}
    body["requirements"] = {"latency_ms": {"max": 9_999}}
    _, refused, _ = await asked(caio.http, "POST", "/api/v1/plan", body)
    assert (refused["outcome"], refused["choices"]) == ("refused", [])
    installation = caio.installation
    acts = await acts_told(installation.stores.journal, installation.vault, embedded_scope())
    assert [(each["subject"], each["details"]["outcome"]) for each in acts if each["action"] == "workflow.planned"] == [
        (plan["plan_hash"], "planned"),
        (refused["plan_hash"], "refused"),
    ]


CHAIN: list[tuple[str, list[str]]] = [("a", []), ("b", ["a"])]

_IDLE = """
import asyncio, sys
from pathlib import Path
from caio.bootstrap import open_installation
from caio.config import read_settings
async def idle():
    async with open_installation(read_settings(data_dir=Path(sys.argv[1]))) as installation:
        carrying = next(loop for loop in installation.worker.loops if loop.name == "runs of workflows")
        await carrying._step()
        await asyncio.sleep(0.1)
        assert installation.worker.trouble is None
asyncio.run(idle())
print(sorted(name for name in ("dbos", "psycopg", "mcp", "aiobotocore") if name in sys.modules))
"""


def test_nothing_is_imported_before_the_first_run(tmp_path: Path, template: tuple[Path, str]) -> None:
    shutil.copytree(template[0], tmp_path / "data")
    command = [sys.executable, "-c", _IDLE, str(tmp_path / "data")]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples" / "workflows").iterdir()))
async def test_the_examples_run(caio: Served, name: str) -> None:
    paths = {"summarize-textrank": "/summarize", "sentiment-lexicon": "/classify"}
    processes = []
    try:
        for service in paths:
            script = ROOT / "examples" / "services" / f"{service.replace('-', '_')}.py"
            process = subprocess.Popen([sys.executable, script, "--port", "0"], stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
            processes.append(process)
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            document = yaml.safe_load((ROOT / "examples" / "contracts" / f"{service}.yaml").read_text())
            document["api"]["base_url"] = ready["url"]
            assert (await asked(caio.http, "POST", "/api/v1/services", document))[0] == 201
        raw = yaml.safe_load((ROOT / "examples" / "workflows" / name).read_text())
        body = (
            raw if "workflow" in raw else {"workflow": raw, "input": {"text": "The harvest was good. All were glad."}}
        )
        status, begun, _ = await asked(caio.http, "POST", RUNS, body)
        assert status == 202, begun
        run = await until(caio, begun["run_id"])
        assert run["status"] == "succeeded", run
    finally:
        for process in processes:
            process.kill()
            process.communicate()
