"""Reading a tenant's audit log entry by entry, for those who may; each look is itself an entry.

What is read is recorded before it is given out (``audit.reads``). Under a destroyed key nothing can be
recorded any more, and nothing sealed can be given out either: the clear columns are, with a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from caio.audit.ports import JournalStore, StoredLeaf
from caio.audit.query import AuditIndex, EntryFilter, EntryPage, Place
from caio.audit.reads import Reads
from caio.audit.record import OpenedLeaf, open_leaf
from caio.audit.sealing import TenantVault
from caio.foundation.errors import Erased, NotFound
from caio.foundation.scope import TenantScope

_logger = structlog.get_logger("caio.audit")


class AuditEntries:
    """A tenant's log, for its own auditors. ``principal_id`` is who looks."""

    def __init__(self, index: AuditIndex, journal: JournalStore, vault: TenantVault, reads: Reads) -> None:
        self._index = index
        self._journal = journal
        self._vault = vault
        self._reads = reads

    async def page(
        self, scope: TenantScope, principal_id: str, wanted: EntryFilter, before: Place | None, limit: int
    ) -> EntryPage:
        """Entries newest first, as ``AuditIndex.entries`` gives them."""
        found = await self._index.entries(scope, wanted, before, limit)
        await self._record(scope, principal_id, "entries", {"filter": wanted.document(), "given": len(found.items)})
        return found

    async def entry(self, scope: TenantScope, principal_id: str, seq: int) -> tuple[StoredLeaf, OpenedLeaf]:
        """The leaf at ``seq`` and its content, checked against its commitment.

        Raises NotFound beyond the log's end, Erased when the content or the tenant's key is gone.
        """
        stored = await self._journal.page(scope, seq - 1, 1)
        if not stored or stored[0].seq != seq:
            raise NotFound("the audit log has no entry at this place")
        opened = open_leaf(stored[0], await self._vault.sealer(scope))
        await self._record(scope, principal_id, "entry", {"seq": seq})
        return stored[0], opened

    async def _record(self, scope: TenantScope, principal_id: str, subject: str, details: Mapping[str, Any]) -> None:
        try:
            await self._reads.record(scope, principal_id, "audit.read", subject, details)
        except Erased:
            _logger.warning("a log whose key was destroyed is read", tenant=scope.tenant_id, principal=principal_id)
