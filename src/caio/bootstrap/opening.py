"""Opening an installation, and closing it in order."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from caio.bootstrap.audit import open_audit
from caio.bootstrap.clock import monotonic
from caio.bootstrap.events import open_events
from caio.bootstrap.gateway import open_gateway
from caio.bootstrap.installation import Installation
from caio.bootstrap.lifecycle import wire_lifecycle
from caio.bootstrap.metering import wire_metering
from caio.bootstrap.observability import open_metrics, open_tracing, watch_process
from caio.bootstrap.recovery import recover
from caio.bootstrap.registry import start_expiry, wire_registry
from caio.bootstrap.storage import open_storage
from caio.bootstrap.tenancy import begin, start_key_uses, wire_tenancy
from caio.bootstrap.worker import wire_worker
from caio.bootstrap.workflows import wire_workflows
from caio.config import EMBEDDED, Settings, read_settings, require_safe
from caio.observability.logging import configure_logging
from caio.providers.outbound import OutboundClient
from caio.storage.sql.standing import Standing
from caio.tenancy.turns import Turns


@asynccontextmanager
async def open_from_environment() -> AsyncIterator[Installation]:
    """The installation that the environment describes, with logging set up: what a server opens."""
    settings = read_settings()
    require_safe(settings)
    configure_logging(settings.log_level)
    async with open_installation(settings) as installation:
        yield installation


def embedded_settings(data_dir: Path, allow_private: Sequence[str]) -> Settings:
    """The library's settings: SQLite in ``data_dir``, the rest from the environment."""
    overrides: dict[str, object] = {**EMBEDDED, "data_dir": data_dir, "metrics_emf": False}
    if allow_private:
        overrides["outbound_allow"] = ",".join(allow_private)
    return read_settings(**overrides)


@asynccontextmanager
async def open_installation(settings: Settings, *, works: bool | None = None) -> AsyncIterator[Installation]:
    """Open everything, and close it in order. A process that is the only one also recovers what a crash left;
    of several the worker does. ``works`` is whether this process runs the worker's loops: by default the only
    one of a database does. Raises Misconfigured when another process holds the data directory or the
    database."""
    works = not settings.several_processes if works is None else works
    async with AsyncExitStack() as stack:
        tracing = open_tracing(stack, settings)
        metrics = await open_metrics(stack, settings, works=works)
        storage = await open_storage(stack, settings)
        outbound = OutboundClient(settings.outbound_allow)
        stack.push_async_callback(outbound.close)
        audit = await open_audit(stack, settings, storage, outbound, works=works)
        metering = wire_metering(storage)
        path = await open_gateway(stack, settings, storage, audit, metering, outbound, metrics)
        watch_process(metrics, audit, path, works=works)
        tenancy = wire_tenancy(settings, storage, audit, path.views, outbound)
        await begin(settings, storage, audit, tenancy.tenants)
        await start_key_uses(stack, tenancy)
        await audit.sequencer.start()
        if not settings.several_processes:
            await recover(storage, audit, path)
        registry = wire_registry(settings, storage, audit, metering, path.views)
        tenure = wire_lifecycle(storage, audit, tenancy, path, registry)
        stack.push_async_callback(path.gateway.books.settled)
        workflows = wire_workflows(storage, audit, tenancy, path, tracing)
        events = await open_events(stack, settings, storage, audit, outbound)
        worker = None
        if works:
            await start_expiry(stack, storage, audit)
            worker = wire_worker(settings, storage, audit, metering, events, path, tenure, workflows, metrics)
            await worker.start()
            stack.push_async_callback(worker.stop)
        yield Installation(
            settings=settings,
            database=storage.database,
            standing=Standing(storage.database, time.monotonic),
            stores=storage.stores,
            keyring=audit.keyring,
            vault=audit.vault,
            journal=audit.journal,
            sequencer=audit.sequencer,
            acts=audit.acts,
            tenants=tenancy.tenants,
            authenticator=tenancy.authenticator,
            addresses=tenancy.addresses,
            turns=Turns(settings.control_plane_per_minute, monotonic),
            api_keys=tenancy.api_keys,
            members=tenancy.members,
            lifecycle=tenure.lifecycle,
            invitations=tenure.invitations,
            tenant_exports=tenure.exports,
            metering=metering,
            webhooks=events.webhooks,
            worker=worker,
            metrics=metrics,
            tracing=tracing,
            admission=path.admission,
            limiter=path.limiter,
            gateway=path.gateway,
            streams=path.streams,
            starts=path.starts,
            audit_log=registry.audit_log,
            audit_exports=registry.audit_exports,
            audit_entries=registry.audit_entries,
            custody=registry.custody,
            catalog=registry.catalog,
            aliases=registry.aliases,
            model_names=registry.model_names,
            service_limits=path.service_limits,
            decisions=registry.decisions,
            observed=registry.observed,
            what_if=registry.what_if,
            workflows=workflows.service,
        )
