"""Writing many rows to SQLite in few steps.

Python's ``sqlite3`` lets go of the interpreter's lock for every step of a statement, and waits for it
afterwards: while another thread computes, up to the switch interval (5 ms) a row. Rows are therefore
written many a statement: up to EXACT at once, and more in statements of the two larger sizes, so that a
group of calls costs one step a table. The connection prepares each size once, when it is first needed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

Row = tuple[Any, ...]

#: Any number of rows up to this has a statement of its own.
EXACT = 32

_LARGE = 256


class RowWriter:
    """Writes rows by ``INSERT INTO table (columns) VALUES … ending``."""

    def __init__(self, table: str, columns: str, ending: str = "") -> None:
        self._places = f"({', '.join('?' * (columns.count(',') + 1))})"
        self._table, self._columns, self._ending = table, columns, ending
        self._statements: dict[int, str] = {}

    def write(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        for _ in self._executed(connection, rows):
            pass

    def returning(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> list[Row]:
        """What the ``RETURNING`` of the ending gives, in no particular order."""
        return [found for cursor in self._executed(connection, rows) for found in cursor.fetchall()]

    def _executed(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> Iterator[sqlite3.Cursor]:
        start = 0
        while (left := len(rows) - start) > 0:
            size = left if left <= EXACT else EXACT if left < _LARGE else _LARGE
            yield connection.execute(self._statement(size), list(chain.from_iterable(rows[start : start + size])))
            start += size

    def _statement(self, size: int) -> str:
        known = self._statements.get(size)
        if known is None:
            values = ", ".join([self._places] * size)
            known = f"INSERT INTO {self._table} ({self._columns}) VALUES {values} {self._ending}"  # noqa: S608 - constants
            self._statements[size] = known
        return known
