"""Exporting a tenant: all that is its own, for its own admin, as one stream.

Theory of operation
-------------------
The export is an act, told in the tenant's log before anything is given out. Then the tables are read page by
page, each as it is when it is read, and the journal up to the size it had at the beginning, opened a few
leaves at a time; what is compressed leaves at once. The manifest at the end names the signed checkpoint of the
audit log, whose own export proves what this one only shows.

Laws (each has a test of the same name)
---------------------------------------
- an_export_is_told_first: one that cannot be told gives nothing out.
- an_export_holds_what_there_is: every kind, every row, of this tenant alone.
- no_secret_is_exported: no token, hash, sealed byte, or signing secret.
- what_was_erased_is_said_so: a decision whose content is gone is there, without it.

A stream that meets an error ends without its manifest, and is no export. Acts are exported with the audit log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol

import structlog

from caio.audit.acts import Act, Acts
from caio.audit.ports import ActStore, JournalStore, LeafKind, StoredLeaf
from caio.audit.record import open_leaf
from caio.audit.sealing import Sealer, TenantVault
from caio.foundation.errors import CaioError, Erased, NotReady, SealBroken
from caio.foundation.quantity import decimal_text
from caio.foundation.scope import TenantScope
from caio.registry.audit_log import AuditLog
from caio.registry.tenant_archive import KINDS, ArchiveWriter
from caio.tenancy.lifecycle import described
from caio.tenancy.ports import Tenant, TenantStore

#: Leaves read at once, and opened before others get their turn.
PAGE = 512
_TURN = 16

#: What the export calls rows that the store calls otherwise.
_STORED = {"services": "contract", "policies": "policy"}
_DECISIONS = (LeafKind.DECISION, LeafKind.OUTCOME)

_logger = structlog.get_logger("caio.tenancy")


class TenantRows(Protocol):
    def pages(self, scope: TenantScope, kind: str) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """All rows of a kind as documents without secrets, in pages, by their key."""
        ...


class TenantExports:
    """Makes exports of tenants, for themselves."""

    def __init__(
        self,
        tenants: TenantStore,
        rows: TenantRows,
        journal: JournalStore,
        vault: TenantVault,
        log: AuditLog,
        acts: Acts,
        told: ActStore,
        clock: Callable[[], int],
    ) -> None:
        self._tenants = tenants
        self._rows = rows
        self._journal = journal
        self._vault = vault
        self._log = log
        self._acts = acts
        self._told = told
        self._clock = clock

    async def export(self, scope: TenantScope, by: str, *, content: bool) -> AsyncIterator[bytes]:
        """The archive's bytes. ``content`` is whether decisions and outcomes are opened. Raises what telling of it
        raises, and NotReady while the audit log has no checkpoint."""
        tenant = await self._tenants.get(scope)
        leaf = await self._acts.leaf(scope, Act("tenant.exported", by, scope.tenant_id, {"content": content}))
        await self._told.record(scope, leaf)
        head = await self._log.head(scope, fresh=True)
        if head is None:
            raise NotReady("the audit log has no checkpoint yet; try again")
        manifest: dict[str, Any] = {
            "tenant": scope.tenant_id,
            "made_at": self._clock(),
            "made_by": by,
            "content": content,
            "audit": {"origin": head.origin, "size": head.size, "checkpoint": head.checkpoint},
        }
        return self._stream(scope, tenant, head.size, manifest)

    async def _stream(
        self, scope: TenantScope, tenant: Tenant, size: int, manifest: Mapping[str, Any]
    ) -> AsyncIterator[bytes]:
        writer = ArchiveWriter()
        try:
            for kind in KINDS:
                yield writer.begin(kind)
                async for rows in self._rows_of(scope, kind, tenant, size, opened=bool(manifest["content"])):
                    yield writer.rows(*rows)
                    await asyncio.sleep(0)
        except CaioError as error:
            _logger.error("an export was cut short", tenant=scope.tenant_id, code=error.code, exc_info=error)
            return
        yield writer.end(manifest)

    async def _rows_of(
        self, scope: TenantScope, kind: str, tenant: Tenant, size: int, *, opened: bool
    ) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """All rows of a kind, a few at a time."""
        if kind == "tenant":
            yield [_tenant(tenant)]
        elif kind == "decisions":
            async for entries in self._decisions(scope, size, opened=opened):
                yield entries
        else:
            async for page in self._rows.pages(scope, _STORED.get(kind, kind)):
                for first in range(0, len(page), _TURN):
                    rows = page[first : first + _TURN]
                    yield [_priced(row) for row in rows] if kind == "usage" else rows

    async def _decisions(
        self, scope: TenantScope, size: int, *, opened: bool
    ) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """Decisions and outcomes of the first ``size`` leaves, in the log's order."""
        after = -1
        while after + 1 < size:
            page = await self._journal.page(scope, after, min(PAGE, size - after - 1))
            if not page:
                return
            after = page[-1].seq
            sealer = await self._sealer(scope) if opened else None
            wanted = [each for each in page if each.leaf.kind in _DECISIONS]
            for first in range(0, len(wanted), _TURN):
                yield [_entry(each, sealer) for each in wanted[first : first + _TURN]]

    async def _sealer(self, scope: TenantScope) -> Sealer | None:
        try:
            return await self._vault.sealer(scope)
        except Erased:
            return None


def _tenant(tenant: Tenant) -> dict[str, Any]:
    times = {"created_at": tenant.created_at, "updated_at": tenant.updated_at, "status_at": tenant.status_at}
    return {"tenant_id": tenant.tenant_id, "revision": tenant.revision, **described(tenant), **times}


def _priced(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "cost": decimal_text(row["cost"])}


def _entry(stored: StoredLeaf, sealer: Sealer | None) -> dict[str, Any]:
    """A leaf as a row: with its content if there is a sealer and it was not erased."""
    leaf = stored.leaf
    row: dict[str, Any] = {
        "seq": stored.seq,
        "kind": leaf.kind.value,
        "decision_id": leaf.subject_id,
        "recorded_at": leaf.recorded_at,
        "commitment": leaf.commitment.hex(),
    }
    if not leaf.sealed:
        return row | {"erased": True}
    if sealer is None:
        return row
    try:
        opened = open_leaf(stored, sealer)
    except SealBroken:
        return row | {"unreadable": True}
    return row | {"content": opened.document}
