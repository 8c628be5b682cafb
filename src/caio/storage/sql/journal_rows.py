"""A batch of leaves as rows for each table, in the order of the columns named here.

Both journals write the same rows; only the statements differ. The answer kept for an idempotency
key fills in the claim that its own decision still holds: a claim that was given up, or that
another call took over after its life, is left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from caio.audit.ports import ActRow, DecisionRow, Leaf, LeafKind, OutcomeRow
from caio.foundation.errors import Conflict
from caio.registry.observed import hour_of, measures_of

Row = tuple[Any, ...]

_KINDS = {kind: kind.value for kind in LeafKind}  # an enum's ``value`` costs ten look-ups


@dataclass(slots=True)
class Batch:
    """Rows to be written in one transaction. ``journal`` rows lack their seq, which the store gives."""

    counts: list[tuple[str, int]]  # leaves per tenant, by tenant: locks are taken in this order
    journal: list[Row] = field(default_factory=list)  # tenant, kind, subject, recorded at, commitment, sealed
    decisions: list[Row] = field(default_factory=list)
    outcomes: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)
    observed: Counter[Row] = field(default_factory=Counter)  # by tenant, service, version, hour, measure, bucket
    answers: list[Row] = field(default_factory=list)  # tenant, key, decision, sealed
    acts: list[Row] = field(default_factory=list)

    def counted(self) -> list[Row]:
        """The rows that ``observed`` is raised by, each place once."""
        return [(*place, calls) for place, calls in self.observed.items()]


def batch_of(leaves: Sequence[Leaf]) -> Batch:
    """The rows of ``leaves``, each table's in the leaves' order."""
    batch = Batch(sorted(Counter([leaf.tenant_id for leaf in leaves]).items()))
    for leaf in leaves:
        tenant = leaf.tenant_id
        batch.journal.append(
            (tenant, _KINDS[leaf.kind], leaf.subject_id, leaf.recorded_at, leaf.commitment, leaf.sealed)
        )
        if isinstance(leaf.projection, DecisionRow):
            batch.decisions.append(_decision(tenant, leaf.projection))
        elif isinstance(leaf.projection, OutcomeRow):
            _add_outcome(batch, tenant, leaf.projection)
        elif isinstance(leaf.projection, ActRow):
            batch.acts.append(_act(tenant, leaf.projection))
        if (kept := leaf.kept_answer) is not None:
            batch.answers.append((tenant, kept.idempotency_key, kept.decision_id, kept.sealed))
    return batch


def seqs_of(tenants: Sequence[str], next_after: Mapping[str, int]) -> list[int]:
    """The seq of each leaf, by its tenant, when the tenants' heads stand at ``next_after`` behind them all."""
    upcoming = {tenant: next_after[tenant] - count for tenant, count in Counter(tenants).items()}
    seqs = []
    for tenant in tenants:
        seqs.append(upcoming[tenant])
        upcoming[tenant] += 1
    return seqs


def leaf_exists() -> Conflict:
    return Conflict("A leaf of this kind is already recorded for this decision.", code="leaf_exists")


def leaf_orphaned() -> Conflict:
    return Conflict("The leaf belongs to a tenant or decision that is not recorded.", code="leaf_orphaned")


def _act(tenant: str, row: ActRow) -> Row:
    return (tenant, row.act_id, row.kind.value, row.recorded_at, row.action, row.principal_id, row.subject)


def _decision(tenant: str, row: DecisionRow) -> Row:
    return (
        tenant,
        row.decision_id,
        row.decided_at,
        row.mode.value,
        row.capability,
        row.service_id,
        row.service_version,
        row.principal_id,
        row.decision_hash,
        row.admitted,
        row.reserved,
        row.most_cost,
        row.most_tokens,
        row.most_compute_ms,
    )


def _add_outcome(batch: Batch, tenant: str, row: OutcomeRow) -> None:
    batch.outcomes.append(
        (
            tenant,
            row.decision_id,
            row.finished_at,
            row.status.value,
            row.service_id,
            row.latency_ms,
            row.input_tokens,
            row.output_tokens,
            row.charged,
        )
    )
    for position, attempt in enumerate(row.attempts):
        batch.attempts.append(
            (
                tenant,
                row.decision_id,
                position,
                row.finished_at,
                attempt.service_id,
                attempt.succeeded,
                attempt.latency_ms,
                attempt.version,
                attempt.streamed,
                " ".join(attempt.breached),
            )
        )
        for measure, bucket in measures_of(attempt):
            place = (tenant, attempt.service_id, attempt.version, hour_of(row.finished_at), measure, bucket)
            batch.observed[place] += 1
