"""Each 503 says when to come back, on every surface: here those of a journal that records nothing any more."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import Served, chat_contract

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
NATIVE = {"request": {"capability": "chat", "payload": {"messages": CHAT["messages"]}}}
CALLS: list[tuple[str, str, Any]] = [
    ("POST", "/api/v1/orchestrate", NATIVE),
    ("POST", "/api/v1/route", {"request": {"capability": "chat"}}),
    ("POST", "/v1/chat/completions", CHAT),
    ("POST", "/v1/chat/completions", CHAT | {"stream": True}),
    ("POST", "/v1/responses", {"model": "auto", "input": "Hi"}),
    ("GET", "/api/v1/audit/export", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
async def test_each_503_of_the_journal_says_when_to_come_back(caio: Served, method: str, path: str, body: Any) -> None:
    service = "/stream" if body is not None and body.get("stream") else "/chat"
    async with caio.http.post("/api/v1/services", json=chat_contract("talker", caio.service.url, service)) as answer:
        assert answer.status == 201, await answer.text()
    await caio.installation.journal.stop()
    async with caio.http.request(method, path, json=body) as answer:
        assert answer.status == 503, await answer.text()
        assert int(answer.headers["Retry-After"]) >= 1
