"""The gateway: the direct call, a bare relay, CAIO and its peers, taking turns in one run."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.frame import Report
from benchmarks.gateway import world
from benchmarks.gateway.load import Target
from benchmarks.gateway.processes import module
from benchmarks.gateway.sides import Side, take_turns
from benchmarks.server import serve


def main(quick: bool) -> int:
    report = Report("gateway")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        upstream = running.enter_context(module("benchmarks.gateway.upstream"))
        relay = running.enter_context(module("benchmarks.gateway.relay", str(upstream.port)))
        served = running.enter_context(serve(Path(folder)))
        tenant = served.tenant("bench")
        world.furnish(tenant, upstream.url)
        payloads, natives, chats = world.sorts(world.payload), world.sorts(world.native), world.sorts(world.chat)
        plain = world.sorts(world.chat, "mock", wishes=False)
        sides = [
            Side("direct", Target(upstream.url, "/classify", payloads), upstream.pid),
            Side("relay", Target(relay.url, "/classify", payloads), relay.pid),
            Side("CAIO", Target(tenant.url, "/api/v1/orchestrate", natives, tenant.api_key), served.pid),
            Side("relay, chat", Target(relay.url, "/v1/chat/completions", plain), relay.pid),
            Side("CAIO, chat", Target(tenant.url, "/v1/chat/completions", chats, tenant.api_key), served.pid),
        ]
        for side in sides:
            side.warm_up()
        take_turns(sides, rounds=3 if quick else 7, seconds=1.0 if quick else 3.0)
        take_turns(sides, rounds=3 if quick else 7, seconds=1.0 if quick else 3.0, single=True)
        for side in sides:
            report.note(f"{side.name}: throughput", side.rate, "calls/s")
            report.note(f"{side.name}: processor", side.cost, "µs/call")
            report.note(f"{side.name}: added p50", side.added(50, sides[0]), "ms")
            report.note(f"{side.name}: added p99", side.added(99, sides[0]), "ms")
        report.at_least("rate", 100 * sides[2].rate_to(sides[1]), "% of the floor", 45)
        report.at_least("cost", 100 * sides[2].cost_to(sides[1]), "% of the floor", 45)
        report.at_least("chat rate", 100 * sides[4].rate_to(sides[3]), "% of the floor", 45)
        report.at_least("chat cost", 100 * sides[4].cost_to(sides[3]), "% of the floor", 45)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main(quick="--quick" in sys.argv))
