"""Streams held at the services' pace, many at once: each token arrives, in its order, and every stream ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.gateway import world
from benchmarks.gateway.held import MOST_TOKENS, hold
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
    with module("benchmarks.gateway.upstream") as upstream, serve(tmp_path) as served:
        tenant = served.tenant("soak")
        tenant.ask("/api/v1/services", world.chat_service(0, upstream.url))
        template = world.held("auto:chat", MOST_TOKENS, wishes=False)
        target = Target(tenant.url, world.CHAT, [template], tenant.api_key)
        held = hold(target, streams, seconds, upstream.url, {"server": served.pid, "service": upstream.pid})
        print(
            f"{held.at_once:,} of {streams:,} streams held at once, opened in {held.opening_seconds:.1f} s with "
            f"{held.refused:,} refusals; "
            f"{held.ended:,} ended with each of their tokens, {held.lost:,} tokens lost of the others; "
            f"between tokens p50 {held.gap(50):.0f} ms, p99 {held.gap(99):.0f} ms; "
            f"way p50 {held.way(50):.1f} ms, p99 {held.way(99):.1f} ms; processor a token "
            + ", ".join(f"{name} {cost:.0f} µs" for name, cost in held.costs.items()),
            flush=True,
        )
        assert held.failures == []
        assert (held.at_once, held.ended, held.lost) == (streams, streams, 0)
        assert float(tenant.ask("/api/v1/budget")["reserved"]) == 0
