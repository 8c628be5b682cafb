"""The request path at its edges: odd bodies, callers who leave at the worst moment, broken parts."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import yarl

from caio.api.openai.chat import from_chat
from caio.api.wanted import from_orchestrate
from caio.audit.ports import Leaf
from caio.foundation.errors import NotReady
from caio.gateway.run import Answer, Wanted
from caio.gateway.streams import _Upstream
from caio.tenancy.authentication import embedded_caller, embedded_scope
from tests.e2e.conftest import Served, chat_contract, contract
from tests.support.books import books_of

CHAT = b'{"model": "auto", "messages": [{"role": "user", "content": "Hello"}], "stream": true}'
CALL = b'{"request": {"capability": "text.sentiment", "payload": {"text": "Fine."}}}'
GO = asyncio.Event


class Gate:
    """The journal's store, held until ``open`` is set; ``reached`` says that somebody waits."""

    def __init__(self, caio: Served, patch: pytest.MonkeyPatch, *, passing: int = 0, broken: bool = False) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()
        store = caio.installation.stores.journal
        append: Callable[[Sequence[Leaf]], Any] = store.append
        seen = 0

        async def held(leaves: Sequence[Leaf]) -> Sequence[int]:
            nonlocal seen
            seen += 1
            if seen > passing:
                self.reached.set()
                await self.open.wait()
                if broken:
                    raise NotReady("The disk is full.")
            return await append(leaves)  # type: ignore[no-any-return]

        patch.setattr(store, "append", held)


async def caller(caio: Served) -> Any:
    return embedded_caller(await caio.installation.stores.tenants.get(embedded_scope()))


async def chat(caio: Served) -> Wanted:
    """A streamed chat, as the surface reads it."""
    return await from_chat(caio.installation.model_names, CHAT, {}, await caller(caio))


async def last_outcome(caio: Served) -> Any:
    for _ in range(200):
        rows = await caio.installation.decisions.page(embedded_scope(), None, 1)
        if rows and rows[0][1] is not None:
            return rows[0][1]
        await asyncio.sleep(0.01)
    raise AssertionError("the call has no outcome")


async def reserved(caio: Served) -> int:
    return (await books_of(caio.installation)).reserved


async def register_chat(caio: Served, service_id: str, path: str, **changes: Any) -> None:
    document = chat_contract(service_id, caio.service.url, path) | changes
    async with caio.http.post("/api/v1/services", json=document) as answer:
        assert answer.status == 201, await answer.text()


@pytest.mark.parametrize("payload", [None, "text", 7, [1, 2], True])
async def test_a_payload_may_be_any_json(caio: Served, payload: Any) -> None:
    await caio.register("only")
    status, answer, _ = await caio.orchestrate(payload=payload)
    assert (status, caio.service.body) == (200, payload), answer
    assert await reserved(caio) == 0


async def test_an_openai_service_is_not_asked_with_anything_but_an_object(caio: Served) -> None:
    await register_chat(caio, "talker", "/chat")
    status, problem, _ = await caio.orchestrate(capability="chat", payload=["Hello"])
    assert (status, problem["code"], problem["fault"]) == (422, "upstream_failed", "invalid")
    assert (await last_outcome(caio)).status == "failed"
    assert await reserved(caio) == 0


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999", b"-1e999"])
async def test_a_number_that_json_does_not_know_is_the_callers_mistake(caio: Served, number: bytes) -> None:
    await register_chat(caio, "talker", "/chat")
    body = CHAT.replace(b'"stream": true', b'"temperature": ' + number)
    async with caio.http.post("/v1/chat/completions", data=body) as answer:
        assert answer.status == 422, await answer.text()


@pytest.mark.parametrize(
    "stated",
    [{"policies": 5}, {"requirements": {"features": 5}}, {"requirements": {"features": {"a": 1}}}, {"policies": "x"}],
)
async def test_metadata_of_the_wrong_type_is_the_callers_mistake(caio: Served, stated: Any) -> None:
    await register_chat(caio, "talker", "/chat")
    body = {"model": "auto", "messages": [{}], "metadata": {"caio": stated}, "tools": [{"type": "function"}]}
    async with caio.http.post("/v1/chat/completions", json=body, headers={"x-caio-policy": "a"}) as answer:
        assert answer.status == 422, await answer.text()
        assert (await answer.json())["error"]["code"] == "invalid_request"


async def test_a_break_within_the_program_settles_the_call(caio: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    await caio.register("only")

    async def broken(run: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(caio.installation.gateway.attempts, "call", broken)
    status, problem, _ = await caio.orchestrate()
    assert (status, problem["code"]) == (500, "internal_error")
    assert (await last_outcome(caio)).status == "failed"
    assert await reserved(caio) == 0


async def test_a_break_while_rendering_settles_the_call(caio: Served) -> None:
    await caio.register("only")

    def broken(answer: Answer) -> bytes:
        raise ZeroDivisionError

    wanted = replace(from_orchestrate(CALL, await caller(caio)), render=broken)
    with pytest.raises(ZeroDivisionError):
        await caio.installation.gateway.orchestrate(wanted)
    assert (await last_outcome(caio)).status == "failed"
    assert await reserved(caio) == 0


async def assert_leaving_is_settled(caio: Served, gate: Gate, calling: asyncio.Task[Any]) -> None:
    """The caller leaves while the decision's write is held up, and the service has answered."""
    await asyncio.wait_for(gate.reached.wait(), 60)
    async with asyncio.timeout(10):
        while not caio.service.received:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)  # the service has answered; only the write is still to come
    calling.cancel()
    await asyncio.sleep(0.05)
    gate.open.set()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert (await last_outcome(caio)).status == "cancelled"
    assert await reserved(caio) == 0


async def test_a_caller_who_leaves_while_the_decision_is_written_leaves_an_outcome(
    caio: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await caio.register("only")
    gate = Gate(caio, monkeypatch)
    wanted = from_orchestrate(CALL, await caller(caio))
    calling = asyncio.create_task(caio.installation.gateway.orchestrate(wanted))
    await assert_leaving_is_settled(caio, gate, calling)


async def test_a_caller_who_leaves_while_a_streams_decision_is_written_leaves_an_outcome(
    caio: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register_chat(caio, "talker", "/stream")
    gate = Gate(caio, monkeypatch)
    wanted = await chat(caio)
    calling = asyncio.create_task(caio.installation.streams.open(wanted))
    await assert_leaving_is_settled(caio, gate, calling)


async def test_a_stream_that_is_closed_before_it_is_read_is_settled(caio: Served) -> None:
    await register_chat(caio, "stalls", "/stall")
    opened = await caio.installation.streams.open(await chat(caio))
    assert await reserved(caio) > 0
    await opened.frames.aclose()
    await asyncio.wait_for(caio.service.left.wait(), 60)
    assert (await last_outcome(caio)).status == "cancelled"
    assert await reserved(caio) == 0


async def test_a_stream_whose_outcome_cannot_be_written_ends_with_an_error(
    caio: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not cut: whoever reads it is told, and is not told that it is complete."""
    await register_chat(caio, "talker", "/stream")
    gate = Gate(caio, monkeypatch, passing=1, broken=True)
    gate.open.set()
    async with caio.http.post("/v1/chat/completions", data=CHAT) as answer:
        frames = (await answer.read()).split(b"\n\n")
    assert frames[-1] == b""
    told = msgspec.json.decode(frames[-2].removeprefix(b"data: "))["error"]
    assert (told["message"], told["code"], told["type"]) == ("The disk is full.", "not_ready", "api_error")
    assert told["decision_id"] == answer.headers["x-caio-decision-id"]
    assert b"data: [DONE]" not in frames
    assert await reserved(caio) == 0


async def test_a_stream_that_breaks_within_the_program_has_failed(
    caio: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register_chat(caio, "talker", "/stream")
    opened = await caio.installation.streams.open(await chat(caio))

    def broken(self: Any, chunk: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(_Upstream, "note", broken)
    with pytest.raises(ZeroDivisionError):
        _ = [frame async for frame in opened.frames]
    assert (await last_outcome(caio)).status == "failed"
    assert await reserved(caio) == 0


async def test_a_program_error_before_a_streams_content_settles_the_call(
    caio: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register_chat(caio, "talker", "/stream")

    def broken(self: Any, chunk: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(_Upstream, "note", broken)
    async with caio.http.post("/v1/chat/completions", data=CHAT) as answer:
        assert answer.status == 500
    assert (await last_outcome(caio)).status == "failed"
    assert await reserved(caio) == 0


async def test_an_outcome_that_cannot_be_written_releases_no_answer(
    caio: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await caio.register("only")
    gate = Gate(caio, monkeypatch, passing=1, broken=True)
    gate.open.set()
    status, problem, _ = await caio.orchestrate()
    assert (status, problem["code"]) == (503, "not_ready")
    assert await reserved(caio) == 0


async def test_a_key_gives_the_first_answer_when_the_caller_left_as_it_was_written(
    caio: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await caio.register("only")
    gate = Gate(caio, monkeypatch, passing=1)
    wanted = from_orchestrate(CALL, await caller(caio), "once", "f")
    calling = asyncio.create_task(caio.installation.gateway.orchestrate(wanted))
    await asyncio.wait_for(gate.reached.wait(), 60)
    calling.cancel()
    await asyncio.sleep(0.1)
    gate.open.set()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await last_outcome(caio)
    assert (await caio.installation.gateway.orchestrate(wanted)).replayed
    assert len(caio.service.received) == 1


async def test_a_key_is_free_again_when_the_caller_left_as_it_was_claimed(
    caio: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await caio.register("only")
    store = caio.installation.stores.idempotency
    claim, claimed = store.claim, asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        kept = await claim(*arguments)
        claimed.set()
        await asyncio.sleep(0.2)
        return kept

    monkeypatch.setattr(store, "claim", slow)
    wanted = from_orchestrate(CALL, await caller(caio), "once", "f")
    calling = asyncio.create_task(caio.installation.gateway.orchestrate(wanted))
    await asyncio.wait_for(claimed.wait(), 60)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert not (await caio.installation.gateway.orchestrate(wanted)).replayed


async def test_a_key_gives_the_first_answer_although_the_service_has_left(caio: Served) -> None:
    await caio.register("only")
    key = {"Idempotency-Key": "once"}
    _, first, _ = await caio.orchestrate(headers=key)
    async with caio.http.delete("/api/v1/services/only") as answer:
        assert answer.status == 200
    assert (await caio.orchestrate(headers=key))[1] == first


async def test_a_refused_call_frees_its_idempotency_key(caio: Served) -> None:
    key = {"Idempotency-Key": "once"}
    assert (await caio.orchestrate(headers=key))[0] == 422
    await caio.register("only")
    assert (await caio.orchestrate(headers=key))[0] == 200


async def test_a_key_is_bound_to_its_caller_and_to_the_wishes_in_headers(caio: Served) -> None:
    await register_chat(caio, "talker", "/chat")
    async with caio.http.post("/api/v1/keys", json={"name": "other"}) as answer:
        other = (await answer.json())["token"]
    body = CHAT.replace(b'"stream": true', b'"stream": false')
    statuses = []
    for more in ({}, {"x-caio-sensitive": "true"}, {"Authorization": f"Bearer {other}"}, {}):
        async with caio.http.post("/v1/chat/completions", data=body, headers={"Idempotency-Key": "k", **more}) as got:
            statuses.append((got.status, (await got.json()).get("error", {}).get("code")))
    reused = (422, "idempotency_key_reused")
    assert statuses == [(200, None), reused, reused, (200, None)]


async def test_a_service_with_room_is_passed_over_when_it_does_not_take_the_payload(caio: Served) -> None:
    limits = {"rate_limit": {"per_minute": 1}}
    await caio.register("cheap", constraints=limits)
    document = contract("picky", caio.service.url) | {"cost": {"currency": "USD", "per_request": "0.002"}}
    document["api"]["endpoints"][0]["input_schema"] = {"type": "object", "required": ["language"]}
    async with caio.http.post("/api/v1/services", json=document) as answer:
        assert answer.status == 201, await answer.text()
    objective = {"weights": {"cost": 1}}
    assert (await caio.orchestrate(objective=objective))[0] == 200
    assert (await caio.orchestrate(objective=objective))[0] == 429
    assert len(caio.service.received) == 1


async def test_the_body_limit_holds_on_every_route_and_strangers_are_not_read(caio: Served) -> None:
    for path in ("/api/v1/keys", "/api/v1/services", "/api/v1/route", "/api/v1/orchestrate", "/v1/embeddings"):
        big = io.BytesIO(b"x" * (caio.installation.max_body_bytes + 1))
        async with caio.http.post(path, data=big) as answer:
            assert answer.status == 413, path
    async with caio.http.post("/api/v1/keys", data=b"{", headers={"Authorization": "Bearer no"}) as answer:
        assert answer.status == 401


@pytest.mark.parametrize(
    "body", [b"\xff", b"[" * 100_000, b'{"name": "\\ud800"}', b'{"name": 1' + b"0" * 5000 + b"}", b"", b"null"]
)
async def test_a_key_is_not_made_from_nonsense(caio: Served, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    async with caio.http.post("/api/v1/keys", data=body, headers=headers) as answer:
        assert answer.status == 422, await answer.text()


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/decisions/a%00b",
        "/api/v1/services?after=%00",
        "/api/v1/services?tag=%00",
        "/api/v1/keys?after=%00",
        "/api/v1/audit/entries?service=a%00b",
        "/api/v1/audit/export?principal=a%00b",
        "/api/v1/decisions?before=1.%00",
    ],
)
async def test_no_address_holds_a_nul(caio: Served, path: str) -> None:
    async with caio.http.get(yarl.URL(caio.url + path, encoded=True)) as answer:
        assert answer.status == 422, await answer.text()
    async with caio.http.post("/api/v1/keys", json={"name": "a\0b"}) as answer:
        assert answer.status == 422


async def test_hot_paths_say_which_method_they_take(caio: Served) -> None:
    for path in ("/api/v1/orchestrate", "/v1/chat/completions", "/v1/embeddings"):
        async with caio.http.get(path) as answer:
            assert (answer.status, answer.headers.get("Allow")) == (405, "POST"), path


@pytest.mark.parametrize("version", ["1.0.0\n", "1.0.0\r\nx: y"])
async def test_a_version_cannot_break_out_of_its_header(caio: Served, version: str) -> None:
    document = contract("only", caio.service.url) | {"version": version}
    async with caio.http.post("/api/v1/services", json=document) as answer:
        assert answer.status == 422
