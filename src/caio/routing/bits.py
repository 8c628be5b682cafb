"""Few services as sets of rows: a clause is one operation on the bits of an integer.

Theory of operation
-------------------
Setting an operation on columns up costs a microsecond, however few rows they have. Up to FEW services are therefore
asked another way: which of them hold a name, and which are within each limit that any of them states, are sets of rows
that are worked out once a snapshot, as the bits of Python's integers. A question is then a look-up and an ``&``.

``Field`` and what it is made of have the members that ``columns`` have, so that ``matching`` and ``security`` put
the same questions, in the same words, to both. A set of rows stands for ``Rows`` and ``Flags``; which rows an
answer is wanted of is not looked at, for ``FewSieve`` takes those that are left.

Law (has a test of the same name): few_are_asked_as_many.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Self

import numpy as np

from caio.routing.columns import Columns, Flags, Offerings, Rows, Sets
from caio.routing.columns import Dense as DenseColumns
from caio.routing.matching import tightest

#: A set of rows: bit i is about row i. Any, because it stands where columns have arrays.
Bits = Any

#: Services up to which this is the faster way.
FEW = 128

#: Bounds that are kept asked; their names are the callers'.
_KEPT_BOUNDS = 256


@lru_cache(maxsize=4096)
def rows_of(bits: int) -> Sequence[int]:
    """The rows of a set, ascending."""
    rows = []
    while bits:
        lowest = bits & -bits
        rows.append(lowest.bit_length() - 1)
        bits ^= lowest
    return tuple(rows)


class Amounts:
    """A column of numbers, some rows of which may state none. Compared with one, it is the set of rows that are."""

    __slots__ = ("_limits", "_upto")

    def __init__(self, stated: Iterable[tuple[int, int]]) -> None:
        """``stated`` are rows with their numbers."""
        sets: dict[int, int] = {}
        for row, number in stated:
            sets[number] = sets.get(number, 0) | 1 << row
        self._limits = sorted(sets)
        # Entry i has the rows whose number is one of the first i.
        self._upto = [0]
        for limit in self._limits:
            self._upto.append(self._upto[-1] | sets[limit])

    def __getitem__(self, rows: Bits) -> Self:
        return self

    def __le__(self, limit: int) -> Bits:
        return self._upto[bisect_right(self._limits, limit)]

    def __ge__(self, limit: int) -> Bits:
        return self._upto[-1] ^ self._upto[bisect_left(self._limits, limit)]

    def __eq__(self, number: object) -> Bits:
        return self <= number and (self <= number) & (self >= number)  # type: ignore[operator]

    __hash__ = None  # type: ignore[assignment]


class Marks:
    """A column of flags."""

    __slots__ = ("_marked",)

    def __init__(self, flags: Flags) -> None:
        self._marked = _bits(flags)

    def __getitem__(self, rows: Bits) -> Bits:
        return self._marked


class Names:
    """A column of sets of names: ``bits`` has the rows that hold each."""

    __slots__ = ("bits",)

    def __init__(self, bits: dict[str, int]) -> None:
        self.bits = bits

    @classmethod
    def of(cls, sets: Sets, rows: Rows) -> Self:
        """``rows`` are those that the sets are of."""
        held = np.unpackbits(np.ascontiguousarray(sets.words.T).view(np.uint8), axis=1, bitorder="little")
        every = np.zeros((held.shape[1], int(rows.max(initial=-1)) + 1), np.bool_)
        every[:, rows] = held.T
        return cls({name: _bits(every[place]) for name, place in sets.bits.items()})

    def within(self, allowed: Collection[str], rows: Bits) -> Bits:
        return ~self._any([bits for name, bits in self.bits.items() if name not in allowed])

    def holds(self, name: str, rows: Bits) -> Bits:
        return self.bits.get(name, 0)

    def meets(self, names: Collection[str], rows: Bits) -> Bits:
        return self._any([self.bits[name] for name in names if name in self.bits])

    def occupied(self, rows: Bits) -> Bits:
        return self._any(self.bits.values())

    @staticmethod
    def _any(sets: Iterable[int]) -> int:
        found = 0
        for each in sets:
            found |= each
        return found


def _bits(flags: Flags) -> int:
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")


class Offered:
    """``Offerings`` of one capability, and its ``output`` limit by row."""

    __slots__ = ("context_length", "features", "input_limit", "least_input", "output", "output_limit", "rows")

    def __init__(self, offerings: Offerings) -> None:
        rows = offerings.rows.tolist()
        self.rows: Bits = sum(1 << row for row in rows)
        self.output = dict(zip(rows, offerings.output_limit.tolist(), strict=True))
        self.context_length, self.output_limit, self.input_limit = (
            Amounts(zip(rows, limits.tolist(), strict=True))
            for limits in (offerings.context_length, offerings.output_limit, offerings.input_limit)
        )
        self.features = Names.of(offerings.features, offerings.rows)
        self.least_input = offerings.least_input

    def at(self, rows: Bits) -> Bits:
        return rows


@dataclass(frozen=True, slots=True)
class Dense:
    """``columns.Dense``, but for what prices are made of."""

    retention_days: Amounts
    locality: Amounts
    trust: Amounts
    free: Marks
    hidden: Marks
    encrypted: Marks
    trains: Marks
    internet: Marks
    protocol: Names
    currency: Names
    regions: Names
    compliance: Names
    all_of: Names
    any_of: Names

    @classmethod
    def of(cls, dense: DenseColumns, rows: Rows) -> Self:
        return cls(*(_as_sets(getattr(dense, each.name), rows) for each in fields(cls)))


def _as_sets(column: Any, rows: Rows) -> Any:
    if isinstance(column, Sets):
        return Names.of(column, rows)
    return Marks(column) if column.dtype == np.bool_ else Amounts(enumerate(column.tolist()))


class Field:
    """``Columns`` of few services, from which it is made."""

    __slots__ = ("_bounds", "capabilities", "columns", "dense", "every")

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.every: Bits = (1 << columns.rows.size) - 1
        self.dense = Dense.of(columns.dense, columns.rows)
        self.capabilities = {name: Offered(each) for name, each in columns.capabilities.items()}
        self._bounds: dict[str, Amounts] = {}

    def offering(self, wanted: str) -> Bits:
        """The rows that offer a capability."""
        offered = self.capabilities.get(wanted)
        return 0 if offered is None else offered.rows

    def addressed(self, addresses: Collection[str], rows: Bits) -> Bits:
        found = 0
        for address in addresses:
            named = self.columns.named(address)
            found |= (1 << named.stop) - (1 << named.start)
        return found

    def tightest(self, bound: str) -> Amounts:
        """What each row offers that may serve ``bound``, or ``undeclared``."""
        known = self._bounds.get(bound)
        if known is None:
            known = Amounts(enumerate(tightest(self.columns, bound).tolist()))
            if len(self._bounds) >= _KEPT_BOUNDS:
                self._bounds.clear()
            self._bounds[bound] = known
        return known

    @property
    def kept(self) -> int:
        """How many bounds are."""
        return len(self._bounds)

    def forget(self) -> None:
        self._bounds.clear()


class FewSieve:
    """``Sieve`` of few services: ``rows`` are left, ``gone`` are the questions that others failed, with them."""

    __slots__ = ("gone", "rows")

    def __init__(self, rows: Bits) -> None:
        self.rows = rows
        self.gone: list[tuple[int, int]] = []

    @property
    def is_empty(self) -> bool:
        return not self.rows

    def keep(self, question: int, passing: Bits) -> None:
        """Exclude those of ``rows`` that are not ``passing``."""
        kept = self.rows & passing
        if kept != self.rows:
            self.gone.append((question, self.rows ^ kept))
            self.rows = kept

    keep_only = keep
