"""A payload goes to the best ranked service that can take it; what none can take is refused with each reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.e2e.conftest import OUTPUT_SCHEMA, Served, chat_contract, contract
from tests.e2e.test_protocols import API, keep_secret
from tests.support.books import books_of
from tests.support.chat_services import AWS_SECRET, TOKEN, HttpStage, Stage, stage

TRANSLATED = ("anthropic", "bedrock")
#: What OpenAI's clients may ask for and neither of the other protocols has words for, with the pointer to it.
UNSAID: dict[str, dict[str, Any]] = {
    "/n": {"n": 2},
    "/logprobs": {"logprobs": True},
    "/logit_bias": {"logit_bias": {"50256": -100}},
}


@pytest.fixture
async def sut(protocol: str, tmp_path: Path) -> AsyncIterator[Stage]:
    (tmp_path / "stage").mkdir()
    async with stage(protocol, tmp_path / "stage") as played:
        yield played


async def _register(caio: Served, sut: Stage, service_id: str = "cheap", price: str = "0.0001") -> None:
    assert isinstance(sut, HttpStage)
    await keep_secret(caio, AWS_SECRET if sut.dialect.name == "bedrock" else TOKEN)
    at = {"protocol": sut.dialect.name, "model": "m", "base_url": sut.target.base_url}
    await _published(caio, chat_contract(service_id, "http://x") | {"api": at | API[sut.dialect.name]}, price)


async def _published(caio: Served, document: dict[str, Any], price: str) -> None:
    document["cost"] = {"currency": "USD", "per_request": price}
    async with caio.http.post("/api/v1/services", json=document) as answer:
        assert answer.status == 201, await answer.text()


async def _chat(caio: Served, **members: Any) -> tuple[int, str, Any]:
    body = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], **members}
    async with caio.http.post("/v1/chat/completions", json=body) as answer:
        return answer.status, await answer.text(), answer.headers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("protocol", TRANSLATED)
async def test_a_payload_goes_to_the_best_service_that_can_take_it(caio: Served, sut: Stage, stream: bool) -> None:
    await _register(caio, sut)
    path = "/stream" if stream else "/chat"
    await _published(caio, chat_contract("able", caio.service.url, path), "0.002")
    status, text, headers = await _chat(caio, n=2, stream=stream)
    assert (status, headers.get("x-caio-service")) == (200, "able@1.0.0"), text
    assert caio.service.body["n"] == 2
    receipt = (await caio.get(f"/api/v1/decisions/{headers['x-caio-decision-id']}/receipt"))[1]
    decision = receipt["decision"]["payload"]
    assert decision["certificate"]["ranked"][0][0] == "cheap"
    assert (decision["service"], decision["passed_over"]) == ("able", 1)
    assert [each["service"] for each in receipt["outcome"]["payload"]["attempts"]] == ["able"]
    assert (await books_of(caio.installation)).reserved == 0


@pytest.mark.parametrize("protocol", TRANSLATED)
async def test_a_service_that_fails_hands_on_to_one_that_can_take_it(caio: Served, sut: Stage) -> None:
    await _published(caio, chat_contract("first", caio.service.url, "/status/500"), "0.0001")
    await _register(caio, sut, "second", "0.0005")
    await _published(caio, chat_contract("third", caio.service.url), "0.002")
    status, text, headers = await _chat(caio, n=2)
    assert (status, headers.get("x-caio-service")) == (200, "third@1.0.0"), text


@pytest.mark.parametrize("pointer", UNSAID)
@pytest.mark.parametrize("protocol", TRANSLATED)
async def test_what_no_service_can_take_is_refused_with_each_reason(caio: Served, sut: Stage, pointer: str) -> None:
    await _register(caio, sut, "one")
    status, text, _ = await _chat(caio, **UNSAID[pointer])
    assert status == 422, text
    error = msgspec.json.decode(text)["error"]
    assert (error["code"], error["errors"][0]["pointer"]) == ("invalid_payload", pointer)
    await _register(caio, sut, "two")
    status, text, _ = await _chat(caio, **UNSAID[pointer])
    assert status == 422, text
    errors = msgspec.json.decode(text)["error"]["errors"]
    assert [each["pointer"] for each in errors] == [pointer] * 2
    assert sorted(each["detail"].partition(":")[0] for each in errors) == ["one", "two"]
    books = await books_of(caio.installation)
    assert (books.spent, books.reserved) == (0, 0)


def _strict(caio: Served, service_id: str) -> dict[str, Any]:
    """A contract whose input schema no payload here keeps."""
    document = contract(service_id, caio.service.url)
    schema = {"type": "object", "required": ["lines"]}
    document["api"]["endpoints"] = [
        {"path": "/counted", "method": "POST", "input_schema": schema, "output_schema": OUTPUT_SCHEMA}
    ]
    return document


async def test_an_input_schema_is_asked_alike(caio: Served) -> None:
    await _published(caio, _strict(caio, "strict"), "0.0001")
    status, document, _ = await caio.orchestrate()
    assert (status, document["code"]) == (422, "invalid_payload"), document
    await _published(caio, contract("lax", caio.service.url), "0.002")
    status, document, headers = await caio.orchestrate()
    assert (status, headers.get("x-caio-service")) == (200, "lax@1.0.0"), document


class Counting:
    """Counts how often it is asked what its protocol has no words for."""

    def __init__(self, translator: Any, asked: list[str]) -> None:
        self._translator, self._asked = translator, asked

    def unsaid(self, target: Any, operation: Any, body: Any) -> Any:
        self._asked.append(target.service_id)
        return self._translator.unsaid(target, operation, body)


@pytest.mark.parametrize("protocol", TRANSLATED)
async def test_a_payload_is_translated_once_for_all_services_that_speak_alike(caio: Served, sut: Stage) -> None:
    """A chat of megabytes takes half a second; a hundred services that cannot take it would take a minute, in which
    nobody else is served."""
    for number in range(12):
        await _register(caio, sut, f"s{number:02}")
    attempts, asked = caio.installation.gateway.attempts, list[str]()
    attempts._translators = {name: Counting(each, asked) for name, each in attempts._translators.items()}  # type: ignore[misc]
    status, text, _ = await _chat(caio, n=2)
    assert (status, len(asked)) == (422, 1), text
    error = msgspec.json.decode(text)["error"]
    assert "none of the 12 services" in error["message"]
    assert len({each["detail"].partition(":")[0] for each in error["errors"]}) == 8


async def test_others_are_served_while_many_services_are_asked(caio: Served) -> None:
    turns, seen = 0, list[int]()

    class Slow:
        def accepts(self, value: Any) -> bool:
            seen.append(turns)
            return False

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    for number in range(5):
        await _published(caio, _strict(caio, f"s{number}"), "0.0001")
    assert (await caio.orchestrate())[0] == 422
    assert (await caio.orchestrate())[1]["errors"][0]["detail"].partition(": ")[2] == "breaks required: lines"
    for endpoint in caio.installation.gateway.attempts._endpoints.values():
        endpoint.rules._input.accepts = Slow().accepts  # type: ignore[union-attr,method-assign]
    waiting = asyncio.create_task(others())
    assert (await caio.orchestrate())[0] == 422
    waiting.cancel()
    assert len(set(seen)) >= 5
