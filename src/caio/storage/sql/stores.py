"""Every port's adapter over one open database."""

from __future__ import annotations

from dataclasses import dataclass

from caio.audit.ports import JournalStore, LogStore
from caio.storage.sql.acts import SqlActs
from caio.storage.sql.admission_records import SqlAdmissionRecords
from caio.storage.sql.aliases import SqlAliases
from caio.storage.sql.audit_index import SqlAuditIndex
from caio.storage.sql.custody import SqlCustody
from caio.storage.sql.database import Database
from caio.storage.sql.events import SqlEvents
from caio.storage.sql.idempotency import SqlIdempotency
from caio.storage.sql.invitations import SqlInvitations
from caio.storage.sql.journal_sqlite import SqliteJournal
from caio.storage.sql.keys import SqlApiKeys
from caio.storage.sql.log_restart import SqlLogRestarts
from caio.storage.sql.log_sqlite import SqliteLog
from caio.storage.sql.members import SqlMembers
from caio.storage.sql.observed import SqlObservedHours
from caio.storage.sql.publications import SqlPublications
from caio.storage.sql.secrets import SqlSecrets
from caio.storage.sql.seen_attempts import SqlSeenAttempts
from caio.storage.sql.service_limits import SqlServiceLimits
from caio.storage.sql.snapshots import SqlInputSnapshots
from caio.storage.sql.storage_measures import SqlStorageMeasures
from caio.storage.sql.tenant_keys import SqlTenantKeys
from caio.storage.sql.tenant_rows import SqlTenantRows
from caio.storage.sql.tenants import SqlTenants
from caio.storage.sql.usage import SqlUsage
from caio.storage.sql.webhooks import SqlWebhooks
from caio.storage.sql.workflows import SqlWorkflows


@dataclass(frozen=True, slots=True)
class Stores:
    tenants: SqlTenants
    api_keys: SqlApiKeys
    members: SqlMembers
    invitations: SqlInvitations
    tenant_rows: SqlTenantRows
    tenant_keys: SqlTenantKeys
    contracts: SqlPublications
    policies: SqlPublications
    snapshots: SqlInputSnapshots
    journal: JournalStore
    log: LogStore
    log_restarts: SqlLogRestarts
    audit_index: SqlAuditIndex
    custody: SqlCustody
    observed: SqlObservedHours
    seen_attempts: SqlSeenAttempts
    idempotency: SqlIdempotency
    admission_records: SqlAdmissionRecords
    aliases: SqlAliases
    service_limits: SqlServiceLimits
    secrets: SqlSecrets
    acts: SqlActs
    events: SqlEvents
    webhooks: SqlWebhooks
    usage: SqlUsage
    storage_measures: SqlStorageMeasures
    workflows: SqlWorkflows


def open_stores(database: Database) -> Stores:
    """The stores over ``database``, whose ``close`` also ends what they started."""
    journal, log = _journal_and_log(database)
    return Stores(
        tenants=SqlTenants(database),
        api_keys=SqlApiKeys(database),
        members=SqlMembers(database),
        invitations=SqlInvitations(database),
        tenant_rows=SqlTenantRows(database),
        tenant_keys=SqlTenantKeys(database),
        contracts=SqlPublications(database, "contract"),
        policies=SqlPublications(database, "policy"),
        snapshots=SqlInputSnapshots(database),
        journal=journal,
        log=log,
        log_restarts=SqlLogRestarts(database, log),
        audit_index=SqlAuditIndex(database),
        custody=SqlCustody(database),
        observed=SqlObservedHours(database),
        seen_attempts=SqlSeenAttempts(database),
        idempotency=SqlIdempotency(database),
        admission_records=SqlAdmissionRecords(database),
        aliases=SqlAliases(database),
        service_limits=SqlServiceLimits(database),
        secrets=SqlSecrets(database),
        acts=SqlActs(database),
        events=SqlEvents(database),
        webhooks=SqlWebhooks(database),
        usage=SqlUsage(database),
        storage_measures=SqlStorageMeasures(database),
        workflows=SqlWorkflows(database),
    )


def _journal_and_log(database: Database) -> tuple[JournalStore, LogStore]:
    if database.dialect == "sqlite":
        return SqliteJournal(database), SqliteLog(database)
    from caio.storage.sql.journal_postgres import PostgresJournal  # needs the ``postgresql`` extra
    from caio.storage.sql.log_postgres import PostgresLog

    return PostgresJournal(database), PostgresLog(database)
