"""What a process does again and again beside answering: the loops of its worker."""

from __future__ import annotations

import os

from caio.bootstrap.audit import Audit
from caio.bootstrap.clock import now
from caio.bootstrap.events import Events
from caio.bootstrap.gateway import RequestPath
from caio.bootstrap.lifecycle import Tenure
from caio.bootstrap.metering import Metering
from caio.bootstrap.observability import counting_services
from caio.bootstrap.storage import Storage
from caio.bootstrap.workflows import RunningWorkflows, loops_of
from caio.config import Settings
from caio.gateway.interrupted import InterruptedCalls
from caio.gateway.ports import HeldCalls
from caio.gateway.reaper import EVERY_SECONDS, Reaper
from caio.observability.metrics import Metrics
from caio.registry.observed import LONGEST
from caio.worker.budget_alerts import BudgetAlerts
from caio.worker.loop import Loop, Worker
from caio.worker.scopes import scope_of_job

_HOUR = 3600.0


def wire_worker(
    settings: Settings,
    storage: Storage,
    audit: Audit,
    metering: Metering,
    events: Events,
    path: RequestPath,
    tenure: Tenure,
    workflows: RunningWorkflows,
    metrics: Metrics,
) -> Worker:
    """A worker that is not started yet; its loops are told of among the metrics."""
    stores, relay = storage.stores, events.relay
    alerts = BudgetAlerts(stores.tenants, stores.usage, audit.acts, stores.acts, now)
    of_several = [] if path.held is None else [_reaper(storage, audit, path.held), _forgetting(storage)]
    worker = Worker(
        [
            Loop("event relay", 1.0, relay.step, finish=relay.finish),
            Loop("usage roll-up", 2.0, metering.rollup.work_off),
            Loop("budget alerts", 10.0, alerts.step, drains=False),
            Loop("storage measurement", 10.0, metering.storage_measure.step, drains=False),
            Loop("ends of tenants", 5.0, tenure.lifecycle.pass_once, drains=False),
            Loop("pruning of events", _HOUR, relay.prune, first_after=60.0),
            *loops_of(workflows, settings, storage),
            counting_services(metrics, storage),
            *of_several,
        ]
    )
    metrics.loops = worker.loops
    return worker


def _reaper(storage: Storage, audit: Audit, held: HeldCalls) -> Loop:
    """Ends the calls of processes that are gone: what a process that is alone does when it starts."""
    stores = storage.stores
    interrupted = InterruptedCalls(audit.journal, audit.vault, now, os.urandom)
    reaper = Reaper(held, stores.journal, interrupted, stores.idempotency, now, scope_of_job)
    return Loop("reaper", EVERY_SECONDS, reaper.step, drains=False)


def _forgetting(storage: Storage) -> Loop:
    """Forgets the hours that no report reaches back to."""

    async def step() -> int:
        await storage.stores.observed.forget(now() - LONGEST)
        return 0

    return Loop("forgetting of observed hours", _HOUR, step)
