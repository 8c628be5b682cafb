"""Cosigners' law about silence; the others are shown through the publisher, in test_publishing.py."""

import asyncio
from ipaddress import ip_network

import pytest

from caio.audit.checkpoint import Checkpoint, sign_checkpoint
from caio.audit.cosigning import QUIET_SECONDS, Cosigners
from caio.audit.ports import LogHead
from caio.audit.signing import SigningKey
from caio.audit.witnessing import witness_key
from caio.providers.outbound import OutboundClient
from caio.providers.witness import WitnessClient
from tests.support.logs import KEYRING, origin_of, root

KEY = witness_key("silent.example", SigningKey.generate(b"1" * 32).public_key)


def head_of(tenant):
    origin, top = origin_of(tenant), root(tenant, 1)
    return LogHead(tenant, origin, 1, top, sign_checkpoint(Checkpoint(origin, 1, top), KEYRING.active), 0)


class Ticks:
    seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
async def silent():
    """A port that takes connections and never answers, and a list with an entry for each."""
    calls = []

    async def listen(_, writer):
        calls.append(writer)

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", calls
    for writer in calls:
        writer.close()
    server.close()
    await server.wait_closed()


async def test_a_silent_witness_is_not_waited_for_by_every_log(stores, silent):
    url, calls = silent
    clock, heads = Ticks(), [head_of(f"t{number}") for number in range(3)]
    async with OutboundClient([ip_network("127.0.0.0/8")]) as outbound:
        witnesses = [WitnessClient(outbound, url, KEY, seconds=0.1)]
        asked = Cosigners(witnesses, stores.log, monotonic=clock)
        for count, seconds in ((1, 0), (1, QUIET_SECONDS - 1), (2, 1)):
            clock.seconds += seconds
            assert [await asked.cosigned(head) for head in heads] == [head.checkpoint for head in heads]
            assert len(calls) == count
