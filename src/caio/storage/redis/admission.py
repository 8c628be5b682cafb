"""Admission by several processes: every meter, the slots and the money in one step of one Redis server.

Theory of operation
-------------------
A tenant's account lives in Redis. A step is one script and one round trip, by Redis's clock, which an account
never sees going back; the rules are those of ``tenancy.rate_limit`` and ``metering.ledger``. The durable truth is
the journal: an account says on which life of which server it was built (a replication id, new at every start and
every promotion), and on any other it is rebuilt first (``rebuilding``).

While Redis does not answer, tenants choose: ``closed`` admits nothing, ``local`` lets each process admit its share
(``local``), once Redis has surely counted it as gone (``heartbeats``).

Laws (each has a test of the same name)
---------------------------------------
- never_over_admits: at any number of processes, also over a restart, a failover and an outage.
- never_over_spends: charged and reserved are within the budget, to the unit; the books sum to zero.
- an_outage_is_bounded: a call waits at most one step for a server that does not answer.
- a_lost_settling_is_made_up: a call that ended while Redis was away, or an account lost, is settled later.

Why it holds. *Restart and promotion*: the new life's id differs from the account's, in the same script that would
admit. Until ``DURABLE_AFTER`` seconds after anybody first saw the new life nothing is admitted; every earlier
admission is then in the journal or abandoned, and the account is read from it. *Outage*: let n be the most
processes, a share a limit ÷ n rounded down. Redis admits a tenant that is ``local`` up to limit - g × share,
where g = n - (processes that it counts as here). An absence of a process begins when Redis has surely not counted
it as here for ``DURABLE_AFTER`` seconds, and ends before it begins to return; each has a twin of its own. So the twin
counts everything that Redis admitted before it counted the process as gone, all that the process admitted in earlier
absences, and what it admits itself, against one share. Before the process is here again, each account it admitted
for is marked as lost, after the last admission, so what it admitted is counted; when a process comes that Redis
does not know, it may stand for one that died on its own, and all accounts of ``local`` tenants are marked. Take
any window, A what Redis admitted in it, the last of it at time a, and B of each process on its own: no B exceeds a
share, as the twin that admitted the last of it counts the rest. Redis counted at a the Bs of those that were here
then: A, these and one share for each of the others are within the limit, unless one of those here went on its own
later. Then that one's twin has A: A + its B is within one share, the others' Bs within theirs. Times of records are
earlier than admissions, by ``late`` at most; whoever reads them, account or twin, counts them as later by that.

Not covered: a server that goes on admitting while another has been promoted (``min-replicas-to-write`` bounds for
how long); more processes than stated.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from caio.foundation.errors import BudgetExhausted, LimitExceeded, NotReady
from caio.foundation.scope import TenantScope
from caio.gateway.ports import Actual, AdmissionRecords, Ask, Grant, ServiceBusy
from caio.gateway.refusals import grant_ended, recovering
from caio.metering.ledger import Ledger
from caio.storage.redis.asking import Row, limits, money, moved_rows, refusal, rows_of, sharing, standing, subjects
from caio.storage.redis.client import Client, ServerAway, StepFailed
from caio.storage.redis.heartbeats import Heartbeats
from caio.storage.redis.local import LocalAdmission
from caio.storage.redis.rebuilding import ANSWERED, DURABLE_AFTER, LATE, Rebuilding
from caio.storage.redis.scripts import ADMIT, FORGET, LOSE, MOVE, ORPHANS, SETTLE, account_keys
from caio.tenancy.ports import Outage

#: Calls whose end Redis has not been told yet, at most, and for how many seconds a lost account is tried.
_UNSETTLED_KEPT = 100_000
_UNSETTLED_SECONDS = 60.0

#: How often a step is tried again after an account or a window was put in place.
_TRIES = 4

#: For how long a process must have been gone before its calls are taken for ended, in microseconds.
ORPHANED_AFTER = 30_000_000


@dataclass(frozen=True, slots=True)
class Orphan:
    """An admitted call that nobody will settle: its process is gone, or ``expires_at`` has passed."""

    tenant_id: str
    grant_id: str
    process_id: str
    reserved: int
    expires_at: int


@dataclass(slots=True)
class Counters:
    """What has happened since the start."""

    admitted: int = 0
    refused: int = 0
    admitted_alone: int = 0
    refused_away: int = 0
    void: int = 0


@dataclass(frozen=True, slots=True)
class _Ending:
    """What Redis is to be told of a call that ended at ``since`` (monotonic)."""

    actual: Actual
    shared: bool
    since: float


class RedisAdmission:
    """The ``Admission`` port. ``processes`` is the most that ever serve at once. ``caller_time`` makes ``now`` count
    instead of the server's clock, for tests that turn it."""

    def __init__(
        self,
        client: Client,
        heartbeats: Heartbeats,
        records: AdmissionRecords,
        processes: int,
        *,
        durable: float = DURABLE_AFTER,
        late: int = LATE,
        orphaned_after: int = ORPHANED_AFTER,
        caller_time: bool = False,
    ) -> None:
        self._client, self._heartbeats, self._processes = client, heartbeats, processes
        self._late = late / 1_000_000
        self._caller_time, self._orphaned_after = caller_time, orphaned_after
        self._rebuilding = Rebuilding(client, records, heartbeats.process_id, durable=durable, late=late)
        self._local = LocalAdmission(records, processes, lambda: client.away and heartbeats.gone(durable), late=late)
        self._unsettled: OrderedDict[tuple[str, str], _Ending] = OrderedDict()
        self.counters = Counters()
        heartbeats.before_return = self._before_return
        heartbeats.after_beat = self._settle_again

    async def start(self) -> None:
        """Reach the server, if it answers. Raises Misconfigured for one that must not be used."""
        await self._heartbeats.start()

    async def stop(self) -> None:
        """Tell Redis what it has not been told, and take leave."""
        if not self._client.away:
            await self._settle_again(at_once=True)
        await self._heartbeats.stop()
        await self._client.close()

    async def forget(self, tenant_id: str) -> None:
        """Drop what Redis keeps of a tenant that is gone; its windows expire within a day. Raises NotReady."""
        try:
            await self._client.run(FORGET, account_keys(tenant_id), (tenant_id,))
        except ServerAway:
            raise _unavailable() from None

    def degraded(self) -> str | None:
        """What is wrong with the shared limiter, for readiness; None when nothing is."""
        if not self._client.away:
            return None
        return self._heartbeats.fault or "the shared limiter does not answer"

    @property
    def round_trip(self) -> float:
        """How long Redis took to answer last, in seconds; asks nothing."""
        return self._heartbeats.round_trip

    @property
    def rebuilt(self) -> int:
        """How many accounts this process has rebuilt."""
        return self._rebuilding.rebuilt

    async def admit(self, ask: Ask, now: int) -> Grant | ServiceBusy:
        begun = time.monotonic()
        try:
            try:
                answer = await self._shared_admit(ask, now, begun)
            except ServerAway:
                answer = await self._alone(ask, now, begun)
        except (LimitExceeded, BudgetExhausted):
            self.counters.refused += 1
            raise
        self.counters.admitted += isinstance(answer, Grant)
        self.counters.refused += isinstance(answer, ServiceBusy)
        return answer

    async def move(self, grant: Grant, ask: Ask, now: int) -> Grant | ServiceBusy:
        if self._local.holds(grant):
            return await self._local.move(grant, ask, now)
        rows = moved_rows(ask)
        for _ in range(_TRIES):
            try:
                answer = await self._client.run(MOVE, account_keys(ask.tenant_id), self._move_arguments(ask, rows, now))
                if answer[0] == b"windows":
                    await self._rebuilding.windows(ask, rows, answer[1], int(answer[2]), now)
                    continue
            except ServerAway:
                raise _unavailable() from None
            if answer[0] == b"granted":
                return Grant(ask, grant.standing)
            if answer[0] == b"ended":
                raise grant_ended()
            if answer[0] == b"late":
                self.counters.void += 1
                raise _unavailable()
            return refusal(ask, rows, answer)
        raise recovering(1)

    async def settle(self, grant: Grant, actual: Actual) -> None:
        await self._local.settle(grant, actual)
        shared = grant.ask.outage is Outage.LOCAL
        await self._settle(grant.ask.tenant_id, grant.grant_id, _Ending(actual, shared, time.monotonic()))

    def settling(self, grant: Grant, actual: Actual) -> asyncio.Future[None]:
        return asyncio.ensure_future(self.settle(grant, actual))

    async def ledger(self, scope: TenantScope, period: str, now: int) -> Ledger:
        """The tenant's books of the period that ``now`` is in, for reading; their budget is not known here. Raises
        NotReady, and LimitExceeded ``recovering``."""
        account = account_keys(scope.tenant_id)[0]
        try:
            await self._rebuilding.account(scope, period, (), None, self._given(now), now)
            fields = await self._client.fields(account)
        except ServerAway:
            raise _unavailable() from None
        reserved, spent = (int(fields.get(f"{name}:{period}", 0)) for name in ("reserved", "spent"))
        ledger = Ledger()
        ledger.restore(spent)
        ledger.reserved, ledger.available = reserved, ledger.available - reserved
        return ledger

    async def orphans(self, now: int) -> list[Orphan]:
        """Calls that nobody will settle. Whoever ends them writes their outcome first, then settles with ``release``.
        Raises NotReady while Redis is away."""
        given = str(now) if self._caller_time else ""
        found: list[Orphan] = []
        try:
            for tenant_id in await self._client.members("caio:accounts"):
                answer = await self._client.run(ORPHANS, account_keys(tenant_id), (given, str(self._orphaned_after)))
                found += [
                    Orphan(tenant_id, grant.decode(), process.decode(), int(price), int(expires))
                    for grant, process, price, expires in answer
                ]
        except ServerAway:
            raise _unavailable() from None
        return found

    async def release(self, orphan: Orphan, actual: Actual) -> None:
        """End an orphan, with what its outcome says was used."""
        await self._settle(orphan.tenant_id, orphan.grant_id, _Ending(actual, False, time.monotonic()))

    async def _shared_admit(self, ask: Ask, now: int, begun: float) -> Grant | ServiceBusy:
        rows, given = rows_of(ask), self._given(now)
        arguments = self._admit_arguments(ask, rows, given)
        for _ in range(_TRIES):
            sent = time.monotonic()
            arguments[1] = "" if self._caller_time else self._heartbeats.void_after()
            try:
                answer = await self._client.run(ADMIT, account_keys(ask.tenant_id), arguments)
            except (ServerAway, asyncio.CancelledError):
                # It may have been carried out all the same: nobody will make this call.
                self._remember(ask.tenant_id, ask.grant_id, _Ending(Actual(), False, time.monotonic()))
                raise
            kind = answer[0]
            if kind == b"granted":
                self._in_time(ask, begun, sent)
                return Grant(ask, standing(rows, answer))
            if kind == b"lost":
                await self._rebuilding.account(ask.scope, ask.period, rows, ask.outage is Outage.LOCAL, given, now)
            elif kind == b"windows":
                await self._rebuilding.windows(ask, rows, answer[1], int(answer[2]), now)
            elif kind == b"twice":
                raise ValueError(f"{ask.grant_id} is admitted already")
            elif kind == b"late":
                self.counters.void += 1
                raise _unavailable()
            else:
                return refusal(ask, rows, answer)
        raise recovering(1)

    def _in_time(self, ask: Ask, begun: float, sent: float) -> None:
        """Raises NotReady for a grant that comes too late to be surely durable, or dated, when a rebuild relies on it:
        this process has slept."""
        now = time.monotonic()
        if not self._caller_time and (now - sent > ANSWERED or now - begun > self._late):
            self.counters.void += 1
            self._remember(ask.tenant_id, ask.grant_id, _Ending(Actual(), False, now))
            raise _unavailable()

    async def _alone(self, ask: Ask, now: int, begun: float) -> Grant | ServiceBusy:
        def present() -> int:
            return now if self._caller_time else now + int((time.monotonic() - begun) * 1_000_000)

        if ask.outage is Outage.LOCAL and self._local.open():
            answer = await self._local.admit(ask, present)
            if isinstance(answer, Grant) and present() - now > self._late * 1_000_000:
                await self._local.settle(answer, Actual())  # reading the records took too long, as for ``_in_time``
                self.counters.void += 1
                raise _unavailable()
            if answer is not None:
                self._unsettled.pop((ask.tenant_id, ask.grant_id), None)  # it is made after all
                self.counters.admitted_alone += isinstance(answer, Grant)
                return answer
        self.counters.refused_away += 1
        raise _unavailable()

    def _given(self, now: int) -> str:
        return str(now) if self._caller_time else ""

    def _admit_arguments(self, ask: Ask, rows: Sequence[Row], given: str) -> list[str]:
        return [
            given,
            "",
            self._rebuilding.durable,
            self._heartbeats.process_id,
            ask.grant_id,
            str(ask.expires_at),
            str(ask.price),
            *money(ask, self._processes),
            ask.period,
            sharing(ask, self._processes),
            *subjects(ask),
            *limits(ask.slots, rows),
        ]

    def _move_arguments(self, ask: Ask, rows: Sequence[Row], now: int) -> list[str]:
        return [
            self._given(now),
            "" if self._caller_time else self._heartbeats.void_after(),
            self._heartbeats.process_id,
            ask.grant_id,
            str(ask.expires_at),
            str(ask.price),
            *money(ask, self._processes),
            sharing(ask, self._processes),
            subjects(ask)[2],
            *limits(ask.slots, rows),
        ]

    async def _settle(self, tenant_id: str, grant_id: str, ending: _Ending) -> None:
        used = ending.actual
        figures = (str(used.charged), str(used.tokens), str(used.compute_ms), "1" if ending.shared else "0")
        try:
            answer = await self._client.run(SETTLE, account_keys(tenant_id), (self._untimed(), grant_id, *figures))
        except ServerAway:
            self._remember(tenant_id, grant_id, ending)
            return
        # After a while the outcome is durable: an account that is rebuilt from then on knows it.
        if answer[0] == b"lost" and time.monotonic() - ending.since < _UNSETTLED_SECONDS:
            self._remember(tenant_id, grant_id, ending)
        else:
            self._unsettled.pop((tenant_id, grant_id), None)

    def _remember(self, tenant_id: str, grant_id: str, ending: _Ending) -> None:
        self._unsettled[tenant_id, grant_id] = ending
        if len(self._unsettled) > _UNSETTLED_KEPT:
            self._unsettled.popitem(last=False)

    async def _settle_again(self, at_once: bool = False) -> None:
        for (tenant_id, grant_id), ending in list(self._unsettled.items()):
            if self._client.away:
                return
            # A step that was given up may be carried out a little later.
            if at_once or time.monotonic() - ending.since > 4 * self._client.step_seconds:
                await self._settle(tenant_id, grant_id, ending)

    async def _before_return(self) -> None:
        """Mark the accounts of those for whom this process admitted on its own. One that cannot be marked is not as it
        should be: dropped, it is read anew from the records."""
        for tenant_id in self._local.close():
            keys = account_keys(tenant_id)
            try:
                await self._client.try_to_run(LOSE, keys, (self._untimed(),))
            except StepFailed:
                await self._client.try_to_run(FORGET, keys, (tenant_id,))
                await self._client.try_to_run(LOSE, keys, (self._untimed(),))
            self._local.counted(tenant_id)

    def _untimed(self) -> str:
        """For steps whose time does not matter, but must not run ahead of a time that tests turn."""
        return "0" if self._caller_time else ""


def _unavailable() -> NotReady:
    return NotReady("the shared limiter does not answer, so nothing is admitted; try again", code="limiter_unavailable")
