"""What the API stands on: the parts of an installation that routes use.

A Protocol, because the composition root lies above this room; ``bootstrap.Installation`` is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from caio.api.openai.naming import ModelNames
from caio.audit.journal import Journal
from caio.audit.sequencer import Sequencer
from caio.audit.signing import Keyring
from caio.events.ports import EventStore
from caio.gateway.pipeline import Gateway
from caio.gateway.starts import Starts
from caio.gateway.streams import Streams
from caio.gateway.workflows.runs import Workflows
from caio.metering.statements import Statements
from caio.observability.metrics import Metrics
from caio.observability.tracing import Tracing
from caio.registry.aliases import Aliases
from caio.registry.audit_entries import AuditEntries
from caio.registry.audit_export import AuditExports
from caio.registry.audit_log import AuditLog
from caio.registry.catalog import Catalog
from caio.registry.custody import Custody
from caio.registry.decisions import Decisions
from caio.registry.observed import ObservedServices
from caio.registry.service_limits import ServiceLimits
from caio.registry.tenant_export import TenantExports
from caio.registry.what_if import WhatIf
from caio.tenancy.addresses import CallerAddresses
from caio.tenancy.api_keys import ApiKeys
from caio.tenancy.authentication import Authenticator
from caio.tenancy.invitations import Invitations
from caio.tenancy.lifecycle import Lifecycle
from caio.tenancy.members import Members
from caio.tenancy.turns import Turns
from caio.tenancy.webhooks import Webhooks


class Works(Protocol):
    """What this process does beside answering."""

    @property
    def trouble(self) -> str | None: ...


class Limiter(Protocol):
    """What several processes keep their limits in."""

    def degraded(self) -> str | None:
        """What is wrong with it, in words that name no tenant, or None."""
        ...

    @property
    def round_trip(self) -> float:
        """How long the Redis behind it took to answer last, in seconds."""
        ...


class Platform(Protocol):
    @property
    def limiter(self) -> Limiter | None:
        """None where this process keeps the limits itself."""
        ...

    @property
    def authenticator(self) -> Authenticator: ...
    @property
    def gateway(self) -> Gateway: ...
    @property
    def streams(self) -> Streams: ...
    @property
    def starts(self) -> Starts: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def aliases(self) -> Aliases: ...
    @property
    def model_names(self) -> ModelNames: ...
    @property
    def service_limits(self) -> ServiceLimits: ...
    @property
    def decisions(self) -> Decisions: ...
    @property
    def audit_log(self) -> AuditLog: ...
    @property
    def audit_exports(self) -> AuditExports: ...
    @property
    def audit_entries(self) -> AuditEntries: ...
    @property
    def custody(self) -> Custody: ...
    @property
    def observed(self) -> ObservedServices: ...
    @property
    def what_if(self) -> WhatIf: ...
    @property
    def workflows(self) -> Workflows: ...
    @property
    def statements(self) -> Statements: ...
    @property
    def addresses(self) -> CallerAddresses: ...
    @property
    def api_keys(self) -> ApiKeys: ...
    @property
    def members(self) -> Members: ...
    @property
    def webhooks(self) -> Webhooks: ...
    @property
    def event_history(self) -> EventStore: ...
    @property
    def worker(self) -> Works | None: ...
    @property
    def lifecycle(self) -> Lifecycle: ...
    @property
    def invitations(self) -> Invitations: ...
    @property
    def tenant_exports(self) -> TenantExports: ...
    @property
    def keyring(self) -> Keyring: ...
    @property
    def journal(self) -> Journal: ...
    @property
    def sequencer(self) -> Sequencer: ...
    @property
    def turns(self) -> Turns: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def tracing(self) -> Tracing | None: ...
    @property
    def max_body_bytes(self) -> int: ...
    @property
    def cors_origins(self) -> Sequence[str]:
        """Whose pages may call the API from a browser."""
        ...

    async def ping_database(self) -> None:
        """Raises NotReady when the database does not answer."""
        ...

    async def check_migrations(self) -> None:
        """Raises NotReady when the database's tables are older than this version of the program, or cannot be
        asked. Remembers the answer for a while."""
        ...
