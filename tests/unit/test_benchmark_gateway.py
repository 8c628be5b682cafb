"""The gateway's benchmark: what it asks for is varied and answerable, and what it watches for would be seen."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from benchmarks.gateway import held, upstream, world
from benchmarks.gateway.load import Target
from benchmarks.gateway.profile import by_room
from caio.api.wanted import from_orchestrate
from caio.contracts import parse_contract, parse_policy
from caio.routing.engine import compile_snapshot, decide
from caio.routing.model import History
from caio.routing.offers import offer_of
from caio.routing.policies import compile_policy
from caio.tenancy.authentication import embedded_caller
from caio.tenancy.ports import Quotas, Tenant, TenantStatus


def test_each_request_finds_a_service_and_not_always_the_same() -> None:
    contracts = [parse_contract(json.dumps(world.service(number, "http://127.0.0.1:1"))) for number in range(10)]
    policies = [parse_policy(json.dumps(world.policy(number))) for number in range(world.POLICIES)]
    snapshot = compile_snapshot(
        "default",
        [offer_of("default", each.value.document(), each.value.digest) for each in contracts],
        [compile_policy(each.value.document(), each.value.digest) for each in policies],
    )
    caller = embedded_caller(Tenant("default", "Default", TenantStatus.ACTIVE, "USD", Quotas(), 0))
    winners: Counter[str] = Counter()
    for number, template in enumerate(world.sorts(world.native)[:200]):
        request = from_orchestrate(template.body(number), caller).request
        winner = decide(snapshot, request, caller.principal, History(), []).winner
        assert winner is not None, template
        winners[winner.offer.service_id] += 1
    assert len(winners) >= 3, winners
    assert winners.most_common(1)[0][1] < 150, winners


def test_no_two_requests_are_the_same() -> None:
    for of in (world.native, world.chat, world.payload):
        bodies = {template.body(number) for number, template in enumerate(world.sorts(of))}
        assert len(bodies) == len({body.translate(None, b"0123456789") for body in bodies}) == world.SORTS


async def received(target: Target) -> tuple[held.Held, int, bool]:
    """What a client of held streams makes of one stream of the service."""
    of = held.Held(1, noting=True)
    stream = held._Stream(of)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: stream, "127.0.0.1", int(target.url.rpartition(":")[2]))
    body = target.templates[0].body(1)
    stream.transport.write(b"%b%d\r\n\r\n%b" % (target.head(), len(body), body))
    await asyncio.wait_for(stream.ended, 10)
    stream.transport.close()
    return of, stream.count, stream.complete


@pytest.mark.parametrize("left_out", [None, 3])
async def test_a_token_that_is_left_out_is_seen(left_out: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    pace, tokens, delta = upstream.Pace(), 6, upstream._delta

    def cut(content: bytes, finish: bytes = b"null") -> bytes:
        return b"" if content.startswith(b'"content":"%d ' % (left_out or -1)) else delta(content, finish)

    monkeypatch.setattr(upstream, "_delta", cut)
    keeping = asyncio.create_task(pace.keep())
    server = await asyncio.get_running_loop().create_server(lambda: upstream.Responder(pace), "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        template = world.held("mock", tokens, wishes=False)
        of, count, complete = await received(Target(url, world.CHAT, [template]))
    keeping.cancel()
    assert (count, complete) == ((tokens, True) if left_out is None else (left_out, False))
    assert len(of.ways) == (tokens if left_out is None else tokens - 1)


def test_a_sample_belongs_to_the_innermost_room() -> None:
    stacks = """\
<module> (caio/__main__.py:7);serve (caio/cli/serve.py:60);call (caio/api/hot_paths.py:9);dumps (json/__init__.py:2) 3
main (caio/cli/main.py:7);run (caio/cli/serve.py:60);get (aiohttp/client.py:9);resolve (caio/providers/outbound.py:1) 2
<module> (caio/__main__.py:7);serve (caio/cli/serve.py:60);run (uvloop/__init__.py:90) 4
run (threading.py:1);_work (/x/site-packages/aiosqlite/core.py:5) 1
"""
    assert by_room(stacks) == {"api": 3, "providers": 2, "event loop": 4, "storage: driver": 1}
