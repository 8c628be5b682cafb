"""What every store of the journal does. SIGKILL has its own test: integration/test_journal_kill.py."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random

import pytest

from caio.audit.ports import Attempt, DecisionRow, KeptAnswer, Leaf, LeafKind, Mode, OutcomeRow, Status, StoredLeaf
from caio.foundation.errors import Conflict
from caio.foundation.scope import TenantScope

NOW = 1_700_000_000_000_000
APPENDER = Path(__file__).parents[1] / "integration" / "journal_appender.py"


def decision(decision_id="dec_1", tenant="acme", at=NOW, **changes):
    row = DecisionRow(decision_id, at, Mode.ORCHESTRATE, "chat", "svc", "1.0.0", "user", "ab" * 32, True, 50)
    payload = f"decision {decision_id} of {tenant}".encode()
    return Leaf(tenant, LeafKind.DECISION, decision_id, at, payload.ljust(32), payload, replace(row, **changes))


def outcome(decision_id="dec_1", tenant="acme", at=NOW + 9, kept=None, **changes):
    broken = ("latency_ms.max", "output_schema")
    attempts = (Attempt("svc", "1.0.0", False, 3, True, broken), Attempt("other", "2.0.0", True, 4, False, ()))
    row = OutcomeRow(decision_id, at, Status.OK, "other", 7, 11, 12, 40, attempts)
    payload = f"outcome {decision_id} of {tenant}".encode()
    return Leaf(tenant, LeafKind.OUTCOME, decision_id, at, payload.ljust(32), payload, replace(row, **changes), kept)


def bare(leaf):
    return replace(leaf, projection=None, kept_answer=None)


async def everything(journal, scope):
    return await journal.page(scope, -1, 100_000)


async def refused(append):
    with pytest.raises(Conflict) as caught:
        await append
    return caught.value.code


async def test_leaves_read_back_in_their_places(stores, acme, rival):
    journal = stores.journal
    first, second = [decision("dec_1"), decision("dec_2")], [outcome("dec_2"), outcome("dec_1")]
    assert await journal.append(first) == [0, 1]
    assert await journal.append([]) == []
    assert await journal.append(second) == [2, 3]
    stored = [StoredLeaf(seq, bare(leaf)) for seq, leaf in enumerate(first + second)]
    assert await everything(journal, acme) == stored
    assert await journal.page(acme, 0, 2) == stored[1:3]
    assert await journal.page(acme, 3, 10) == []
    assert await journal.read(acme, LeafKind.OUTCOME, "dec_2") == stored[2]
    assert await journal.read(acme, LeafKind.OUTCOME, "dec_3") is None
    assert await journal.read(rival, LeafKind.OUTCOME, "dec_2") is None


async def test_a_decision_and_its_outcome_may_come_together_and_tenants_may_mix(stores, acme, rival):
    batch = [decision("dec_1", "rival"), decision("dec_1"), outcome("dec_1", "rival"), outcome("dec_1")]
    assert await stores.journal.append(batch) == [0, 0, 1, 1]
    assert await stores.journal.append([decision("dec_2"), decision("dec_2", "rival")]) == [2, 2]
    for scope, leaves in ((acme, [batch[1], batch[3]]), (rival, [batch[0], batch[2]])):
        stored = await everything(stores.journal, scope)
        assert [entry.leaf for entry in stored[:2]] == [bare(leaf) for leaf in leaves]


async def test_a_leaf_may_come_without_a_projection(stores, acme):
    assert await stores.journal.append([bare(decision())]) == [0]
    assert await stores.journal.decisions(acme, None, 10) == []


async def test_seq_is_gapless(stores_of_two_processes, acme, rival):
    numbers = count()
    seqs: dict[str, list[tuple[int, str]]] = {"acme": [], "rival": []}

    async def append_some(journal, rng):
        for _ in range(12):
            batch = [decision(f"dec_{next(numbers)}", rng.choice(["acme", "rival"])) for _ in range(rng.randint(1, 5))]
            for seq, leaf in zip(await journal.append(batch), batch, strict=True):
                seqs[leaf.tenant_id].append((seq, leaf.subject_id))

    await asyncio.gather(*(append_some(s.journal, Random(n)) for n, s in enumerate(stores_of_two_processes * 4)))
    for scope in (acme, rival):
        stored = await everything(stores_of_two_processes[0].journal, scope)
        assert [entry.seq for entry in stored] == list(range(len(stored)))
        assert [(entry.seq, entry.leaf.subject_id) for entry in stored] == sorted(seqs[scope.tenant_id])


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_seq_is_gapless_across_processes(stores, database_url, acme):
    def append_apart(name):
        command = [sys.executable, APPENDER, name, "60"]
        return subprocess.run(command, input=database_url, text=True, capture_output=True, check=True).stdout.split()

    outputs = await asyncio.gather(*(asyncio.to_thread(append_apart, name) for name in ("one", "two")))
    acknowledged = sorted(int(seq) for output in outputs for seq in output[::3])
    stored = await everything(stores.journal, acme)
    assert acknowledged == [entry.seq for entry in stored] == list(range(len(stored)))
    assert len(stored) >= 120


async def test_a_reader_never_sees_a_gap(stores_of_two_processes, acme):
    writer, reader = (stores.journal for stores in stores_of_two_processes)
    writing = asyncio.gather(*(writer.append([decision(f"dec_{number}")]) for number in range(40)))
    while not writing.done():
        seen = [entry.seq for entry in await everything(reader, acme)]
        assert seen == list(range(len(seen)))
    await writing


async def test_a_failed_append_writes_nothing(stores, acme, rival):
    await stores.idempotency.claim(acme, "key", "hash", "dec_2", NOW)
    await stores.journal.append([decision("dec_1")])
    good = [decision("dec_2"), outcome("dec_2", kept=KeptAnswer("key", "dec_2", b"answer")), decision("dec_9", "rival")]
    duplicate, orphan, stray = decision("dec_1"), outcome("dec_7"), decision("dec_1", "nobody")
    for bad, code in ((duplicate, "leaf_exists"), (orphan, "leaf_orphaned"), (stray, "leaf_orphaned")):
        assert await refused(stores.journal.append([*good, bad])) == code
    with pytest.raises(Exception, match=r".+"):
        await stores.journal.append([*good, decision("dec_3", reserved=2**63)])

    assert [entry.seq for entry in await everything(stores.journal, acme)] == [0]
    assert await everything(stores.journal, rival) == []
    assert [row.decision_id for row, _ in await stores.journal.decisions(acme, None, 10)] == ["dec_1"]
    assert await stores.journal.attempts_since(0) == []
    assert (await stores.idempotency.claim(acme, "key", "hash", "dec_4", NOW)).sealed is None
    assert await stores.journal.append(good) == [1, 2, 0]


async def test_a_decision_has_one_outcome(stores, acme):
    await stores.journal.append([decision(), outcome()])
    assert await refused(stores.journal.append([outcome(at=NOW + 50, charged=1)])) == "leaf_exists"
    assert await refused(stores.journal.append([decision("dec_2"), decision("dec_2")])) == "leaf_exists"
    ((_, stored),) = await stores.journal.decisions(acme, None, 10)
    assert stored.charged == 40


async def test_decisions_are_listed_newest_first_with_their_outcomes(stores, acme, rival):
    # Two at one instant: the id decides. Ids compare byte by byte.
    instants = {"dec_c": 1, "dec_B": 5, "dec_a": 5, "dec_b": 5, "dec_d": 9}
    leaves = {name: decision(name, at=at, admitted=name != "dec_d") for name, at in instants.items()}
    await stores.journal.append([*leaves.values(), decision("dec_z", "rival"), outcome("dec_a")])
    finished = replace(outcome("dec_a").projection, attempts=())
    expected = [
        (leaves[name].projection, finished if name == "dec_a" else None)
        for name in ("dec_d", "dec_b", "dec_a", "dec_B", "dec_c")
    ]
    assert await stores.journal.decisions(acme, None, 100) == expected
    listed, before = [], None
    while page := await stores.journal.decisions(acme, before, 2):
        listed += page
        before = (page[-1][0].decided_at, page[-1][0].decision_id)
    assert listed == expected
    assert [row.decision_id for row, _ in await stores.journal.decisions(rival, None, 100)] == ["dec_z"]


async def test_what_a_crash_cut_off_is_found(stores):
    await stores.journal.append(
        [
            decision("dec_done"),
            outcome("dec_done"),
            decision("dec_refused", admitted=False),
            decision("dec_asked", mode=Mode.ROUTE),
            decision("dec_open", "rival"),
            decision("dec_older", at=NOW - 1),
        ]
    )
    unfinished = await stores.journal.unfinished()
    assert [(tenant, row.decision_id) for tenant, row in unfinished] == [("acme", "dec_older"), ("rival", "dec_open")]
    assert unfinished[1][1] == decision("dec_open", "rival").projection


async def test_attempts_are_listed_oldest_first_and_in_their_order(stores):
    await stores.journal.append([decision("dec_1"), decision("dec_2"), decision("dec_3", "rival")])
    await stores.journal.append([outcome("dec_2", at=30), outcome("dec_3", "rival", at=20), outcome("dec_1", at=10)])
    failed, succeeded = outcome().projection.attempts
    assert await stores.journal.attempts_since(20) == [
        ("rival", 20, 0, failed),
        ("rival", 20, 1, succeeded),
        ("acme", 30, 0, failed),
        ("acme", 30, 1, succeeded),
    ]


async def test_an_unknown_tenant_has_an_empty_journal(stores):
    nobody = TenantScope("nobody")
    assert await everything(stores.journal, nobody) == []
    assert await stores.journal.decisions(nobody, None, 10) == []
