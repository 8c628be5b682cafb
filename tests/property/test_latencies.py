"""Latency buckets against sorting everything."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.foundation.latencies import LONGEST_MS, bucket_of, merged, percentile, start_of

# Latencies near a bucket's edge are where counting goes wrong.
edges = st.integers(0, bucket_of(LONGEST_MS)).map(start_of)
latencies = st.one_of(st.integers(0, 60), edges, edges.map(lambda edge: max(edge - 1, 0)), st.integers(0, LONGEST_MS))
counts = st.lists(latencies, max_size=40).map(lambda seen: dict(Counter(map(bucket_of, seen))))


@given(st.lists(latencies, min_size=1, max_size=60), st.integers(1, 100))
def test_a_percentile_is_within_a_twentieth(seen, percent):
    exact = sorted(seen)[-(-percent * len(seen) // 100) - 1]
    reported = percentile(Counter(map(bucket_of, seen)), percent)
    assert reported is not None
    assert reported <= exact
    assert exact * 20 <= reported * 21


@given(counts, counts, counts)
def test_merging_is_addition(a, b, c):
    assert merged([merged([a, b]), c]) == merged([a, merged([b, c])]) == merged([c, a, b])
    assert merged([a]) == merged([a, {}]) == a
    assert sum(merged([a, b]).values()) == sum(a.values()) + sum(b.values())


@given(st.lists(latencies, max_size=40), st.integers(0, 40))
def test_parts_add_up_to_the_whole(seen, cut):
    buckets = [bucket_of(each) for each in seen]
    assert merged([Counter(buckets[:cut]), Counter(buckets[cut:])]) == Counter(buckets)


def test_every_latency_has_one_bucket():
    last = bucket_of(LONGEST_MS)
    starts = [start_of(bucket) for bucket in range(last + 1)]
    assert starts == sorted(set(starts))
    assert starts[:21] == list(range(21))
    assert last < 400
    for bucket, start in enumerate(starts):
        assert bucket_of(start) == bucket
        assert bucket == 0 or bucket_of(start - 1) == bucket - 1
    assert bucket_of(LONGEST_MS * 9) == last


@given(latencies)
def test_a_latency_lies_in_its_bucket(latency):
    assert start_of(bucket_of(latency)) <= latency


def test_nothing_counted_has_no_percentile():
    assert percentile({}, 95) is None
    assert percentile({3: 1}, 100) == 3
    with pytest.raises(ValueError, match="not negative"):
        bucket_of(-1)
    with pytest.raises(ValueError, match="at most 100"):
        percentile({3: 100}, 101)
