"""Ending the calls whose process is gone, where others go on serving.

Theory of operation
-------------------
A process that dies leaves calls that are admitted, hold money and slots, and have no outcome. Two traces
tell of them. The shared limiter knows who holds what: a call whose process has been gone for a while, and
whose own time is over, is an orphan. And the journal has every decision that became durable: one that is
older than any call may last, and that no living process holds, is unfinished for good, also where the
limiter lost its state. What a living process holds is left alone, however slow it is.

The outcome is written first, then the limiter is told what was charged, so that a limiter which is rebuilt
in between finds the call ended. Several workers may do this at once: the journal takes one outcome for a
call, and settling twice changes nothing. Claims of idempotency keys that no answer came for are given up
once no call that holds one can still be running.

Laws (each has a test of the same name)
---------------------------------------
- an_orphan_ends_once: with any number of workers, one outcome; its money and slots are free.
- a_living_call_is_never_ended: nor one whose time is not over.
- what_was_charged_stays_charged: an orphan that has an outcome is settled with what that says.
- a_call_that_was_never_durable_is_let_go: nobody got its answer.
- a_lost_limiter_hides_no_call: the journal alone tells of it.
- a_claim_outlives_every_call.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from caio.audit.ports import DecisionRow, JournalStore, OutcomeRow
from caio.foundation.scope import TenantScope
from caio.gateway.intake import MAX_DEADLINE_MS
from caio.gateway.interrupted import InterruptedCalls
from caio.gateway.ports import Actual, Clock, HeldCalls, IdempotencyStore, Orphan

#: No call lasts longer than this after its decision, in microseconds, unless its caller reads slowly.
LONGEST_CALL = MAX_DEADLINE_MS * 1_000 + 60_000_000

EVERY_SECONDS = 5.0


class Reaper:
    """One a worker. ``scope_of`` mints the scope of an orphan's tenant."""

    def __init__(
        self,
        held: HeldCalls,
        journal: JournalStore,
        interrupted: InterruptedCalls,
        idempotency: IdempotencyStore,
        clock: Clock,
        scope_of: Callable[[str], TenantScope],
    ) -> None:
        self._held = held
        self._journal = journal
        self._interrupted = interrupted
        self._idempotency = idempotency
        self._clock = clock
        self._scope_of = scope_of
        self._finished_before = 0  # every decision before it has an outcome

    async def step(self) -> int:
        """End what is to be ended; return how many calls and claims that were."""
        ended = await self._end_orphans()
        ended += await self._end_unfinished()
        return ended + await self._idempotency.release_unfinished(self._clock() - LONGEST_CALL)

    async def _end_orphans(self) -> int:
        now = self._clock()
        by_tenant: defaultdict[str, list[Orphan]] = defaultdict(list)
        for orphan in await self._held.orphans():
            if orphan.expires_at < now:
                by_tenant[orphan.tenant_id].append(orphan)
        ended = 0
        for tenant_id, orphans in by_tenant.items():
            scope = self._scope_of(tenant_id)
            recorded = await self._journal.calls(scope, [orphan.grant_id for orphan in orphans])
            calls = {decision.decision_id: (decision, outcome) for decision, outcome in recorded}
            for orphan in orphans:
                decision, outcome = calls.get(orphan.grant_id, (None, None))
                ended += await self._end(scope, orphan.grant_id, decision, outcome)
        return ended

    async def _end_unfinished(self) -> int:
        before = self._clock() - LONGEST_CALL
        by_tenant: defaultdict[str, list[DecisionRow]] = defaultdict(list)
        for tenant_id, row in await self._journal.unfinished(self._finished_before, before):
            by_tenant[tenant_id].append(row)
        ended, held_since = 0, before
        for tenant_id, rows in by_tenant.items():
            scope = self._scope_of(tenant_id)
            held = await self._held.held(tenant_id, [row.decision_id for row in rows])
            for row in rows:
                if row.decision_id in held:
                    held_since = min(held_since, row.decided_at)
                else:
                    ended += await self._end(scope, row.decision_id, row, None)
        self._finished_before = held_since
        return ended

    async def _end(
        self, scope: TenantScope, decision_id: str, decision: DecisionRow | None, outcome: OutcomeRow | None
    ) -> int:
        """Write the outcome that is missing, and settle; 1 when this call was ended here."""
        written = decision is not None and outcome is None and await self._interrupted.end(scope, decision)
        if decision is not None and outcome is None and not written:  # somebody was faster: what does that say?
            outcome = next((known for _, known in await self._journal.calls(scope, [decision_id])), None)
        await self._held.end(scope, decision_id, _actual(outcome))
        return int(written)


def _actual(outcome: OutcomeRow | None) -> Actual:
    if outcome is None:
        return Actual()
    return Actual(outcome.charged, outcome.input_tokens + outcome.output_tokens, outcome.latency_ms)
