"""What a certificate commits to, as bytes: every service's verdict, and the feasible ones' scores.

The forms are fixed in ``docs/reference/routing-rules.md``: big-endian integers in the services'
order, two bytes a verdict, eight a score and eight a price.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import pack
from typing import Any

import numpy as np

from caio.foundation.hashing import FEASIBLE, VERDICTS, digest
from caio.routing.certificate import CLAUSES
from caio.routing.columns import Values
from caio.routing.questions import KINDS, Questions
from caio.routing.sieve import VerdictColumn, Verdicts


def verdicts_hash(verdicts: Verdicts) -> str:
    written = pack(f">{len(verdicts)}H", *verdicts) if isinstance(verdicts, list) else verdicts.astype(">u2").tobytes()
    return digest(VERDICTS, written)


def feasible_hash(scores: Values, prices: Values) -> str:
    if isinstance(scores, list) and isinstance(prices, list):
        numbers = scores + prices  # of the right length
        numbers[::2], numbers[1::2] = scores, prices
        return digest(FEASIBLE, pack(f">{len(numbers)}q", *numbers))
    rows = np.empty((len(scores), 2), ">i8")
    rows[:, 0], rows[:, 1] = scores, prices
    return digest(FEASIBLE, rows.tobytes())


def excluded_counts(verdicts: VerdictColumn, asked: Questions) -> list[dict[str, Any]]:
    """How many services each clause excluded, in the clauses' order, without those that excluded none."""
    by_question = np.bincount(verdicts, minlength=asked.starts[-1]).tolist()
    counts = dict.fromkeys(CLAUSES, 0)
    for kind, start, end in zip(KINDS, asked.starts, asked.starts[1:], strict=False):
        if kind == "rules":
            counts["policy_error"] = sum(by_question[start:end:2])
            counts["policy"] = sum(by_question[start + 1 : end : 2])
        else:
            counts[KINDS[kind]] += sum(by_question[start:end])
    return [{"clause": clause, "count": count} for clause, count in counts.items() if count]


def counts_of(failing: Iterable[tuple[int, int]], asked: Questions) -> list[dict[str, Any]]:
    """The same of questions with how many services failed each first, which are few."""
    counts: dict[str, int] = {}
    for question, count in failing:
        kind, place = asked.place(question)
        clause = KINDS[kind] if kind != "rules" or place % 2 else "policy_error"
        counts[clause] = counts.get(clause, 0) + count
    return [{"clause": clause, "count": counts[clause]} for clause in CLAUSES if clause in counts]
