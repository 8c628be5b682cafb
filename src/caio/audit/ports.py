"""What the audit room needs of a store, and the rows it hands over.

A *leaf* is one entry of a tenant's append-only journal: a commitment to its payload and the
payload sealed with the tenant's key. Beside a leaf, in the same transaction, goes its
*projection*: the few clear columns that lists, limits and history are computed from.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from caio.foundation.scope import TenantScope
from caio.foundation.values import value


class LeafKind(StrEnum):
    """What a leaf records. More kinds may be added; none may be removed or renamed."""

    DECISION = "decision"
    OUTCOME = "outcome"
    PUBLICATION = "publication"
    TENANT = "tenant"
    KEY = "key"
    SECRET = "secret"  # noqa: S105 - the kind of leaf, not a secret
    ACCESS = "access"
    RETENTION = "retention"
    ERASURE = "erasure"
    LOG = "log"
    MEMBER = "member"
    WEBHOOK = "webhook"
    BUDGET = "budget"
    WORKFLOW = "workflow"


class Mode(StrEnum):
    """Why a decision was made: to call the winner, or only to know it."""

    ORCHESTRATE = "orchestrate"
    ROUTE = "route"


class Status(StrEnum):
    """How a call ended. INTERRUPTED is written at start-up for a call that a crash cut off."""

    OK = "ok"
    FAILED = "failed"
    VIOLATED = "violated"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    INTERRUPTED = "interrupted"


@value(frozen=True, slots=True)
class DecisionRow:
    """The clear columns of a decision. Times in microseconds since the epoch, money in nano-units.

    ``service_id`` and ``service_version`` are empty for a refusal. ``reserved`` is the worst price of the chosen
    service; the call may take at most ``most_cost``, tokens and milliseconds, whoever it is handed on to.
    """

    decision_id: str
    decided_at: int
    mode: Mode
    capability: str
    service_id: str
    service_version: str
    principal_id: str
    decision_hash: str
    admitted: bool
    reserved: int
    most_cost: int = 0
    most_tokens: int = 0
    most_compute_ms: int = 0


@value(frozen=True, slots=True)
class Attempt:
    """One call of one service within an outcome: what is observed of the service.

    ``latency_ms`` is the time to the whole answer, of a stream to its first content, and of a call
    that failed until then. ``breached`` names the clauses that the answer broke.
    """

    service_id: str
    version: str
    succeeded: bool
    latency_ms: int
    streamed: bool
    breached: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether there was an answer and it broke nothing."""
        return self.succeeded and not self.breached


@value(frozen=True, slots=True)
class OutcomeRow:
    """The clear columns of an outcome; exactly one outcome follows an admitted decision."""

    decision_id: str
    finished_at: int
    status: Status
    service_id: str
    latency_ms: int
    input_tokens: int
    output_tokens: int
    charged: int
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class ActRow:
    """The clear columns of an act: what somebody did, other than to call. ``action`` is ``noun.verb``,
    ``subject`` the id of what it was done to, ``principal_id`` who did it."""

    act_id: str
    kind: LeafKind
    recorded_at: int
    action: str
    principal_id: str
    subject: str


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer kept for its idempotency key, sealed; written with the outcome, atomically."""

    idempotency_key: str
    decision_id: str
    sealed: bytes


@value(frozen=True, slots=True)
class Leaf:
    """One journal entry as it is written. ``commitment`` is HMAC-SHA256(salt, payload), 32 bytes.

    ``subject_id`` is the decision's id for decisions and outcomes, an act's own id for the other
    kinds; (tenant, kind, subject) is unique. ``sealed`` is empty once the content was erased.
    """

    tenant_id: str
    kind: LeafKind
    subject_id: str
    recorded_at: int
    commitment: bytes
    sealed: bytes
    projection: DecisionRow | OutcomeRow | ActRow | None = None
    kept_answer: KeptAnswer | None = None


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """A leaf as it is read back, with its place ``seq`` (from 0, gapless per tenant)."""

    seq: int
    leaf: Leaf


#: The code of NotReady when it is a tenant's own database alone that does not answer.
TENANT_DATABASE_AWAY = "tenant_database_away"


class JournalStore(Protocol):
    """Durable, ordered storage of leaves. One suite in tests/conformance holds every adapter to it."""

    async def append(self, leaves: Sequence[Leaf]) -> list[int]:
        """Write all leaves and their projections in one transaction; return their ``seq`` in order.

        When it returns, the leaves survive SIGKILL and power loss. On an exception, nothing was
        written. Each tenant's ``seq`` continues without a gap, whatever other writers do.
        """
        ...

    async def read(self, scope: TenantScope, kind: LeafKind, subject_id: str) -> StoredLeaf | None: ...

    async def page(self, scope: TenantScope, after: int, limit: int) -> list[StoredLeaf]:
        """Leaves with ``seq > after`` in order (-1 starts); projections are not read back."""
        ...

    async def latest_act(self, scope: TenantScope, kind: LeafKind, actions: Collection[str]) -> ActRow | None:
        """The last act of ``kind`` in the tenant's log that is one of ``actions``. Walks all acts of that
        kind: for start-up only."""
        ...

    async def decisions(
        self, scope: TenantScope, before: tuple[int, str] | None, limit: int
    ) -> list[tuple[DecisionRow, OutcomeRow | None]]:
        """Newest first, older than ``before`` (decided_at, decision_id); ``attempts`` is left empty."""
        ...

    async def calls(
        self, scope: TenantScope, decision_ids: Collection[str]
    ) -> list[tuple[DecisionRow, OutcomeRow | None]]:
        """Those of the decisions that are recorded, in any order; ``attempts`` is left empty."""
        ...

    async def unfinished(self, since: int = 0, before: int | None = None) -> list[tuple[str, DecisionRow]]:
        """(tenant id, decision) of every admitted ORCHESTRATE decision, made at ``since`` or later and ``before`` that
        time, that has no outcome."""
        ...

    async def attempts_since(self, since: int) -> list[tuple[str, int, int, Attempt]]:
        """(tenant id, finished_at, position, attempt) of outcomes with ``finished_at >= since``, oldest
        first. Position 0 called the service that was admitted, later ones were fallbacks or repeats."""
        ...


class ActStore(Protocol):
    """Acts that change nothing but the log itself."""

    async def record(self, scope: TenantScope, leaf: Leaf) -> bool:
        """Write the act and its event in one transaction; False, and nothing written, when an act of this id
        is there."""
        ...


class TenantKeyStore(Protocol):
    """Per-tenant data keys, each wrapped (envelope encryption). A destroyed one has no successor."""

    async def wrapped_key(self, scope: TenantScope, fresh: bytes) -> bytes:
        """The tenant's wrapped key; stores ``fresh`` when it has none yet (first writer wins).

        Raises Erased ``tenant_key_destroyed`` once it was destroyed, and NotFound for an unknown tenant.
        """
        ...

    async def find(self, scope: TenantScope) -> bytes | None:
        """The tenant's wrapped key, None while it has none. Raises Erased ``tenant_key_destroyed``."""
        ...

    async def destroy(self, scope: TenantScope, now: int) -> bool:
        """Forget the tenant's wrapped key for good, also one that was never made; whether this call did.

        Raises NotFound for an unknown tenant.
        """
        ...


class KeyWrapping(Protocol):
    """What turns a tenant's data key into bytes that may be stored, and back."""

    async def wrap(self, key: bytes, tenant_id: str) -> bytes: ...

    async def unwrap(self, wrapped: bytes, tenant_id: str) -> bytes:
        """What ``wrap`` was given. Raises SealBroken for what was not wrapped by this key for this tenant,
        and NotReady when the key cannot be asked."""
        ...


class Anchor(Protocol):
    """Where checkpoints are put so that whoever runs the log cannot take them back unnoticed.

    Every adapter is held to the suite in tests/conformance. All methods raise NotReady when the place does
    not answer, and Conflict ``anchor_tampered`` where it holds what ``put`` cannot have left. No signature is
    verified here: whoever reads a note checks it against the keys he trusts.
    """

    async def put(self, origin: str, size: int, note: str) -> None:
        """Keep ``note``, a signed checkpoint of this origin and size (ValueError for any other), once.

        It is durable on return. Nothing happens when the same checkpoint is there already, under whatever
        signatures. Raises Conflict ``anchor_conflict`` when another is: the log was forked or set back.
        """
        ...

    async def latest(self, origin: str) -> str | None:
        """The note of the largest size, None when there is none."""
        ...

    def notes(self, origin: str, after: int = -1) -> AsyncIterator[str]:
        """The notes of sizes beyond ``after``, ascending by size."""
        ...


@dataclass(frozen=True, slots=True)
class LogHead:
    """How far a tenant's journal has been taken into its Merkle tree.

    ``size`` leaves have the root hash ``root``, and ``checkpoint`` is the signed note that says so,
    signed at ``signed_at`` (microseconds since the epoch).
    """

    tenant_id: str
    origin: str
    size: int
    root: bytes
    checkpoint: str
    signed_at: int


@dataclass(frozen=True, slots=True)
class Behind:
    """A tenant whose journal is ahead of its tree: leaves ``size`` to ``next - 1`` are to be taken in.

    ``origin`` and ``checkpoint`` are empty when the log has no checkpoint yet; its size is 0 then.
    ``leased`` is whether the asking holder has the lease.
    """

    tenant_id: str
    origin: str
    size: int
    root: bytes
    checkpoint: str
    next: int
    leased: bool = True


@dataclass(frozen=True, slots=True)
class Advance:
    """One tenant's log grown from ``old_size``: the new head, and the tiles (level, position, hashes)
    that were filled or, above level 0, changed."""

    old_size: int
    head: LogHead
    tiles: Sequence[tuple[int, int, bytes]]


class LogStore(Protocol):
    """Storage of the trees. One suite in tests/conformance holds every adapter to it.

    What takes no scope is the sequencer's, which works for all tenants and shows nothing to any.
    """

    async def behind(self, holder: str, now: int, until: int, limit: int) -> list[Behind]:
        """Up to ``limit`` tenants whose journal is ahead, leased to ``holder`` until ``until``: those that
        were free, expired at ``now``, or held by it before; those that it leased longest ago come first."""
        ...

    async def behind_one(self, tenant_id: str, holder: str, now: int, until: int) -> Behind | None:
        """As ``behind`` for one tenant. None when its tree is up to date; not ``leased``, and unchanged, when
        another holder has the lease."""
        ...

    async def commitments(self, ranges: Sequence[tuple[str, int, int]]) -> dict[str, list[bytes]]:
        """The commitments of leaves ``start`` to ``end - 1`` of each (tenant, start, end), in order; a tenant
        is named once. One whose journal does not hold exactly these leaves is left out."""
        ...

    async def advance(self, holder: str, advances: Sequence[Advance]) -> set[str]:
        """Write heads and tiles in one transaction; return the tenants whose size was still ``old_size``
        (0 for a log that has no row yet, which ``holder`` then leases). For the others nothing is written:
        somebody else took their leaves in."""
        ...

    async def edges(self, logs: Sequence[tuple[str, int]]) -> dict[str, dict[int, bytes]]:
        """For each (tenant, size) the stored partial tiles above level 0 of its tree at that size, by level,
        cut to what they had then; those that are not stored, or too short, are left out."""
        ...

    async def release(self, holder: str) -> None:
        """Give up every lease of ``holder``: at a clean stop."""
        ...

    async def heads(self, after: str, limit: int) -> list[LogHead]:
        """The heads that have a checkpoint, of tenants beyond ``after``, in the tenants' order."""
        ...

    async def tiles_of(self, tenant_id: str, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """As ``tiles``, for the sequencer."""
        ...

    async def head(self, scope: TenantScope) -> LogHead | None:
        """None while the log has no checkpoint."""
        ...

    async def tiles(self, scope: TenantScope, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """Tiles by (level, position), as wide as they are now: at level 0, what has not been filled is
        hashed from the journal's commitments up to the head's size. Absent ones are left out."""
        ...
