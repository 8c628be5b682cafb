"""What a decision costs in bytes: in the database, in the log, and as a receipt."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gateway import load, world
from benchmarks.gateway.processes import module
from benchmarks.server import serve

SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes: of the database a decision with its outcome; of what is sealed of each; of a receipt with
    its proofs; and of the decision's evidence, which many decisions share."""

    database: float
    decision: float
    outcome: float
    receipt: int


def sizes(folder: Path) -> Sizes:
    """Route calls for a few seconds on 10 services and 20 policies, and look at what is left of them."""
    with module("benchmarks.gateway.upstream") as upstream, serve(folder) as served:
        tenant = served.tenant("bench")
        world.furnish(tenant, upstream.url)
        target = load.Target(tenant.url, "/api/v1/orchestrate", world.sorts(world.native), tenant.api_key)
        before, earlier = _used(folder), _decisions(folder)
        load.run(target, 8, SECONDS)
        made = _decisions(folder) - earlier
        after = _used(folder)
        newest = tenant.ask("/api/v1/decisions?limit=1")["items"][0]["decision_id"]
        receipt = tenant.ask(f"/api/v1/decisions/{newest}/receipt")
    return Sizes(
        (after - before) / made,
        _sealed(folder, "decision"),
        _sealed(folder, "outcome"),
        len(json.dumps(receipt, separators=(",", ":"))),
    )


def _ask(folder: Path, question: str, *values: object) -> float:
    connection = sqlite3.connect(folder / "caio.db")
    try:
        return float(connection.execute(question, values).fetchone()[0])
    finally:
        connection.close()


def _used(folder: Path) -> float:
    """The database's pages in use, whether they are in the file or still in its log."""
    return _ask(
        folder,
        "SELECT (page_count - freelist_count) * page_size "
        "FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
    )


def _decisions(folder: Path) -> float:
    return _ask(folder, "SELECT count(*) FROM decisions")


def _sealed(folder: Path, kind: str) -> float:
    return _ask(folder, "SELECT avg(length(sealed)) FROM journal WHERE kind = ?", kind)
