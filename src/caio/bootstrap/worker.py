"""What a process does again and again beside answering: the loops of its worker."""

from __future__ import annotations

from caio.bootstrap.audit import Audit
from caio.bootstrap.clock import now
from caio.bootstrap.events import Events
from caio.bootstrap.metering import Metering
from caio.bootstrap.storage import Storage
from caio.worker.budget_alerts import BudgetAlerts
from caio.worker.loop import Loop, Worker

_HOUR = 3600.0


def wire_worker(storage: Storage, audit: Audit, metering: Metering, events: Events) -> Worker:
    """A worker that is not started yet."""
    stores, relay = storage.stores, events.relay
    alerts = BudgetAlerts(stores.tenants, stores.usage, audit.acts, stores.acts, now)
    return Worker(
        [
            Loop("event relay", 1.0, relay.step, finish=relay.finish),
            Loop("usage roll-up", 2.0, metering.rollup.step),
            Loop("budget alerts", 5.0, alerts.step, drains=False),
            Loop("storage measurement", 10.0, metering.storage_measure.step, drains=False),
            Loop("pruning of events", _HOUR, relay.prune, first_after=60.0),
        ]
    )
