"""The request path: what is decided on, what is admitted, who is called, what is booked."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from caio.bootstrap.audit import Audit
from caio.bootstrap.clock import new_id, now
from caio.bootstrap.metering import Metering
from caio.bootstrap.storage import Storage
from caio.config import Settings
from caio.gateway.attempts import Attempts
from caio.gateway.books import Books
from caio.gateway.credentials import Credentials
from caio.gateway.pipeline import Gateway
from caio.gateway.streams import Streams
from caio.providers import providers
from caio.providers.outbound import OutboundClient
from caio.registry.histories import Histories
from caio.registry.service_limits import ServiceLimits
from caio.registry.views import Views
from caio.storage.memory.admission import InProcessAdmission


@dataclass(frozen=True, slots=True)
class RequestPath:
    views: Views
    histories: Histories
    admission: InProcessAdmission
    service_limits: ServiceLimits
    gateway: Gateway
    streams: Streams


def wire_gateway(
    settings: Settings, storage: Storage, audit: Audit, metering: Metering, outbound: OutboundClient
) -> RequestPath:
    stores, several = storage.stores, settings.several_processes
    histories = Histories(stores.snapshots, stores.seen_attempts if several else None)
    views = Views(stores.contracts, stores.policies, stores.snapshots, alone=not several)
    admission = InProcessAdmission(stores.admission_records)
    limits = ServiceLimits(stores.service_limits, stores.contracts, audit.acts, now, time.monotonic)
    books = Books(audit.journal, audit.vault, admission, histories, now, os.urandom)
    attempts = Attempts(providers(outbound), Credentials(stores.secrets, audit.vault))
    gateway = Gateway(
        views,
        histories,
        admission,
        limits,
        attempts,
        books,
        stores.idempotency,
        audit.vault,
        metering.storage_gauge,
        now,
        new_id,
    )
    return RequestPath(views, histories, admission, limits, gateway, Streams(gateway))
