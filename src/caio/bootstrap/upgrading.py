"""Bringing a database to this version's form, as its own login or as an administrator.

An administrator's upgrade leaves nothing for the application's login to make: tables, the login itself, and the
tables of the engine of workflows, where that is installed.
"""

from __future__ import annotations

import asyncio
import os

from caio.bootstrap.storage import open_database
from caio.config import Settings
from caio.storage.sql.login import make_login, open_engine_schema, require_ownership
from caio.storage.sql.upgrade import current, upgrade


def upgrade_database(settings: Settings) -> str | None:
    """Upgrade; the revision of before, None for a database that was empty. Blocks; not within an event loop.

    Raises Misconfigured for a database that cannot be used, a login that may not do this, and one that row-level
    security would not bind; NotReady for a server that does not answer.
    """
    admin_url = settings.admin_url
    if admin_url is None:
        before = current(settings.url)
        upgrade(settings.url, silos=settings.silos)
        return before
    before = current(admin_url)
    asyncio.run(require_ownership(admin_url))
    upgrade(admin_url, silos=settings.silos)
    asyncio.run(make_login(admin_url, *settings.login, os.urandom(16)))
    if _prepare_engine(admin_url):
        asyncio.run(open_engine_schema(admin_url))
    asyncio.run(_try(settings))
    return before


def _prepare_engine(admin_url: str) -> bool:
    """Whether the engine of workflows is installed, whose tables are then made."""
    try:
        from caio.worker.durable import prepare_tables
    except ModuleNotFoundError as error:
        if error.name != "dbos":
            raise
        return False
    prepare_tables(admin_url)
    return True


async def _try(settings: Settings) -> None:
    """Open the database as the application will: a login that cannot is better found now."""
    await (await open_database(settings)).close()
