"""Making the places of tenants that are not in the shared tables, and giving them up (see ``places``)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Column, MetaData, Table, delete, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.foundation.errors import Conflict, InvalidInput, Misconfigured
from caio.foundation.scope import PlatformScope
from caio.storage.sql.database import Database
from caio.storage.sql.places import DIRECTORY, PLATFORM, UNSEEN, Place, place_of, schema_of
from caio.storage.sql.tables import metadata
from caio.storage.sql.tables_tenancy import tenants
from caio.storage.sql.tenants import row_of
from caio.storage.sql.upgrade import upgrade_apart
from caio.tenancy.ports import Tenant, Tier

_SCOPE = PlatformScope("places of tenants")

_OWNED = text("SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = :schema")

#: Rows taken from one database to the other at a time.
_STEP = 1_000


class SqlPlaces:
    """The ``TenantPlaces`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prepare_place(self, tenant: Tenant) -> Tenant:
        if tenant.tier is Tier.POOL:
            return replace(tenant, place="")
        if self._database.dialect == "sqlite":
            raise _unavailable("on SQLite every tenant is in the shared tables")
        prepare = self._prepare_schema if tenant.tier is Tier.BRIDGE else self._prepare_database
        return await prepare(tenant)

    async def remove_place(self, tenant: Tenant) -> None:
        place = PLATFORM if self._database.dialect == "sqlite" else place_of(tenant.tier, tenant.place)
        if place.schema:
            await self._give_up_schema(tenant, place)
        elif place.database:
            await self._give_up_database(tenant, place)
        elif tenant.place:  # it has moved, and who moved it was interrupted before the database was emptied
            await self._empty_database(tenant)
        self._database.remember(tenant.tenant_id, None)

    async def _prepare_schema(self, tenant: Tenant) -> Tenant:
        prepared = replace(tenant, place=schema_of(tenant.tenant_id))
        await asyncio.to_thread(upgrade_apart, self._database.address.url, prepared.place)
        place = Place(schema=prepared.place)
        async with self._database.writing(_SCOPE, place) as connection:
            await _copy_row(connection, prepared, hidden=True)
        self._database.remember(tenant.tenant_id, place)
        return prepared

    async def _prepare_database(self, tenant: Tenant) -> Tenant:
        silos = self._database.silos
        names = [tenant.place] if tenant.place else sorted(silos)
        if not names or names[0] not in silos:
            raise _unavailable("CAIO_SILO_DATABASES names no such database")
        for name in names:
            await asyncio.to_thread(upgrade_apart, silos[name].url)
            place = Place(database=name)
            async with self._database.writing(_SCOPE, place) as connection:
                await connection.execute(text("LOCK TABLE tenants IN SHARE ROW EXCLUSIVE MODE"))
                others = select(tenants.c.tenant_id).where(tenants.c.tenant_id != tenant.tenant_id)
                if (await connection.execute(others)).first() is not None:
                    continue
                prepared = replace(tenant, place=name)
                await _copy_row(connection, prepared)
            self._database.remember(tenant.tenant_id, place)
            return prepared
        raise Conflict(
            "Every database that settings name for a tenant of its own has one; name another in CAIO_SILO_DATABASES.",
            code="place_taken",
        )

    async def _give_up_schema(self, tenant: Tenant, place: Place) -> None:
        """One transaction: what stays moves, and the schema goes with the rest."""
        schema = (await self._database.server(PLATFORM)).schema
        async with self._database.as_login() as connection:
            there = text("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = :schema)")
            if not await connection.scalar(there, {"schema": place.schema}):
                return
            if await _moves_in(connection, tenant):
                for table in _tables():
                    columns = ", ".join(f'"{column.name}"' for column in table.columns)
                    await connection.exec_driver_sql(
                        f"INSERT INTO {schema}.{table.name} ({columns}) "  # noqa: S608 -- names of our own tables
                        f'SELECT {columns} FROM "{place.schema}".{table.name} ON CONFLICT DO NOTHING'
                    )
            if not await connection.scalar(_OWNED, {"schema": place.schema}):
                raise Misconfigured(
                    f"The database's login does not own the schema {place.schema} of a tenant that is deleted, so it "
                    "may not drop it; have an administrator run ALTER SCHEMA … OWNER TO this login."
                )
            await connection.exec_driver_sql(f'DROP SCHEMA "{place.schema}" CASCADE')

    async def _give_up_database(self, tenant: Tenant, place: Place) -> None:
        """What stays has moved before anything is deleted; the database's name stays with the tenant until it is
        empty, so this can be repeated."""
        async with (
            self._database.writing(_SCOPE, place) as source,
            self._database.writing(_SCOPE) as target,
        ):
            if await _moves_in(target, tenant, tenant.place):
                for table in _tables():
                    await _move_rows(source, target, table, tenant.tenant_id)
        await self._empty_database(tenant)

    async def _empty_database(self, tenant: Tenant) -> None:
        async with self._database.writing(_SCOPE, Place(database=tenant.place)) as connection:
            for table in (*reversed(_tables()), tenants):
                await connection.execute(delete(table).where(table.c.tenant_id == tenant.tenant_id))
        async with self._database.writing(_SCOPE) as connection:
            await _moves_in(connection, tenant)


def _unavailable(why: str) -> InvalidInput:
    return InvalidInput(f"The tier cannot be given here: {why}.", code="tier_unavailable")


def _tables() -> Sequence[Table]:
    """The tables that a place has for itself, those that others refer to first."""
    return [table for table in metadata.sorted_tables if table.name not in DIRECTORY]


async def _copy_row(connection: AsyncConnection, tenant: Tenant, *, hidden: bool = False) -> None:
    """Store the row that foreign keys refer to at the tenant's place."""
    columns = [Column(column.name, column.type) for column in tenants.columns]
    here = Table(UNSEEN + tenants.name if hidden else tenants.name, MetaData(), *columns)
    await connection.execute(postgresql.insert(here).values(row_of(tenant)).on_conflict_do_nothing())


async def _moves_in(connection: AsyncConnection, tenant: Tenant, left: str = "") -> bool:
    """Make the tenant one of the shared tables', whose rows are still in ``left`` too; False for one that was never
    stored."""
    changed = update(tenants).where(tenants.c.tenant_id == tenant.tenant_id)
    done = await connection.execute(changed.values(tier=Tier.POOL.value, place=left))
    return bool(done.rowcount)


async def _move_rows(source: AsyncConnection, target: AsyncConnection, table: Table, tenant_id: str) -> None:
    key = table.primary_key.columns
    query = select(table).where(table.c.tenant_id == tenant_id).order_by(*key)
    rows = await source.stream(query)
    async for some in rows.mappings().partitions(_STEP):
        values: list[dict[str, Any]] = [dict(row) for row in some]
        await target.execute(postgresql.insert(table).on_conflict_do_nothing(), values)
