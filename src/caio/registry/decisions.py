"""Reading decisions back: what was decided, the evidence it stands on, and its receipt.

Everything comes out of the tenant's journal and the content-addressed inputs, never from the
state of today: a contract changed since does not change what its decision shows. A receipt shows
its place in the tenant's log, for which the log takes in what is durable when it is asked for one;
while another process has the log, the receipt comes without.

Law (a test of the same name)
- reading_anothers_decision_is_recorded: before it is given out; what was decided for oneself is one's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caio.audit.merkle import leaf_hash, verify_inclusion
from caio.audit.ports import DecisionRow, JournalStore, LeafKind, OutcomeRow
from caio.audit.reads import Reads
from caio.audit.receipt import PlaceInLog, issue_receipt
from caio.audit.record import OpenedLeaf, open_leaf
from caio.audit.sealing import TenantVault
from caio.audit.signing import Keyring
from caio.audit.trees import log_broken
from caio.foundation.errors import NotFound
from caio.foundation.scope import TenantScope
from caio.registry.audit_log import AuditLog
from caio.registry.ports import InputSnapshots, Publications, Published

_NO_SUCH_DECISION = "there is no decision with this id"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision's journal entry and, once the call has ended, its outcome's."""

    decision: OpenedLeaf
    outcome: OpenedLeaf | None


class Decisions:
    """A tenant's decisions, for its own principals. ``reader`` is the id of the one who looks."""

    def __init__(
        self,
        journal: JournalStore,
        vault: TenantVault,
        contracts: Publications,
        policies: Publications,
        snapshots: InputSnapshots,
        keyring: Keyring,
        log: AuditLog,
        reads: Reads,
    ) -> None:
        self._journal = journal
        self._vault = vault
        self._contracts = contracts
        self._policies = policies
        self._snapshots = snapshots
        self._keyring = keyring
        self._log = log
        self._reads = reads

    async def page(
        self, scope: TenantScope, before: tuple[int, str] | None, limit: int
    ) -> list[tuple[DecisionRow, OutcomeRow | None]]:
        """Newest first; ``before`` is the (time, id) of the last one seen."""
        return await self._journal.decisions(scope, before, limit)

    async def get(self, scope: TenantScope, decision_id: str, reader: str) -> Recorded:
        """Raises NotFound, for another tenant's decision as for one that never was, Erased when its
        content is gone, and what recording the read of another principal's decision raises."""
        stored = await self._journal.read(scope, LeafKind.DECISION, decision_id)
        if stored is None:
            raise NotFound(_NO_SUCH_DECISION)
        sealer = await self._vault.sealer(scope)
        outcome = await self._journal.read(scope, LeafKind.OUTCOME, decision_id)
        found = Recorded(open_leaf(stored, sealer), None if outcome is None else open_leaf(outcome, sealer))
        if found.decision.document["principal"] != reader:
            await self._reads.record(scope, reader, "audit.read", "decision", {"decision": decision_id})
        return found

    async def receipt(self, scope: TenantScope, decision_id: str, reader: str, now: int) -> dict[str, Any]:
        """The decision's receipt, signed now with the active key. Raises what ``get`` does, and SealBroken
        ``log_broken`` when the log holds another entry in its place."""
        recorded = await self.get(scope, decision_id, reader)
        place = await self._place(scope, recorded)
        return issue_receipt(self._keyring.active, recorded.decision, recorded.outcome, now, place)

    async def evidence(self, scope: TenantScope, recorded: Recorded) -> dict[str, Any]:
        """What the certificate's hashes stand for: with it, the decision can be recomputed."""
        document = recorded.decision.document
        certificate = document["certificate"]
        services = await self._manifest(scope, certificate["services"])
        policies = await self._manifest(scope, certificate["policies"])
        contracts = await self._contracts.by_digest(scope, [row[2] for row in services])
        return {
            "request": document["request"],
            "principal": document["principal_document"],
            "services": [_service(contracts, row) for row in services],
            "policies": await self._policy_documents(scope, policies),
            "history": json.loads(await self._snapshots.fetch(scope, certificate["history"])),
        }

    async def _place(self, scope: TenantScope, recorded: Recorded) -> PlaceInLog | None:
        """Where the log holds the entries: both, or the decision alone, or not yet."""
        leaves = [recorded.decision] if recorded.outcome is None else [recorded.decision, recorded.outcome]
        found = await self._log.inclusion(scope, [leaf.seq for leaf in leaves], fresh=True)
        if found is None and len(leaves) > 1:
            leaves = leaves[:1]
            found = await self._log.inclusion(scope, [leaf.seq for leaf in leaves])
        if found is None:
            return None
        for leaf, proof in zip(leaves, found.proofs, strict=True):
            entry = leaf_hash(leaf.commitment.value)
            if not verify_inclusion(entry, leaf.seq, found.head.size, proof, found.head.root):
                raise log_broken(scope.tenant_id, f"entry {leaf.seq} is not what the journal has there")
        return PlaceInLog(found.checkpoint, *found.proofs)

    async def _policy_documents(self, scope: TenantScope, manifest: Sequence[Sequence[Any]]) -> list[Mapping[str, Any]]:
        stored = await self._policies.by_digest(scope, [row[2] for row in manifest])
        documents = []
        for _, _, digest in manifest:
            if digest in stored:
                documents.append(stored[digest].publication.document)
            else:  # it came with the request and was kept by its hash alone
                documents.append(json.loads(await self._snapshots.fetch(scope, digest)))
        return documents

    async def _manifest(self, scope: TenantScope, digest: str) -> list[list[Any]]:
        manifest: list[list[Any]] = json.loads(await self._snapshots.fetch(scope, digest))
        return manifest


def _service(contracts: Mapping[str, Published], row: Sequence[Any]) -> dict[str, Any]:
    found = contracts[row[2]]
    return {"tenant": found.tenant_id, "contract": found.publication.document}
