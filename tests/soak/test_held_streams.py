"""Streams held at the services' pace, many at once: each token arrives, in its order, and every stream ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.gateway import world
from benchmarks.gateway.held import hold, tokens_for
from benchmarks.gateway.load import Target
from benchmarks.gateway.processes import module
from benchmarks.server import serve

STREAMS = int(os.environ.get("CAIO_SOAK_STREAMS", "1000"))


@pytest.mark.parametrize(
    ("streams", "seconds"),
    [
        pytest.param(50, 1.0, marks=pytest.mark.long),
        pytest.param(STREAMS, 60.0, marks=pytest.mark.soak, id="soak"),
    ],
)
def test_no_token_of_a_held_stream_is_lost(streams: int, seconds: float, tmp_path: Path) -> None:
    tokens = tokens_for(streams, seconds)
    with module("benchmarks.gateway.upstream") as upstream, serve(tmp_path) as served:
        tenant = served.tenant("soak")
        model = world.chat_service(0, upstream.url)
        model["api"]["timeout_ms"] = 300_000  # a stream is held for longer than half a minute, the default
        tenant.ask("/api/v1/services", model)
        template = world.held("auto:chat", tokens, wishes=False)
        held = hold(Target(tenant.url, world.CHAT, [template], tenant.api_key), streams, seconds)
        print(
            f"{held.at_once:,} of {streams:,} streams held at once, {held.ended:,} ended with each of their {tokens:,} "
            f"tokens, {held.lost:,} lost; between tokens p50 {held.gap(50):.0f} ms, p99 {held.gap(99):.0f} ms",
            flush=True,
        )
        assert held.failures == []
        assert (held.at_once, held.ended, held.lost) == (streams, streams, 0)
        assert float(tenant.ask("/api/v1/budget")["reserved"]) == 0
