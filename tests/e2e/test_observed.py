"""Contract versus observed through the real API: what was promised, what came, and what it changes."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.conftest import Served, chat_contract, served
from tests.e2e.test_request_path import verified
from tests.support.upstreams import Upstream

FASTEST = {"weights": {"performance": 1}}


async def observed(caio: Served, service_id: str, **query: str) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The report, and by bound the verdicts of its three windows."""
    async with caio.http.get(f"/api/v1/services/{service_id}/observed", params=query) as answer:
        report = await answer.json()
        assert answer.status == 200, report
    return report, {each["bound"]: [found["verdict"] for found in each["findings"]] for each in report["promises"]}


async def test_a_service_observed_slow_is_reported_and_loses_its_rank(
    tmp_path: Path, template: tuple[Path, str], service: Upstream
) -> None:
    folder, token = template
    shutil.copytree(folder, tmp_path / "data")
    async with served(tmp_path / "data", token, service) as caio:
        await caio.register("boaster", "/late/60", guarantees={"latency_ms": {"p95": 20, "max": 5000}})
        await caio.register("modest", guarantees={"latency_ms": {"p95": 40, "max": 5000}})
        report, verdicts = await observed(caio, "boaster")
        assert verdicts["latency_ms.p95"] == ["too few calls"] * 3
        answers = await asyncio.gather(*(caio.orchestrate(objective=FASTEST) for _ in range(24)))
        assert {answer["service"]["id"] for _, answer, _ in answers} == {"boaster"}
        await verified(caio, answers[0][1]["decision_id"])

        report, verdicts = await observed(caio, "boaster")
        for window in report["windows"]:
            assert (window["calls"], window["errors"], window["error_rate"]) == (24, 0, "0")
            assert window["breaches"] == {}
            assert 57 <= window["latency_ms"]["p50"] <= window["latency_ms"]["p99"]
        assert verdicts == {
            "latency_ms.p95": ["breached"] * 3,
            "latency_ms.max": ["kept"] * 3,
            "output_schema": ["kept"] * 3,
            "cost.max": ["kept"] * 3,
        }
        assert (await observed(caio, "modest"))[0]["windows"][0]["calls"] == 0

    # What was observed outlives the process, and the next decision is made on it.
    async with served(tmp_path / "data", token, service) as caio:
        assert (await observed(caio, "boaster"))[0] == report
        _, answer, _ = await caio.orchestrate(objective=FASTEST)
        assert answer["service"]["id"] == "modest"
        await verified(caio, answer["decision_id"])
        _, evidence = await caio.get(f"/api/v1/decisions/{answer['decision_id']}/evidence")
        calls, successes, p95 = evidence["history"]["boaster"]
        assert (calls, successes) == (24, 24)
        assert p95 >= 57


async def test_a_max_is_broken_by_one_answer(caio: Served) -> None:
    await caio.register("sloppy", "/late/60", guarantees={"latency_ms": {"p95": 20, "max": 50}})
    await caio.orchestrate()
    report, verdicts = await observed(caio, "sloppy")
    assert [each["breaches"] for each in report["windows"]] == [{"latency_ms.max": 1}] * 3
    assert verdicts["latency_ms.max"] == ["breached"] * 3
    assert verdicts["latency_ms.p95"] == ["too few calls"] * 3


async def test_every_way_to_handle_a_violation_reaches_the_report(caio: Served) -> None:
    await caio.register("liar", "/echo")  # answers without the label its output schema promises
    expected = 0
    for handling, attempts in (("report", 1), ("retry", 2), ("fallback", 1), ("fail", 1)):
        await caio.orchestrate(on_violation=handling)
        expected += attempts
        report, verdicts = await observed(caio, "liar")
        assert report["windows"][0]["breaches"] == {"output_schema": expected}
        assert report["windows"][0]["calls"] == expected
        assert verdicts["output_schema"] == ["breached"] * 3
    caio.installation.gateway._histories._current.clear()  # it would be kept for ten seconds
    async with caio.http.post("/api/v1/route", json={"request": {"capability": "text.sentiment"}}) as answer:
        decision_id = (await answer.json())["decision_id"]
    _, evidence = await caio.get(f"/api/v1/decisions/{decision_id}/evidence")
    assert evidence["history"]["liar"][:2] == [expected, 0]


async def test_streams_and_failures_are_told_apart(caio: Served) -> None:
    contract = chat_contract("streamer", caio.service.url, "/stream")
    async with caio.http.post("/api/v1/services", json=contract) as answer:
        assert answer.status == 201
    await caio.register("broken", "/status/500")
    body = {"model": "streamer", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    async with caio.http.post("/v1/chat/completions", json=body) as answer:
        assert "[DONE]" in await answer.text()
    await caio.orchestrate()
    window = (await observed(caio, "streamer"))[0]["windows"][0]
    assert (window["first_token_ms"]["answers"], window["latency_ms"]["answers"]) == (1, 0)
    window = (await observed(caio, "broken"))[0]["windows"][0]
    assert (window["calls"], window["errors"], window["error_rate"]) == (1, 1, "1")


async def test_a_report_is_about_one_version(caio: Served) -> None:
    await caio.register("one")
    await caio.orchestrate()
    async with caio.http.get("/api/v1/services/one") as answer:
        document, revision = (await answer.json())["document"], answer.headers["ETag"]
    changed = document | {"version": "1.1.0"}
    async with caio.http.put("/api/v1/services/one", json=changed, headers={"If-Match": revision}) as answer:
        assert answer.status == 200
    newest, before = (await observed(caio, "one"))[0], (await observed(caio, "one", version="1.0.0"))[0]
    assert (newest["version"], newest["windows"][0]["calls"]) == ("1.1.0", 0)
    assert (before["version"], before["windows"][0]["calls"]) == ("1.0.0", 1)


async def test_who_may_read_it_and_what_is_not_there(caio: Served) -> None:
    await caio.register("one")
    unknown = await caio.get("/api/v1/services/nobody")
    assert await caio.get("/api/v1/services/nobody/observed") == unknown
    assert unknown[0] == 404
    async with caio.http.get("/api/v1/services/one/observed", params={"version": "9.9.9"}) as answer:
        assert answer.status == 404
    async with aiohttp.ClientSession(caio.url) as nobody, nobody.get("/api/v1/services/one/observed") as answer:
        assert answer.status == 401
    async with caio.http.post("/api/v1/keys", json={"name": "audit", "roles": ["auditor"]}) as answer:
        headers = {"Authorization": f"Bearer {(await answer.json())['token']}"}
    async with caio.http.get("/api/v1/services/one/observed", headers=headers) as answer:
        assert answer.status == 200
