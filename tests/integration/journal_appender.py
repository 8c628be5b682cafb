"""A process that appends to a journal until it is killed or has written enough.

Run as ``python journal_appender.py NAME LEAVES`` with the database URL on standard input. Prints
``seq decision_id kind`` for each leaf once ``append`` has acknowledged it. Four tasks append batches of one to
four decisions to tenant ``acme``, and then the outcomes of those decisions. Commitments are ``commitment(id, kind)``.
"""

import asyncio
import hashlib
import sys
from itertools import count
from random import Random

from caio.audit.ports import Attempt, DecisionRow, Leaf, LeafKind, Mode, OutcomeRow, Status
from caio.storage.sql import Database, open_stores

TENANT = "acme"


def commitment(decision_id, kind):
    return hashlib.sha256(f"{kind} {decision_id}".encode()).digest()


def decision(decision_id, at=1):
    row = DecisionRow(decision_id, at, Mode.ORCHESTRATE, "chat", "svc", "1.0.0", "me", "00", admitted=True, reserved=5)
    committed = commitment(decision_id, LeafKind.DECISION)
    return Leaf(TENANT, LeafKind.DECISION, decision_id, at, committed, b"sealed" * 100, row)


def outcome(decision_id, at=2):
    attempt = Attempt("svc", "1.0.0", succeeded=True, latency_ms=7, streamed=False, breached=())
    row = OutcomeRow(decision_id, at, Status.OK, "svc", 7, 1, 2, 3, (attempt,))
    committed = commitment(decision_id, LeafKind.OUTCOME)
    return Leaf(TENANT, LeafKind.OUTCOME, decision_id, at, committed, b"sealed" * 100, row)


async def append_all(journal, name, numbers, leaves):
    rng = Random(name)
    while (number := next(numbers)) < leaves:
        ids = [f"{name}-{number}-{place}" for place in range(rng.randint(1, 4))]
        for kind in (decision, outcome):
            batch = [kind(decision_id) for decision_id in ids]
            for seq, leaf in zip(await journal.append(batch), batch, strict=True):
                print(seq, leaf.subject_id, leaf.kind, flush=True)


async def main(url, name, leaves):
    database = await Database.open(url)
    journal, numbers = open_stores(database).journal, count()
    await asyncio.gather(*(append_all(journal, name, numbers, leaves) for _ in range(4)))
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.stdin.readline().strip(), sys.argv[1], int(sys.argv[2])))
