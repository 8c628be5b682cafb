"""What is published, read and examined: the parts behind the control plane's routes."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from caio.api.openai.naming import ModelNames
from caio.audit.reads import Reads
from caio.bootstrap.audit import Audit
from caio.bootstrap.clock import new_id, now
from caio.bootstrap.metering import Metering
from caio.bootstrap.storage import Storage
from caio.config import Settings
from caio.registry.advice import Advisor
from caio.registry.aliases import Aliases
from caio.registry.audit_entries import AuditEntries
from caio.registry.audit_export import AuditExports
from caio.registry.audit_log import AuditLog
from caio.registry.catalog import Catalog
from caio.registry.custody import Custody
from caio.registry.decisions import Decisions
from caio.registry.expiry import Expiry
from caio.registry.observed import ObservedServices
from caio.registry.views import Views
from caio.registry.what_if import WhatIf


@dataclass(frozen=True, slots=True)
class Registry:
    audit_log: AuditLog
    audit_exports: AuditExports
    audit_entries: AuditEntries
    custody: Custody
    catalog: Catalog
    decisions: Decisions
    observed: ObservedServices
    what_if: WhatIf
    aliases: Aliases
    model_names: ModelNames


def wire_registry(settings: Settings, storage: Storage, audit: Audit, metering: Metering, views: Views) -> Registry:
    stores, vault, acts = storage.stores, audit.vault, audit.acts
    alone = not settings.several_processes
    aliases = Aliases(stores.aliases, stores.contracts, views, acts, now, time.monotonic, alone=alone)
    log, reads = AuditLog(stores.log, audit.sequencer), Reads(acts, audit.journal)
    published = stores.contracts, stores.policies, stores.snapshots
    return Registry(
        log,
        AuditExports(stores.audit_index, stores.journal, vault, log, reads, audit.keyring, now),
        AuditEntries(stores.audit_index, stores.journal, vault, reads),
        Custody(stores.custody, acts, vault, now, new_id),
        Catalog(
            stores.contracts,
            stores.policies,
            views.changed,
            now,
            Advisor(views),
            acts,
            metering.storage_gauge,
            aliases.refuse_an_aliass_name,
        ),
        Decisions(stores.journal, vault, *published, audit.keyring, log, reads),
        ObservedServices(stores.contracts, stores.observed, now),
        WhatIf(stores.journal, vault, *published, now),
        aliases,
        ModelNames(views, aliases, stores.contracts),
    )


async def start_expiry(stack: AsyncExitStack, storage: Storage, audit: Audit) -> None:
    """Carry out what retention asks for, while this process runs."""
    expiry = Expiry(storage.stores.custody, audit.acts, now)
    await expiry.start()
    stack.push_async_callback(expiry.stop)
