"""An error that comes once the decision is durable names it: whoever got it can look the call up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from caio.audit.ports import Leaf, LeafKind
from caio.foundation.errors import NotReady
from caio.gateway import in_time
from caio.gateway.run import named
from tests.e2e.conftest import Served, chat_contract

CHAT = {"model": "auto:chat", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def appended(caio: Served, monkeypatch: pytest.MonkeyPatch) -> dict[str, float | Exception]:
    """What the store does to leaves of a kind before it takes them: wait for so long, or refuse them."""
    store = caio.installation.journal._store
    append, before = store.append, dict[str, float | Exception]()

    async def slowly(leaves: Sequence[Leaf]) -> list[int]:
        for leaf in leaves:
            what = before.get(leaf.kind, 0.0)
            if isinstance(what, Exception):
                raise what
            await asyncio.sleep(what)
        return list(await append(leaves))

    monkeypatch.setattr(store, "append", slowly)
    return before


async def asked(caio: Served, surface: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    if surface == "native":
        status, problem, _ = await caio._orchestrate(
            {"capability": "text.sentiment", "payload": {"text": "Fine."}}, headers
        )
        return status, problem
    body = CHAT | ({"stream": True} if surface == "stream" else {})
    async with caio.http.post("/v1/chat/completions", json=body, headers=headers) as answer:
        document = await answer.json(content_type=None)
        return answer.status, {**document["error"], "decision_id": answer.headers.get("x-caio-decision-id")}


@pytest.mark.parametrize(
    ("surface", "headers"),
    [("native", {}), ("native", {"idempotency-key": "k"}), ("chat", {}), ("stream", {})],
)
async def test_a_call_that_is_abandoned_names_its_decision(
    caio: Served, monkeypatch, appended: dict[str, float | Exception], surface: str, headers: dict[str, str]
) -> None:
    """Its decision was durable too late, and is journalled."""
    await caio.register("cheap")
    path = "/stream" if surface == "stream" else "/chat"
    async with caio.http.post("/api/v1/services", json=chat_contract("chatty", caio.service.url, path)) as answer:
        assert answer.status == 201
    appended[LeafKind.DECISION] = 0.3
    monkeypatch.setattr(in_time, "GRANT_DURABLE_SECONDS", 0.05)
    status, problem = await asked(caio, surface, headers)
    assert (status, problem["code"]) == (503, "journal_overloaded")
    found, decision = await caio.get(f"/api/v1/decisions/{problem['decision_id']}")
    assert found == 200
    assert decision["decision_id"] == problem["decision_id"]


async def test_a_call_whose_outcome_cannot_be_written_names_its_decision(
    caio: Served, appended: dict[str, float | Exception]
) -> None:
    await caio.register("cheap")
    appended[LeafKind.OUTCOME] = NotReady("The disk is full.")
    status, problem = await asked(caio, "native", {})
    assert (status, problem["code"]) == (503, "not_ready")
    appended.clear()
    assert (await caio.get(f"/api/v1/decisions/{problem['decision_id']}"))[0] == 200


def test_an_error_of_many_calls_names_the_decision_of_each() -> None:
    error = NotReady("The disk is full.", code="journal_failed", retry_after=2)
    first, second = named(error, "dec_1"), named(error, "dec_2")
    assert (first.decision_id, second.decision_id, error.decision_id) == ("dec_1", "dec_2", None)
    assert isinstance(first, NotReady)
    assert (first.message, first.code, first.retry_after) == (error.message, error.code, error.retry_after)
