"""Moving an embedded installation to PostgreSQL: every row of a SQLite file, into an empty database.

Theory of operation
-------------------
Both databases stand at this version's revision, so they have the same tables. The source is read in one
transaction, a snapshot; the target is written in one, table by table in the order of their references,
and read back before it is committed. What was read and what is there must agree in number and in hash,
table by table. A copy that fails, at whatever point, has left the target as it was: it is begun again.

A table's hash is the sum, modulo 2^256, of the SHA-256 of its rows as MessagePack: databases may hand
rows over in any order, and a table need not fit in memory. It finds what went wrong on the way; it is no
proof against somebody who forges rows.

Laws (each has a test of the same name)
---------------------------------------
- a_copy_is_the_whole: each row of each table, and no other.
- a_copy_goes_into_an_empty_database: rows that are there already are neither joined nor replaced.
- a_failed_copy_leaves_nothing.
- a_difference_is_found: a row that arrives altered stops the copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec
from sqlalchemy import Table, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.foundation.errors import Conflict, Misconfigured, NotReady
from caio.foundation.scope import PlatformScope
from caio.storage.sql.database import Database
from caio.storage.sql.tables import metadata
from caio.storage.sql.tables_tenancy import tenants
from caio.storage.sql.upgrade import HEAD, recorded_revision
from caio.tenancy.ports import Tier

#: Rows handed over at once.
BATCH = 500

_COPY = PlatformScope("copy")
_MODULUS = 1 << 256


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """A table that was copied: its rows, and their hash in hexadecimal."""

    table: str
    rows: int
    digest: str


async def copy_everything(
    source: Database, target: Database, progress: Callable[[int], None] = lambda done: None
) -> list[CopiedTable]:
    """Copy every row, in one transaction; ``progress`` is told how many rows are over.

    Raises Misconfigured when the databases are not a SQLite file and a PostgreSQL database of this version, or
    the source has tenants in places of their own, Conflict ``target_not_empty``, and NotReady when the copy
    differs. Nothing is written then. Whoever calls sees to it that nobody else writes to either.
    """
    await _check(source, target)
    copied: list[CopiedTable] = []
    async with source.reading(_COPY) as read, target.writing(_COPY) as written:
        for table in metadata.sorted_tables:
            if await _rows(written, table):
                raise Conflict(
                    f"the target has rows in {table.name}; a copy goes into an empty database", code="target_not_empty"
                )
        for table in metadata.sorted_tables:
            before = sum(each.rows for each in copied)
            copied.append(await _copy(read, written, table, partial(_report, progress, before)))
        for each in copied:
            there = await _counted(written, metadata.tables[each.table])
            if there != each:
                raise NotReady(
                    f"{each.table} arrived with {there.rows} rows and the hash {there.digest}, and left with "
                    f"{each.rows} and {each.digest}: nothing was copied",
                    code="copy_differs",
                )
    return copied


async def _check(source: Database, target: Database) -> None:
    if (source.dialect, target.dialect) != ("sqlite", "postgresql"):
        raise Misconfigured("a copy goes from sqlite:///path to postgresql://…")
    for name, database in (("source", source), ("target", target)):
        revision = await recorded_revision(database)
        if revision != HEAD:
            raise Misconfigured(
                f"the {name} stands at {revision or 'no revision'}, this version at {HEAD}; run caio db upgrade on it",
                code="database_outdated",
            )
    async with source.reading(_COPY) as connection:
        apart = select(func.count()).select_from(tenants).where(tenants.c.tier != Tier.POOL.value)
        if (await connection.execute(apart)).scalar_one():
            raise Misconfigured("the source has tenants with places of their own, which a file cannot hold")


async def _rows(connection: AsyncConnection, table: Table) -> int:
    return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


async def _copy(
    read: AsyncConnection, written: AsyncConnection, table: Table, progress: Callable[[int], None]
) -> CopiedTable:
    count, total = 0, 0
    async with read.stream(select(table)) as rows:
        async for batch in rows.mappings().partitions(BATCH):
            await written.execute(insert(table), [dict(row) for row in batch])
            total += sum(_digest(tuple(row.values())) for row in batch)
            count += len(batch)
            progress(count)
    return CopiedTable(table.name, count, f"{total % _MODULUS:064x}")


async def _counted(connection: AsyncConnection, table: Table) -> CopiedTable:
    count, total = 0, 0
    async with connection.stream(select(table)) as rows:
        async for batch in rows.partitions(BATCH):
            total += sum(_digest(tuple(row)) for row in batch)
            count += len(batch)
    return CopiedTable(table.name, count, f"{total % _MODULUS:064x}")


def _report(progress: Callable[[int], None], before: int, rows: int) -> None:
    progress(before + rows)


def _digest(row: tuple[object, ...]) -> int:
    return int.from_bytes(hashlib.sha256(msgspec.msgpack.encode(row)).digest())
