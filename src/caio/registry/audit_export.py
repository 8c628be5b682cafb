"""Exporting a tenant's log: one stream of lines, of a fixed size, in bounded memory.

Theory of operation
-------------------
Before anything is given out, the export is recorded in the log as an access, and what is durable then
is taken in: the head that this gives fixes the export's size. What is asked for by service, principal,
outcome or capability is looked up and remembered as one bit an entry. Then the journal is read in
pages, opened a few entries at a time so that calls are not kept waiting, and forgotten; of several
exports one reads and opens a page at a time, while the others send or wait. The last line
holds the manifest, signed over all others; a stream without it is no export, whatever cut it short.

Laws (each has a test of the same name)
---------------------------------------
- exports_are_recorded_first: an export that cannot be recorded gives nothing out.
- exports_verify: whole ones and those from a place within the log, whatever is shown of them.
- an_export_is_of_one_size: what is appended meanwhile is not in it.
- what_is_erased_meanwhile_is_explained: an export that met what was erased after its size was fixed goes
  on to the act that erased it; one that a tenant's erasure overtook is cut short.
- one_export_works_at_a_time: and one whose reader is slow keeps no other waiting.
- memory_is_bounded: by a page and a bit an entry, not by the log.
- what_is_looked_up_is_disclosed: decisions with their outcomes, and acts, as the log's search finds them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable

import structlog

from caio.audit.export import KIND, EntryLine, Manifest, Shown, Tally, closing_line, entry_line
from caio.audit.log_erasures import Erasures
from caio.audit.merkle import Frontier
from caio.audit.ports import JournalStore, LogHead
from caio.audit.query import AuditIndex, DecisionEntry, EntryFilter, Result
from caio.audit.reads import Reads
from caio.audit.sealing import Sealer, TenantVault
from caio.audit.signing import Keyring
from caio.audit.tiles import HEIGHT, WIDTH, Edge
from caio.audit.trees import log_broken
from caio.foundation.errors import CaioError, Erased, InvalidInput, NotReady, Violation
from caio.foundation.scope import TenantScope
from caio.registry.audit_log import AuditLog

#: Leaves read at once, and opened before others get their turn.
PAGE = 512
_TURN = 16

_logger = structlog.get_logger("caio.audit")


class AuditExports:
    """Makes exports of tenants' logs, for their own readers."""

    def __init__(
        self,
        index: AuditIndex,
        journal: JournalStore,
        vault: TenantVault,
        log: AuditLog,
        reads: Reads,
        keyring: Keyring,
        clock: Callable[[], int],
    ) -> None:
        self._index = index
        self._journal = journal
        self._vault = vault
        self._log = log
        self._reads = reads
        self._keyring = keyring
        self._clock = clock
        self._at_work = asyncio.Lock()

    async def export(self, scope: TenantScope, principal_id: str, start: int, shown: Shown) -> AsyncIterator[bytes]:
        """The stream of entries ``start`` and following, disclosing what is ``shown``.

        Raises InvalidInput beyond the log's end, and what recording raises; NotReady while the log has no
        checkpoint. A stream that meets an error ends without its last line.
        """
        try:
            await self._reads.record(
                scope, principal_id, "audit.exported", "log", {"from": start, "filter": shown.document()}
            )
        except Erased:  # nothing can be recorded under a destroyed key, and there is nothing left to disclose
            _logger.warning("a log whose key was destroyed is exported", tenant=scope.tenant_id, principal=principal_id)
        head = await self._log.head(scope, fresh=True)
        if head is None:
            raise NotReady("the audit log has no checkpoint yet; try again")
        if start > head.size:
            raise InvalidInput(
                "the export would begin beyond the log's end",
                [Violation("/query/from", f"the log has {head.size} entries")],
            )
        return self._stream(scope, head, await self._frontier(scope, start), shown)

    async def _frontier(self, scope: TenantScope, start: int) -> Frontier:
        """What the tree of the entries before ``start`` is continued from, out of its partial tiles."""
        tiles: dict[int, bytes] = {}
        level = 0
        while nodes := start >> HEIGHT * level:
            position, width = divmod(nodes, WIDTH)
            if width:
                tiles[level] = await self._log.tile(scope, level, position, width)
            level += 1
        return Edge.of(start, tiles).frontier()

    async def _stream(
        self, scope: TenantScope, head: LogHead, frontier: Frontier, shown: Shown
    ) -> AsyncIterator[bytes]:
        sha256, tally, erasures = hashlib.sha256(), Tally(), Erasures(frontier.size)
        try:
            found = await self._found(scope, shown, head.size)
            while True:
                start = frontier.size + tally.count
                if start == head.size:
                    if erasures.hidden or erasures.first_unexplained() is None:
                        break
                    head = await self._grown(scope, head)
                async with self._at_work:
                    parts = await self._page(scope, shown, found, range(start, min(start + PAGE, head.size)))
                for lines in parts:
                    for line in lines:
                        tally = tally.with_line(line)
                        erasures.take(line)
                    written = b"".join(line.written() for line in lines)
                    sha256.update(written)
                    yield written
                    await asyncio.sleep(0)
        except CaioError as error:
            _logger.error("an export was cut short", tenant=scope.tenant_id, code=error.code, exc_info=error)
            return
        manifest = self._manifest(scope, head, frontier, shown, tally, sha256.hexdigest())
        yield closing_line(manifest.signed(self._keyring.active), head.checkpoint)

    async def _page(
        self, scope: TenantScope, shown: Shown, found: _Places | None, wanted: range
    ) -> list[list[EntryLine]]:
        """The lines of the leaves ``wanted``, a turn's together; fewer when less is read at once."""
        page = await self._journal.page(scope, wanted.start - 1, len(wanted))
        if not page or [stored.seq for stored in page] != [*wanted][: len(page)]:
            raise log_broken(scope.tenant_id, f"the journal lacks leaf {wanted.start} or one after it")
        sealer = await self._sealer(scope)
        parts = []
        for first in range(0, len(page), _TURN):
            lines = []
            for each in page[first : first + _TURN]:
                disclosed = shown.includes(each.leaf) and (found is None or found.holds(each.seq))
                lines.append(entry_line(each, sealer, disclosed=disclosed))
            parts.append(lines)
            await asyncio.sleep(0)
        return parts

    async def _grown(self, scope: TenantScope, head: LogHead) -> LogHead:
        """The head that holds what is durable now, more than ``head``; raises NotReady when there is none."""
        grown = await self._log.head(scope, fresh=True)
        if grown is None or grown.size <= head.size:
            raise NotReady("what was erased during the export cannot be explained yet; export again")
        return grown

    async def _found(self, scope: TenantScope, shown: Shown, size: int) -> _Places | None:
        """The places that the log's search finds for ``shown``; None when it asks for nothing of that kind."""
        if not shown.is_looked_up:
            return None
        result = None if shown.outcome is None else Result(shown.outcome)
        wanted = EntryFilter(
            service=shown.service, principal=shown.principal, result=result, capability=shown.capability
        )
        places, before = _Places(size), None
        while True:
            page = await self._index.entries(scope, wanted, before, PAGE)
            for entry in page.items:
                places.add(entry.seq)
                if isinstance(entry, DecisionEntry) and entry.outcome_seq is not None:
                    places.add(entry.outcome_seq)
            before = page.next_before
            if before is None:
                return places

    async def _sealer(self, scope: TenantScope) -> Sealer | None:
        try:
            return await self._vault.sealer(scope)
        except Erased:
            return None

    def _manifest(
        self, scope: TenantScope, head: LogHead, frontier: Frontier, shown: Shown, tally: Tally, entries: str
    ) -> Manifest:
        return Manifest(
            v=1,
            kind=KIND,
            tenant=scope.tenant_id,
            origin=head.origin,
            start=frontier.size,
            size=head.size,
            count=tally.count,
            erased=tally.erased,
            withheld=tally.withheld,
            unreadable=tally.unreadable,
            filter=shown.document(),
            frontier=[each.hex() for each in frontier.hashes],
            entries_sha256=entries,
            checkpoint_sha256=hashlib.sha256(head.checkpoint.encode()).hexdigest(),
            made_at=self._clock(),
            key_id=self._keyring.active.key_id,
        )


class _Places:
    """Some of the places below ``size``, a bit each."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._bits = bytearray(size // 8 + 1)

    def add(self, seq: int) -> None:
        """What was appended since is left out."""
        if seq < self._size:
            self._bits[seq >> 3] |= 1 << (seq & 7)

    def holds(self, seq: int) -> bool:
        return seq < self._size and bool(self._bits[seq >> 3] >> (seq & 7) & 1)
