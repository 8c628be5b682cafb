"""Webhooks, buses, and the relay between them and the outbox."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from caio.aws.clients import aws_client
from caio.bootstrap.audit import Audit
from caio.bootstrap.clock import new_id, now
from caio.bootstrap.storage import Storage
from caio.config import Settings
from caio.events.ports import Sink
from caio.providers.outbound import OutboundClient
from caio.providers.webhooks import WebhookReceiver
from caio.storage.sql.events import SqlEvents
from caio.tenancy.webhooks import Webhooks
from caio.worker.relay import Relay


@dataclass(frozen=True, slots=True)
class Events:
    webhooks: Webhooks
    relay: Relay


async def open_events(
    stack: AsyncExitStack, settings: Settings, storage: Storage, audit: Audit, outbound: OutboundClient
) -> Events:
    """Raises Misconfigured when a bus is set and AWS cannot be asked."""
    stores = storage.stores
    receiver = WebhookReceiver(outbound, settings.outbound_allow)
    webhooks = Webhooks(stores.webhooks, stores.acts, audit.acts, audit.vault, receiver, now, new_id, os.urandom)
    sinks = await stack.enter_async_context(_sinks(settings))
    outbox = SqlEvents(storage.database, [sink.name for sink in sinks])
    return Events(webhooks, Relay(outbox, stores.events, webhooks, sinks, now))


@asynccontextmanager
async def _sinks(settings: Settings) -> AsyncIterator[list[Sink]]:
    if settings.event_bus is None:
        yield []
        return
    async with aws_client("events") as client:
        from caio.aws.event_bridge import EventBridge  # botocore stays out of a process that needs no AWS

        yield [EventBridge(client, settings.event_bus)]
