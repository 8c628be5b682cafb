"""The questions of a decision, numbered in the order in which they are asked.

A service's verdict is the number of the first question it fails, 0 for none. The numbering depends
on the request and the number of policies alone (``docs/reference/routing-rules.md``), so that two
bytes a service say why each was excluded, and the words follow from its contract.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

from caio.routing.model import Request

MAX_QUESTIONS = 2**16 - 1

#: The kinds of questions in their order, with the clause that each belongs to.
KINDS = {
    "services": "service",
    "excluded_services": "service",
    "capability": "capability",
    "protocol": "protocol",
    "feature": "feature",
    "context_length": "context_length",
    "max_tokens": "max_tokens",
    "input_size": "input_size",
    "guarantee": "guarantee",
    "currency": "currency",
    "cost": "cost",
    "rules": "policy",
    "visibility": "visibility",
    "all_of": "permission",
    "any_of": "permission",
    "trust": "trust",
    "locality": "locality",
    "residency": "residency",
    "restricted": "sensitivity",
    "encrypted": "sensitivity",
    "training": "training",
    "retention": "retention",
    "compliance": "compliance",
    "egress": "egress",
}
_NAMES = tuple(KINDS)
_PLACE = {name: place for place, name in enumerate(_NAMES)}


class TooManyQuestions(ValueError):
    """A request of so many capabilities, features and policies that its verdicts have no number."""


@dataclass(frozen=True, slots=True)
class Questions:
    """``starts[k]`` is the first number of the k-th kind; the last entry ends the last kind."""

    starts: tuple[int, ...]

    @classmethod
    def of(cls, request: Request, features: int, bounds: int, policies: int) -> Self:
        """``features`` and ``bounds`` count those needed and as evaluated. Raises TooManyQuestions."""
        wanted = len(request.capabilities)
        sizes = (
            *(1, 1, 1, wanted, 1, wanted * features, wanted, wanted, wanted, bounds, 1, 1, 2 * policies),
            *(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, len(request.compliance), 1),
        )
        starts = tuple(accumulate(sizes))  # the first question has the number 1
        if starts[-1] - 1 > MAX_QUESTIONS:
            raise TooManyQuestions(f"the request and its policies ask {starts[-1] - 1} questions of a service")
        return cls(starts)

    def __getitem__(self, kind: str) -> int:
        """The number of the first question of ``kind``."""
        return self.starts[_PLACE[kind]]

    def place(self, verdict: int) -> tuple[str, int]:
        """The kind of question ``verdict``, and its place among those of its kind, from 0."""
        kind = bisect_right(self.starts, verdict) - 1
        # A kind may have no questions: of equal starts the last one owns the number.
        return _NAMES[kind], verdict - self.starts[kind]
