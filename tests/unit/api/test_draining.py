"""A server that is about to stop: readiness goes first, and connections are let go."""

from __future__ import annotations

from typing import Any

from caio.api.draining import Draining


async def answer_of(app: Draining, path: str) -> tuple[int, dict[bytes, bytes]]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "path": path}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    return sent[0]["status"], dict(sent[0]["headers"])


def draining() -> Draining:
    async def served(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-served", b"yes")]})
        await send({"type": "http.response.body", "body": b""})

    return Draining(served)


async def test_readiness_goes_first() -> None:
    app = draining()
    assert (await answer_of(app, "/health/ready"))[0] == 200
    app.begin()
    for path in ("/health/ready", "/health"):
        assert (await answer_of(app, path))[0] == 503
    for path in ("/health/live", "/api/v1/orchestrate"):
        status, headers = await answer_of(app, path)
        assert (status, headers[b"x-served"]) == (200, b"yes")


async def test_a_connection_is_let_go() -> None:
    app = draining()
    paths = ("/health/ready", "/health/live", "/v1/chat/completions")
    assert [b"connection" in (await answer_of(app, path))[1] for path in paths] == [False] * 3
    app.begin()
    assert [(await answer_of(app, path))[1][b"connection"] for path in paths] == [b"close"] * 3
