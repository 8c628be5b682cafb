"""The exact search for the best sound selection: depth first, in rank order, in integers alone.

Theory of operation
-------------------
Stages are decided one after the other, each trying its candidates in rank order. What is decided,
completed with the ideal offers of what is not, must be sound; and its score, completed with the best
scores left, must beat the best selection found. Both are optimistic, so nothing sound and better is
ever passed over, and because selections are met in the order of their ranks, the first of equal
scores is the one that the rules want.

A ``Guide`` (from ``relaxation``) makes the search short where limits trade against scores: a selection
to start from, and a *worth* for every candidate from which a second bound on the score follows. It
is no authority: the bound is an identity in integers whatever the worths, and the selection is tried
like any other. Without one the search is quick for a few stages, or limits that do not bind.

Laws (each has a test of the same name)
---------------------------------------
- the_search_finds_what_trying_everything_finds: with any guide and without.
- a_search_that_is_too_long_says_so: it ends in TooManySelections, never in a selection that may
  not be the best.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from caio.routing.plans.composition import Offers
from caio.routing.plans.problem import Problem, Selection

#: Candidates looked at before the search gives up: seconds, tens of them where percentiles meet many paths.
MOST_STEPS = 200_000


class TooManySelections(Exception):
    """The search would take too long to be sure of the best selection."""


@dataclass(frozen=True, slots=True)
class Guide:
    """For every sound selection, ``scale · score <= constant + Σ worth`` of its candidates.

    ``worth`` has the places of the problem's candidates. ``start`` may be any selection, by rank.
    """

    scale: int
    constant: int
    worth: Sequence[Sequence[int]]
    start: Selection | None = None


def best_selection(problem: Problem, guide: Guide | None = None, most_steps: int = MOST_STEPS) -> Selection | None:
    """The sound selection of the highest score, of equals the smallest; None when there is none.

    ``problem`` is best given ``reduced()``; a guide must be of that same problem. Raises
    TooManySelections after looking at ``most_steps`` candidates.
    """
    if not all(problem.stages):
        return None
    search = _Search(problem, guide, most_steps)
    search.descend(0, (), [], 0, 0)
    return search.best


class _Search:
    def __init__(self, problem: Problem, guide: Guide | None, most_steps: int) -> None:
        self._problem, self._left = problem, most_steps
        self._guide = guide or Guide(0, 0, [[0] * len(stage) for stage in problem.stages])
        self._ideals = problem.ideals()
        self._scores_left = _suffix_sums(max(each.score for each in stage) for stage in problem.stages)
        self._worth_left = _suffix_sums(max(row) for row in self._guide.worth)
        self.best: Selection | None = None
        self._score = 0
        if self._guide.start is not None:
            self._try(self._guide.start)

    def _try(self, selection: Selection) -> None:
        by_rank = [{each.rank: each for each in stage} for stage in self._problem.stages]
        chosen = [ranks.get(rank) for ranks, rank in zip(by_rank, selection, strict=True)]
        found = [each for each in chosen if each is not None]
        if len(found) == len(chosen) and self._problem.is_sound([each.offers for each in found]):
            self.best, self._score = selection, sum(each.score for each in found)

    def descend(self, depth: int, taken: Selection, offers: list[Offers], score: int, worth: int) -> None:
        """Try every candidate of the stage at ``depth`` after ``taken``, whose offers, scores and worths
        are given in sum."""
        if depth == len(self._problem.stages):
            self.best, self._score = taken, score
            return
        later = self._ideals[depth + 1 :]
        for each, own in zip(self._problem.stages[depth], self._guide.worth[depth], strict=True):
            self._left -= 1
            if self._left < 0:
                raise TooManySelections
            now = (*taken, each.rank)
            if self._is_beaten(score + each.score + self._scores_left[depth + 1], now):
                return  # no later candidate scores more
            reached = self._guide.constant + worth + own + self._worth_left[depth + 1]
            if self._is_worthless(reached, now):
                continue
            if self._problem.is_sound([*offers, each.offers, *later]):
                self.descend(depth + 1, now, [*offers, each.offers], score + each.score, worth + own)

    def _is_beaten(self, most: int, taken: Selection) -> bool:
        """Whether no selection that begins with ``taken`` and scores ``most`` comes before the best."""
        if self.best is None or most > self._score:
            return False
        return most < self._score or taken > self.best[: len(taken)]

    def _is_worthless(self, reached: int, taken: Selection) -> bool:
        """The same, for the score that the guide leaves possible."""
        needed = self._guide.scale * self._score
        if self.best is None or reached < needed:
            return reached < 0 if self.best is None else True
        return self._guide.scale > 0 and reached // self._guide.scale == self._score and taken > self.best[: len(taken)]


def _suffix_sums(values: Iterable[int]) -> list[int]:
    """From each place to the end, and 0 after it."""
    return list(accumulate(reversed(list(values)), initial=0))[::-1]
