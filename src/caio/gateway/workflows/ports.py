"""What runs of workflows are kept as, and what keeps them. Times are microseconds since the epoch.

The rows are the truth: whatever carries runs out (``worker.durable``) knows their ids alone, and may forget them.
A run that has not ended belongs to whoever holds its lease; nobody else writes what becomes of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from caio.audit.ports import Leaf
from caio.foundation.scope import TenantScope


class RunStatus(StrEnum):
    """QUEUED until somebody carries it out; CANCELLING until whoever does has noticed."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def has_ended(self) -> bool:
        return self in ENDED


ENDED = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED})


class StepStatus(StrEnum):
    """Of a step that has begun; one that has not has no row."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """``code`` says why a run failed. ``most_cost`` is nano-units; ``key_name`` a hash of who started it with which
    idempotency key, and ``fingerprint`` of what. ``sealed`` holds what was asked for, ``sealed_result`` what came
    of it. ``leased_until`` is None when the run has ended."""

    tenant_id: str
    run_id: str
    principal_id: str
    status: RunStatus
    code: str = ""
    plan_hash: str
    most_cost: int
    key_name: str | None = None
    fingerprint: str
    created_at: int
    updated_at: int
    deadline_at: int
    owner: str = ""
    leased_until: int | None
    sealed: bytes
    sealed_result: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRun:
    """``sealed`` is its answer, or what went wrong. ``charged`` is nano-units."""

    step: str
    status: StepStatus
    code: str = ""
    decision_id: str = ""
    service_id: str = ""
    charged: int = 0
    started_at: int
    finished_at: int | None = None
    sealed: bytes | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What a listener is told: names, states and decisions, never what was said."""

    seq: int
    at: int
    kind: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class News:
    """An event to be written with a change; the store gives it its place."""

    kind: str
    document: Mapping[str, Any]


class WorkflowStore(Protocol):
    """Runs, their steps and events. The laws are those of ``tests/conformance/test_workflow_store.py``."""

    async def add(self, scope: TenantScope, run: Run, most_open: int, news: News, leaf: Leaf) -> Run:
        """Begin a run, its first event and its act with it; or give back the one of the same ``key_name``, and
        write nothing. Raises Conflict ``quota_exceeded`` where the tenant has ``most_open`` runs already that have
        not ended."""
        ...

    async def get(self, scope: TenantScope, run_id: str) -> Run:
        """Raises NotFound."""
        ...

    async def page(self, scope: TenantScope, principal_id: str | None, before: str | None, limit: int) -> Sequence[Run]:
        """Newest first, of one principal or of all; ``before`` is the id of the last one seen."""
        ...

    async def steps(self, scope: TenantScope, run_id: str) -> Sequence[StepRun]: ...

    async def events(self, scope: TenantScope, run_id: str, after: int, limit: int) -> Sequence[Event]:
        """Oldest first, from the one behind ``after``."""
        ...

    async def ask_to_cancel(self, scope: TenantScope, run_id: str, now: int, news: News, leaf: Leaf) -> Run:
        """A run that has ended, or is asked already, stays as it is, and nothing is written. Raises NotFound."""
        ...

    # --- of whoever carries runs out ----------------------------------------------------------

    async def claim(
        self, owner: str, now: int, until: int, limit: int, shares: Mapping[str, int], share: int, *, alone: bool
    ) -> Sequence[tuple[str, str]]:
        """Lease runs that nobody carries out, as (tenant, run): at most ``limit``, of a tenant ``share`` or what
        ``shares`` says, in turn by tenant and oldest first. Of one who is ``alone`` other owners are gone."""
        ...

    async def renew(self, owner: str, until: int) -> Mapping[str, RunStatus]:
        """Lengthen the leases of all runs of ``owner``; say what they are by now."""
        ...

    async def release(self, owner: str, at: int, run_ids: Collection[str] | None = None) -> None:
        """Let everybody take up what ``owner`` holds, or these of it, from ``at`` on."""
        ...

    async def tenant_of(self, run_id: str) -> str | None:
        """Whose run it is, if it has not ended."""
        ...

    async def attend(self, scope: TenantScope, run_id: str, owner: str, now: int, until: int, news: News) -> Run | None:
        """Become the one who carries the run out; it is RUNNING then, unless it is CANCELLING. None where it has
        ended or was erased."""
        ...

    async def begin_step(self, scope: TenantScope, run_id: str, owner: str, step: StepRun, news: News) -> StepRun:
        """The step as it was begun before, which is told as ``step.resumed``, or begun now. Raises Conflict
        ``run_lost``."""
        ...

    async def end_step(self, scope: TenantScope, run_id: str, owner: str, step: StepRun, news: News) -> None:
        """Raises Conflict ``run_lost`` where the run is another's by now."""
        ...

    async def end_run(self, scope: TenantScope, run: Run, owner: str, news: News, leaf: Leaf) -> None:
        """Write how the run ended. Raises Conflict ``run_lost``."""
        ...

    async def forget(self, now: int, before: int, limit: int) -> int:
        """Delete runs that ended before a time, or longer ago than their tenant keeps content, with their steps and
        events; how many."""
        ...
