"""The sequencer's laws, over a real SQLite store. Several processes: integration/test_log_kill.py."""

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import delete, insert, update
from structlog.testing import capture_logs

from caio.audit import sequencer as sequencing
from caio.audit.checkpoint import Checkpoint, sign_checkpoint
from caio.audit.merkle import EMPTY_ROOT, leaf_hash, root_of
from caio.audit.signing import Keyring, SigningKey
from caio.foundation.errors import NotReady
from caio.foundation.scope import PlatformScope
from caio.storage.sql.tables import journal, log_heads, log_tiles
from tests.support.logs import KEYRING, Faulty, act_leaf, append, commitment, origin_of, root, sequencer, signed_heads


@pytest.fixture
def watched(stores):
    return Faulty(stores.log)


@pytest.fixture
async def running(watched):
    """Sequencers, started; stopped at the end."""
    started = []

    async def start(**options):
        one = sequencer(options.pop("store", watched), **options)
        started.append(one)
        await one.start()
        return one

    yield start
    for one in started:
        await one.stop()


async def change(stores, statement):
    async with stores.tenants._database.writing(PlatformScope("test")) as connection:
        await connection.execute(statement)


async def test_everything_durable_is_taken_in(stores, running, wait_for_async):
    await running(share=300, step=500)
    size = 0
    for end in (1, 255, 256, 257, 1200):
        await append(stores, "acme", size, end)
        await append(stores, "other", size, end)
        size = end

        async def taken_in(end=end):
            heads = await signed_heads(stores.log)
            return set(heads) == {"acme", "other"} and all(head.size == end for head in heads.values())

        await wait_for_async(taken_in)
        assert {name: head.root for name, head in (await signed_heads(stores.log)).items()} == {
            name: root(name, end) for name in ("acme", "other")
        }


async def test_asking_waits_for_what_is_durable(stores, running, watched):
    one = await running(every_seconds=3600)
    await asyncio.sleep(0.05)
    for size in range(5):
        await append(stores, "acme", size, size + 1)
        await one.take_in("acme")
        assert (await signed_heads(stores.log))["acme"].size == size + 1
    await append(stores, "acme", 5, 6)
    watched.calls.clear()
    await asyncio.gather(*(one.take_in("acme") for _ in range(50)))
    assert watched.calls.count("advance") == 1
    assert watched.calls.count("behind_one") <= 4
    await one.take_in("unknown")


async def test_asking_waits_for_all_of_a_long_journal(stores, running):
    one = await running(every_seconds=3600, share=100, step=100)
    await asyncio.sleep(0.05)
    await append(stores, "acme", 0, 1050)
    await one.take_in("acme")
    head = (await signed_heads(stores.log))["acme"]
    assert (head.size, head.root) == (1050, root("acme", 1050))


async def test_asking_does_not_wait_for_a_whole_backlog(stores, running, monkeypatch, wait_for_async):
    monkeypatch.setattr(sequencing, "BACKLOG_SECONDS", 0.05)
    await append(stores, "acme", 0, 600)
    one = await running(share=1, step=1)
    await one.take_in("acme")
    assert (await signed_heads(stores.log))["acme"].size < 600

    async def taken_in():
        return (await signed_heads(stores.log))["acme"].size == 600

    await wait_for_async(taken_in)


async def test_a_busy_log_starves_nobody(stores, running, watched, wait_for_async):
    await append(stores, "acme", 0, 2000)
    await append(stores, "other", 0, 1)
    sizes = []
    advance = stores.log.advance

    async def noting(holder, advances):
        sizes.append({each.head.tenant_id: each.head.size for each in advances})
        return await advance(holder, advances)

    watched.__dict__["advance"] = noting
    await running(share=100, step=150)
    await wait_for_async(lambda: sizes and sizes[-1].get("acme") == 2000)
    assert next(at for at, step in enumerate(sizes) if "other" in step) <= 1
    assert all(step.get("acme", 0) % 100 == 0 for step in sizes)


async def test_whoever_asks_does_not_wait_for_a_busy_log(stores, running):
    await append(stores, "acme", 0, 3000)
    one = await running(share=10, step=10)
    await append(stores, "other", 0, 1)
    await one.take_in("other")
    heads = await signed_heads(stores.log)
    assert heads["other"].size == 1
    assert heads["acme"].size < 3000


@pytest.mark.parametrize("harm", ["gap", "root", "checkpoint", "tile", "entry"])
async def test_nothing_is_signed_upon_a_doubtful_head(stores, running, harm, wait_for_async):
    one = await running()
    await append(stores, "acme", 0, 300)
    await one.take_in("acme")
    await one.stop()
    mine = log_heads.c.tenant_id == "acme"
    statements = {
        "gap": delete(journal).where(journal.c.tenant_id == "acme", journal.c.seq == 302),
        "root": update(log_heads).where(mine).values(root=bytes(32)),
        "checkpoint": update(log_heads).where(mine).values(checkpoint="forged"),
        "tile": delete(log_tiles).where(log_tiles.c.tenant_id == "acme", log_tiles.c.level == 1),
        "entry": update(journal)
        .where(journal.c.tenant_id == "acme", journal.c.seq == 299)
        .values(commitment=bytes(32)),
    }
    await append(stores, "acme", 300, 304)
    await append(stores, "other", 0, 1)
    await change(stores, statements[harm])
    before = (await stores.log.heads("", 10))[0]
    with capture_logs() as lines:
        two = await running()
        await wait_for_async(lambda: two.faults)
        await two.take_in("other")  # one_broken_log_stops_alone
        await two.take_in("acme")  # does not wait for ever
    assert [head.size for head in await stores.log.heads("", 10)] == [300, 1]
    assert (await stores.log.heads("", 10))[0] == before
    assert two.faults["acme"].code == "log_broken"
    assert [line["tenant_id"] for line in lines if line["event"] == "audit_log_stopped"] == ["acme"]
    assert two.failing is None


@pytest.mark.parametrize("size", [3, 5])
async def test_what_this_process_signed_is_continued(stores, running, tmp_path, size, wait_for_async):
    """A backup that is put back under a running process is in order in itself; so is what was rewritten."""
    await append(stores, "acme", 0, 3)
    one = await running()
    await one.take_in("acme")
    with closing(sqlite3.connect(tmp_path / "caio.db")) as database:
        three = database.execute("SELECT size, root, checkpoint FROM log_heads").fetchone()
        await append(stores, "acme", 3, 5)
        await one.take_in("acme")
        top = root_of([leaf_hash(number.to_bytes(32)) for number in range(5)])
        note = sign_checkpoint(Checkpoint(origin_of("acme"), 5, top), KEYRING.active)
        back = {3: three, 5: (5, top, note)}[size]
        database.execute("UPDATE log_heads SET size = ?, root = ?, checkpoint = ?", back)
        if size == 3:
            database.execute("DELETE FROM journal WHERE seq > 2")
            database.execute("UPDATE journal_heads SET next = 3")
        else:
            database.executemany(
                "UPDATE journal SET commitment = ? WHERE seq = ?", [(n.to_bytes(32), n) for n in range(5)]
            )
        database.commit()
    await stores.journal.append([replace(act_leaf("acme", 90 + n), commitment=bytes([n]) * 32) for n in range(9)])
    await wait_for_async(lambda: one.faults)
    assert one.faults["acme"].code == "log_broken"
    assert (await stores.log.heads("", 10))[0].size == size


async def test_a_log_signs_for_its_own_tenant(stores, running, wait_for_async):
    await append(stores, "other", 0, 3)
    row = {"tenant_id": "other", "origin": origin_of("acme"), "size": 0, "root": EMPTY_ROOT, "checkpoint": ""}
    await change(stores, insert(log_heads).values(**row, signed_at=0, holder="", leased_until=0))
    one = await running()
    await wait_for_async(lambda: one.faults)
    assert one.faults["other"].code == "log_broken"
    assert await signed_heads(stores.log) == {}


async def test_a_log_that_another_process_has_grown_is_continued(stores, running):
    one, two = await running(lease_seconds=0), await running(holder="two", lease_seconds=0)
    for size in (*range(0, 600, 100), 601, 602):
        await append(stores, "acme", *{601: (600, 601), 602: (601, 602)}.get(size, (size, size + 100)))
        await (one, two)[size // 100 % 2].take_in("acme")
    assert (one.faults, two.faults) == ({}, {})
    assert (await signed_heads(stores.log))["acme"].root == root("acme", 602)


async def test_a_head_that_a_stranger_signed_is_doubtful(stores, running, wait_for_async):
    strangers = Keyring(SigningKey.generate(b"stranger".ljust(32)))
    await append(stores, "acme", 0, 3)
    one = await running(keyring=strangers)
    await one.take_in("acme")
    await one.stop()
    await append(stores, "acme", 3, 4)
    two = await running()
    await wait_for_async(lambda: "acme" in two.faults)
    assert (await stores.log.heads("", 10))[0].size == 3


async def test_one_broken_log_stops_alone(stores, running, monkeypatch, wait_for_async):
    monkeypatch.setattr(sequencing, "ASIDE_SECONDS", 0.02)
    await append(stores, "acme", 0, 5)
    await change(stores, delete(journal).where(journal.c.tenant_id == "acme", journal.c.seq == 2))
    with capture_logs() as lines:
        one = await running()
        for number in range(5):
            await append(stores, "other", number, number + 1)
            await one.take_in("other")
        await asyncio.sleep(0.1)
        assert set(one.faults) == {"acme"}
        assert len([line for line in lines if line["event"] == "audit_log_stopped"]) == 1
        leaf = {"tenant_id": "acme", "seq": 2, "kind": "access", "subject_id": "act_2", "recorded_at": 2}
        await change(stores, journal.insert().values(commitment=commitment("acme", 2), sealed=b"", **leaf))
        await wait_for_async(lambda: not one.faults)  # mended: it is taken up again
    assert (await signed_heads(stores.log))["acme"].root == root("acme", 5)


async def test_an_absent_store_is_tried_again(stores, watched, running, wait_for_async):
    one = await running()
    await append(stores, "acme", 0, 1)
    await one.take_in("acme")
    for error in (NotReady("away"), RuntimeError("broken")):
        with capture_logs() as lines:
            watched.away = error
            await wait_for_async(lambda: one.failing)
            await asyncio.wait_for(one.take_in("acme"), 20)
            calls = len(watched.calls)
            await wait_for_async(lambda calls=calls: len(watched.calls) > calls + 3)
            watched.away = None
            await wait_for_async(lambda: one.failing is None)
        events = [line["event"] for line in lines if line["log_level"] == "error" and "exc_info" not in line]
        assert events == ["audit_log_failing"]
        assert [line["event"] for line in lines].count("audit_log_recovered") == 1
    await append(stores, "acme", 1, 2)
    await one.take_in("acme")
    assert (await signed_heads(stores.log))["acme"].size == 2


async def test_lag_grows_while_the_store_is_away(stores, watched, running, wait_for_async):
    one = await running()
    await append(stores, "acme", 0, 1)
    await wait_for_async(lambda: one.lag < 0.1)
    watched.away = NotReady("away")
    await wait_for_async(lambda: one.lag > 0.2)
    watched.away = None
    await wait_for_async(lambda: one.lag < 0.1)


async def test_an_idle_log_is_left_alone(stores, watched, running):
    one = await running()
    await append(stores, "acme", 0, 1)
    await one.take_in("acme")
    head = await signed_heads(stores.log)
    watched.calls.clear()
    await asyncio.sleep(0.15)
    assert set(watched.calls) == {"behind"}
    assert await signed_heads(stores.log) == head


async def test_another_holder_is_waited_for_briefly(stores, running, monkeypatch):
    monkeypatch.setattr(sequencing, "PATIENCE_SECONDS", 0.3)
    two = await running(holder="two", every_seconds=3600)
    await asyncio.sleep(0.05)
    await append(stores, "acme", 0, 1)
    now = time.time_ns() // 1000
    assert (await stores.log.behind_one("acme", "other process", now, now + 3_600_000_000)).leased
    began = time.monotonic()
    await two.take_in("acme")
    assert 0.2 < time.monotonic() - began < 1
    assert await signed_heads(stores.log) == {}
    waiting = asyncio.create_task(two.take_in("acme"))
    await asyncio.sleep(0.1)
    await stores.log.release("other process")
    await waiting
    assert (await signed_heads(stores.log))["acme"].size == 1


async def test_stopping_takes_in_the_rest(stores, running):
    one = await running(every_seconds=3600)
    await asyncio.sleep(0.05)
    await append(stores, "acme", 0, 3)
    await one.stop()
    await one.stop()
    assert (await signed_heads(stores.log))["acme"].size == 3
    await append(stores, "acme", 3, 4)
    now = time.time_ns() // 1000
    assert (await stores.log.behind_one("acme", "two", now, now + 1)).leased
    await one.take_in("acme")  # not running: returns


async def test_stopping_takes_in_the_rest_of_a_long_journal(stores, running):
    one = await running(every_seconds=3600, share=10, step=10)
    await asyncio.sleep(0.05)
    await append(stores, "acme", 0, 205)
    await append(stores, "other", 0, 41)
    await one.stop()
    assert {name: head.size for name, head in (await signed_heads(stores.log)).items()} == {"acme": 205, "other": 41}


async def test_stopping_takes_in_the_rest_for_so_long_only(stores, running, watched, monkeypatch, wait_for_async):
    monkeypatch.setattr(sequencing, "STOP_SECONDS", 0.2)
    steps = 0

    async def advance(holder, advances):
        nonlocal steps
        steps += 1
        await asyncio.sleep(0.02)
        return await stores.log.advance(holder, advances)

    watched.__dict__["advance"] = advance
    await append(stores, "acme", 0, 3000)
    one = await running(share=1, step=1)
    await wait_for_async(lambda: steps > 1)  # it is at work when it is stopped
    before, began = steps, time.monotonic()
    await one.stop()
    assert time.monotonic() - began < 2
    assert steps - before <= 12
    assert (await signed_heads(stores.log))["acme"].size < 3000
    now = time.time_ns() // 1000
    assert (await stores.log.behind_one("acme", "two", now, now + 1)).leased


async def test_lag_is_what_waits(stores, running, watched, wait_for_async):
    """A step takes a second, and each time as much arrives: three steps' work always waits, and no leaf for long."""
    troubles: set[str | None] = set()
    seconds, size, lags = 0.0, 30, []

    async def advance(holder, advances):
        nonlocal seconds, size
        if seconds < 50:
            await append(stores, "acme", size, size + 10)
            size += 10
        seconds += 1
        written = await stores.log.advance(holder, advances)
        lags.append(one.lag)
        troubles.add(one.trouble)
        return written

    watched.__dict__["advance"] = advance
    await append(stores, "acme", 0, size)
    one = await running(share=10, step=10, monotonic=lambda: seconds)
    await wait_for_async(lambda: len(lags) == 53)
    assert 3 <= max(lags) <= 5
    assert troubles == {None}


async def test_a_log_that_does_not_get_on_lags(stores, running, watched, wait_for_async):
    """However well another does, and however often it is looked at."""
    seconds = 0.0

    async def advance(holder, advances):
        nonlocal seconds
        seconds += 0.5
        await append(stores, "other", int(seconds * 2), int(seconds * 2) + 1)
        return await stores.log.advance(holder, [each for each in advances if each.head.tenant_id == "other"])

    watched.__dict__["advance"] = advance
    await append(stores, "acme", 0, 1)
    await append(stores, "other", 0, 1)
    one = await running(every_seconds=0.02, monotonic=lambda: seconds + time.monotonic())
    await wait_for_async(lambda: one.trouble)
    assert "behind" in one.trouble


async def test_heads_are_the_trees_also_when_edges_are_forgotten(stores, running):
    """Two processes that grow the same logs by turns, each of which forgets all but one edge."""
    first = await running(holder="one", every_seconds=3600)
    second = await running(holder="two", every_seconds=3600)
    for one in (first, second):
        one._trees._kept = 1
    await asyncio.sleep(0.05)
    size = 0
    for turn, end in enumerate((3, 255, 256, 260, 512, 700, 701, 1030)):
        for name in ("acme", "other"):
            await append(stores, name, size, end)
            one = (first, second)[turn % 2]
            await one.take_in(name)
            await stores.log.release(("one", "two")[turn % 2])
        size = end
        heads = await signed_heads(stores.log)
        assert {name: (head.size, head.root) for name, head in heads.items()} == {
            name: (end, root(name, end)) for name in ("acme", "other")
        }


async def test_the_loop_keeps_turning(stores, watched, running):
    for at in range(0, 20_000, 5000):
        await append(stores, "acme", at, at + 5000)
    turns, seen = 0, []

    async def count_turns():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def commitments(ranges):
        found = await stores.log.commitments(ranges)
        seen.append(turns)
        return found

    async def advance(holder, advances):
        seen.append(turns)
        return await stores.log.advance(holder, advances)

    watched.__dict__.update(commitments=commitments, advance=advance)
    counting = asyncio.create_task(count_turns())
    one = await running(every_seconds=3600, share=20_000, step=20_000)
    await one.take_in("acme")
    counting.cancel()
    assert (await signed_heads(stores.log))["acme"].size == 20_000
    assert seen[1] - seen[0] > 3  # hashing so many takes some 20 ms or more
