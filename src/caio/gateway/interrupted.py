"""The outcome of a call whose process ended before it did."""

from __future__ import annotations

from caio.audit.journal import Journal
from caio.audit.ports import DecisionRow, Status
from caio.audit.record import SALT_BYTES, OutcomeRecord, leaf_of
from caio.audit.sealing import Entropy, TenantVault
from caio.foundation.errors import Conflict, Erased
from caio.foundation.money import Usage
from caio.foundation.scope import TenantScope
from caio.gateway.ports import Clock


class InterruptedCalls:
    """Writes such outcomes; nothing is charged for an answer that nobody got."""

    def __init__(self, journal: Journal, vault: TenantVault, clock: Clock, entropy: Entropy) -> None:
        self._journal = journal
        self._vault = vault
        self._clock = clock
        self._entropy = entropy

    async def end(self, scope: TenantScope, row: DecisionRow) -> bool:
        """Journal the outcome, durable on return. False, and no change, when the call has an outcome already or
        the tenant's key was destroyed, so that nothing can be sealed for it."""
        record = OutcomeRecord(
            tenant_id=scope.tenant_id,
            decision_id=row.decision_id,
            finished_at=self._clock(),
            status=Status.INTERRUPTED,
            service_id=row.service_id,
            latency_ms=0,
            attempts=(),
            usage=Usage(),
            reserved=row.reserved,
            charged=0,
            answer=None,
        )
        try:
            sealer = await self._vault.sealer(scope)
            await self._journal.append(leaf_of(record, sealer, self._entropy(SALT_BYTES)))
        except Erased:
            return False
        except Conflict as error:
            if error.code != "leaf_exists":
                raise
            return False
        return True
