"""The request path through the real API: who answers, what is recorded, what a receipt proves."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from caio.audit.signing import read_key_set
from caio.audit.verify import verify_receipt
from caio.tenancy.authentication import embedded_scope
from tests.e2e.conftest import Served, chat_contract, served
from tests.support.books import books_of
from tests.support.upstreams import Upstream

DEAR = {"currency": "USD", "per_request": "0.002"}


async def verified(caio: Served, decision_id: str) -> dict[str, Any]:
    """The decision's receipt, after every claim of it was proved with the evidence."""
    _, keys = await caio.get("/.well-known/caio-keys.json")
    status, receipt = await caio.get(f"/api/v1/decisions/{decision_id}/receipt")
    assert status == 200
    _, evidence = await caio.get(f"/api/v1/decisions/{decision_id}/evidence")
    result = verify_receipt(receipt, read_key_set(keys), evidence)
    assert result.ok, [claim for claim in result.claims if not claim.proved]
    return receipt  # type: ignore[no-any-return]


async def test_the_cheapest_that_satisfies_answers_with_a_receipt(caio: Served) -> None:
    await caio.register("dear", cost=DEAR)
    await caio.register("cheap")
    await caio.register("vague", guarantees={"accuracy": {"min": "0.5"}})
    status, answer, headers = await caio.orchestrate(
        requirements={"accuracy": {"min": "0.8"}}, objective={"weights": {"cost": 1}}
    )
    assert status == 200
    assert answer["service"] == {"id": "cheap", "version": "1.0.0"}
    assert answer["output"] == {"label": "good", "usage": {"input_tokens": 5, "output_tokens": 2}}
    assert answer["usage"] == {"input_tokens": 5, "output_tokens": 2}
    assert answer["cost"] == {"amount": "0.001", "currency": "USD"}
    assert headers["x-caio-decision-id"] == headers["x-caio-receipt"] == answer["decision_id"]
    assert headers["x-caio-service"] == "cheap@1.0.0"
    receipt = await verified(caio, answer["decision_id"])
    assert receipt["outcome"]["payload"]["charged"] == "0.001"
    assert "Fine." not in str(receipt)


async def test_a_refusal_names_what_each_service_lacks_and_is_recorded(caio: Served) -> None:
    await caio.register("slow", guarantees={"latency_ms": {"p95": 1200}})
    await caio.register("silent", guarantees={})
    status, problem, headers = await caio.orchestrate(requirements={"latency_ms": {"p95": 800}})
    assert status == 422
    assert problem["code"] == "no_service_satisfies"
    reasons = {each["service_id"]: (each["clause"], each["required"], each["offered"]) for each in problem["reasons"]}
    assert reasons == {
        "silent": ("guarantee", "<= 800", "undeclared"),
        "slow": ("guarantee", "<= 800", "p95 1200"),
    }
    assert headers["content-type"] == "application/problem+json"
    assert not caio.service.received
    receipt = await verified(caio, problem["decision_id"])
    assert receipt["outcome"] is None


async def test_a_fallback_stays_within_the_decision(caio: Served) -> None:
    await caio.register("first", "/status/500")
    await caio.register("second", cost=DEAR)
    await caio.register("cloudy", privacy={"data_locality": "cloud", "trains_on_data": False})
    status, answer, headers = await caio.orchestrate(sensitive=True, objective={"weights": {"cost": 1}})
    assert (status, answer["service"]["id"], answer["attempts"]) == (200, "second", 2)
    assert headers["x-caio-service"] == "second@1.0.0"
    attempts = (await verified(caio, answer["decision_id"]))["outcome"]["payload"]["attempts"]
    assert [(each["service"], each.get("fault")) for each in attempts] == [("first", "upstream"), ("second", None)]


async def test_when_all_fail_the_error_says_so_and_nothing_is_charged(caio: Served) -> None:
    await caio.register("first", "/status/500")
    await caio.register("second", "/status/503")
    status, problem, _ = await caio.orchestrate()
    assert (status, problem["code"]) == (502, "upstream_failed")
    receipt = await verified(caio, problem["decision_id"])
    assert receipt["outcome"]["payload"]["status"] == "failed"
    assert receipt["outcome"]["payload"]["charged"] == "0"
    assert (await books_of(caio.installation)).spent == 0
    assert (await books_of(caio.installation)).reserved == 0


async def test_a_broken_guarantee_is_handled_as_asked(caio: Served) -> None:
    await caio.register("liar", "/echo")  # answers without the label its output schema promises
    await caio.register("honest", cost=DEAR)
    cheapest = {"weights": {"cost": 1}}
    status, answer, _ = await caio.orchestrate(objective=cheapest)
    assert (status, answer["service"]["id"]) == (200, "liar")
    assert [each["clause"] for each in answer["violations"]] == ["output_schema"]
    receipt = await verified(caio, answer["decision_id"])
    assert receipt["outcome"]["payload"]["status"] == "violated"

    _, answer, _ = await caio.orchestrate(objective=cheapest, on_violation="fallback")
    assert (answer["service"]["id"], answer["attempts"], answer["violations"]) == ("honest", 2, [])
    _, answer, _ = await caio.orchestrate(objective=cheapest, on_violation="retry")
    assert (answer["service"]["id"], answer["attempts"]) == ("honest", 3)
    status, problem, _ = await caio.orchestrate(objective=cheapest, on_violation="fail")
    assert (status, problem["fault"]) == (502, "violation")
    await verified(caio, problem["decision_id"])


async def test_a_deadline_is_kept_and_the_call_settled(caio: Served) -> None:
    await caio.register("slow", "/slow")
    status, problem, _ = await caio.orchestrate(deadline_ms=150)
    assert (status, problem["code"]) == (504, "deadline_exceeded")
    assert (await books_of(caio.installation)).reserved == 0


async def test_an_idempotency_key_gives_the_first_answer_again(caio: Served) -> None:
    await caio.register("only")
    key = {"Idempotency-Key": "once"}
    _, first, _ = await caio.orchestrate(headers=key)
    _, again, headers = await caio.orchestrate(headers=key)
    assert again == first
    assert headers["idempotency-replayed"] == "true"
    assert len(caio.service.received) == 1
    status, problem, _ = await caio.orchestrate(headers=key, payload={"text": "Other."})
    assert (status, problem["code"]) == (422, "idempotency_key_reused")


async def test_of_concurrent_calls_with_one_key_one_is_made(caio: Served) -> None:
    await caio.register("slow", "/slow")
    key = {"Idempotency-Key": "race"}
    calls = [asyncio.create_task(caio.orchestrate(headers=key)) for _ in range(5)]
    while sum(call.done() for call in calls) < 4:
        await asyncio.sleep(0.01)
    caio.service.hold.set()
    statuses = sorted([(await call)[0] for call in calls])
    assert statuses == [200, 409, 409, 409, 409]
    assert len(caio.service.received) == 1


async def test_a_failed_call_frees_its_idempotency_key(caio: Served) -> None:
    await caio.register("broken", "/status/500")
    key = {"Idempotency-Key": "again"}
    assert (await caio.orchestrate(headers=key))[0] == 502
    await caio.register("whole", cost=DEAR)
    assert (await caio.orchestrate(headers=key))[0] == 200


async def test_limits_name_their_window_and_survive_a_restart(
    tmp_path: Path, caio: Served, template: tuple[Path, str], service: Upstream
) -> None:
    limits = {"rate_limit": {"per_minute": 2}, "requires": {"gpu": False, "internet": False}}
    await caio.register("only", constraints=limits)
    assert [(await caio.orchestrate())[0] for _ in range(3)] == [200, 200, 429]
    _, problem, headers = await caio.orchestrate()
    assert problem["code"] == "rate_limited"
    assert 0 < int(headers["Retry-After"]) <= 60
    assert "only minute" in headers["RateLimit-Policy"]
    await caio.http.close()
    # A second installation on a copy stands for the restarted process.
    shutil.copytree(caio.data_dir, tmp_path / "restarted")
    async with served(tmp_path / "restarted", caio.token, service) as restarted:
        assert (await restarted.orchestrate())[0] == 429


async def test_a_fallbacks_own_limit_survives_a_restart(
    tmp_path: Path, caio: Served, template: tuple[Path, str], service: Upstream
) -> None:
    limits = {"rate_limit": {"per_minute": 1}, "requires": {"gpu": False, "internet": False}}
    await caio.register("broken", "/status/500")
    await caio.register("second", cost=DEAR, constraints=limits)
    cheapest = {"weights": {"cost": 1}}
    assert (await caio.orchestrate(objective=cheapest))[1]["service"]["id"] == "second"
    assert (await caio.orchestrate(objective=cheapest))[0] == 502
    await caio.http.close()
    shutil.copytree(caio.data_dir, tmp_path / "restarted")
    async with served(tmp_path / "restarted", caio.token, service) as restarted:
        assert (await restarted.orchestrate(objective=cheapest))[0] == 502


async def test_a_caller_who_leaves_cancels_the_call(caio: Served) -> None:
    await caio.register("slow", "/slow")
    calling = asyncio.create_task(caio.orchestrate())
    while not caio.service.received:
        await asyncio.sleep(0.01)
    calling.cancel()
    await asyncio.wait_for(caio.service.left.wait(), 60)
    for _ in range(200):
        rows = await caio.installation.decisions.page(embedded_scope(), None, 10)
        if rows and rows[0][1] is not None:
            break
        await asyncio.sleep(0.01)
    assert rows[0][1] is not None
    assert rows[0][1].status == "cancelled"
    assert (await books_of(caio.installation)).reserved == 0


async def stream(caio: Served, **body: Any) -> tuple[int, list[bytes], Any]:
    wanted = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}], "stream": True} | body
    async with caio.http.post("/v1/chat/completions", json=wanted) as answer:
        frames = [frame for frame in (await answer.read()).split(b"\n\n") if frame]
        return answer.status, frames, answer.headers


async def register_chat(caio: Served, service_id: str, path: str, **changes: Any) -> None:
    document = chat_contract(service_id, caio.service.url, path) | changes
    async with caio.http.post("/api/v1/services", json=document) as answer:
        assert answer.status == 201, await answer.text()


async def test_a_stream_ends_with_its_mark_after_the_outcome_is_durable(caio: Served) -> None:
    await register_chat(caio, "talker", "/stream")
    status, frames, headers = await stream(caio)
    assert status == 200
    assert frames[-1] == b"data: [DONE]"
    assert sum(b'"content": "t' in frame or b'"content":"t' in frame for frame in frames) == 60
    assert not any(b"prompt_tokens" in frame for frame in frames)
    outcome = (await verified(caio, headers["x-caio-decision-id"]))["outcome"]["payload"]
    assert (outcome["status"], outcome["usage"]["output_tokens"]) == ("ok", 60)
    _, frames, _ = await stream(caio, stream_options={"include_usage": True})
    assert any(b"prompt_tokens" in frame for frame in frames)


async def test_a_stream_that_breaks_before_content_is_taken_over_unseen(caio: Served) -> None:
    await register_chat(caio, "breaks", "/cut/0")
    await register_chat(caio, "talks", "/stream", cost=DEAR)
    status, frames, headers = await stream(caio, metadata={"caio": {"objective": {"weights": {"cost": 1}}}})
    assert (status, headers["x-caio-service"]) == (200, "talks@1.0.0")
    assert frames[-1] == b"data: [DONE]"
    attempts = (await verified(caio, headers["x-caio-decision-id"]))["outcome"]["payload"]["attempts"]
    assert [each["service"] for each in attempts] == ["breaks", "talks"]


async def test_a_stream_that_breaks_after_content_ends_with_an_error(caio: Served) -> None:
    await register_chat(caio, "breaks", "/cut/30")
    await register_chat(caio, "talks", "/stream", cost=DEAR)
    _, frames, headers = await stream(caio, metadata={"caio": {"objective": {"weights": {"cost": 1}}}})
    assert b"[DONE]" not in b"".join(frames)
    assert b'"error"' in frames[-1]
    outcome = (await verified(caio, headers["x-caio-decision-id"]))["outcome"]["payload"]
    assert outcome["status"] == "failed"
    assert outcome["usage"]["output_tokens"] > 0


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_was_produced_is_counted(caio: Served, streamed: bool) -> None:
    """Where the service does not count: what was said, what was thought, and what tools were called with."""
    await register_chat(caio, "talks", "/uncounted", cost={"currency": "USD", "per_output_token": "0.000001"})
    _, _, headers = await stream(caio, stream=streamed)
    outcome = (await verified(caio, headers["x-caio-decision-id"]))["outcome"]["payload"]
    assert (outcome["usage"]["output_tokens"], outcome["charged"]) == (300, "0.0003")


async def test_a_caller_who_leaves_a_stream_cancels_it(caio: Served) -> None:
    await register_chat(caio, "stalls", "/stall")
    wanted = {"model": "stalls", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    async with aiohttp.ClientSession() as leaving:
        headers = {"Authorization": f"Bearer {caio.token}"}
        answer = await leaving.post(f"{caio.url}/v1/chat/completions", json=wanted, headers=headers)
        assert await answer.content.readany()
        decision_id = answer.headers["x-caio-decision-id"]
        answer.close()
    await asyncio.wait_for(caio.service.left.wait(), 60)
    for _ in range(200):
        _, decision = await caio.get(f"/api/v1/decisions/{decision_id}")
        if decision["result"] is not None:
            break
        await asyncio.sleep(0.01)
    assert decision["result"]["status"] == "cancelled"
    assert (await books_of(caio.installation)).reserved == 0


async def test_whole_chat_answers_pass_unknown_fields_both_ways(caio: Served) -> None:
    await register_chat(caio, "talker", "/chat")
    body = {"model": "auto:chat", "messages": [{"role": "user", "content": "Hello"}], "logit_bias": {"1": 2}}
    async with caio.http.post("/v1/chat/completions", json=body) as answer:
        document = await answer.json()
    assert document["extra"] == {"kept": True}
    assert caio.service.body["logit_bias"] == {"1": 2}
    assert caio.service.body["model"] == "m"


async def test_sensitive_data_does_not_leave_by_the_openai_surface_either(caio: Served) -> None:
    await register_chat(caio, "cloud", "/chat", privacy={"data_locality": "cloud", "trains_on_data": False})
    body = {"model": "cloud", "messages": [{"role": "user", "content": "Hello"}]}
    async with caio.http.post("/v1/chat/completions", json=body, headers={"x-caio-sensitive": "true"}) as answer:
        error = (await answer.json())["error"]
    assert (answer.status, error["code"]) == (422, "no_service_satisfies")
    assert error["reasons"][0]["clause"] == "sensitivity"
    async with caio.http.post("/v1/chat/completions", json=body, headers={"x-caio-sensitive": "perhaps"}) as answer:
        assert answer.status == 422
    assert not caio.service.received
