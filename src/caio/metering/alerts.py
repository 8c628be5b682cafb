"""Which thresholds of a budget a sum has reached, and the identity of telling so. Pure.

Theory of operation
-------------------
A threshold is a percentage of a budget in a period. It is reached when what was charged is at least that part of
it, in exact integers. Telling of it has an identity that everybody computes alike, from tenant, period, budget and
threshold: whoever writes first tells, and everybody else finds it told. A budget that is changed is another one,
whose thresholds are told anew.

Laws (each has a test of the same name)
---------------------------------------
- thresholds_between_two_sums_are_passed_once: whatever the steps in which the sum grew.
- a_threshold_is_reached_exactly: not a nano-unit earlier.
- an_identity_is_of_one_threshold: of one budget, period and tenant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from caio.foundation.canonical import canonical_json
from caio.foundation.ids import ENTROPY_BYTES, ulid


def reached(budget: int, thresholds: Sequence[int], charged: int) -> tuple[int, ...]:
    """The ``thresholds`` (percent) that ``charged`` has reached, ascending. Nothing is reached by nothing."""
    return tuple(sorted(each for each in set(thresholds) if charged > 0 and charged * 100 >= budget * each))


def passed(budget: int, thresholds: Sequence[int], before: int, after: int) -> tuple[int, ...]:
    """Those that were not reached at ``before`` and are at ``after``."""
    behind = reached(budget, thresholds, before)
    return tuple(each for each in reached(budget, thresholds, after) if each not in behind)


def alert_id(tenant_id: str, period: str, starts_at: int, budget: int, threshold: int) -> str:
    """The id of the act that tells of this threshold: the same whoever makes it."""
    identity = canonical_json(["caio/budget-alert/v1", tenant_id, period, budget, threshold])
    return ulid("act", starts_at, hashlib.sha256(identity).digest()[:ENTROPY_BYTES])
