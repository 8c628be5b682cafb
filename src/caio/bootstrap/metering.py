"""What was used: taken from the journal, measured, stated, and held against the quotas."""

from __future__ import annotations

from dataclasses import dataclass

from caio.bootstrap.clock import now
from caio.bootstrap.storage import Storage
from caio.metering.rollup import UsageRollup
from caio.metering.statements import Statements
from caio.metering.storage_measure import StorageGauge, StorageMeasure
from caio.tenancy.authentication import embedded_scope


@dataclass(frozen=True, slots=True)
class Metering:
    rollup: UsageRollup
    storage_measure: StorageMeasure
    storage_gauge: StorageGauge
    statements: Statements


def wire_metering(storage: Storage) -> Metering:
    stores = storage.stores
    return Metering(
        UsageRollup(stores.usage, embedded_scope),
        StorageMeasure(stores.storage_measures, embedded_scope, now),
        StorageGauge(stores.storage_measures, now),
        Statements(stores.usage, stores.storage_measures, stores.tenants, now),
    )
