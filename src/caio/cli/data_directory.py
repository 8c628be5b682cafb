"""What the operator's commands open: the data directory's database and keys, without a server.

They work while a server runs: SQLite's write-ahead log and PostgreSQL let several processes read
and write. Nothing here takes the directory's lock; a command that must be alone takes it itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caio.audit.acts import Acts
    from caio.audit.sealing import TenantVault
    from caio.config import Settings
    from caio.storage.sql.database import Database
    from caio.storage.sql.stores import Stores


def settings_of(data_dir: Path | None) -> Settings:
    """The settings of the environment, with the directory that the command line names."""
    from caio.config import read_settings
    from caio.observability.logging import configure_logging

    configure_logging("warning")
    return read_settings() if data_dir is None else read_settings(data_dir=data_dir)


@dataclass(frozen=True, slots=True)
class OpenedData:
    """The database with its stores, what seals for its tenants, what tells of changes, and the master key."""

    database: Database
    stores: Stores
    vault: TenantVault
    acts: Acts
    master: bytes


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[OpenedData]:
    """Open the database, made when there is none, and the vault of its tenants. Raises Misconfigured where
    ``open_database`` does, and for settings that a deployment must not have."""
    from caio.audit.acts import Acts
    from caio.audit.key_changes import bind_master_key
    from caio.audit.sealing import TenantVault
    from caio.bootstrap import default_tenant, master_of, new_id, now, open_database, open_wrapping, prepare_data_dir
    from caio.config import require_safe
    from caio.storage.sql.stores import open_stores
    from caio.tenancy.authentication import EMBEDDED, embedded_scope
    from caio.tenancy.lifecycle import Tenants

    require_safe(settings)
    prepare_data_dir(settings.data_dir)
    database = await open_database(settings)
    try:
        stores = open_stores(database)
        master = master_of(settings)
        async with open_wrapping(settings, master) as wrapping:
            vault = TenantVault(wrapping, stores.tenant_keys, os.urandom, time.monotonic)
            acts = Acts(vault, now, new_id, os.urandom)
            # Secrets may be stored before the first start of a server.
            tenants = Tenants(stores.tenants, wrapping, acts, os.urandom)
            await tenants.create(embedded_scope(), EMBEDDED, default_tenant(settings))
            if settings.kms_key_id is not None:
                await bind_master_key(embedded_scope(), master, stores.journal, acts, stores.acts)
            yield OpenedData(database, stores, vault, acts, master)
    finally:
        await database.close()
