"""What the path writes down: decisions before they are released, outcomes when calls end.

``finish`` is the one way an admitted call ends. It runs to its end even when the caller has gone
away: the reservation is settled, the outcome is durable, the history has seen the attempts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from time import monotonic
from typing import Any

from caio.audit.journal import Durable, Journal
from caio.audit.ports import KeptAnswer, Leaf, Mode, Status
from caio.audit.record import SALT_BYTES, Commitment, DecisionRecord, OutcomeRecord, leaf_of
from caio.audit.sealing import Entropy, Sealer, TenantVault, sealing_context
from caio.foundation.errors import CaioError
from caio.foundation.money import Usage
from caio.foundation.values import value
from caio.gateway.most import Most
from caio.gateway.ports import Actual, Admission, Clock
from caio.gateway.run import Run, Wanted, named
from caio.observability.metrics import Metrics
from caio.observability.tracing import current
from caio.registry.histories import Histories
from caio.routing.model import Decision

KEPT_ANSWER = "kept-answer"

_NOTHING = Most()


@value(frozen=True, slots=True)
class Ending:
    """How a call ended: ``answer`` is what the caller gets as a whole (None when nothing, or when it
    came in pieces), ``kept`` what its idempotency key shall give again, ``answer_from`` whose answer it is."""

    status: Status
    usage: Usage
    charged: int
    answer: bytes | None = None
    kept: bytes | None = None
    answer_from: str | None = None


class Books:
    """Writes the journal's leaves for the gateway."""

    def __init__(
        self,
        journal: Journal,
        vault: TenantVault,
        admission: Admission,
        histories: Histories,
        clock: Clock,
        entropy: Entropy,
        metrics: Metrics,
    ) -> None:
        self._journal = journal
        self._vault = vault
        self._admission = admission
        self._histories = histories
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics
        self._finishing: set[asyncio.Future[Any]] = set()

    async def enter(self, wanted: Wanted, decision: Decision, decision_id: str, at: int, mode: Mode) -> None:
        """Journal a decision that calls nobody; it is durable on return."""
        record = self._decided(wanted, decision, decision_id, at, mode)
        sealer = await self._vault.sealer(wanted.caller.scope)
        await self._journal.append(leaf_of(record, sealer, self._entropy(SALT_BYTES)))

    def entering(self, run: Run) -> Durable:
        """Start to journal an admitted run's decision, once the loop comes round: its service is called first. The
        decision is durable when the future is done."""
        sealer = self._vault.held(run.wanted.caller.scope)
        loop = asyncio.get_running_loop()
        entered = Durable(loop=loop)
        if sealer is None:
            finding = asyncio.ensure_future(self._enter_run(run, run.position, entered))
            self._finishing.add(finding)
            finding.add_done_callback(self._finishing.discard)
        else:
            loop.call_soon(self._hand_in, run, run.position, sealer, entered)
        if (trace := current()) is not None:
            trace.until(entered, "journal")
        return entered

    async def _enter_run(self, run: Run, position: int, entered: Durable) -> None:
        try:
            sealer = await self._vault.sealer(run.wanted.caller.scope)
        except BaseException as error:  # whoever waits for the future is to have it
            entered.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            self._hand_in(run, position, sealer, entered)

    def _hand_in(self, run: Run, position: int, sealer: Sealer, entered: Durable) -> None:
        try:
            self._journal.hand_in(self._decision_leaf(run, position, sealer), entered)
        except Exception as error:  # noqa: BLE001 - whoever waits for the future is to have it
            entered.set_exception(error)

    def _decision_leaf(self, run: Run, position: int, sealer: Sealer) -> Leaf:
        """``position`` is that of the service it was admitted for: a fallback may not have waited for the leaf."""
        record = self._decided(
            run.wanted, run.decision, run.decision_id, run.decided_at, Mode.ORCHESTRATE, position, run.most
        )
        return leaf_of(record, sealer, self._entropy(SALT_BYTES))

    def _decided(
        self,
        wanted: Wanted,
        decision: Decision,
        decision_id: str,
        at: int,
        mode: Mode,
        position: int | None = None,
        most: Most = _NOTHING,
    ) -> DecisionRecord:
        """``position`` is the admitted service's rank, and ``most`` what the call may take; none for a refusal or a
        decision that calls nobody."""
        chosen = None if position is None else decision.ranked[position]
        named = chosen or decision.winner
        return DecisionRecord(
            wanted.request.tenant_id,
            decision_id,
            at,
            mode,
            wanted.request.capabilities[0],
            wanted.caller.principal.principal_id,
            decision.request_json,
            decision.principal_json,
            decision.certificate_json,
            decision.decision_hash,
            chosen is not None,
            named.offer.service_id if named else "",
            named.offer.version if named else "",
            position or 0,
            chosen.worst_cost if chosen else 0,
            Commitment.to(wanted.payload, self._entropy(SALT_BYTES)),
            wanted.idempotency_key,
            *most,
        )

    async def finish(self, run: Run, ending: Ending) -> None:
        """Settle and journal the end of a call; durable on return, and not undone by cancellation."""
        sealer = self._vault.held(run.wanted.caller.scope)
        if sealer is None:
            await self.to_the_end(self._finish(run, ending))
        else:  # then nothing in it waits but for the ends themselves
            await self._finish(run, ending, sealer)

    async def abandon(self, run: Run, entering: Awaitable[int], status: Status) -> None:
        """End a run that has no answer: its decision is journalled before its outcome, and where that
        fails there is nothing to journal an outcome for. Raises what journalling raised."""
        await self.to_the_end(self._abandon(run, entering, status))

    async def settled(self) -> None:
        """Wait for every call that is being finished: for a graceful stop."""
        await asyncio.gather(*self._finishing, return_exceptions=True)

    async def to_the_end(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work`` whatever happens to the caller, and hold a cancelled caller until it is done:
        what comes after it may rely on it."""
        await self._end_of(asyncio.ensure_future(work))

    async def _end_of(self, work: asyncio.Future[Any]) -> None:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        # As ``asyncio.shield`` does, in one callback in place of four.
        def tell(work: asyncio.Future[Any]) -> None:
            self._finishing.discard(work)
            if not ended.done():
                ended.set_result(None)
            elif not work.cancelled():
                work.exception()  # its caller has gone: nobody else looks at it

        self._finishing.add(work)
        work.add_done_callback(tell)
        try:
            await ended
        except asyncio.CancelledError:
            if not work.done():
                await asyncio.wait({work})
            raise
        work.result()

    async def _abandon(self, run: Run, entering: Awaitable[int], status: Status) -> None:
        try:
            await entering
        except BaseException:
            await self._admission.settle(run.grant, Actual(compute_ms=run.elapsed_ms))
            raise
        try:
            await self._finish(run, Ending(status, Usage(), 0))
        except CaioError as error:
            raise named(error, run.decision_id) from error.__cause__

    async def _finish(self, run: Run, ending: Ending, sealer: Sealer | None = None) -> None:
        now, elapsed_ms, began = self._clock(), run.elapsed_ms, monotonic()
        tokens = ending.usage.input_tokens + ending.usage.output_tokens
        self._count(run, ending)
        settling = self._admission.settling(run.grant, Actual(ending.charged, tokens, elapsed_ms))
        try:
            sealer = sealer or await self._vault.sealer(run.wanted.caller.scope)
            await self._tell(run, ending, now, elapsed_ms, sealer)
        finally:
            if settling is not None:
                await self._end_of(settling)
        if (trace := current()) is not None:
            trace.span("settle", began)

    def _count(self, run: Run, ending: Ending) -> None:
        usage, attempts = ending.usage, self._metrics.attempts
        self._metrics.used(run.wanted.caller.scope.tenant_id, usage.input_tokens, usage.output_tokens)
        for tried in run.tried:
            attempts[tried.outcome] += 1

    async def _tell(self, run: Run, ending: Ending, now: int, elapsed_ms: int, sealer: Sealer) -> None:
        """Journal the outcome; then the history sees the attempts."""
        tenant_id = run.wanted.caller.scope.tenant_id
        record = OutcomeRecord(
            tenant_id,
            run.decision_id,
            now,
            ending.status,
            run.candidate.offer.service_id,
            elapsed_ms,
            tuple([tried.record() for tried in run.tried]),
            ending.usage,
            run.candidate.worst_cost,
            ending.charged,
            None if ending.answer is None else Commitment.to(ending.answer, self._entropy(SALT_BYTES)),
            ending.answer_from,
        )
        written = Durable(loop=asyncio.get_running_loop())
        self._journal.hand_in(self._outcome_leaf(run, record, ending, sealer), written)
        self._finishing.add(written)
        try:
            await written
        finally:  # also when the caller was cancelled meanwhile, and held until now
            self._finishing.discard(written)
            if written.done() and written.exception() is None:
                for attempt in record.attempts:
                    self._histories.observe(tenant_id, attempt.row(), now)

    def _outcome_leaf(self, run: Run, record: OutcomeRecord, ending: Ending, sealer: Sealer) -> Leaf:
        wanted, kept = run.wanted, None
        if wanted.idempotency_key is not None and ending.kept is not None:
            context = sealing_context(wanted.request.tenant_id, KEPT_ANSWER, run.decision_id)
            kept = KeptAnswer(wanted.idempotency_key, run.decision_id, sealer.seal(ending.kept, context))
        return leaf_of(record, sealer, self._entropy(SALT_BYTES), kept)
