"""Reads of other people's records, written down before what was read is given out.

Theory of operation
-------------------
A read changes nothing, so there is no transaction to share: its leaf goes through the journal's
writer, together with whatever else is waiting. ``record`` returns when the leaf is durable; the
caller releases what it read only then. A read that cannot be recorded is refused.

Laws (each has a test of the same name)
---------------------------------------
- a_read_is_recorded_before_it_is_released: when ``record`` returns, the leaf is durable; when it
  raises, nothing may be given out.
- only_reads_are_recorded_as_reads: an act that changes something belongs into the transaction that does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caio.audit.acts import Act, Acts
from caio.audit.journal import Journal
from caio.audit.ports import LeafKind
from caio.foundation.scope import TenantScope


class Reads:
    """Records who read what of a tenant's audit log."""

    def __init__(self, acts: Acts, journal: Journal) -> None:
        self._acts = acts
        self._journal = journal

    async def record(
        self, scope: TenantScope, principal_id: str, action: str, subject: str, details: Mapping[str, Any]
    ) -> int:
        """Write that ``principal_id`` is about to be given ``subject``; return the leaf's ``seq``.

        ``action`` is ``audit.read``, ``audit.exported`` or another ``audit.…``; ``details`` are
        canonical JSON content, and none of what is read. Raises ValueError for an action that is no
        read, NotReady when the journal does not take the leaf, and as ``TenantVault.sealer`` does.
        """
        act = Act(action, principal_id, subject, details)
        if act.kind is not LeafKind.ACCESS:
            raise ValueError(f"{action!r} is not a read; write it in the transaction that does it")
        return await self._journal.append(await self._acts.leaf(scope, act))
