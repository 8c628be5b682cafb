"""What every sound selection satisfies, as sums; and the bound on its score that any prices give.

Theory of operation
-------------------
``Sums`` restates the limits as inequalities that add up over the stages: prices and errors as they
are, times once for each path, availabilities as logarithms rounded to the safe side. For a
percentile each candidate uses one of its statistics: the statistics' times add up along each path,
and their risks over all stages.

Put a price on each inequality, any number that is not negative. What a candidate scores less what it
uses at these prices is its *worth*, and no sound selection scores more than the worth of its
candidates and the price of everything there is to use (Lagrange's bound). It holds for any prices:
they may come from floating point, since the bound is then computed in integers. Good prices, the
duals of the linear relaxation, make it close.

Laws (each has a test of the same name)
---------------------------------------
- no_prices_exclude_a_sound_selection.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log
from typing import NamedTuple

from caio.foundation.quantity import NANO
from caio.routing.plans.composition import RISKS
from caio.routing.plans.problem import Candidate, Problem, Selection
from caio.routing.plans.search import Guide

_LATENCY = "latency_ms."
#: Logarithms in units of 2^-40: their floating-point error is far below one unit, which is added.
_LOG_UNITS = 2**40


class Row(NamedTuple):
    """``Σ uses <= most`` over the candidates of a sound selection; ``uses`` by stage and place."""

    uses: tuple[tuple[int, ...], ...]
    most: int


class Percentile(NamedTuple):
    """One statistic (risk, time) is used of each candidate; risks add up over all stages to at most
    ``risk``, times along each path to at most ``most``."""

    options: tuple[tuple[tuple[tuple[int, int], ...], ...], ...]
    paths: tuple[tuple[int, ...], ...]
    risk: int
    most: int


class Sums(NamedTuple):
    rows: tuple[Row, ...]
    percentiles: tuple[Percentile, ...]


class Prices(NamedTuple):
    """A price for each row; for each percentile, one of its risk and one of the time of each path.
    Integers, of ``scale`` to a unit of score; a scale of 0 asks for soundness alone."""

    scale: int
    rows: Sequence[int]
    percentiles: Sequence[tuple[int, Sequence[int]]]


def sums(problem: Problem) -> Sums:
    """Of a reduced problem with candidates in every stage: what a sound selection uses is declared."""
    rows: list[Row] = []
    percentiles: list[Percentile] = []
    for bound, limit in problem.limits:
        if bound == "latency_ms.max":
            rows += [_path_row(problem, path, limit) for path in problem.composition.paths]
        elif bound.startswith(_LATENCY):
            percentiles.append(_percentile(problem, RISKS[bound.removeprefix(_LATENCY)], limit))
        elif bound in ("cost.max", "error_rate.max"):
            rows.append(_row([[each.offers[bound] for each in stage] for stage in problem.stages], limit))
        elif bound == "accuracy.min":
            lost = [[NANO - each.offers[bound] for each in stage] for stage in problem.stages]
            rows.append(_row(lost, NANO - limit))
        elif bound == "availability.min" and limit > 0:
            lost = [[_log_loss(each.offers[bound]) for each in stage] for stage in problem.stages]
            rows.append(_row(lost, ceil(-log(limit / NANO) * _LOG_UNITS) + 1))
    return Sums(tuple(rows), tuple(percentiles))


def guide(problem: Problem, found: Sums, prices: Prices, start: Selection | None) -> Guide:
    """The bound that ``prices`` give; they must not be negative."""
    constant = sum(price * row.most for price, row in zip(prices.rows, found.rows, strict=True))
    for (risk_price, time_prices), each in zip(prices.percentiles, found.percentiles, strict=True):
        constant += risk_price * each.risk + sum(time_prices) * each.most
    worth = [
        [prices.scale * each.score - _used(found, prices, stage, place) for place, each in enumerate(candidates)]
        for stage, candidates in enumerate(problem.stages)
    ]
    return Guide(prices.scale, constant, worth, start)


def _used(found: Sums, prices: Prices, stage: int, place: int) -> int:
    """What a candidate costs at these prices, using its statistics as cheaply as it can."""
    total = sum(price * row.uses[stage][place] for price, row in zip(prices.rows, found.rows, strict=True))
    for (risk_price, time_prices), each in zip(prices.percentiles, found.percentiles, strict=True):
        time_price = sum(price for price, path in zip(time_prices, each.paths, strict=True) if stage in path)
        total += min(risk_price * risk + time_price * time for risk, time in each.options[stage][place])
    return total


def _row(uses: Sequence[Sequence[int]], most: int) -> Row:
    return Row(tuple(tuple(row) for row in uses), most)


def _path_row(problem: Problem, path: Sequence[int], most: int) -> Row:
    times = [
        [each.offers["latency_ms.max"] if stage in path else 0 for each in candidates]
        for stage, candidates in enumerate(problem.stages)
    ]
    return _row(times, most)


def _percentile(problem: Problem, risk: int, most: int) -> Percentile:
    options = tuple(tuple(_options(each, risk) for each in stage) for stage in problem.stages)
    return Percentile(options, problem.composition.paths, risk, most)


def _options(candidate: Candidate, risk: int) -> tuple[tuple[int, int], ...]:
    """The statistics that may be used, without those that a statistic of less risk is as short as."""
    offers, kept = candidate.offers, list[tuple[int, int]]()
    for name, own in sorted(RISKS.items(), key=lambda item: item[1]):
        time = offers.get(_LATENCY + name)
        if own <= risk and time is not None and all(time < other for _, other in kept):
            kept.append((own, time))
    return tuple(kept)


def _log_loss(availability: int) -> int:
    return floor(-log(availability / NANO) * _LOG_UNITS) - 1
