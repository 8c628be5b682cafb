"""What a demonstration tells: steps, what each asked and got, and what had to hold. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from caio.audit.shapes import Outcome
from caio.foundation.errors import Reason
from caio.foundation.quantity import NANO

#: A certificate's scores and terms are integers of this unit.
SCALE = NANO


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that had to hold. ``found`` says what was found, and is shown when it did not."""

    claim: str
    holds: bool
    found: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A service that satisfied everything, as the receipt's certificate ranks it."""

    service: str
    score: float
    worst_cost: Decimal


@dataclass(frozen=True, slots=True)
class Act:
    """One request and all that is known of it afterwards.

    ``output`` is None for a refusal; ``outcome`` is what the receipt records of the call.
    """

    request: Mapping[str, Any]
    status: int
    decision_id: str
    output: Any
    answer: Mapping[str, Any]
    ranked: tuple[Candidate, ...]
    reasons: tuple[Reason, ...]
    outcome: Outcome | None
    seconds: float

    @property
    def answered_by(self) -> str | None:
        """The service whose answer was released."""
        return self.outcome.service if self.outcome and self.status < 300 else None

    @property
    def attempts(self) -> tuple[str, ...]:
        return tuple(each.service for each in self.outcome.attempts) if self.outcome else ()

    @property
    def charged(self) -> Decimal:
        return Decimal(self.outcome.charged) if self.outcome else Decimal(0)

    @property
    def first_violation(self) -> str | None:
        """The clause of the first promise that any of the attempts broke."""
        broken = [one for attempt in self.outcome.attempts for one in attempt.violations] if self.outcome else []
        return broken[0].clause if broken else None

    def document(self) -> dict[str, Any]:
        return {
            "request": dict(self.request),
            "status": self.status,
            "decision_id": self.decision_id,
            "service": self.answered_by,
            "attempts": list(self.attempts),
            "output": self.output,
            "ranked": [
                {"service": one.service, "score": one.score, "worst_cost": f"{one.worst_cost:f}"} for one in self.ranked
            ],
            "reasons": [asdict(reason) for reason in self.reasons],
            "charged": f"{self.charged:f}",
            "latency_ms": self.outcome.latency_ms if self.outcome else None,
            "violation": self.first_violation,
        }


@dataclass(slots=True)
class Step:
    """A chapter: what it shows, what was asked, what had to hold. Without a check nothing was shown."""

    name: str
    title: str
    acts: list[Act] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        return bool(self.checks) and all(check.holds for check in self.checks)

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "holds": self.holds,
            "seconds": round(self.seconds, 3),
            "checks": [asdict(check) for check in self.checks],
            "notes": self.notes,
            "acts": [act.document() for act in self.acts],
        }
