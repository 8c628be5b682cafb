"""An equal answer again, over HTTP: decided, admitted and journalled, without a call and without a price."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import Served, chat_contract, contract
from tests.support.books import books_of

CACHE = "x-caio-cache"
WANTED = {CACHE: "60"}


async def _receipt(caio: Served, decision_id: str) -> dict[str, Any]:
    document: dict[str, Any] = (await caio.get(f"/api/v1/decisions/{decision_id}/receipt"))[1]
    return document


async def test_a_hit_calls_nobody_and_costs_nothing(caio: Served) -> None:
    await caio.register("only")
    first = await caio.orchestrate(headers=WANTED)
    again = await caio.orchestrate(headers=WANTED)
    origin = first[2]["x-caio-decision-id"]
    assert (first[2][CACHE], again[2][CACHE]) == ("miss", f"hit; from={origin}")
    assert again[1]["output"] == first[1]["output"]
    assert (again[1]["cost"]["amount"], again[1]["attempts"]) == ("0", 0)
    assert again[2]["x-caio-decision-id"] != origin
    assert len(caio.service.received) == 1
    books = await books_of(caio.installation)
    assert (books.spent, books.reserved) == (1_000_000, 0)


async def test_the_outcome_names_the_decision_whose_answer_it_is(caio: Served) -> None:
    await caio.register("only")
    origin = (await caio.orchestrate(headers=WANTED))[2]["x-caio-decision-id"]
    receipt = await _receipt(caio, (await caio.orchestrate(headers=WANTED))[2]["x-caio-decision-id"])
    outcome = receipt["outcome"]["payload"]
    assert outcome["answer_from"] == origin
    assert (outcome["attempts"], outcome["charged"], outcome["status"]) == ([], "0", "ok")
    assert outcome["usage"] == {"input_tokens": 0, "output_tokens": 0, "milliseconds": 0}
    assert "answer_from" not in (await _receipt(caio, origin))["outcome"]["payload"]


@pytest.mark.parametrize(
    ("headers", "changes"),
    [
        ({}, {}),
        (WANTED, {"payload": {"text": "Fine!"}}),
        (WANTED, {"sensitive": True}),
    ],
)
async def test_without_the_wish_or_with_another_payload_it_is_called(
    caio: Served, headers: dict[str, str], changes: dict[str, Any]
) -> None:
    await caio.register("only")
    await caio.orchestrate(headers=WANTED)
    assert (await caio.orchestrate(headers=headers, **changes))[0] == 200
    assert len(caio.service.received) == 2


async def test_sensitive_answers_are_not_kept(caio: Served) -> None:
    await caio.register("only")
    for _ in range(2):
        await caio.orchestrate(headers=WANTED, sensitive=True)
    await caio.orchestrate(headers=WANTED)
    assert len(caio.service.received) == 3


async def test_another_version_of_the_contract_is_called(caio: Served) -> None:
    await caio.register("only")
    await caio.orchestrate(headers=WANTED)
    newer = contract("only", caio.service.url) | {"version": "1.0.1"}
    async with caio.http.put("/api/v1/services/only", json=newer, headers={"If-Match": '"1"'}) as answer:
        assert answer.status == 200, await answer.text()
    assert (await caio.orchestrate(headers=WANTED))[2]["x-caio-service"] == "only@1.0.1"
    assert len(caio.service.received) == 2


async def test_only_faultless_answers_are_kept(caio: Served) -> None:
    await caio.register("only", path="/echo")
    for _ in range(2):
        _, document, _ = await caio.orchestrate(headers=WANTED, on_violation="report")
        assert document["violations"]
    assert len(caio.service.received) == 2


@pytest.mark.parametrize("stated", ["0", "-1", "1.5", "soon", "86401", "999999999999", ""])
async def test_a_wish_that_says_nothing_is_refused(caio: Served, stated: str) -> None:
    await caio.register("only")
    status, document, _ = await caio.orchestrate(headers={CACHE: stated})
    assert (status, document["code"]) == (422, "invalid_header")
    assert not caio.service.received


async def test_openai_clients_ask_with_the_same_header_but_not_for_streams(caio: Served) -> None:
    async with caio.http.post("/api/v1/services", json=chat_contract("talker", caio.service.url)) as answer:
        assert answer.status == 201
    body = {"model": "talker", "messages": [{"role": "user", "content": "Hello"}]}
    told = []
    for _ in range(2):
        async with caio.http.post("/v1/chat/completions", json=body, headers=WANTED) as answer:
            assert answer.status == 200, await answer.text()
            told.append((answer.headers[CACHE].partition(";")[0], await answer.json()))
    assert [each[0] for each in told] == ["miss", "hit"]
    assert told[0][1] == told[1][1]
    async with caio.http.post("/v1/chat/completions", json=body | {"stream": True}, headers=WANTED) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (422, "cache_not_for_streams")
