"""What metering needs of a store: usage beside the journal it is counted from, and what rows take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from caio.foundation.scope import TenantScope
from caio.metering.usage import Dimension, Sums


@dataclass(frozen=True, slots=True)
class Progress:
    """How far usage has come: ``waiting`` leaves of the journal are not taken in, the first of them recorded
    at ``since`` (None when nothing waits)."""

    waiting: int
    since: int | None


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which usage: days from ``since`` to before ``until`` (since the epoch), of one principal, service or
    capability where given, grouped ``by``, which is in the order of ``Dimension``."""

    since: int
    until: int
    by: tuple[Dimension, ...] = ()
    principal: str | None = None
    service: str | None = None
    capability: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Usage of one group: the values of its dimensions, in their order, and the sums."""

    key: tuple[int | str, ...]
    sums: Sums


class UsageStore(Protocol):
    """Usage, counted from the journal; the suite in tests/conformance holds it to ``metering.usage``."""

    async def waiting(self) -> Sequence[str]:
        """The ids of tenants whose journal may have grown beyond their mark."""
        ...

    async def take_in(self, scope: TenantScope, limit: int) -> int:
        """Add up to ``limit`` leaves to usage and move the mark, in one transaction; returns how many. However
        many call this at once, each leaf is taken in once."""
        ...

    async def begin_anew(self, scope: TenantScope) -> None:
        """Forget the usage and go back to the journal's beginning, in one transaction."""
        ...

    async def progress(self, scope: TenantScope) -> Progress: ...

    async def groups(self, scope: TenantScope, query: UsageQuery, after: Group | None, limit: int) -> Sequence[Group]:
        """The next groups behind ``after``, by their keys. A group without calls does not exist; without
        dimensions there is one group, of everything."""
        ...

    async def charged(self, scope: TenantScope, since: int) -> int:
        """Nano-units charged for calls that were admitted from ``since`` (microseconds, the start of a UTC
        day) on, also those that usage has not taken in."""
        ...

    async def reserved(self, scope: TenantScope, since: int) -> int:
        """Nano-units set aside for calls that were admitted from ``since`` on and have not ended."""
        ...


@dataclass(frozen=True, slots=True)
class StorageMeasured:
    """What a tenant's rows took at ``measured_at``."""

    bytes: int
    measured_at: int


class StorageStore(Protocol):
    """What tenants' rows take."""

    async def due(self, now: int, every: int) -> Sequence[str]:
        """The ids of tenants that may be due: not measured on this day yet, or, where the journal has grown, not
        for ``every`` microseconds."""
        ...

    async def measure_leaves(self, scope: TenantScope, limit: int) -> int:
        """Add the bytes of up to ``limit`` further leaves, with their clear rows; returns how many there were."""
        ...

    async def measure(self, scope: TenantScope, now: int) -> StorageMeasured:
        """Add the bytes of all other rows to those of the leaves, and keep the sum as the day's."""
        ...

    async def latest(self, scope: TenantScope) -> StorageMeasured | None:
        """The last measurement, None before the first."""
        ...

    async def days(self, scope: TenantScope, since: int, until: int) -> Sequence[tuple[int, StorageMeasured]]:
        """The last measurement of each day from ``since`` to before ``until`` (days since the epoch), in order;
        days without one are left out."""
        ...
