"""The audit log: how fast it grows, how fast it proves, and what a decision weighs.

Appending runs as a server's does: callers wait for their own leaf, the journal groups what waits into one
durable transaction, and the sequencer takes it into the trees and signs a checkpoint each second. At the end
of each run every log's root is compared with the root over what was appended. The floor is the same rows
written by `executemany`, 256 a transaction, by nobody in particular and hashed by nobody.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median, quantiles

from benchmarks.audit.appending import append, leaf
from benchmarks.audit.proofs import look_up
from benchmarks.audit.sizes import sizes
from benchmarks.frame import Report
from benchmarks.postgres import postgres
from caio.storage.sql import sqlite
from caio.storage.sql.upgrade import upgrade

ROUNDS = 3
LEAVES = 200_000
MANY = 1_000
MILLISECONDS = 1000


def main() -> int:
    report = Report("audit")
    floors, single, many = [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            floors.append(floor(Path(folder) / "floor.db", LEAVES))
            single.append(append(f"sqlite:///{folder}/one.db", 1, LEAVES))
            many.append(append(f"sqlite:///{folder}/many.db", MANY, LEAVES))
    report.note("floor: the same rows by executemany, SQLite", median(floors), "leaves/s")
    for name, runs, bar in (("1 tenant", single, 40_000), (f"{MANY:,} tenants", many, 20_000)):
        report.at_least(f"appended for {name}, SQLite", median(run.rate for run in runs), "leaves/s", bar)
    report.note("1 tenant / floor", median(run.rate / plain for run, plain in zip(single, floors, strict=True)), "×")
    for name, runs in (("1 tenant", single), (f"{MANY:,} tenants", many)):
        report.note(f"{name}: between two checkpoints, median", median(run.between for run in runs), "s")
        report.note(f"{name}: between two checkpoints, longest", max(run.longest for run in runs), "s")
        report.note(f"{name}: all under a checkpoint after", median(run.caught_up for run in runs), "s")
    with postgres() as url:
        upgrade(url)
        for number, (name, tenants) in enumerate((("1 tenant", 1), (f"{MANY:,} tenants", MANY))):
            run = append(url, tenants, LEAVES // 2, name=f"run-{number}")
            report.note(f"appended for {name}, PostgreSQL on the same cores", run.rate, "leaves/s")
    _proofs(report)
    _sizes(report)
    return report.finish()


def floor(path: Path, leaves: int) -> float:
    """Leaves a second when nobody waits for an answer and nothing is hashed."""
    upgrade(f"sqlite:///{path}")
    rows = [leaf("tenant", number) for number in range(leaves)]
    with closing(sqlite.connect(path)) as connection:
        connection.execute("INSERT INTO tenants VALUES ('tenant', '', 'active', 'USD', 1, 1, 1, 1, NULL, 0)")
        statement = (
            "INSERT INTO journal (tenant_id, seq, kind, subject_id, recorded_at, commitment, sealed) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)"
        )
        started = time.perf_counter()
        for start in range(0, leaves, 256):
            connection.execute("BEGIN IMMEDIATE")
            part = [
                (one.tenant_id, seq, one.kind.value, one.subject_id, one.recorded_at, one.commitment, one.sealed)
                for seq, one in enumerate(rows[start : start + 256], start)
            ]
            connection.executemany(statement, part)
            connection.execute("COMMIT")
        return leaves / (time.perf_counter() - started)


def _proofs(report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = look_up(Path(folder))
    inclusion = quantiles([MILLISECONDS * each for each in found.inclusion], n=100)
    report.at_most("proof of inclusion in 10,000,000 leaves, p50", inclusion[49], "ms", bar=2)
    report.at_most("proof of inclusion in 10,000,000 leaves, p99", inclusion[98], "ms", bar=2)
    report.note("proof of consistency up to 10,000,000 leaves, p50", MILLISECONDS * median(found.consistency), "ms")
    report.note("tiles, a leaf", found.tile_bytes, "B")


def _sizes(report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = sizes(Path(folder))
    report.note("database, a decision with its outcome", found.database, "B")
    report.note("sealed: a decision", found.decision, "B")
    report.note("sealed: an outcome", found.outcome, "B")
    report.note("a receipt with its proofs", found.receipt, "B")


if __name__ == "__main__":
    sys.exit(main())
