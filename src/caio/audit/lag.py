"""How far the trees are behind their journals, in seconds.

Theory of operation
-------------------
A look says how far each log's journal reaches. Each such mark (how many leaves were durable, since when that
is known) stays until the tree has come as far; the oldest that stays is how old a leaf may be that is not yet
taken in. What became durable after the last look is not known: time since then counts too.

A look shows at most so many logs, those first that were shown longest ago. When one is shown again that was
shown in this round, the round has shown them all.

A log far behind gets marks no closer than a second, nor an eighth of its oldest's age: few, however long it
stays behind, and the answer is too large by no more than that. Pure: times are seconds on the caller's clock.

Laws (each has a test of the same name)
---------------------------------------
- lag_is_the_age_of_the_oldest_leaf_not_taken_in: however much waits behind it.
- lag_counts_from_the_last_look: nothing is known of what came since.
- logs_shown_by_turns_do_not_lag: one that is shown every so often is as current as its turn.
- what_is_no_longer_shown_does_not_lag: others have taken it in, or have it to take in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from caio.audit.ports import Behind

_CLOSEST_SECONDS = 1.0
_CLOSEST_PART = 8

#: How many leaves were durable, and since when that is known.
_Mark = tuple[int, float]


class Lag:
    """What looks have shown. It begins with nothing known to wait at ``now``."""

    def __init__(self, now: float) -> None:
        self._marks: dict[str, deque[_Mark]] = {}
        self._round: set[str] = set()
        self._round_began = self._known_at = now

    def shown(self, now: float, behind: Collection[Behind], *, all_of_them: bool) -> None:
        """A look that began at ``now`` has shown these logs to be behind, and whether there are others."""
        names = {each.tenant_id for each in behind}
        for each in behind:
            self._mark(each, now)
        if not self._round:
            self._round_began = now
        again = not self._round.isdisjoint(names)
        self._round |= names
        if all_of_them or again:
            self._known_at = now if all_of_them else self._round_began
            kept = names if all_of_them else self._round
            self._marks = {name: marks for name, marks in self._marks.items() if name in kept}
            self._round, self._round_began = set() if all_of_them else names, now

    def reached(self, tenant_id: str, size: int) -> None:
        """The tree of this log now holds ``size`` leaves."""
        marks = self._marks.get(tenant_id, deque())
        while marks and marks[0][0] <= size:
            marks.popleft()
        if not marks:
            self._marks.pop(tenant_id, None)

    def seconds(self, now: float) -> float:
        """How long ago the oldest leaf that may not be taken in was, or may have become, durable."""
        return now - min([self._known_at, *(marks[0][1] for marks in self._marks.values())])

    def _mark(self, behind: Behind, now: float) -> None:
        self.reached(behind.tenant_id, behind.size)
        marks = self._marks.setdefault(behind.tenant_id, deque())
        if marks and behind.next <= marks[-1][0]:
            return
        if marks and now - marks[-1][1] < max(_CLOSEST_SECONDS, (now - marks[0][1]) / _CLOSEST_PART):
            marks[-1] = behind.next, marks[-1][1]
        else:
            marks.append((behind.next, now))
