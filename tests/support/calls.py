"""Random calls of a tenant as they are journalled, and what usage they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from caio.audit.ports import Leaf, Mode, Status
from caio.audit.record import AttemptRecord, Breach, DecisionRecord, OutcomeRecord, leaf_of
from caio.audit.sealing import Sealer
from caio.foundation.errors import UpstreamFault
from caio.foundation.money import Usage
from caio.foundation.scope import TenantScope
from caio.metering.usage import DAY, Place, Sums
from tests.audit_samples import NOW, decision_record, outcome_record


@dataclass(frozen=True)
class CallMade:
    """A decision with the outcome that followed it, if any did."""

    decision: DecisionRecord
    outcome: OutcomeRecord | None


def random_call(rng: Random, scope: TenantScope, name: str) -> CallMade:
    """A call of one of few principals, services and capabilities, within some days of NOW; one in ten has
    no outcome, one in ten was only decided."""
    decided_at = NOW + rng.randrange(3 * DAY)
    admitted = rng.random() > 0.1
    decision = decision_record(
        tenant_id=scope.tenant_id,
        decision_id=name,
        decided_at=decided_at,
        mode=Mode.ORCHESTRATE if admitted else Mode.ROUTE,
        admitted=admitted,
        capability=rng.choice(("chat", "text.answer")),
        principal_id=rng.choice(("key_a", "key_b", "key_c")),
        service_id=rng.choice(("swift", "careful")),
    )
    if not admitted or rng.random() < 0.1:
        return CallMade(decision, None)
    outcome = outcome_record(
        tenant_id=scope.tenant_id,
        decision_id=name,
        finished_at=decided_at + rng.choice((1, 1_000_000, 600_000_000)),
        status=rng.choice(tuple(Status)),
        service_id=rng.choice((decision.service_id, "cloud")),
        latency_ms=rng.randrange(1000),
        attempts=tuple(_attempt(rng) for _ in range(rng.randrange(3))),
        usage=Usage(rng.randrange(100), rng.randrange(100), rng.randrange(1000)),
        charged=rng.randrange(10**9),
    )
    return CallMade(decision, outcome)


def _attempt(rng: Random) -> AttemptRecord:
    breaches = tuple(Breach(clause, "1", "2") for clause in ("cost.max", "output_schema")[: rng.randrange(3)])
    fault = None if breaches or rng.random() < 0.5 else UpstreamFault.TIMEOUT
    return AttemptRecord("swift", "1.0.0", 5, fault, breaches=breaches, streamed=rng.random() < 0.3)


def leaves_of(calls: Sequence[CallMade], sealer: Sealer) -> list[Leaf]:
    """The calls' leaves, each call's decision directly before its outcome."""
    records = [record for call in calls for record in (call.decision, call.outcome) if record is not None]
    return [leaf_of(record, sealer, os.urandom(32)) for record in records]


def usage_of(calls: Sequence[CallMade]) -> dict[Place, Sums]:
    """The truth, counted in the slow and obvious way."""
    found: dict[Place, list[int]] = {}
    for call in calls:
        if (outcome := call.outcome) is None:
            continue
        decision = call.decision
        place = Place(outcome.finished_at // DAY, decision.principal_id, outcome.service_id, decision.capability)
        sums = found.setdefault(place, [0] * 7)
        sums[0] += 1
        sums[1] += outcome.status in ("failed", "cancelled", "rejected", "interrupted")
        sums[2] += outcome.usage.input_tokens
        sums[3] += outcome.usage.output_tokens
        sums[4] += outcome.latency_ms
        sums[5] += outcome.charged
        for attempt in outcome.attempts:
            sums[6] += len(attempt.breaches)
    return {place: Sums(*sums) for place, sums in found.items()}
