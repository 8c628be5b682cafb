"""What the registry needs of a store.

A *publication* is a versioned, immutable document with one active version per name: contracts
(named by service id) and policies (named by policy id) are stored alike. The *revision* counts
the changes of a name and serves as its ETag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from caio.audit.ports import Leaf
from caio.foundation.scope import TenantScope


class PublicationStatus(StrEnum):
    ACTIVE = "active"
    SUPERSEDED = "superseded"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Publication:
    """One version of a document, ready to be stored. ``document`` is canonical JSON content."""

    name: str
    version: str
    digest: str
    document: Mapping[str, Any]
    published_at: int
    tags: tuple[str, ...] = ()
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """A publication as it is read back."""

    tenant_id: str
    publication: Publication
    status: PublicationStatus
    revision: int


@dataclass(frozen=True, slots=True)
class Standing:
    """That a version is active: whose, under which name, the hash of its document, and since when."""

    tenant_id: str
    name: str
    digest: str
    published_at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of publications, by name; ``next_after`` is None on the last one."""

    items: tuple[Published, ...]
    next_after: str | None


class Publications(Protocol):
    """Storage of one sort of publication (contracts or policies).

    ``leaf`` tells of the change (``audit.acts``) and is written in the change's own transaction: both
    are there or neither is, and what changes nothing writes none.
    """

    async def publish_first(self, scope: TenantScope, publication: Publication, quota: int, leaf: Leaf) -> Published:
        """Store a new name. Raises Conflict ``already_exists`` when the name is known (also when
        retired) and Conflict ``quota_exceeded`` when the tenant has ``quota`` active names; exact
        under concurrent calls."""
        ...

    async def publish_next(self, scope: TenantScope, publication: Publication, if_match: int, leaf: Leaf) -> Published:
        """Store a further version and make it active. Raises NotFound for an unknown name,
        PreconditionFailed when the revision is not ``if_match``, Conflict ``version_exists``."""
        ...

    async def retire(self, scope: TenantScope, name: str, if_match: int | None, now: int, leaf: Leaf) -> Published:
        """Take the active version out of service; the versions stay readable. NotFound,
        PreconditionFailed as above; retiring a retired name changes nothing."""
        ...

    async def get(self, scope: TenantScope, name: str, version: str | None = None) -> Published:
        """The named version, else the newest; raises NotFound (another tenant's included)."""
        ...

    async def page(self, scope: TenantScope, *, after: str, limit: int, tag: str | None, retired: bool) -> Page:
        """The tenant's own names in order, one entry a name (its newest version)."""
        ...

    async def active(self, scope: TenantScope) -> Sequence[Published]:
        """Every active version the tenant may see: its own and those that other tenants share."""
        ...

    async def standing(self, scope: TenantScope) -> Sequence[Standing]:
        """What ``active`` gives, without the documents."""
        ...

    async def by_digest(self, scope: TenantScope, digests: Sequence[str]) -> Mapping[str, Published]:
        """Versions by their hash, the tenant's own and shared ones, in any status: for evidence."""
        ...


class InputSnapshots(Protocol):
    """Content-addressed inputs of decisions: manifests of services and policies, and histories."""

    async def keep(self, scope: TenantScope, digest: str, body: bytes) -> None:
        """Store ``body`` under its hash; durable on return; storing it again changes nothing."""
        ...

    async def fetch(self, scope: TenantScope, digest: str) -> bytes:
        """Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """How many attempts of a service, finished in the slice of time that begins at ``slice_start``, ended
    alike: whether good, and after how many milliseconds with a whole answer (None: with none)."""

    service_id: str
    slice_start: int
    good: bool
    whole_ms: int | None
    calls: int


class SeenAttempts(Protocol):
    """The attempts of a tenant's finished calls, of whatever process, counted."""

    async def seen(self, scope: TenantScope, since: int, slice_length: int) -> Sequence[Seen]:
        """Those finished at ``since``, a multiple of ``slice_length`` microseconds, or later, in the order of
        their slices."""
        ...
