"""Runs of workflows as durable executions of DBOS (https://github.com/dbos-inc/dbos-transact-py).

Theory of operation
-------------------
DBOS records each step of an execution when it has ended; an execution whose process was killed is resumed with the
recorded outcomes, and goes on with the steps that have none. An execution here is a run: its steps are the run's,
in the order of their places, each begun when those it comes after have ended. What it records is the run's id and
how each step ended: no tenant, no name, no payload; as JSON, since what is read back must not be executed. Its
tables are not the truth: they may be lost at any time, and the run is then begun again from its own rows.

DBOS works in threads of its own, and asks this process's event loop for every step. Its tables are in a schema of
their own in PostgreSQL (``dbos``), and in a file of their own beside SQLite's, where tables of both would have one
name. There is one of it in a process, since it registers functions for the process. It calls nobody: there is no
key of its remote console, and no telemetry.

Laws (each has a test of the same name)
---------------------------------------
- what_is_recorded_names_no_tenant: run ids and how steps ended, nothing else.
- a_lost_record_loses_no_run.
- what_has_ended_is_tidied_away: all of it, however much ended since.
- a_process_has_one: a second installation's runs wait.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, Self, TypeVar

from dbos import DBOS, DBOSConfig, SetWorkflowID
from dbos._serialization import Serializer

from caio.foundation.errors import NotReady

T = TypeVar("T")

#: Executions of every version of the product go on in any other: their steps are the run's own.
_VERSION = "1"
_OVER = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
_UNDER_WAY = ["PENDING", "ENQUEUED"]
_TIDIED_AT_ONCE = 500


class Host(Protocol):
    """Who carries runs out: ``worker.workflows.WorkflowRuns``. Its methods run in its own event loop."""

    async def attend(self, run_id: str) -> Sequence[Sequence[int]] | None: ...

    async def carry_out_step(self, run_id: str, place: int) -> str: ...

    async def end(self, run_id: str) -> None: ...

    async def dropped(self, run_id: str, error: BaseException | None) -> None: ...

    async def is_gone(self, run_id: str) -> bool: ...


class _Plain(Serializer):
    """What DBOS records, as JSON; of an error its kind alone."""

    def serialize(self, data: Any) -> str:
        return json.dumps({"error": type(data).__name__} if isinstance(data, BaseException) else {"value": data})

    def deserialize(self, serialized_data: str) -> Any:
        found = json.loads(serialized_data)
        return NotReady(f"a step ended with {found['error']}") if "error" in found else found["value"]

    def name(self) -> str:
        return "caio_json"


class _Served:
    """The host of this process, and the loop that it lives in: DBOS knows functions, not objects."""

    host: Host | None = None
    loop: asyncio.AbstractEventLoop | None = None


async def _ask(method: Callable[[Host], Coroutine[Any, Any, T]]) -> T:
    """Have the host do something in its own loop."""
    host, loop = _Served.host, _Served.loop
    if host is None or loop is None or loop.is_closed():
        raise NotReady("this process carries out no runs any more")
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(method(host), loop))


async def _step(run_id: str, place: int) -> str:
    return await _ask(lambda host: host.carry_out_step(run_id, place))


@DBOS.workflow(name="caio.run")
async def _run(run_id: str) -> str:
    """One run. The steps' places are drawn first, in their order, so that a resumed execution finds each step's
    record whichever of them ended first."""
    error: BaseException | None = None
    try:
        graph = await _ask(lambda host: host.attend(run_id))
        if graph is None:
            return "gone"
        drawn = [DBOS.reserve_step() for _ in graph]
        under_way: list[asyncio.Task[bool]] = []

        async def carried_out(place: int) -> bool:
            before = [await under_way[other] for other in graph[place]]
            return all(before) and await drawn[place].run_async(None, _step, run_id, place) == "succeeded"

        under_way += [asyncio.create_task(carried_out(place)) for place in range(len(graph))]
        try:
            await asyncio.gather(*under_way)
        finally:
            await asyncio.gather(*under_way, return_exceptions=True)
        await _ask(lambda host: host.end(run_id))
    except BaseException as raised:
        error = raised
        raise
    finally:
        await _dropped(run_id, error)
    return "ended"


async def _dropped(run_id: str, error: BaseException | None) -> None:
    try:
        await _ask(lambda host: host.dropped(run_id, error))
    except NotReady:
        return  # nobody is left to be told


class DurableRuns:
    """The ``Engine`` of a process. ``open`` it in the host's event loop, and ``close`` it there."""

    def __init__(self, owner: str) -> None:
        self._owner = owner

    @classmethod
    async def open(cls, host: Host, url: str, owner: str) -> Self:
        """Begin; tables are made where there are none. Raises NotReady where this process has one already."""
        if _Served.host is not None:
            raise NotReady("another installation in this process carries out runs; this one's wait")
        _Served.host, _Served.loop = host, asyncio.get_running_loop()
        config: DBOSConfig = {
            "name": "caio",
            "system_database_url": url,
            "application_version": _VERSION,
            "executor_id": owner,
            "log_level": "ERROR",
            "enable_otlp": False,
            "serializer": _Plain(),
            "sys_db_pool_size": 4,
            "max_executor_threads": 16,
            "scheduler_polling_interval_sec": 3_600.0,
        }
        try:
            await asyncio.to_thread(_launch, config)
        except BaseException:
            _Served.host = _Served.loop = None
            await asyncio.to_thread(DBOS.destroy)
            raise
        return cls(owner)

    async def carry_out(self, run_id: str) -> None:
        await asyncio.to_thread(self._carry_out, run_id)

    async def tidy(self) -> None:
        while over := await _known(list(_OVER)):  # as many as there are: a busy hour leaves more than one listing
            await asyncio.to_thread(DBOS.delete_workflows, over)
        host = _Served.host
        gone = [each for each in await _known(_UNDER_WAY) if host is not None and await host.is_gone(each)]
        if gone:
            await asyncio.to_thread(DBOS.delete_workflows, gone)

    async def close(self) -> None:
        _Served.host = _Served.loop = None
        await asyncio.to_thread(DBOS.destroy)

    def _carry_out(self, run_id: str) -> None:
        known = DBOS.get_workflow_status(run_id)
        if known is not None and known.status in _OVER:
            DBOS.delete_workflow(run_id)  # it ended without the run's having ended: begin again from the rows
            known = None
        if known is None:
            with SetWorkflowID(run_id):
                DBOS.start_workflow(_run, run_id)
        elif known.executor_id != self._owner:
            DBOS.resume_workflow(run_id)


async def _known(states: list[str]) -> list[str]:
    """Some of the executions in these states, by id."""
    found = await asyncio.to_thread(
        DBOS.list_workflows, status=states, limit=_TIDIED_AT_ONCE, load_input=False, load_output=False
    )
    return [each.workflow_id for each in found]


def prepare_tables(url: str) -> None:
    """Make the engine's tables in a PostgreSQL database, or bring them to this version's form, so that the login
    that works with them need not make any. Blocks."""
    DBOS.migrate(url)


def _launch(config: DBOSConfig) -> None:
    DBOS(config=config)
    # Its lines go where the process's own go; it has a handler of its own for standard error otherwise.
    logger = logging.getLogger("dbos")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    logger.propagate = True
    DBOS.launch()
