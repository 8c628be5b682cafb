"""The composition root: the only place that reads settings and wires the rooms together.

``open_installation`` gives everything one process needs to decide, call and answer; the API, the
library and the command line stand on the same installation.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from caio.audit.acts import SYSTEM, Acts
from caio.audit.anchor_directory import DirectoryAnchor
from caio.audit.journal import Journal
from caio.audit.key_changes import record_signing_key
from caio.audit.key_files import load_or_create, load_or_create_master
from caio.audit.late_anchor import LateAnchor
from caio.audit.notes import read_verifier_key
from caio.audit.ports import Anchor, KeyWrapping, Status
from caio.audit.reads import Reads
from caio.audit.record import SALT_BYTES, OutcomeRecord, leaf_of
from caio.audit.sealing import LocalWrapping, TenantVault, derive
from caio.audit.sequencer import Sequencer
from caio.audit.signing import Keyring
from caio.aws.clients import aws_client
from caio.config import Settings, read_settings
from caio.foundation.errors import Erased, Misconfigured
from caio.foundation.ids import ENTROPY_BYTES, ulid
from caio.foundation.money import Usage
from caio.foundation.scope import DEFAULT_TENANT
from caio.gateway.attempts import Attempts
from caio.gateway.books import Books
from caio.gateway.credentials import Credentials
from caio.gateway.pipeline import Gateway
from caio.gateway.streams import Streams
from caio.observability.logging import configure_logging
from caio.providers import providers
from caio.providers.outbound import OutboundClient
from caio.providers.witness import WitnessClient
from caio.registry.advice import Advisor
from caio.registry.audit_entries import AuditEntries
from caio.registry.audit_export import AuditExports
from caio.registry.audit_log import AuditLog
from caio.registry.catalog import Catalog
from caio.registry.custody import Custody
from caio.registry.decisions import Decisions
from caio.registry.expiry import Expiry
from caio.registry.histories import Histories, since
from caio.registry.observed import LONGEST, ObservedServices
from caio.registry.views import Views
from caio.registry.what_if import WhatIf
from caio.storage.memory.admission import InProcessAdmission
from caio.storage.sql.database import Database
from caio.storage.sql.lock import DataDirectoryLock, hold_single_process_lock
from caio.storage.sql.stores import Stores, open_stores
from caio.storage.sql.upgrade import is_at_head, upgrade_apart
from caio.tenancy.api_keys import ApiKeys
from caio.tenancy.authentication import Authenticator, embedded_scope
from caio.tenancy.lifecycle import Tenants
from caio.tenancy.ports import Quotas, Tenant, TenantStatus
from caio.tenancy.rate_limit import DAY

_API_KEY_HASHING = "caio/api-key-hash/v1"

#: Whose leases on the logs are. A process lock keeps a second process from the database, so one name
#: serves, and a process that was killed need not wait for its own leases to expire.
_HOLDER = "caio"


def now() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


def new_id(prefix: str) -> str:
    return ulid(prefix, now(), os.urandom(ENTROPY_BYTES))


@dataclass(frozen=True, slots=True)
class Installation:
    """One process's parts, wired and running."""

    settings: Settings
    database: Database
    stores: Stores
    keyring: Keyring
    vault: TenantVault
    journal: Journal
    sequencer: Sequencer
    audit_log: AuditLog
    audit_exports: AuditExports
    audit_entries: AuditEntries
    custody: Custody
    acts: Acts
    tenants: Tenants
    admission: InProcessAdmission
    catalog: Catalog
    decisions: Decisions
    observed: ObservedServices
    what_if: WhatIf
    gateway: Gateway
    streams: Streams
    authenticator: Authenticator
    api_keys: ApiKeys

    @property
    def max_body_bytes(self) -> int:
        return self.settings.max_body_bytes

    async def ping_database(self) -> None:
        await self.database.ping()


@asynccontextmanager
async def open_from_environment() -> AsyncIterator[Installation]:
    """The installation that the environment describes, with logging set up: what a server opens."""
    settings = read_settings()
    configure_logging(settings.log_level)
    async with open_installation(settings) as installation:
        yield installation


def embedded_settings(data_dir: Path, allow_private: Sequence[str]) -> Settings:
    """The library's settings: SQLite in ``data_dir``, the rest from the environment."""
    overrides: dict[str, object] = {"data_dir": data_dir, "database_url": None}
    if allow_private:
        overrides["outbound_allow"] = ",".join(allow_private)
    return read_settings(**overrides)


@asynccontextmanager
async def open_installation(settings: Settings) -> AsyncIterator[Installation]:
    """Open everything, recover what a crash left, and close it in order. Raises Misconfigured when
    another process holds the data directory or the database."""
    async with AsyncExitStack() as stack:
        prepare_data_dir(settings.data_dir)
        stack.enter_context(alone_in(settings.data_dir))
        database = await open_database(settings)
        stack.push_async_callback(database.close)
        await stack.enter_async_context(alone_on(database))
        stores = open_stores(database)
        master = load_or_create_master(settings.data_dir / "keys" / "master.key")
        keyring = load_or_create(settings.data_dir / "keys" / "signing")
        wrapping = await stack.enter_async_context(open_wrapping(settings, master))
        vault = TenantVault(wrapping, stores.tenant_keys, os.urandom, time.monotonic)
        outbound = OutboundClient(settings.outbound_allow)
        stack.push_async_callback(outbound.close)
        anchor = await stack.enter_async_context(anchor_of(settings))
        sequencer = _sequencer(settings, stores, keyring, anchor, outbound)
        stack.push_async_callback(sequencer.stop)  # after the journal's end, so that its last leaves are taken in
        journal = Journal(stores.journal)
        await journal.start()
        stack.push_async_callback(journal.stop)
        acts = Acts(vault, now, new_id, os.urandom)
        tenants = Tenants(stores.tenants, wrapping, acts, os.urandom)
        await _begin(settings, stores, keyring, vault, journal, acts, tenants)
        await sequencer.start()
        expiry = Expiry(stores.custody, acts, now)
        await expiry.start()
        stack.push_async_callback(expiry.stop)
        installation = await _wire(
            settings, database, stores, keyring, vault, journal, sequencer, acts, tenants, outbound, master
        )
        stack.push_async_callback(installation.gateway.books.settled)
        yield installation


@contextmanager
def alone_in(data_dir: Path) -> Iterator[None]:
    """Hold the data directory. Raises Misconfigured when another process does."""
    lock = DataDirectoryLock.hold(data_dir)
    try:
        yield
    finally:
        lock.release()


@asynccontextmanager
async def alone_on(database: Database) -> AsyncIterator[None]:
    """Hold a database that several data directories may name. Raises Misconfigured when another process does."""
    if database.dialect != "postgresql":
        yield
        return
    lock = await hold_single_process_lock(database)
    try:
        yield
    finally:
        await lock.release()


def prepare_data_dir(data_dir: Path) -> None:
    """Create the directory and its ``keys`` for their owner alone."""
    try:
        for directory in (data_dir, data_dir / "keys"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"the data directory {data_dir} cannot be created: {error.strerror}") from error


async def open_database(settings: Settings) -> Database:
    """The database, its schema brought to the head when it is new or older."""
    database = await Database.open(settings.url)
    try:
        if not await is_at_head(database):
            await asyncio.to_thread(upgrade_apart, settings.url)
    except BaseException:
        await database.close()
        raise
    return database


@asynccontextmanager
async def open_wrapping(settings: Settings, master: bytes) -> AsyncIterator[KeyWrapping]:
    """What wraps the tenants' data keys: the KMS key of the settings, otherwise the master key.

    Raises Misconfigured when the extra ``aws``, a region or credentials are missing.
    """
    if settings.kms_key_id is None:
        yield LocalWrapping(master, os.urandom)
        return
    async with aws_client("kms") as client:
        from caio.aws.kms import KmsWrapping  # botocore stays out of a process that needs no AWS

        yield KmsWrapping(client, settings.kms_key_id)


@asynccontextmanager
async def anchor_of(settings: Settings) -> AsyncIterator[Anchor | None]:
    """Where checkpoints are anchored; None when the settings say ``none``.

    Raises Misconfigured for a bucket that does not keep what it is given. One that does not answer is no reason
    not to start: it is opened later.
    """
    bucket = settings.anchor_bucket
    if bucket is None:
        yield None if settings.anchor_directory is None else DirectoryAnchor(settings.anchor_directory)
        return
    async with aws_client("s3") as client:
        from caio.aws.object_lock import S3Anchor

        days = settings.anchor_retention_days
        yield await LateAnchor.open(lambda: S3Anchor.open(client, bucket.name, bucket.prefix, days, now))


def _sequencer(
    settings: Settings, stores: Stores, keyring: Keyring, anchor: Anchor | None, outbound: OutboundClient
) -> Sequencer:
    return Sequencer(
        stores.log,
        keyring,
        lambda tenant_id: f"{settings.audit_origin}/{tenant_id}",
        _HOLDER,
        now,
        every_seconds=settings.audit_checkpoint_seconds,
        anchor=anchor,
        anchor_every_seconds=settings.anchor_every_seconds,
        witnesses=[WitnessClient(outbound, each.url, read_verifier_key(each.key)) for each in settings.witnesses],
    )


async def _wire(
    settings: Settings,
    database: Database,
    stores: Stores,
    keyring: Keyring,
    vault: TenantVault,
    journal: Journal,
    sequencer: Sequencer,
    acts: Acts,
    tenants: Tenants,
    outbound: OutboundClient,
    master: bytes,
) -> Installation:
    histories = Histories(stores.snapshots)
    views = Views(stores.contracts, stores.policies, stores.snapshots)
    admission = InProcessAdmission()
    books = Books(journal, vault, admission, histories, now, os.urandom)
    attempts = Attempts(providers(outbound), Credentials(stores.secrets, vault))
    gateway = Gateway(views, histories, admission, attempts, books, stores.idempotency, vault, now, new_id)
    hash_key = derive(master, _API_KEY_HASHING)
    authenticator = Authenticator(stores.api_keys, stores.tenants, hash_key, now)
    await _recover(stores, vault, journal, admission, histories)
    audit_log, reads = AuditLog(stores.log, sequencer), Reads(acts, journal)
    return Installation(
        settings,
        database,
        stores,
        keyring,
        vault,
        journal,
        sequencer,
        audit_log,
        AuditExports(stores.audit_index, stores.journal, vault, audit_log, reads, keyring, now),
        AuditEntries(stores.audit_index, stores.journal, vault, reads),
        Custody(stores.custody, acts, vault, now, new_id),
        acts,
        tenants,
        admission,
        Catalog(stores.contracts, stores.policies, views.changed, now, Advisor(views), acts),
        Decisions(
            stores.journal, vault, stores.contracts, stores.policies, stores.snapshots, keyring, audit_log, reads
        ),
        ObservedServices(stores.contracts, stores.observed, now),
        WhatIf(stores.journal, vault, stores.contracts, stores.policies, stores.snapshots, now),
        gateway,
        Streams(gateway),
        authenticator,
        ApiKeys(stores.api_keys, hash_key, settings.env[:4], now, os.urandom, authenticator.forget, views, acts),
    )


def default_tenant(settings: Settings) -> Tenant:
    """The operator's tenant, which there always is: made by the first start, or a command before it."""
    return Tenant(DEFAULT_TENANT, "Default tenant", TenantStatus.ACTIVE, settings.currency, Quotas(), now())


async def _begin(
    settings: Settings,
    stores: Stores,
    keyring: Keyring,
    vault: TenantVault,
    journal: Journal,
    acts: Acts,
    tenants: Tenants,
) -> None:
    """What the operator's log says before anything is signed. Raises SealBroken when the master key is not
    this database's."""
    scope = embedded_scope()
    await tenants.create(scope, SYSTEM, default_tenant(settings))
    with suppress(Erased):  # of a default tenant whose key was destroyed; the others go on
        await vault.sealer(scope)
        await record_signing_key(scope, keyring.active.key_id, stores.journal, acts, journal)


async def _recover(
    stores: Stores, vault: TenantVault, journal: Journal, admission: InProcessAdmission, histories: Histories
) -> None:
    """Take up where the last process stopped: end the calls it left open, rebuild what was in memory."""
    for tenant_id, row in await stores.journal.unfinished():
        record = OutcomeRecord(
            tenant_id=tenant_id,
            decision_id=row.decision_id,
            finished_at=now(),
            status=Status.INTERRUPTED,
            service_id=row.service_id,
            latency_ms=0,
            attempts=(),
            usage=Usage(),
            reserved=row.reserved,
            charged=0,
            answer=None,
        )
        with suppress(Erased):  # nothing can be sealed for a tenant whose key was destroyed
            sealer = await vault.sealer(embedded_scope(tenant_id))
            await journal.append(leaf_of(record, sealer, os.urandom(SALT_BYTES)))
    await stores.idempotency.release_unfinished()
    await stores.observed.forget(now() - LONGEST)
    admitted: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for tenant_id, row, _ in await stores.journal.admitted_since(now() - DAY):
        admitted[tenant_id].append((row.service_id, row.decided_at))
    further: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for tenant_id, finished_at, position, attempt in await stores.journal.attempts_since(since(now())):
        histories.observe(tenant_id, attempt, finished_at)
        if position > 0:
            further[tenant_id].append((attempt.service_id, finished_at))
    spent = await stores.journal.spent()
    for tenant in await stores.tenants.all_active():
        admission.open(tenant)
        name = tenant.tenant_id
        admission.restore(name, admitted[name], spent.get(name, 0), further[name])
