"""The sequencer: takes what the journals hold into their trees, and signs how far they have come.

Theory of operation
-------------------
A leaf's place in its log is fixed when it becomes durable; the tree only follows. So one task a
process looks each second which logs are behind, leases them, and takes their leaves in, in steps that
mix many logs: none gets more than its share of a step, and what remains comes in the next. Somebody who
needs a leaf under a checkpoint now asks for its log; between two steps those who asked are served, all
who ask for one log together.

Leases spare two processes the same work. That they cannot fork a log rests on the store alone, which
writes a head only over the one that it grew from.

Before a log grows by this process for the first time it is compared with what was anchored of it
(``forks``), beside the steps (``examinations``): they leave it out meanwhile. How far it has grown is anchored
in turn (``publishing``).

A store that is away is tried again at the next look. A log that does not hold together is set aside and
tried again after a while; the others go on. Nothing is written or signed while nothing is appended.

Laws (each has a test of the same name)
---------------------------------------
- everything_durable_is_taken_in: in order, under a checkpoint that verifies.
- asking_waits_for_what_is_durable: and those who ask during one step share the next.
- a_busy_log_starves_nobody: another log's leaf waits for a step, not for the busy log's end.
- one_broken_log_stops_alone: its fault is said once, and again when it is another.
- an_absent_store_is_tried_again: nothing is lost; ``failing`` says so meanwhile.
- an_idle_log_is_left_alone: no head is written, and none signed, without a new leaf.
- another_holder_is_waited_for_briefly: then the asker is let go without.
- stopping_takes_in_the_rest: however many steps that takes, for STOP_SECONDS; and gives the leases back.
- lag_is_what_waits: a steady load that is kept up with is no trouble.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from caio.audit import publishing
from caio.audit.cosigning import Cosigners, Witness
from caio.audit.examinations import Examinations
from caio.audit.forks import ForkWatch
from caio.audit.lag import Lag
from caio.audit.ports import Anchor, Behind, LogStore
from caio.audit.publishing import Publisher
from caio.audit.signing import Keyring
from caio.audit.trees import Share, Trees, steps
from caio.foundation.errors import CaioError, NotReady, SealBroken

_logger = structlog.get_logger("caio.audit")

EVERY_SECONDS = 1.0
LEASE_SECONDS = 10.0

#: How long somebody who asks waits for a log that another holder works on, and how often it is looked at;
#: and for one of ours that has a long way to go, as after an upgrade.
PATIENCE_SECONDS = 2.0
BACKLOG_SECONDS = 10.0
_LOOK_AGAIN_SECONDS = 0.05

#: How long taking in the rest may take.
STOP_SECONDS = 5.0

#: How far behind the trees may be before that is said to be trouble.
LAGGING_SECONDS = 30.0

#: How long a log that does not hold together is left alone before it is tried again.
ASIDE_SECONDS = 60.0

#: Logs leased at a look; leaves of one log, and of all together, in a step.
LOGS = 4096
SHARE = 4096
STEP = 8192


@dataclass(slots=True, eq=False)
class _Asked:
    """Somebody, or several, waiting for a log to be taken in up to ``target``, once it is known."""

    tenant_id: str
    since: float
    target: int | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class _Aside:
    fault: CaioError
    until: float


class Sequencer:
    """The one of a process. ``start`` it in the event loop it shall run in.

    ``holder`` names it in leases: processes that run at the same time need different names; one that
    is the only one keeps its name, so that after a restart it need not wait for its own lease. One that does
    not look (``looks``) serves those who ask and leaves the rest to another process's.
    """

    def __init__(
        self,
        store: LogStore,
        keyring: Keyring,
        origin_of: Callable[[str], str],
        holder: str,
        clock: Callable[[], int],
        *,
        every_seconds: float = EVERY_SECONDS,
        anchor: Anchor | None = None,
        anchor_every_seconds: float = publishing.EVERY_SECONDS,
        witnesses: Sequence[Witness] = (),
        lease_seconds: float = LEASE_SECONDS,
        share: int = SHARE,
        step: int = STEP,
        looks: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._origin_of = origin_of
        self._trees = Trees(store, keyring, origin_of, clock)
        self._holder = holder
        self._clock = clock
        self._every = every_seconds
        self._lease = int(lease_seconds * 1_000_000)
        self._share = share
        self._step = max(step, share)
        self._looks = looks
        self._monotonic = monotonic
        self._asked: dict[str, _Asked] = {}  # not looked at yet: whoever comes may still join
        self._looked_at: list[_Asked] = []
        self._woken = asyncio.Event()
        self._aside: dict[str, _Aside] = {}
        self._failure: str | None = None
        self._lag = Lag(monotonic())
        self._stopping = False
        self._deadline = math.inf
        self._task: asyncio.Task[None] | None = None
        self._watch = ForkWatch(anchor, keyring.trusted_keys(), store, self._look_at)
        self._examinations = Examinations(self._watch, origin_of, self._set_aside, self._admit)
        self._examined: set[str] = set()
        self._publisher: Publisher | None = None
        if anchor is not None:
            cosigners = Cosigners(witnesses, store)
            self._publisher = Publisher(
                anchor, cosigners, self._watch, store, self._set_aside, every_seconds=anchor_every_seconds
            )

    # --- what the process is told -------------------------------------------------------------

    @property
    def failing(self) -> str | None:
        """Why the last look or step failed, None when it did not; says nothing of single logs."""
        return self._failure

    @property
    def anchor_failing(self) -> str | None:
        """Why checkpoints were not anchored at the last attempt; None when they were, or need not be."""
        return self._publisher.failing if self._publisher is not None else None

    @property
    def faults(self) -> Mapping[str, CaioError]:
        """The logs that are set aside, and why: nothing is signed for them."""
        return {tenant: each.fault for tenant, each in self._aside.items()}

    @property
    def trouble(self) -> str | None:
        """What is wrong, in a few words that name no tenant, or None: the log says more. For readiness."""
        if self._task is None or self._task.done():
            return "the sequencer is not running"
        if self._failure is not None:
            return f"new entries are not taken into the audit logs: {self._failure}"
        if self._aside:
            return f"{len(self._aside)} of the audit logs do not hold together, and nothing is signed for them"
        if self._looks and self.lag > LAGGING_SECONDS + self._every:
            return f"the audit logs are {self.lag:.0f} s behind their journals"
        if self.anchor_failing is not None:
            return "checkpoints are not anchored"
        return None

    @property
    def lag(self) -> float:
        """How old, in seconds, the oldest leaf may be that is durable and not taken in; of logs set aside, none is.
        Too large by the time since the last look, and by what ``caio.audit.lag`` says."""
        return self._lag.seconds(self._monotonic())

    # --- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin; raises RuntimeError when already started."""
        if self._task is not None:
            raise RuntimeError("the sequencer is already started")
        self._lag = Lag(self._monotonic())
        self._task = asyncio.create_task(self._run(), name="sequencer")
        if self._publisher is not None:
            await self._publisher.start()

    async def stop(self) -> None:
        """Take in what is there, for STOP_SECONDS at most, anchor it, give the leases back, and end.
        May be called twice."""
        if not self._stopping:
            self._stopping, self._deadline = True, self._monotonic() + STOP_SECONDS
        self._woken.set()
        try:
            if self._task is not None:
                await asyncio.shield(self._task)
        finally:  # whoever stops may be cancelled meanwhile; nothing stays behind
            if self._publisher is not None:
                await self._publisher.stop()

    async def take_in(self, tenant_id: str) -> None:
        """Return when everything of this log that is durable now is under a signed checkpoint.

        Returns without when the log is set aside, the store is away, the sequencer does not run, another
        holder keeps the log for longer than PATIENCE_SECONDS, or there is more to take in than BACKLOG_SECONDS
        suffice for.
        """
        if self._task is None or self._task.done():
            return
        asked = self._asked.get(tenant_id)
        if asked is None:
            asked = self._asked[tenant_id] = _Asked(tenant_id, self._monotonic())
            self._woken.set()
        await asked.done.wait()

    async def _run(self) -> None:
        try:
            while not self._stopping:
                began = self._monotonic()
                if self._looks:
                    await self._attempt(self._look)
                # A look that takes long is not to make the next one late; a short rest it is given.
                await self._wait(max(began + self._every, self._monotonic() + self._every / 10))
            if self._looks:
                await self._attempt(self._finish)
            await self._attempt(lambda: self._store.release(self._holder))
        finally:
            self._let_go()
            await self._examinations.stop()

    async def _wait(self, until: float) -> None:
        """Serve those who ask until it is time for the next look."""
        while not self._stopping and (left := until - self._monotonic()) > 0:
            pause = min(left, _LOOK_AGAIN_SECONDS) if self._looked_at else left
            try:
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()
            if self._asked or self._looked_at or self._examined:
                await self._attempt(self._serve)

    async def _attempt(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do some work; a failure is remembered, and logged when it is not the one of before."""
        try:
            await work()
            failure = None
        except NotReady as error:
            failure = error.message
        except Exception as error:  # whatever it is, the other logs and the next look go on
            failure = f"{type(error).__name__}: see the log"
            if failure != self._failure:
                _logger.exception("audit_log_failing", holder=self._holder)
        if failure is not None:
            self._let_go()
        if failure != self._failure:
            self._failure = failure
            if failure is None:
                _logger.info("audit_log_recovered", holder=self._holder)
            else:
                _logger.error("audit_log_failing", holder=self._holder, detail=failure)

    def _let_go(self) -> None:
        """Release everybody who waits, with whatever they have."""
        for asked in (*self._looked_at, *self._asked.values()):
            asked.done.set()
        self._looked_at, self._asked = [], {}

    # --- the work -----------------------------------------------------------------------------

    async def _look(self) -> None:
        """Take in whatever any log is behind by, until a look finds nothing more."""
        while True:
            began, now = self._monotonic(), self._clock()
            behind = await self._store.behind(self._holder, now, now + self._lease, LOGS)
            waiting = [each for each in behind if not self._is_aside(each.tenant_id)]
            self._lag.shown(began, waiting, all_of_them=len(behind) < LOGS)
            ready = [each for each in waiting if self._examinations.admits(each)]
            taken = 0
            for step in steps(ready, self._share, self._step):
                if self._monotonic() > self._deadline:
                    return
                taken += await self._take_in(step)
                await self._serve()
            more = len(behind) == LOGS or any(each.next - each.size > self._share for each in ready)
            if not (more and taken):
                return

    async def _finish(self) -> None:
        """Take in the rest, also of logs that are being compared, until STOP_SECONDS are over."""
        await self._look()
        while self._examinations.hold_back_any and (left := self._deadline - self._monotonic()) > 0:
            await self._examinations.next_end(left)
            await self._serve()
        await self._look()

    async def _serve(self) -> None:
        """One step for those who asked, and for what has just been compared; who is still behind then stays."""
        self._looked_at += self._asked.values()
        self._asked = {}
        found: dict[str, Behind] = {}
        for asked in list(self._looked_at):
            if asked.target is not None and self._is_held_back(asked):
                continue
            behind = await self._look_at(asked.tenant_id)
            if behind is None or self._is_served(asked, behind):
                asked.done.set()
                self._looked_at.remove(asked)
            elif behind.leased and self._examinations.admits(behind, first=True):
                found[asked.tenant_id] = behind
        examined, self._examined = self._examined - found.keys(), set()
        for name in (each for each in examined if not self._is_aside(each)):
            behind = await self._look_at(name)
            if behind is not None and behind.leased and self._examinations.admits(behind):
                found[name] = behind
        taken = 0
        for step in steps(list(found.values()), self._share, self._step):
            taken += await self._take_in(step)
        if taken:
            self._woken.set()  # look again at once

    def _admit(self, tenant_id: str) -> None:
        self._examined.add(tenant_id)
        self._woken.set()

    def _is_held_back(self, asked: _Asked) -> bool:
        """Whether nothing but the end of its comparison can serve it; the comparison is no other holder's."""
        late = self._monotonic() - asked.since > BACKLOG_SECONDS
        return not late and self._examinations.holds_back(asked.tenant_id)

    def _is_served(self, asked: _Asked, behind: Behind) -> bool:
        if asked.target is None:
            asked.target = behind.next
        waited = self._monotonic() - asked.since
        late = waited > (BACKLOG_SECONDS if behind.leased else PATIENCE_SECONDS)
        return behind.size >= asked.target or late or self._is_aside(asked.tenant_id)

    async def _take_in(self, step: Sequence[Share]) -> int:
        """Grow and write one step; return how many logs have grown."""
        try:
            step = [each for each in step if not self._is_aside(each.behind.tenant_id)]
            if not step:
                return 0
            expected = dict(self._watch.expected)
            growth = await self._trees.grow(step, expected)
            written = await self._store.advance(self._holder, growth.advances) if growth.advances else set()
        except NotReady:
            raise
        except Exception as error:
            if len(step) > 1:  # whichever log it is, the others shall not suffer
                return sum([await self._take_in([share]) for share in step])
            _logger.exception("audit_log_step_failed", tenant_id=step[0].behind.tenant_id)
            self._set_aside(step[0].behind.tenant_id, SealBroken(f"{type(error).__name__}: see the log"))
            return 0
        self._trees.settle(growth, written)
        for advance in (each for each in growth.advances if each.head.tenant_id in written):
            head = advance.head
            self._watch.grown(head.tenant_id, advance.old_size, head.size, expected.get(head.tenant_id))
            self._lag.reached(head.tenant_id, head.size)
            if self._publisher is not None:
                self._publisher.grown(head)
            if self._aside.pop(head.tenant_id, None):
                _logger.info("audit_log_resumed", tenant_id=head.tenant_id)
        for name, fault in growth.faults.items():
            self._set_aside(name, fault)
        return len(written)

    async def _look_at(self, tenant_id: str) -> Behind | None:
        now = self._clock()
        return await self._store.behind_one(tenant_id, self._holder, now, now + self._lease)

    def _set_aside(self, tenant_id: str, fault: CaioError) -> None:
        known = self._aside.get(tenant_id)
        self._aside[tenant_id] = _Aside(fault, self._monotonic() + ASIDE_SECONDS)
        if known is None or known.fault.message != fault.message:
            _logger.error("audit_log_stopped", tenant_id=tenant_id, code=fault.code, detail=fault.message)

    def _is_aside(self, tenant_id: str) -> bool:
        aside = self._aside.get(tenant_id)
        return aside is not None and self._monotonic() < aside.until
