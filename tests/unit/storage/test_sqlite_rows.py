"""Rows are written in few statements, each exactly once and in their order."""

import sqlite3
from contextlib import closing

import pytest

from caio.storage.sql.sqlite_rows import EXACT, RowWriter


@pytest.mark.parametrize("count", [0, 1, 2, 7, EXACT - 1, EXACT, EXACT + 1, 100, 255, 256, 257, 600])
def test_rows_are_written_in_few_statements(count):
    rows = [(number, f"text {number}") for number in range(count)]
    executed: list[str] = []
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE kept (number INTEGER PRIMARY KEY, text TEXT)")
        connection.set_trace_callback(executed.append)
        RowWriter("kept", "number, text").write(connection, rows)
        connection.set_trace_callback(None)
        assert connection.execute("SELECT number, text FROM kept ORDER BY rowid").fetchall() == rows
    inserts = [statement for statement in executed if statement.startswith("INSERT")]
    assert len(inserts) <= (1 if 0 < count <= EXACT else count // 256 + 9)
    assert len(inserts) >= min(count, 1)


def test_what_an_ending_returns_is_given():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE heads (name TEXT PRIMARY KEY, next INTEGER)")
        heads = RowWriter("heads", "name, next", "ON CONFLICT DO UPDATE SET next = next + excluded.next RETURNING *")
        heads.returning(connection, [("a", 1), ("b", 2)])
        found = heads.returning(connection, [("a", 3), ("c", 1)])
    assert sorted(found) == [("a", 4), ("c", 1)]
