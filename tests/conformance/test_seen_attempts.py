"""Attempts counted from the records, and the histories that processes make of them."""

from dataclasses import replace
from random import Random

from caio.audit.ports import Attempt, DecisionRow, Leaf, LeafKind, Mode, OutcomeRow, Status
from caio.registry.histories import INTERVAL, LATE, SLICE, WINDOW, Histories, since
from caio.registry.ports import Seen

NOW = 1_700_000_100_000_000 // SLICE * SLICE
GOOD = Attempt("svc", "1.0.0", True, 700, False, ())


def call(number, *attempts, tenant="acme", at=NOW):
    """A decision and its outcome."""
    name = f"dec_{number}"
    decision = DecisionRow(name, at, Mode.ORCHESTRATE, "chat", "svc", "1.0.0", "user", "ab", True, 5)
    outcome = OutcomeRow(name, at, Status.OK, "svc", 7, 1, 2, 3, attempts)
    return [
        Leaf(tenant, LeafKind.DECISION, name, at, bytes(32), b"sealed", decision),
        Leaf(tenant, LeafKind.OUTCOME, name, at, bytes(32), b"sealed", outcome),
    ]


async def test_attempts_that_ended_alike_are_counted_together(stores, acme, rival):
    broke, failed = replace(GOOD, breached=("latency_ms.max",)), replace(GOOD, succeeded=False)
    attempts = GOOD, GOOD, broke, failed, replace(GOOD, streamed=True), replace(GOOD, service_id="other")
    later = call(3, GOOD, at=NOW + SLICE)
    earlier = call(2, GOOD, at=NOW - 1)
    await stores.journal.append([*call(1, *attempts), *earlier, *later, *call(1, GOOD, tenant="rival")])
    seen = await stores.seen_attempts.seen(acme, NOW, SLICE)
    assert [each.slice_start for each in seen] == sorted(each.slice_start for each in seen)
    assert set(seen) == {
        Seen("svc", NOW, True, 700, 2),
        Seen("svc", NOW, False, 700, 1),
        Seen("svc", NOW, False, None, 1),
        Seen("svc", NOW, True, None, 1),
        Seen("other", NOW, True, 700, 1),
        Seen("svc", NOW + SLICE, True, 700, 1),
    }
    assert len(seen) == 6
    assert await stores.seen_attempts.seen(rival, NOW, SLICE) == [Seen("svc", NOW, True, 700, 1)]


async def test_processes_see_one_history(stores, acme):
    """Whoever reads, and whenever, has what one process that saw every attempt has; also of what was written late."""
    rng = Random(5)
    readers = [Histories(stores.snapshots, stores.seen_attempts) for _ in range(2)]
    now, compared = NOW, set()
    for number in range(40):
        now += rng.choice((INTERVAL, SLICE // 3, SLICE, WINDOW // 4))
        attempts = [random_attempt(rng) for _ in range(rng.randrange(4))]
        ended = now - rng.randrange(LATE)
        await stores.journal.append(call(number, *attempts, at=ended))
        for attempt in attempts:
            for reader in readers:
                reader.observe("acme", attempt, ended)  # counts nothing: it will be read
        if number % 3:
            continue
        expected = await exact(stores, acme, now)
        for reader in readers if number % 2 else readers[:1]:
            assert (await reader.current(acme, now)).document() == expected
            compared.add(str(expected))
    assert len(compared) > 5


async def test_what_is_written_late_is_counted(stores, acme):
    """An attempt of a slice that is over, seen only after a reading in the next one."""
    reader = Histories(stores.snapshots, stores.seen_attempts)
    assert (await reader.current(acme, NOW + SLICE + 1)).document() == {}
    await stores.journal.append(call(1, GOOD, at=NOW + SLICE - 1))
    later = NOW + SLICE + 1 + INTERVAL
    assert (await reader.current(acme, later)).document() == await exact(stores, acme, later) != {}


async def exact(stores, acme, now):
    """The history of one who counts everything anew."""
    fresh = Histories(stores.snapshots)
    for _, finished_at, _, attempt in await stores.journal.attempts_since(since(now)):
        fresh.observe("acme", attempt, finished_at)
    return (await fresh.current(acme, now)).document()


def random_attempt(rng):
    return Attempt(
        rng.choice(("svc", "other")),
        "1.0.0",
        rng.random() < 0.8,
        rng.randrange(5_000),
        rng.random() < 0.2,
        ("output_schema",) if rng.random() < 0.2 else (),
    )
