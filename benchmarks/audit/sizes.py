"""What a decision costs in bytes: in the database, in the log, and as a receipt."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.orchestrate import load
from benchmarks.orchestrate.__main__ import PAYLOAD, POLICIES, SERVICES, contract, lift_quotas, policy, post, process
from benchmarks.server import Served, serve

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
    with serve(folder) as first:
        api_key = first.api_key
    lift_quotas(folder)
    with process("benchmarks.orchestrate.upstream") as upstream, serve(folder) as again:
        served = Served(again.url, api_key, again.pid)
        for number in range(SERVICES):
            post(served, "/api/v1/services", contract(number, upstream))
        for number in range(POLICIES):
            post(served, "/api/v1/policies", policy(number))
        body = json.dumps({"request": {"capability": "text.sentiment", "payload": PAYLOAD}}).encode()
        before, earlier = _used(folder), _decisions(folder)
        load.run(served.url, "/api/v1/orchestrate", body, api_key, 8, SECONDS)
        made = _decisions(folder) - earlier
        after = _used(folder)
        newest = _fetch(served, "/api/v1/decisions?limit=1")["items"][0]["decision_id"]
        receipt = _fetch(served, f"/api/v1/decisions/{newest}/receipt")
    return Sizes(
        (after - before) / made,
        _sealed(folder, "decision"),
        _sealed(folder, "outcome"),
        len(json.dumps(receipt, separators=(",", ":"))),
    )


def _fetch(served: Served, path: str) -> Any:
    request = urllib.request.Request(served.url + path)
    request.add_header("Authorization", f"Bearer {served.api_key}")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


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
