"""Keys, the vault of the tenants' data keys, the journal, the sequencer and its anchor."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from caio.audit import key_secrets
from caio.audit.acts import Acts
from caio.audit.anchor_directory import DirectoryAnchor
from caio.audit.journal import Journal
from caio.audit.key_files import load_or_create, load_or_create_master
from caio.audit.late_anchor import LateAnchor
from caio.audit.notes import read_verifier_key
from caio.audit.ports import Anchor, KeyWrapping
from caio.audit.sealing import LocalWrapping, TenantVault
from caio.audit.sequencer import Sequencer
from caio.audit.signing import Keyring
from caio.aws.clients import aws_client
from caio.bootstrap.clock import new_id, now, process_identity
from caio.bootstrap.storage import Storage
from caio.config import Settings
from caio.providers.outbound import OutboundClient
from caio.providers.witness import WitnessClient
from caio.storage.sql.stores import Stores

#: Whose leases on the logs are where a lock keeps a second process from the database: one name serves,
#: and a process that was killed need not wait for its own leases to expire.
_ALONE = "caio"


@dataclass(frozen=True, slots=True)
class Audit:
    """``master`` is the installation's master key: purposes' keys are derived from it."""

    master: bytes
    keyring: Keyring
    wrapping: KeyWrapping
    vault: TenantVault
    journal: Journal
    sequencer: Sequencer
    acts: Acts


async def open_audit(
    stack: AsyncExitStack, settings: Settings, storage: Storage, outbound: OutboundClient, *, works: bool
) -> Audit:
    """Open the keys and start the journal; the sequencer is to be started once the log has begun. Where others do
    the worker's part, it takes in only what somebody asks for."""
    stores = storage.stores
    master, keyring = master_of(settings), keyring_of(settings)
    wrapping = await stack.enter_async_context(open_wrapping(settings, master))
    vault = TenantVault(wrapping, stores.tenant_keys, os.urandom, time.monotonic)
    anchor = await stack.enter_async_context(anchor_of(settings))
    sequencer = _sequencer(settings, stores, keyring, anchor, outbound, looks=works)
    stack.push_async_callback(sequencer.stop)  # after the journal's end, so that its last leaves are taken in
    journal = Journal(stores.journal)
    await journal.start()
    stack.push_async_callback(journal.stop)
    acts = Acts(vault, now, new_id, os.urandom)
    return Audit(master, keyring, wrapping, vault, journal, sequencer, acts)


def master_of(settings: Settings) -> bytes:
    """The installation's master key: of its secret in the environment, otherwise the data directory's, made when
    there is none. Raises Misconfigured for a file that must not be used."""
    if (source := settings.master_source) is not None:
        return key_secrets.master_key(source)
    return load_or_create_master(settings.data_dir / "keys" / "master.key")


def keyring_of(settings: Settings) -> Keyring:
    """The keys of receipts and checkpoints; as ``master_of``."""
    if (source := settings.signing_source) is not None:
        return key_secrets.keyring(source, settings.retired_public_keys)
    return load_or_create(settings.data_dir / "keys" / "signing")


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
    settings: Settings,
    stores: Stores,
    keyring: Keyring,
    anchor: Anchor | None,
    outbound: OutboundClient,
    *,
    looks: bool,
) -> Sequencer:
    return Sequencer(
        stores.log,
        keyring,
        lambda tenant_id: f"{settings.audit_origin}/{tenant_id}",
        process_identity() if settings.several_processes else _ALONE,
        now,
        every_seconds=settings.audit_checkpoint_seconds,
        looks=looks,
        anchor=anchor,
        anchor_every_seconds=settings.anchor_every_seconds,
        witnesses=[WitnessClient(outbound, each.url, read_verifier_key(each.key)) for each in settings.witnesses],
    )
