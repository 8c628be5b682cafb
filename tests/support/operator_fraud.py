"""An operator with the whole database and every key, who changes the log and makes it fit again."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caio.audit.checkpoint import Checkpoint, sign_checkpoint
from caio.audit.merkle import leaf_hash
from caio.audit.record import SALT_BYTES, Commitment
from caio.audit.sealing import Sealer, sealing_context
from caio.audit.signing import SigningKey
from caio.audit.tiles import HEIGHT, Edge
from caio.foundation.canonical import canonical_json

Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Fraud:
    """Works on the database of a stopped installation, for one tenant."""

    database: Path
    tenant: str
    sealer: Sealer
    key: SigningKey

    def rewrite(self, decision_id: str, change: Change) -> None:
        """Put another decision in the place of this one: a record, salt, commitment and clear row that agree."""
        with sqlite3.connect(self.database) as connection:
            (sealed,) = connection.execute(
                "SELECT sealed FROM journal WHERE tenant_id = ? AND kind = 'decision' AND subject_id = ?",
                (self.tenant, decision_id),
            ).fetchone()
            context = sealing_context(self.tenant, "decision", decision_id)
            record = json.loads(self.sealer.open(sealed, context)[SALT_BYTES:])
            change(record)
            payload, salt = canonical_json(record), b"s" * SALT_BYTES
            connection.execute(
                "UPDATE journal SET commitment = ?, sealed = ? "
                "WHERE tenant_id = ? AND kind = 'decision' AND subject_id = ?",
                (
                    Commitment.to(payload, salt).value,
                    self.sealer.seal(salt + payload, context),
                    self.tenant,
                    decision_id,
                ),
            )
            connection.execute(
                "UPDATE decisions SET principal_id = ? WHERE tenant_id = ? AND decision_id = ?",
                (record["principal"], self.tenant, decision_id),
            )
            self._rebuild(connection)

    def forget_last(self, count: int) -> None:
        """Take the last leaves away, as if they had never been."""
        with sqlite3.connect(self.database) as connection:
            (following,) = connection.execute(
                "SELECT next FROM journal_heads WHERE tenant_id = ?", (self.tenant,)
            ).fetchone()
            gone = connection.execute(
                "SELECT kind, subject_id FROM journal WHERE tenant_id = ? AND seq >= ?",
                (self.tenant, following - count),
            ).fetchall()
            for kind, subject in gone:
                table = {"decision": "decisions", "outcome": "outcomes"}.get(kind, "acts")
                name = "act_id" if table == "acts" else "decision_id"
                connection.execute(
                    f"DELETE FROM {table} WHERE tenant_id = ? AND {name} = ?",
                    (self.tenant, subject),
                )
            connection.execute("DELETE FROM journal WHERE tenant_id = ? AND seq >= ?", (self.tenant, following - count))
            connection.execute(
                "UPDATE journal_heads SET next = ? WHERE tenant_id = ?", (following - count, self.tenant)
            )
            self._rebuild(connection)

    def _rebuild(self, connection: sqlite3.Connection) -> None:
        """Tree, tiles and checkpoint of the journal as it is now, properly signed."""
        rows = connection.execute(
            "SELECT commitment FROM journal WHERE tenant_id = ? ORDER BY seq", (self.tenant,)
        ).fetchall()
        edge, full = Edge.empty().grow([leaf_hash(commitment) for (commitment,) in rows])
        tiles = [(tile.level, tile.index, content) for tile, content in full]
        tiles += [
            (level, edge.size >> HEIGHT * (level + 1), content) for level, content in edge.partial().items() if level
        ]
        connection.execute("DELETE FROM log_tiles WHERE tenant_id = ?", (self.tenant,))
        connection.executemany("INSERT INTO log_tiles VALUES (?, ?, ?, ?)", [(self.tenant, *tile) for tile in tiles])
        (origin,) = connection.execute("SELECT origin FROM log_heads WHERE tenant_id = ?", (self.tenant,)).fetchone()
        note = sign_checkpoint(Checkpoint(origin, edge.size, edge.root()), self.key)
        connection.execute(
            "UPDATE log_heads SET size = ?, root = ?, checkpoint = ?, signed_at = ? WHERE tenant_id = ?",
            (edge.size, edge.root(), note, time.time_ns() // 1000, self.tenant),
        )
