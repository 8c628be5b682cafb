"""Anchoring, cosigning, and comparing logs with their anchors: real stores, directories and witnesses."""

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from ipaddress import ip_network

import pytest
from sqlalchemy import delete
from structlog.testing import capture_logs

from caio.audit import forks
from caio.audit.anchor_directory import DirectoryAnchor
from caio.audit.anchoring import folder_of, name_of
from caio.audit.checkpoint import Checkpoint, read_checkpoint, sign_checkpoint
from caio.audit.signing import SigningKey
from caio.audit.witnessing import cosigners
from caio.foundation.errors import NotReady
from caio.foundation.scope import PlatformScope
from caio.providers.outbound import OutboundClient
from caio.providers.witness import WitnessClient
from caio.storage.sql import Database, open_stores
from caio.storage.sql.tables import log_heads, log_tiles
from tests.support.logs import KEYRING, Faulty, act_leaf, append, origin_of, root, sequencer, signed_heads
from tests.support.witness_server import witness_server

NEVER = 3600


@pytest.fixture
def anchor(tmp_path):
    return Faulty(DirectoryAnchor(tmp_path / "anchors"))


@asynccontextmanager
async def running(stores, anchor, **options):
    one = sequencer(stores.log, anchor=anchor, **{"anchor_every_seconds": 0.02, **options})
    await one.start()
    yield one
    await one.stop()


@asynccontextmanager
async def copy_of(tmp_path, name="copy.db"):
    """The stores over a copy of the test's database as it is now, to be changed apart."""
    with closing(sqlite3.connect(tmp_path / "caio.db")) as connection:
        connection.execute("VACUUM INTO ?", (str(tmp_path / name),))
    database = await Database.open(f"sqlite:///{tmp_path / name}")
    yield open_stores(database)
    await database.close()


async def latest(anchor, tenant="acme"):
    note = await anchor._real.latest(origin_of(tenant))
    return note and read_checkpoint(note).checkpoint.size


async def rewritten(stores, start, end):
    """Append leaves other than ``append`` would."""
    await stores.journal.append(
        [replace(act_leaf("acme", number), commitment=number.to_bytes(32)) for number in range(start, end)]
    )


async def test_what_grew_is_anchored(stores, anchor, wait_for_async):
    async with running(stores, anchor) as one:
        for start, size in ((0, 1), (1, 4)):
            await append(stores, "acme", start, size)
            await one.take_in("acme")

            async def is_there(size=size):
                return await latest(anchor) == size

            await wait_for_async(is_there)
        puts = anchor.calls.count("put")
        await asyncio.sleep(0.1)
        assert anchor.calls.count("put") == puts
        assert one.anchor_failing is None
    note = await anchor._real.latest(origin_of("acme"))
    assert note == (await signed_heads(stores.log))["acme"].checkpoint
    assert await latest(anchor, "other") is None


async def test_what_a_crash_left_is_anchored(stores, anchor, wait_for_async):
    async with running(stores, None) as one:
        await append(stores, "acme", 0, 3)
        await one.take_in("acme")
    async with running(stores, anchor):

        async def is_there():
            return await latest(anchor) == 3

        await wait_for_async(is_there)


async def test_stopping_anchors_the_last(stores, anchor):
    async with running(stores, anchor, anchor_every_seconds=NEVER, every_seconds=NEVER):
        await asyncio.sleep(0.05)
        await append(stores, "acme", 0, 3)
    assert await latest(anchor) == 3


async def test_a_failing_anchor_is_tried_again(stores, anchor, monkeypatch, wait_for_async):
    monkeypatch.setattr(forks, "_QUIET_SECONDS", 0.02)
    anchor.away = NotReady("away")
    with capture_logs() as lines:
        async with running(stores, anchor) as one:
            await append(stores, "acme", 0, 3)
            await one.take_in("acme")  # a_silent_anchor_stops_nothing
            assert (await signed_heads(stores.log))["acme"].size == 3
            await wait_for_async(lambda: one.anchor_failing)
            await asyncio.sleep(0.1)
            assert one.faults == {}
            assert one.failing is None
            anchor.away = None
            await wait_for_async(lambda: one.anchor_failing is None)
            assert await latest(anchor) == 3
    events = [line["event"] for line in lines]
    assert (events.count("anchor_failing"), events.count("anchor_recovered")) == (1, 1)


async def test_a_conflict_stops_its_log(stores, anchor, wait_for_async):
    async with running(stores, anchor, anchor_every_seconds=NEVER) as one:
        await append(stores, "acme", 0, 1)
        await append(stores, "other", 0, 1)
        await one.take_in("acme")
        forged = sign_checkpoint(Checkpoint(origin_of("acme"), 2, bytes(32)), KEYRING.active)
        await anchor._real.put(origin_of("acme"), 2, forged)
        await append(stores, "acme", 1, 2)
        await one.take_in("acme")
        await one._publisher.round()
        assert one.faults["acme"].code == "log_forked"
        await append(stores, "acme", 2, 3)
        await one.take_in("acme")
        await append(stores, "other", 1, 2)
        await one.take_in("other")
    assert {name: head.size for name, head in (await signed_heads(stores.log)).items()} == {"acme": 2, "other": 2}


async def anchored(stores, anchor, size):
    """A log of ``size`` leaves, anchored."""
    await append(stores, "acme", 0, size)
    async with running(stores, anchor):
        pass
    assert await latest(anchor) == size


@pytest.mark.parametrize("grows", [True, False])
async def test_a_log_that_was_set_back_is_not_signed(stores, anchor, tmp_path, grows, wait_for_async):
    await append(stores, "acme", 0, 6)
    async with running(stores, None):
        pass
    async with copy_of(tmp_path) as restored:
        await append(stores, "acme", 6, 300)
        async with running(stores, anchor):
            pass
        if grows:
            await append(restored, "acme", 6, 9)
        async with running(restored, anchor) as one:
            await wait_for_async(lambda: one.faults)
            assert one.faults["acme"].code == "log_forked"
            await append(restored, "other", 0, 1)
            await one.take_in("other")
        assert {name: head.size for name, head in (await signed_heads(restored.log)).items()} == {"acme": 6, "other": 1}
    assert await latest(anchor) == 300


@pytest.mark.parametrize("end", [300, 301, 600])
@pytest.mark.parametrize("tree", ["kept", "grown", "dropped"])
async def test_a_log_that_was_rewritten_is_not_signed(stores, anchor, tmp_path, tree, end, wait_for_async):
    await append(stores, "acme", 0, 6)
    async with running(stores, None):
        pass
    async with copy_of(tmp_path) as other:
        await append(stores, "acme", 6, 300)
        async with running(stores, anchor):
            pass
        await rewritten(other, 6, end)
        if tree == "grown":
            async with running(other, None):
                pass
            await rewritten(other, end, end + 1)
        elif tree == "dropped":
            await drop_trees(other)
        async with running(other, anchor) as one:
            await wait_for_async(lambda: one.faults)
            assert one.faults["acme"].code in {"log_forked", "log_broken"}
        sizes = {head.tenant_id: head.size for head in await other.log.heads("", 10)}
        assert sizes == {"kept": {"acme": 6}, "grown": {"acme": end}, "dropped": {}}[tree]
    assert await latest(anchor) == 300


async def drop_trees(stores):
    async with stores.tenants._database.writing(PlatformScope("test")) as connection:
        for table in (log_heads, log_tiles):
            await connection.execute(delete(table))


@pytest.mark.parametrize("size", [1, 255, 256, 300])
@pytest.mark.parametrize("more", [0, 1, 400])
async def test_an_honest_log_passes(stores, anchor, size, more):
    await anchored(stores, anchor, size)
    await append(stores, "acme", size, size + more)
    async with running(stores, anchor) as one:
        await one.take_in("acme")
        assert one.faults == {}
    assert await latest(anchor) == size + more
    await drop_trees(stores)  # built anew, it must pass through what was anchored
    async with running(stores, anchor, share=100, step=100) as one:
        await one.take_in("acme")
        assert one.faults == {}
    heads = await signed_heads(stores.log)
    assert (heads["acme"].size, heads["acme"].root) == (size + more, root("acme", size + more))


async def test_a_silent_anchor_stops_nothing(stores, anchor, tmp_path, monkeypatch, wait_for_async):
    """But nothing is anchored before the comparison was made up for."""
    monkeypatch.setattr(forks, "_QUIET_SECONDS", 0.02)
    async with copy_of(tmp_path) as other:
        await anchored(stores, anchor, 5)
        await rewritten(other, 0, 9)
        anchor.away = NotReady("away")
        async with running(other, anchor) as one:
            await one.take_in("acme")
            assert (await other.log.heads("", 10))[0].size == 9
            assert one.faults == {}
            anchor.away = None
            await wait_for_async(lambda: one.faults)
            assert one.faults["acme"].code == "log_forked"
    assert await latest(anchor) == 5


async def test_an_anchor_that_breaks_stops_nothing(stores, anchor, wait_for_async):
    anchor.away = RuntimeError("broken")
    async with running(stores, anchor) as one:
        await append(stores, "acme", 0, 1)
        await one.take_in("acme")
        await wait_for_async(lambda: one.anchor_failing)
        assert one.faults == {}
        assert (await signed_heads(stores.log))["acme"].size == 1
        anchor.away = None
        await wait_for_async(lambda: one.anchor_failing is None)
    assert await latest(anchor) == 1


async def test_what_a_stranger_anchored_proves_nothing(stores, anchor, monkeypatch, wait_for_async):
    stranger = SigningKey.generate(b"stranger".ljust(32))
    note = sign_checkpoint(Checkpoint(origin_of("acme"), 9, bytes(32)), stranger)
    await anchor._real.put(origin_of("acme"), 9, note)
    await append(stores, "acme", 0, 1)
    async with running(stores, anchor) as one:
        await one.take_in("acme")
        await wait_for_async(lambda: one.anchor_failing)
        assert one.faults == {}
    assert (await signed_heads(stores.log))["acme"].size == 1


@pytest.mark.parametrize("size", [1, 9])
async def test_a_tampered_anchor_is_named_and_stops_no_other_log(stores, anchor, tmp_path, wait_for_async, size):
    folder = tmp_path / "anchors" / folder_of(origin_of("acme"))
    folder.mkdir(parents=True)
    (folder / name_of(size)).write_text("not what was put here")
    for name in ("acme", "other"):
        await append(stores, name, 0, 1)
    async with running(stores, anchor) as one:
        await one.take_in("acme")

        async def other_is_there():
            return await latest(anchor, "other") == 1

        await wait_for_async(other_is_there)
        await wait_for_async(lambda: "tampered" in (one.anchor_failing or ""))
        assert one.faults == {}
    assert (await signed_heads(stores.log))["acme"].size == 1


async def test_a_place_that_is_tampered_with_after_the_comparison_is_no_fork(stores, anchor, tmp_path, wait_for_async):
    async with running(stores, anchor) as one:
        await append(stores, "acme", 0, 1)
        await one.take_in("acme")

        async def is_there():
            return await latest(anchor) == 1

        await wait_for_async(is_there)
        (tmp_path / "anchors" / folder_of(origin_of("acme")) / name_of(2)).write_text("not what was put here")
        await append(stores, "acme", 1, 2)
        await one.take_in("acme")
        await wait_for_async(lambda: "tampered" in (one.anchor_failing or ""))
        assert one.faults == {}


# --- witnesses ----------------------------------------------------------------------------------

LOGS = {origin_of(name): KEYRING.trusted_keys() for name in ("acme", "other")}


@asynccontextmanager
async def two_witnesses():
    keys = [SigningKey.generate(bytes([number]) * 32) for number in (1, 2)]
    async with (
        OutboundClient([ip_network("127.0.0.0/8")]) as outbound,
        witness_server(keys[0], LOGS, name="witness.example/one") as one,
        witness_server(keys[1], LOGS, name="witness.example/two") as two,
    ):
        yield [one, two], [WitnessClient(outbound, each.url, each.key, seconds=2) for each in (one, two)]


async def names_under_latest(anchor, servers):
    signed = read_checkpoint(await anchor._real.latest(origin_of("acme")))
    assert signed.signed_by(KEYRING.trusted_keys())
    return signed.checkpoint.size, set(cosigners(signed, [each.key for each in servers]))


async def test_every_witness_that_answers_cosigns(stores, anchor):
    both = {"witness.example/one", "witness.example/two"}
    async with two_witnesses() as (servers, witnesses):
        size = 0
        for end in (1, 300, 301):  # each time a new process, which does not know what the witnesses saw
            await append(stores, "acme", size, end)
            async with running(stores, anchor, witnesses=witnesses, anchor_every_seconds=NEVER):
                pass
            size = end
            assert await names_under_latest(anchor, servers) == (end, both)
        async with running(stores, anchor, witnesses=witnesses, anchor_every_seconds=NEVER) as one:
            for end in (400, 700, 701):
                asked = servers[0].asked
                await append(stores, "acme", size, end)
                await one.take_in("acme")
                await one._publisher.round()
                size = end
                assert await names_under_latest(anchor, servers) == (end, both)
            assert servers[0].asked == asked + 1  # what it knows now, it does not ask twice for


async def test_a_witness_that_fails_is_left_out(stores, anchor):
    async with two_witnesses() as (servers, witnesses):
        servers[0]._logs = {}
        with capture_logs() as lines:
            async with running(stores, anchor, witnesses=witnesses, anchor_every_seconds=NEVER) as one:
                for size in (0, 1):
                    await append(stores, "acme", size, size + 1)
                    await one.take_in("acme")
                    await one._publisher.round()
                    assert await names_under_latest(anchor, servers) == (size + 1, {"witness.example/two"})
                servers[0]._logs = LOGS
                await append(stores, "acme", 2, 3)
                await one.take_in("acme")
                await one._publisher.round()
                assert (await names_under_latest(anchor, servers))[1] == {"witness.example/one", "witness.example/two"}
        events = [line["event"] for line in lines]
        assert (events.count("witness_failing"), events.count("witness_recovered")) == (1, 1)
