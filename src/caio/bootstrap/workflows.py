"""Runs of workflows: those who ask for them, and what carries them out."""

from __future__ import annotations

import os
from dataclasses import dataclass

from caio.audit.reads import Reads
from caio.bootstrap.audit import Audit
from caio.bootstrap.clock import new_id, now, process_identity
from caio.bootstrap.gateway import RequestPath
from caio.bootstrap.storage import Storage
from caio.bootstrap.tenancy import Tenancy
from caio.config import Settings
from caio.foundation.errors import Misconfigured
from caio.gateway.interrupted import InterruptedCalls
from caio.gateway.workflows.conductor import Conductor
from caio.gateway.workflows.records import Records
from caio.gateway.workflows.runs import Workflows
from caio.observability.tracing import Tracing
from caio.routing.plans.milp import guided, solver_is_installed
from caio.worker.loop import Loop
from caio.worker.workflows import EVERY_SECONDS, LEASE, Engine, WorkflowRuns

_HOUR = 3600.0

#: What an engine records beside a SQLite database, in a file of its own.
FILE = "workflows.db"


@dataclass(frozen=True, slots=True)
class RunningWorkflows:
    service: Workflows
    conducting: Conductor
    owner: str


def wire_workflows(
    storage: Storage, audit: Audit, tenancy: Tenancy, path: RequestPath, tracing: Tracing | None
) -> RunningWorkflows:
    stores, acts, owner = storage.stores, audit.acts, process_identity()
    records = Records(audit.vault)
    solver = guided if solver_is_installed() else None
    reads = Reads(acts, audit.journal)
    return RunningWorkflows(
        Workflows(stores.workflows, path.gateway, records, acts, stores.acts, reads, now, new_id, solver),
        Conductor(
            stores.workflows,
            path.gateway,
            records,
            tenancy.authenticator.present,
            stores.journal,
            InterruptedCalls(audit.journal, audit.vault, now, os.urandom),
            stores.idempotency,
            acts,
            now,
            owner,
            LEASE,
            tracing,
        ),
        owner,
    )


def loops_of(running: RunningWorkflows, settings: Settings, storage: Storage) -> list[Loop]:
    """What carries runs out, in a process that does; a run that is begun in it begins at once."""

    async def engine(runs: WorkflowRuns) -> Engine:
        """Imported with the first run: an idle process knows no engine."""
        try:
            from caio.worker.durable import DurableRuns
        except ModuleNotFoundError as error:
            if error.name != "dbos":
                raise
            raise Misconfigured("Workflows need the extra: pip install 'caio-platform[workflows]'.") from error
        return await DurableRuns.open(runs, _url(settings, storage), running.owner)

    runs = WorkflowRuns(
        storage.stores.workflows,
        running.conducting,
        engine,
        now,
        running.owner,
        alone=not settings.several_processes,
    )
    carrying = Loop("runs of workflows", EVERY_SECONDS, runs.step, drains=False, finish=runs.finish)
    running.service.wake = carrying.wake
    return [carrying, Loop("tidying of runs", _HOUR, runs.tidy, first_after=60.0)]


def _url(settings: Settings, storage: Storage) -> str:
    if storage.database.dialect != "sqlite":
        return storage.database.address.dsn
    file = settings.data_dir / FILE
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    return f"sqlite:///{file}"
