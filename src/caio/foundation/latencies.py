"""Latencies in buckets: counts that add up, and percentiles within a stated error.

Theory of operation
-------------------
A latency is a whole number of milliseconds. Buckets grow by a twentieth: one that starts at ``x``
ends before ``x + x // 20 + 1``, so up to 19 ms a bucket is one number. Their edges are integers
computed once, alike on every machine. A percentile is the nearest rank's bucket, named by its
start: the exact one is never below it and at most a twentieth of it above. What is reported to be
over a bound therefore is; what is reported to be within it may be over by that twentieth.

Latencies are kept as a mapping of bucket to count, so that windows, hours and processes merge by
addition and a database can do the sum. More than a day counts as a day.

Laws (each has a test of the same name)
---------------------------------------
- a_percentile_is_within_a_twentieth: reported <= exact nearest rank <= reported * 21 / 20.
- merging_is_addition: associative, commutative, and the same as counting everything at once.
- every_latency_has_one_bucket: edges grow, and a bucket's start lies in the bucket.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping

#: The longest latency told apart, in milliseconds: a day.
LONGEST_MS = 86_400_000


def _edges() -> tuple[int, ...]:
    edges = [0]
    while edges[-1] < LONGEST_MS:
        edges.append(edges[-1] * 21 // 20 + 1)
    return tuple(edges[:-1])


_EDGES = _edges()


def bucket_of(latency_ms: int) -> int:
    """The bucket of a latency; raises ValueError for a negative one."""
    if latency_ms < 0:
        raise ValueError("a latency is not negative")
    return bisect_right(_EDGES, latency_ms) - 1


def start_of(bucket: int) -> int:
    """The smallest latency of a bucket, in milliseconds."""
    return _EDGES[bucket]


def merged(parts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """The counts of several mappings as one."""
    counts: dict[int, int] = {}
    for part in parts:
        for bucket, count in part.items():
            counts[bucket] = counts.get(bucket, 0) + count
    return counts


def percentile(counts: Mapping[int, int], percent: int) -> int | None:
    """The latency that ``percent`` of 100 do not exceed (nearest rank), rounded down to its bucket's
    start; None when nothing was counted. 100 gives the longest."""
    if not 0 < percent <= 100:
        raise ValueError("a percentile is above 0 and at most 100")
    beyond = sum(counts.values()) * (100 - percent) // 100  # as many may be longer
    for bucket in sorted(counts, reverse=True):
        beyond -= counts[bucket]
        if beyond < 0:
            return _EDGES[bucket]
    return None
