"""What few services are worth, in plain integers.

Theory of operation
-------------------
Setting an operation on columns up costs as much as some twenty additions. What ``shapes``, ``rules`` and
``optimization`` do with columns of many services is therefore done one by one for few: ``sift`` asks the questions
(``bits``), ``Charges`` are a ``Tariff``, ``Standing`` is what the terms that do not depend on prices add to a score.

Laws (each has a test of the same name)
---------------------------------------
- few_are_as_many: prices and scores are those that columns give.
- few_are_asked_as_many: verdicts and terms are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from operator import add, mul
from typing import TYPE_CHECKING, NamedTuple

from caio.foundation.money import MILLIS_PER_SECOND, PICO_PER_NANO
from caio.routing.bits import FewSieve, Field, rows_of
from caio.routing.columns import Columns
from caio.routing.matching import Needs, tightest, undeclared
from caio.routing.model import SCALE, Request
from caio.routing.observed import Observed
from caio.routing.rules import InForce, Rulebook

if TYPE_CHECKING:
    from caio.routing.shapes_of_few import SiftedRows

_ROUNDING = PICO_PER_NANO * MILLIS_PER_SECOND

#: Sets of affordable services, charges, histories, and books of rules that are kept beside the services.
KEPT_CUTS = 1_024
_KEPT_CHARGES = 256
_KEPT_HISTORIES = 4
_KEPT_BOOKS = 64
#: Sets of prefers whose worth is kept.
_KEPT_WORTHS = 1_024

#: Bytes, rounded up from what was measured: one of these, beside what it has for each service, and a worth.
_KEPT_BYTES = 1_000
_KEPT_ROW_BYTES = 120
_WORTH_BYTES = 200


@dataclass(frozen=True, slots=True)
class Charges:
    """A ``Tariff`` of few services: of each its fixed part, a byte of input, a millisecond and its time-out; all but
    the last are negative, for floor division of the negative rounds up."""

    each: Sequence[tuple[int, int, int, int]]
    is_timed: bool

    def worst(self, size: int, deadline_ms: int) -> list[int]:
        """As ``Tariff.worst``, but exact whatever the sum."""
        if not self.is_timed:
            return [-((fixed + per_byte * size) // _ROUNDING) for fixed, per_byte, _, _ in self.each]
        return [
            -((fixed + per_byte * size + second * min(timeout_ms, deadline_ms)) // _ROUNDING)
            for fixed, per_byte, second, timeout_ms in self.each
        ]


class Standing(NamedTuple):
    """``Weighed`` of few services: of each the sum of weight · term; None where no term tells them apart."""

    sums: Sequence[int] | None
    weight: int

    @classmethod
    def of(cls, terms: Sequence[tuple[int, Sequence[int]]]) -> Standing:
        """Of terms with their weights."""
        telling = [(weight, term) for weight, term in terms if min(term) != max(term)]
        if not telling:
            return cls(None, 0)
        weights = [weight for weight, _ in telling]
        each = zip(*[term for _, term in telling], strict=True)
        return cls([sum(map(mul, weights, values)) for values in each], sum(weights))

    def scores(self, prices: Sequence[int], weight: int) -> list[int]:
        """The scores at these ``prices``, which are not none and whose term has this ``weight``."""
        dearest, sums = max(prices), self.sums
        spread = dearest - min(prices)
        if spread and weight:
            whole = self.weight + weight
            if sums is None:
                return [weight * ((dearest - price) * SCALE // spread) // whole for price in prices]
            return [
                (each + weight * ((dearest - price) * SCALE // spread)) // whole
                for each, price in zip(sums, prices, strict=True)
            ]
        return [SCALE] * len(prices) if sums is None else [each // self.weight for each in sums]


class _Book:
    """What a ``Rulebook`` says of each service, as sets of its rules, and which ``prefer`` has each bit set in its
    priority."""

    __slots__ = ("_worths", "book", "erring", "excluding", "planes", "prefers", "satisfied")

    def __init__(self, book: Rulebook) -> None:
        self.book = book
        self._worths: dict[int, int] = {}
        self.excluding, self.erring, satisfied = (
            [int.from_bytes(row.tobytes(), "little") for row in matrix]
            for matrix in (book.excluding, book.erring, book.satisfied)
        )
        # Of the prefers alone in the book; here all sets are of rules.
        self.satisfied = [sum(1 << book.prefers[place] for place in rows_of(each)) for each in satisfied]
        self.prefers = sum(1 << place for place in book.prefers)
        of_each = [(1 << place, book.rules[place].policy.priority) for place in book.prefers]
        bits = max([priority.bit_length() for _, priority in of_each], default=0)
        self.planes = [sum(rule for rule, priority in of_each if priority >> bit & 1) for bit in range(bits)]

    @property
    def kept(self) -> int:
        """How many worths are."""
        return len(self._worths)

    def worth(self, rules: int) -> int:
        """The sum of the priorities of ``rules``, which are prefers."""
        known = self._worths.get(rules)
        if known is None:
            if len(self._worths) >= _KEPT_WORTHS:
                self._worths.clear()
            known = sum([(rules & plane).bit_count() << bit for bit, plane in enumerate(self.planes)])
            self._worths[rules] = known
        return known


class Few:
    """The services of a snapshot, where they are few, and what is kept of them: their charges, what histories say of
    them, and what rules do."""

    __slots__ = ("_books", "_charges", "_is_timed", "_prices", "_seen", "cuts", "field", "size")

    def __init__(self, columns: Columns) -> None:
        self.field, self.size, dense = Field(columns), columns.rows.size, columns.dense
        per_token = (dense.per_request, dense.per_output_token, dense.per_input_token)
        priced = [[-picos * MILLIS_PER_SECOND for picos in column.tolist()] for column in per_token]
        seconds = [-picos for picos in dense.per_second.tolist()]
        self._prices = list(zip(*priced, seconds, dense.timeout_ms.tolist(), strict=True))
        self._is_timed = any(seconds)
        self._charges: dict[Hashable, Charges] = {}
        self._seen: dict[str, tuple[Sequence[int], Sequence[int]]] = {}
        self._books: dict[int, _Book] = {}
        #: By what a shape has where every price passes, and which of its services are affordable.
        self.cuts: dict[tuple[SiftedRows, tuple[bool, ...]], SiftedRows] = {}

    @property
    def weight(self) -> int:
        """About how many bytes of memory what is kept of requests and rules takes."""
        kept = len(self.cuts) + len(self._charges) + len(self._books) + self.field.kept
        worths = sum([book.kept for book in list(self._books.values())])
        return kept * (_KEPT_BYTES + _KEPT_ROW_BYTES * self.size) + worths * _WORTH_BYTES

    def forget(self) -> None:
        """Let go of it; it is worked out again when it is needed."""
        for kept in (self.cuts, self._charges, self._books):
            kept.clear()
        self.field.forget()

    # --- questions ------------------------------------------------------------------------------

    def exclude(self, sieve: FewSieve, force: InForce, question: int) -> None:
        """As ``InForce.exclude``."""
        acting = [(part, self._book(part.book)) for part in force.parts if part.true | part.failed]
        if not acting:
            return
        found: dict[int, int] = {}
        for part, said in acting:
            active, broken = part.true & part.book.strict, part.failed & part.book.strict
            every = 2 * int(part.places[(broken & -broken).bit_length() - 1]) if broken else None
            for row in rows_of(sieve.rows):
                first = every
                if hits := said.excluding[row] & active:
                    lowest = hits & -hits
                    offset = 2 * int(part.places[lowest.bit_length() - 1]) + (not said.erring[row] & lowest)
                    first = offset if first is None else min(first, offset)
                if first is not None:
                    found[row] = min(first, found.get(row, first))
        for row, offset in found.items():
            sieve.keep(question + offset, ~(1 << row))

    def preferences(self, force: InForce, rows: Sequence[int]) -> Sequence[int]:
        """As ``InForce.preferences``."""
        whole, satisfied = 0, [0] * len(rows)
        for part in force.parts:
            said = self._book(part.book)
            if active := part.true & said.prefers:
                whole += said.worth(active)
                satisfied = [
                    each + said.worth(said.satisfied[row] & active) for each, row in zip(satisfied, rows, strict=True)
                ]
        return [each * SCALE // whole for each in satisfied] if whole else satisfied

    def _book(self, book: Rulebook) -> _Book:
        known = self._books.get(id(book))
        if known is None:
            if len(self._books) >= _KEPT_BOOKS:
                self._books.clear()
            known = self._books[id(book)] = _Book(book)  # which holds it, so that its id is no other's
        return known

    # --- prices ---------------------------------------------------------------------------------

    def charges(self, rows: Sequence[int], request: Request) -> Charges:
        """As ``Tariff.of``. Requests of many sorts have the same ones."""
        key = (rows, request.max_tokens, request.answers, request.capabilities)
        known = self._charges.get(key)
        if known is None:
            if len(self._charges) >= _KEPT_CHARGES:
                self._charges.clear()
            known = self._charges[key] = Charges(self._prices_of(rows, request), self._is_timed)
        return known

    def _prices_of(self, rows: Sequence[int], request: Request) -> Sequence[tuple[int, int, int, int]]:
        if request.max_tokens is not None:
            tokens = request.max_tokens * request.answers
            priced = [(self._prices[row], tokens) for row in rows]
        else:
            limits = [self.field.capabilities[wanted].output for wanted in request.capabilities] if rows else []
            longest = [max([0, *[limit[row] for limit in limits]]) for row in rows]
            priced = [(self._prices[row], most * request.answers) for row, most in zip(rows, longest, strict=True)]
        return [
            (call + answer * tokens, byte, second, timeout_ms)
            for (call, answer, byte, second, timeout_ms), tokens in priced
        ]

    # --- terms ----------------------------------------------------------------------------------

    def standing(
        self,
        rows: Sequence[int],
        needs: Needs,
        observed: Callable[[], Observed],
        digest: str,
        preferences: Sequence[int],
        weights: Mapping[str, int],
    ) -> Standing:
        """As ``standing_terms`` and ``Weighed.of``; ``digest`` is that of the history that was ``observed``."""
        terms: list[tuple[int, Sequence[int]]] = []
        if weight := weights["margin"]:
            terms.append((weight, self._margins(rows, needs)))
        if weight := weights["performance"]:
            terms.append((weight, self._speeds(rows, needs, self._observed(observed, digest)[1])))
        if weight := weights["reliability"]:
            reliability = self._observed(observed, digest)[0]
            terms.append((weight, [reliability[row] for row in rows]))
        if weight := weights["preference"]:
            terms.append((weight, preferences))
        return Standing.of(terms)

    def _observed(self, observed: Callable[[], Observed], digest: str) -> tuple[Sequence[int], Sequence[int]]:
        """Of each row the reliability and the latency that were seen."""
        known = self._seen.get(digest)
        if known is None:
            seen = observed()
            if len(self._seen) >= _KEPT_HISTORIES:
                self._seen.clear()
            known = self._seen[digest] = seen.reliability.tolist(), seen.p95.tolist()
        return known

    def _margins(self, rows: Sequence[int], needs: Needs) -> Sequence[int]:
        total = [0] * len(rows)
        for name, required in needs.bounds:
            column = tightest(self.field.columns, name).tolist()
            offered = [column[row] for row in rows]
            if name.endswith(".min"):
                least = max(required, 1)
                margins = [min(each - required, each) * SCALE // each if each >= least else 0 for each in offered]
            elif required > 0:
                margins = [max(required - max(each, 0), 0) * SCALE // required for each in offered]
            else:
                continue
            total = list(map(add, total, margins))
        bounds = max(1, len(needs.bounds))
        return [each // bounds for each in total]

    def _speeds(self, rows: Sequence[int], needs: Needs, seen: Sequence[int]) -> Sequence[int]:
        bound = "first_token_ms.p95" if needs.request.stream else "latency_ms.p95"
        promised, unknown = tightest(self.field.columns, bound).tolist(), undeclared(bound)
        if needs.request.stream:
            latencies = [promised[row] for row in rows]
        else:
            latencies = [seen[row] if seen[row] > 0 else promised[row] for row in rows]
        known = [each for each in latencies if each != unknown]
        if not known:
            return latencies  # alike, and so telling nothing
        worst, spread = max(known), max(known) - min(known)
        return [0 if each == unknown else (worst - each) * SCALE // spread if spread else SCALE for each in latencies]
