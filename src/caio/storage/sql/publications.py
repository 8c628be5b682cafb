"""Publications of one sort (contracts or policies) in SQL.

Theory of operation
-------------------
A name has one row in ``publication_heads`` (its newest version, its revision, whether it is
retired) and one row per version in ``publications``. A version's status is not stored; it follows
from the head: the newest version is active, or retired with its name; the others are superseded.

Changes of a name take the head's row lock, so a revision is compared and counted in one step. A
new name takes the lock of the tenant's row, so counting the active names and adding one is one
step too. On SQLite the writing transaction itself is the lock. The leaf that tells of a change is
appended last in its transaction, so the log has the changes of a name in their order.

Laws (each has a test of the same name)
---------------------------------------
- quota_is_exact_under_races: of any number of concurrent first publications, as many succeed as
  the quota has room for.
- revision_changes_once_per_change: of concurrent changes with the same If-Match, one succeeds.
- other_tenants_see_only_what_is_shared: and that through ``active`` and ``by_digest`` only. A tenant in a place
  of its own sees what those in the shared tables share, and shares nothing itself.
- a_refused_publication_leaves_no_leaf: nor does retiring what is retired.

A retired name takes no further version: reviving it would pass by the quota.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, Select, delete, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.audit.ports import Leaf
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import Conflict, InvalidInput, NotFound, PreconditionFailed
from caio.foundation.scope import PlatformScope, TenantScope
from caio.registry.ports import Page, Publication, PublicationStatus, Published, Standing
from caio.storage.sql.database import Database
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.places import PLATFORM
from caio.storage.sql.tables import publication_heads as heads
from caio.storage.sql.tables import publication_tags as tags
from caio.storage.sql.tables import publications as versions
from caio.storage.sql.tables_tenancy import tenants

#: Digests asked for in one statement; databases bound the number of parameters (SQLite: 32766).
DIGESTS_AT_ONCE = 500


class SqlPublications:
    """The ``Publications`` port for one ``sort``."""

    def __init__(self, database: Database, sort: str) -> None:
        self._database = database
        self._sort = sort

    async def publish_first(self, scope: TenantScope, publication: Publication, quota: int, leaf: Leaf) -> Published:
        """As the port says; also raises NotFound for an unknown tenant, and InvalidInput ``tier_unavailable`` for
        one that is in a place of its own and would share."""
        await self._may_share(scope, publication)
        async with self._database.writing(scope) as connection:
            # NO KEY UPDATE: registering must not hold up the journal, whose rows refer to the tenant.
            tenant = select(tenants.c.tenant_id).where(tenants.c.tenant_id == scope.tenant_id)
            if (await connection.execute(tenant.with_for_update(key_share=True))).first() is None:
                raise NotFound("There is no such tenant.")
            if await self._head(connection, scope, publication.name) is not None:
                raise Conflict(
                    f"The name {publication.name!r} is taken; publish a further version of it or choose another name.",
                    code="already_exists",
                )
            if await self._count_active(connection, scope) >= quota:
                raise Conflict(
                    f"All {quota} names of the quota are in use; retire one or have the quota raised.",
                    code="quota_exceeded",
                )
            await connection.execute(
                insert(heads).values(
                    tenant_id=scope.tenant_id,
                    sort=self._sort,
                    name=publication.name,
                    version=publication.version,
                    revision=1,
                )
            )
            await self._store(connection, scope, publication)
            await append_within(connection, leaf)
        return Published(scope.tenant_id, publication, PublicationStatus.ACTIVE, 1)

    async def publish_next(self, scope: TenantScope, publication: Publication, if_match: int, leaf: Leaf) -> Published:
        """As the port says; also raises Conflict ``retired`` for a name out of service, and as ``publish_first``."""
        await self._may_share(scope, publication)
        async with self._database.writing(scope) as connection:
            head = await self._locked_head(connection, scope, publication.name)
            _expect(head, if_match)
            if head.retired_at is not None:
                raise Conflict(f"{publication.name!r} is retired; publish under another name.", code="retired")
            version = self._versions(scope, publication.name).where(versions.c.version == publication.version)
            if (await connection.execute(version)).first() is not None:
                raise Conflict(
                    f"Version {publication.version} of {publication.name!r} exists and cannot change; "
                    "publish a higher version.",
                    code="version_exists",
                )
            await self._store(connection, scope, publication)
            await self._change_head(connection, scope, publication.name, version=publication.version)
            await append_within(connection, leaf)
        return Published(scope.tenant_id, publication, PublicationStatus.ACTIVE, head.revision + 1)

    async def retire(self, scope: TenantScope, name: str, if_match: int | None, now: int, leaf: Leaf) -> Published:
        """As the port says. Retiring a retired name succeeds whatever ``if_match`` says, which
        RFC 9110 section 13.1.1 allows when the wanted state is already there."""
        async with self._database.writing(scope) as connection:
            head = await self._locked_head(connection, scope, name)
            if head.retired_at is None:
                if if_match is not None:
                    _expect(head, if_match)
                await self._change_head(connection, scope, name, retired_at=now)
            newest = self._versions(scope, name).where(versions.c.version == heads.c.version)
            retired = _published((await connection.execute(newest)).one())
            if head.retired_at is None:
                await append_within(connection, leaf)
        return retired

    async def get(self, scope: TenantScope, name: str, version: str | None = None) -> Published:
        wanted = heads.c.version if version is None else version
        async with self._database.reading(scope) as connection:
            found = await connection.execute(self._versions(scope, name).where(versions.c.version == wanted))
            row = found.first()
        if row is None:
            raise NotFound("There is nothing published under this name and version.")
        return _published(row)

    async def page(self, scope: TenantScope, *, after: str, limit: int, tag: str | None, retired: bool) -> Page:
        """As the port says; ``retired`` includes the retired names, ``tag`` is one of the newest version's."""
        query = _joined().where(
            heads.c.tenant_id == scope.tenant_id,
            heads.c.sort == self._sort,
            heads.c.name > after,
            versions.c.version == heads.c.version,
        )
        if tag is not None:
            query = query.where(exists().where(_of_head(tags), tags.c.tag == tag))
        if not retired:
            query = query.where(heads.c.retired_at.is_(None))
        async with self._database.reading(scope) as connection:
            rows = (await connection.execute(query.order_by(heads.c.name).limit(limit + 1))).all()
        items = tuple(_published(row) for row in rows[:limit])
        return Page(items, items[-1].publication.name if len(rows) > limit else None)

    async def in_service(self) -> int:
        """How many names all tenants have together that are not retired. Not part of the port: it tells of tenants
        to none of them."""
        query = select(func.count()).where(heads.c.sort == self._sort, heads.c.retired_at.is_(None))
        found = 0
        for place in await self._database.places():
            async with self._database.reading(PlatformScope("observability"), place) as connection:
                found += (await connection.execute(query)).scalar_one()
        return found

    async def active(self, scope: TenantScope) -> Sequence[Published]:
        """As the port says, ordered by name and tenant."""
        rows = await self._seen(scope, self._active(_joined(), scope))
        return sorted(map(_published, rows), key=lambda each: (each.publication.name, each.tenant_id))

    async def standing(self, scope: TenantScope) -> Sequence[Standing]:
        columns = select(versions.c.tenant_id, versions.c.name, versions.c.digest, versions.c.published_at)
        query = self._active(columns.join_from(versions, heads, _of_head(versions)), scope)
        standing = [
            Standing(row.tenant_id, row.name, row.digest, row.published_at) for row in await self._seen(scope, query)
        ]
        return sorted(standing, key=lambda each: (each.name, each.tenant_id))

    async def by_digest(self, scope: TenantScope, digests: Sequence[str]) -> Mapping[str, Published]:
        """As the port says; the tenant's own publication stands before an equal one of another tenant's.

        Digests that nothing visible has are left out.
        """
        wanted = sorted(set(digests))
        query = _joined().where(versions.c.sort == self._sort, _visible_to(scope))
        found: dict[str, Published] = {}
        for start in range(0, len(wanted), DIGESTS_AT_ONCE):
            some = query.where(versions.c.digest.in_(wanted[start : start + DIGESTS_AT_ONCE]))
            for row in await self._seen(scope, some.order_by(versions.c.tenant_id, versions.c.name)):
                if row.digest not in found or row.tenant_id == scope.tenant_id:
                    found[row.digest] = _published(row)
        return found

    async def _seen(self, scope: TenantScope, query: Select[Any]) -> list[Row[Any]]:
        """The rows where the tenant is and, of one in a place of its own, what is shared in the shared tables."""
        own = await self._database.place_of(scope.tenant_id)
        rows: list[Row[Any]] = []
        for place in dict.fromkeys((own, PLATFORM)):
            async with self._database.reading(scope, place) as connection:
                rows += (await connection.execute(query)).all()
        return rows

    async def _may_share(self, scope: TenantScope, publication: Publication) -> None:
        if publication.shared and await self._database.place_of(scope.tenant_id) != PLATFORM:
            raise InvalidInput(
                "What a tenant in a schema or a database of its own publishes stays there: publish it unshared.",
                code="tier_unavailable",
            )

    def _active(self, query: Select[Any], scope: TenantScope) -> Select[Any]:
        return query.where(
            versions.c.sort == self._sort,
            versions.c.version == heads.c.version,
            heads.c.retired_at.is_(None),
            _visible_to(scope),
        ).order_by(versions.c.name, versions.c.tenant_id)

    async def _count_active(self, connection: AsyncConnection, scope: TenantScope) -> int:
        count = select(func.count()).where(
            heads.c.tenant_id == scope.tenant_id, heads.c.sort == self._sort, heads.c.retired_at.is_(None)
        )
        return int((await connection.execute(count)).scalar_one())

    async def _head(self, connection: AsyncConnection, scope: TenantScope, name: str) -> Row[Any] | None:
        query = select(heads).where(
            heads.c.tenant_id == scope.tenant_id, heads.c.sort == self._sort, heads.c.name == name
        )
        return (await connection.execute(query.with_for_update())).first()

    async def _locked_head(self, connection: AsyncConnection, scope: TenantScope, name: str) -> Row[Any]:
        head = await self._head(connection, scope, name)
        if head is None:
            raise NotFound("There is nothing published under this name.")
        return head

    async def _change_head(self, connection: AsyncConnection, scope: TenantScope, name: str, **change: Any) -> None:
        await connection.execute(
            update(heads)
            .where(heads.c.tenant_id == scope.tenant_id, heads.c.sort == self._sort, heads.c.name == name)
            .values(revision=heads.c.revision + 1, **change)
        )

    async def _store(self, connection: AsyncConnection, scope: TenantScope, publication: Publication) -> None:
        """Write the version and lay out its tags for look-up; the head's row must be there."""
        name = {"tenant_id": scope.tenant_id, "sort": self._sort, "name": publication.name}
        await connection.execute(
            insert(versions).values(
                **name,
                version=publication.version,
                digest=publication.digest,
                document=canonical_json(dict(publication.document)).decode(),
                tags=canonical_json(list(publication.tags)).decode(),
                shared=publication.shared,
                published_at=publication.published_at,
            )
        )
        await connection.execute(
            delete(tags).where(
                tags.c.tenant_id == scope.tenant_id, tags.c.sort == self._sort, tags.c.name == publication.name
            )
        )
        if publication.tags:
            await connection.execute(insert(tags), [{**name, "tag": tag} for tag in sorted(set(publication.tags))])

    def _versions(self, scope: TenantScope, name: str) -> Select[Any]:
        """Every version of a name of the tenant's own."""
        return _joined().where(
            versions.c.tenant_id == scope.tenant_id, versions.c.sort == self._sort, versions.c.name == name
        )


def _of_head(table: Any) -> Any:
    return (table.c.tenant_id == heads.c.tenant_id) & (table.c.sort == heads.c.sort) & (table.c.name == heads.c.name)


def _joined() -> Select[Any]:
    """Versions with what their head says."""
    return select(versions, heads.c.version.label("newest"), heads.c.revision, heads.c.retired_at).join_from(
        versions, heads, _of_head(versions)
    )


def _visible_to(scope: TenantScope) -> Any:
    return or_(versions.c.tenant_id == scope.tenant_id, versions.c.shared)


def _expect(head: Row[Any], revision: int) -> None:
    if head.revision != revision:
        raise PreconditionFailed(
            f"{head.name!r} is at revision {head.revision}, not {revision}; read it again and repeat the change."
        )


def _published(row: Row[Any]) -> Published:
    if row.version != row.newest:
        status = PublicationStatus.SUPERSEDED
    else:
        status = PublicationStatus.ACTIVE if row.retired_at is None else PublicationStatus.RETIRED
    publication = Publication(
        name=row.name,
        version=row.version,
        digest=row.digest,
        document=msgspec.json.decode(row.document),
        published_at=row.published_at,
        tags=tuple(msgspec.json.decode(row.tags)),
        shared=row.shared,
    )
    return Published(row.tenant_id, publication, status, row.revision)
