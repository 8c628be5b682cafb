"""The one statement whose spelling differs between the two dialects: INSERT … ON CONFLICT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert

from caio.storage.sql.database import Database


def conflict_aware_insert(database: Database, table: Table, row: Mapping[str, Any]) -> Any:
    """An INSERT of one row that still needs its ``on_conflict_…`` clause."""
    insert = sqlite.insert if database.dialect == "sqlite" else postgresql.insert
    return insert(table).values(dict(row))


def insert_if_absent(database: Database, table: Table, row: Mapping[str, Any]) -> Insert:
    """An INSERT that leaves a row of the same primary key as it is."""
    statement: Insert = conflict_aware_insert(database, table, row).on_conflict_do_nothing(
        index_elements=list(table.primary_key.columns)
    )
    return statement
