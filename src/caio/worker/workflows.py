"""Carries out runs of workflows: takes up those that wait, holds them while they go on, and tidies up behind them.

Theory of operation
-------------------
A step of the loop renews the leases of the runs that this process carries out, then claims others that nobody
does: new ones, and those whose process is gone, at most MOST at a time and SHARE of one tenant, tenants in turn. A
claimed run is handed to the *engine*, a durable execution of its steps (``worker.durable``), which is opened with
the first run and knows runs by their ids alone. The engine comes back for each step; what a step is, and that it
may be repeated, is the conductor's (``gateway.workflows.conductor``). A run that another process took up is
dropped here, one that is to be cancelled is cut off in mid-step.

Laws (each has a test of the same name)
---------------------------------------
- a_killed_run_is_taken_up_again: by another process when its lease ends; by one that is alone, at once.
- a_run_goes_on_at_the_step_it_was_in: steps that ended are not asked for again.
- one_tenants_runs_leave_room_for_anothers.
- a_cancelled_run_is_cut_off: and nothing is charged for the step it was in.
- nothing_is_imported_before_the_first_run: an idle process knows no engine.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from caio.foundation.errors import CaioError, NotReady
from caio.gateway.workflows.conductor import Conductor
from caio.gateway.workflows.ports import RunStatus, StepStatus, WorkflowStore
from caio.worker.scopes import scope_of_job

_logger = structlog.get_logger("caio.workflows")

SECOND = 1_000_000

#: How long a run is nobody else's without being renewed, and how often that happens.
LEASE = 15 * SECOND
EVERY_SECONDS = 1.0

#: Runs of one process at a time, and of one tenant among them.
MOST, SHARE = 64, 8

#: How long runs are kept once they have ended, unless their tenant keeps content for less.
KEPT_DAYS = 30
_FORGOTTEN_AT_ONCE = 500

#: How long the steps under way may go on when the process stops, and before a run that failed here is tried again.
_GRACE_SECONDS = 3.0
_AGAIN = 5 * SECOND
_LONGEST_PAUSE = 10.0


class Engine(Protocol):
    """Executes each run's steps in their order and, after a kill, from where they were."""

    async def carry_out(self, run_id: str) -> None:
        """Begin, or go on with, the run; returns at once."""
        ...

    async def tidy(self) -> None:
        """Forget the runs that have ended, or are gone."""
        ...

    async def close(self) -> None: ...


class WorkflowRuns:
    """The one of a process. ``open_engine`` is asked once, with the first run; one who is ``alone`` takes runs from
    whoever held them."""

    def __init__(
        self,
        store: WorkflowStore,
        conductor: Conductor,
        open_engine: Callable[[WorkflowRuns], Awaitable[Engine]],
        clock: Callable[[], int],
        owner: str,
        *,
        alone: bool,
    ) -> None:
        self._store = store
        self._conductor = conductor
        self._open_engine = open_engine
        self._clock = clock
        self._owner = owner
        self._alone = alone
        self._engine: Engine | None = None
        self._active: dict[str, str] = {}
        self._cancelling: set[str] = set()
        self._live: dict[tuple[str, int], asyncio.Task[StepStatus]] = {}
        self._stopping = False

    # --- the loop's ---------------------------------------------------------------------------

    async def step(self) -> int:
        """Renew and claim; how many runs were claimed."""
        if self._engine is not None:
            await self._renew()
        room = MOST - len(self._active)
        if room <= 0 or self._stopping:
            return 0
        now = self._clock()
        running = Counter(self._active.values())
        shares = {tenant: SHARE - count for tenant, count in running.items()}
        claimed = await self._store.claim(self._owner, now, now + LEASE, room, shares, SHARE, alone=self._alone)
        for tenant, run_id in claimed:
            self._active[run_id] = tenant
        for _, run_id in claimed:
            await self._begin(run_id)
        return len(claimed)

    async def finish(self) -> None:
        """Let the steps under way end for a moment, cut off the others, and leave the runs to whoever comes next."""
        self._stopping = True
        if self._live:
            await asyncio.wait(self._live.values(), timeout=_GRACE_SECONDS)
        for task in list(self._live.values()):
            task.cancel()
        await asyncio.gather(*self._live.values(), return_exceptions=True)
        if self._engine is not None:
            await self._engine.close()
            await self._store.release(self._owner, self._clock())

    async def tidy(self) -> int:
        """Delete what was kept long enough; how many runs."""
        if self._engine is not None:
            await self._engine.tidy()
        now = self._clock()
        return await self._store.forget(now, now - KEPT_DAYS * 86_400 * SECOND, _FORGOTTEN_AT_ONCE)

    async def _begin(self, run_id: str) -> None:
        try:
            if self._engine is None:
                self._engine = await self._open_engine(self)
            await self._engine.carry_out(run_id)
        except Exception as error:
            self._drop(run_id)
            await self._store.release(self._owner, self._clock() + _AGAIN, [run_id])
            _logger.error("a run could not be begun", run=run_id, exc_info=error)

    async def _renew(self) -> None:
        held = await self._store.renew(self._owner, self._clock() + LEASE)
        for run_id in list(self._active):
            status = held.get(run_id)
            if status is RunStatus.CANCELLING and run_id not in self._cancelling:
                self._cancelling.add(run_id)
                self._cut_off(run_id)
            elif status is None:
                self._drop(run_id)  # it has ended, or another carries it out
        if left := [run_id for run_id in held if run_id not in self._active]:
            await self._store.release(self._owner, self._clock() + _AGAIN, left)

    # --- the engine's -------------------------------------------------------------------------

    async def attend(self, run_id: str) -> Sequence[Sequence[int]] | None:
        """Which steps of the run come after which, by their places; None when there is nothing to be done."""
        tenant = self._active.get(run_id) or await self._store.tenant_of(run_id)
        if tenant is None or self._stopping:
            return None
        self._active[run_id] = tenant
        graph = await self._conductor.attend(scope_of_job(tenant), run_id)
        if graph is None:
            self._drop(run_id)
        return graph

    async def carry_out_step(self, run_id: str, place: int) -> str:
        """Carry out a step, or wait for whoever does here; its status. Raises what keeps it from ending."""
        task = self._live.get((run_id, place))
        if task is None:
            task = asyncio.create_task(self._step(run_id, place), name=f"{run_id} {place}")
            self._live[run_id, place] = task
            task.add_done_callback(lambda _: self._live.pop((run_id, place), None))
        return (await asyncio.shield(task)).value

    async def end(self, run_id: str) -> None:
        """All steps that begin have ended."""
        if (tenant := self._active.get(run_id)) is not None:
            await self._conductor.end(scope_of_job(tenant), run_id)

    async def dropped(self, run_id: str, error: BaseException | None) -> None:
        """The engine is done with the run, for good or until it is handed over again."""
        if isinstance(error, CaioError) and error.code == "run_lost":
            _logger.info("a run is carried out elsewhere", run=run_id)
        elif error is not None and not self._stopping:
            code = error.code if isinstance(error, CaioError) else type(error).__name__
            _logger.error("a run stopped, and is tried again", run=run_id, code=code, exc_info=error)
        self._drop(run_id)

    async def is_gone(self, run_id: str) -> bool:
        """Whether the run has ended or was erased."""
        return await self._store.tenant_of(run_id) is None

    async def _step(self, run_id: str, place: int) -> StepStatus:
        pause = 0.5
        while True:
            tenant = self._active.get(run_id)
            if tenant is None:
                raise NotReady("this process carries the run out no more")
            try:
                return await self._conductor.step(scope_of_job(tenant), run_id, place)
            except asyncio.CancelledError:
                if run_id not in self._cancelling or self._stopping:
                    raise
                return await self._conductor.cancelled(scope_of_job(tenant), run_id, place)
            except NotReady as error:
                _logger.warning("a step waits", run=run_id, code=error.code)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _cut_off(self, run_id: str) -> None:
        for (run, _), task in list(self._live.items()):
            if run == run_id:
                task.cancel()

    def _drop(self, run_id: str) -> None:
        if self._active.pop(run_id, None) is not None:
            self._cut_off(run_id)
        self._cancelling.discard(run_id)
        self._conductor.let_go(run_id)
