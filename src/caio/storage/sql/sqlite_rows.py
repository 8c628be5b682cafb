"""Writing many rows to SQLite in few steps.

Python's ``sqlite3`` lets go of the interpreter's lock for every step of a statement, and waits for it
afterwards: while another thread computes, up to the switch interval (5 ms) a row. Rows are therefore
written many a statement, so that a whole group costs a few steps. The statements come in a few sizes,
each of which the connection prepares once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

Row = tuple[Any, ...]

_SIZES = (256, 32, 4, 1)


class RowWriter:
    """Writes rows by ``INSERT INTO table (columns) VALUES … ending``."""

    def __init__(self, table: str, columns: str, ending: str = "") -> None:
        places = f"({', '.join('?' * (columns.count(',') + 1))})"
        self._statements = {
            size: f"INSERT INTO {table} ({columns}) VALUES {', '.join([places] * size)} {ending}"  # noqa: S608 - constants
            for size in _SIZES
        }

    def write(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        for _ in self._executed(connection, rows):
            pass

    def returning(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> list[Row]:
        """What the ``RETURNING`` of the ending gives, in no particular order."""
        return [found for cursor in self._executed(connection, rows) for found in cursor.fetchall()]

    def _executed(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Iterator[sqlite3.Cursor]:
        start = 0
        for size, statement in self._statements.items():
            while len(rows) - start >= size:
                yield connection.execute(statement, list(chain.from_iterable(rows[start : start + size])))
                start += size
