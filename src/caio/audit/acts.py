"""Acts: what people and programs did to an installation, other than to call services.

Theory of operation
-------------------
Publishing, creating and revoking keys, changing a tenant, reading other people's records, erasing:
each is a leaf of the tenant's journal, sealed and committed to like a decision. An act that changes
something is written in the transaction that changes it, so that neither is there without the other;
an act that only reads is written before what was read is given out.

Laws (each has a test of the same name)
---------------------------------------
- acts_open_to_their_records: like every leaf, and to nothing when they were changed.
- actions_belong_to_their_kind: an action's noun is one that its kind of leaf knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from caio.audit.ports import ActRow, Leaf, LeafKind
from caio.audit.record import RECORD_VERSION, SALT_BYTES, leaf_of
from caio.audit.sealing import Entropy, Sealer, TenantVault
from caio.foundation.canonical import canonical_json
from caio.foundation.scope import TenantScope

#: Who acts when nobody asked: the process itself, at start-up or by its calendar.
SYSTEM = "system"

_NOUNS: dict[str, LeafKind] = {
    "contract": LeafKind.PUBLICATION,
    "policy": LeafKind.PUBLICATION,
    "alias": LeafKind.PUBLICATION,
    "tenant": LeafKind.TENANT,
    "key": LeafKind.KEY,
    "member": LeafKind.MEMBER,
    "invitation": LeafKind.MEMBER,
    "webhook": LeafKind.WEBHOOK,
    "budget": LeafKind.BUDGET,
    "limits": LeafKind.BUDGET,
    "secret": LeafKind.SECRET,
    "audit": LeafKind.ACCESS,
    "retention": LeafKind.RETENTION,
    "hold": LeafKind.RETENTION,
    "content": LeafKind.ERASURE,
    "log": LeafKind.LOG,
    "workflow": LeafKind.WORKFLOW,
}


@dataclass(frozen=True, slots=True)
class Act:
    """``principal_id`` did ``action`` (``noun.verb``) to ``subject``; ``details`` is canonical JSON content
    and holds no secret. Raises ValueError for an action whose noun is not known."""

    action: str
    principal_id: str
    subject: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.action.partition(".")[0] not in _NOUNS:
            raise ValueError(f"{self.action!r} names no kind of act")

    @property
    def kind(self) -> LeafKind:
        return _NOUNS[self.action.partition(".")[0]]


@dataclass(frozen=True, slots=True)
class ActRecord:
    """An act as it is journalled, at ``recorded_at`` (microseconds since the epoch)."""

    tenant_id: str
    act_id: str
    recorded_at: int
    act: Act

    @property
    def kind(self) -> LeafKind:
        return self.act.kind

    @property
    def subject_id(self) -> str:
        return self.act_id

    def document(self) -> dict[str, Any]:
        return {
            "v": RECORD_VERSION,
            "kind": self.kind,
            "tenant": self.tenant_id,
            "act_id": self.act_id,
            "at": self.recorded_at,
            "action": self.act.action,
            "principal": self.act.principal_id,
            "subject": self.act.subject,
            "details": self.act.details,
        }

    def canonical(self) -> bytes:
        return canonical_json(self.document())

    def row(self) -> ActRow:
        return ActRow(
            self.act_id, self.kind, self.recorded_at, self.act.action, self.act.principal_id, self.act.subject
        )


class Acts:
    """Makes the leaves of acts. Who writes them decides in which transaction."""

    def __init__(
        self, vault: TenantVault, clock: Callable[[], int], new_id: Callable[[str], str], entropy: Entropy
    ) -> None:
        self._vault = vault
        self._clock = clock
        self._new_id = new_id
        self._entropy = entropy

    async def leaf(self, scope: TenantScope, act: Act, *, act_id: str | None = None) -> Leaf:
        """The sealed leaf of ``act``, made now and written by the caller. Raises as ``TenantVault.sealer`` does.

        ``act_id`` is given for what must be told once, whoever tells it.
        """
        return self.sealed(scope, act, await self._vault.sealer(scope), act_id=act_id)

    def sealed(self, scope: TenantScope, act: Act, sealer: Sealer, *, act_id: str | None = None) -> Leaf:
        """As ``leaf``, under a key that the vault does not hold yet: of a tenant that is being made."""
        record = ActRecord(scope.tenant_id, act_id or self._new_id("act"), self._clock(), act)
        return leaf_of(record, sealer, self._entropy(SALT_BYTES))
