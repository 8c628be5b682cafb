"""Whoever changes what an application sends leaves it no way around that."""

from __future__ import annotations

from typing import Any

import pytest

from caio.api.asgi import EXCHANGE
from caio.api.cors import with_cors
from caio.api.draining import Draining


@pytest.mark.parametrize("changes", ["nothing", "connection: close", "vary: Origin"])
async def test_who_gives_another_send_takes_the_exchange_out(changes):
    seen = []

    async def app(scope, receive, send):
        seen.append(EXCHANGE in scope)

    draining = Draining(with_cors(app, ["https://app.example"] if changes == "vary: Origin" else []))
    if changes == "connection: close":
        draining.begin()
    scope = {"type": "http", "path": "/v1/chat/completions", "method": "POST", "headers": [], EXCHANGE: object()}
    nobody: Any = app  # is received from, or sent to
    await draining(scope, nobody, nobody)
    assert seen == [changes == "nothing"]
