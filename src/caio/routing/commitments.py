"""What a certificate commits to, as bytes: every service's verdict, and the feasible ones' scores.

The forms are fixed in ``docs/reference/routing-rules.md``: big-endian integers in the services'
order, two bytes a verdict, eight a score and eight a price.
"""

from __future__ import annotations

from itertools import chain
from struct import pack
from typing import Any

import numpy as np

from caio.foundation.hashing import FEASIBLE, VERDICTS, digest
from caio.routing.certificate import CLAUSES
from caio.routing.columns import Values
from caio.routing.questions import KINDS, Questions
from caio.routing.sieve import Verdicts


def verdicts_hash(verdicts: Verdicts) -> str:
    return digest(VERDICTS, verdicts.astype(">u2").tobytes())


def feasible_hash(scores: Values, prices: Values) -> str:
    if isinstance(scores, list) and isinstance(prices, list):
        return digest(FEASIBLE, pack(f">{2 * len(scores)}q", *chain.from_iterable(zip(scores, prices, strict=True))))
    rows = np.empty((len(scores), 2), ">i8")
    rows[:, 0], rows[:, 1] = scores, prices
    return digest(FEASIBLE, rows.tobytes())


def excluded_counts(verdicts: Verdicts, asked: Questions) -> list[dict[str, Any]]:
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
