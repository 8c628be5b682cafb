"""Histograms: how close their values are, and that coarse bounds count exactly."""

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.observability.histograms import Histogram, since


@given(st.floats(1e-4, 800.0, exclude_min=True))
def test_a_value_is_known_to_an_eighth(value):
    histogram = Histogram(-4)
    histogram.add(value)
    (cell,) = [number for number, count in enumerate(histogram.cells) if count]
    assert abs(histogram.told(cell) - value) <= 0.125 * value + 1e-15


@given(st.lists(st.floats(0, 10_000), max_size=50))
def test_coarse_bounds_are_exact(values):
    histogram = Histogram(-4)
    for value in values:
        histogram.add(value)
    told = histogram.at_most()
    assert [bound for bound, _ in told][-1] == "+Inf"
    for bound, count in told:
        assert count == sum(value <= float(bound) for value in values)
    assert histogram.total == pytest.approx(sum(values))


def test_no_more_cells_than_cloudwatch_takes():
    assert len(Histogram(-6).cells) <= 100


def test_bounds_are_told_as_people_write_them():
    bounds = [bound for bound, _ in Histogram(-4).at_most()]
    assert {"0.001", "0.025", "0.5", "1.0", "250.0"} <= set(bounds)
    assert len(bounds) == 22


def test_what_lies_beyond_is_counted():
    histogram = Histogram(-4)
    histogram.add(0.0)
    histogram.add(5000.0)
    assert histogram.cells[0] == histogram.cells[-1] == 1
    assert histogram.told(len(histogram.cells) - 1) == 800.0
    assert bisect_left(histogram.bounds, 800.0) == len(histogram.bounds) - 1


def test_since_is_what_came_after():
    assert since([3, 5, 0], [1, 5, 0]) == [2, 0, 0]
