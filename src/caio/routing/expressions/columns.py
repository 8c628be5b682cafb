"""The ``service`` variables of all services as dictionary-encoded columns.

A *read* is a path of fields, or the presence of one, as ``has`` asks. The column of some reads has an
entry for each distinct combination of their values and, for each service, the code of its entry; what
reads nothing else has one value for all services of an entry, and is evaluated on any one of them.
Values are distinct unless no expression can tell them apart: ``1``, ``1.0`` and ``true`` are three,
as are 0.0 and -0.0, and so are a field that is absent and one without an owner to be absent from.

Entries of one path are in order: numbers ascending, texts by code point, lists of texts, all else. A
comparison with a literal is then a range of codes, and exact: nothing is rounded to fit an array.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from enum import Enum
from functools import cached_property
from math import isnan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.intp]
#: Values, and where there is none but an error.
Doubles = tuple[NDArray[Any], NDArray[np.bool_]]


class Read(NamedTuple):
    """The fields from ``service`` on; with ``presence``, only whether the last of them is there."""

    fields: tuple[str, ...]
    presence: bool = False


class _Absent(Enum):
    """Reading either is an error; ``has`` is false for a missing field, and an error without an owner."""

    FIELD = "field"
    OWNER = "owner"


class Column:
    """The distinct values of some reads; ``codes[i]`` is the entry of service ``i``.

    ``entries`` has the document of one service for each entry. The first are those with ``numbers``,
    then ``texts``, then ``lists``; all three are empty unless the column is of the one path ``fields``.
    """

    def __init__(
        self,
        codes: Codes,
        entries: Sequence[Mapping[str, Any]],
        fields: tuple[str, ...] | None = None,
        numbers: Sequence[int | float] = (),
        texts: Sequence[str] = (),
        lists: Sequence[Sequence[str]] = (),
    ) -> None:
        self.codes = codes
        self.entries = entries
        self.fields = fields
        self.numbers = numbers
        self.texts = texts
        self.lists = lists

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def sorted(self) -> int:
        """How many entries are numbers, texts or lists of texts."""
        return len(self.numbers) + len(self.texts) + len(self.lists)

    @cached_property
    def members(self) -> Mapping[str, Codes]:
        """The entries whose list of texts has the text."""
        holders: defaultdict[str, list[int]] = defaultdict(list)
        for code, texts in enumerate(self.lists, len(self.numbers) + len(self.texts)):
            for text in texts:
                holders[text].append(code)
        return {text: np.array(codes, dtype=np.intp) for text, codes in holders.items()}

    @cached_property
    def longest(self) -> int:
        """The length of the longest list of texts."""
        return max(map(len, self.lists), default=0)


class ServiceColumns:
    """The columns of services given by their ``variables``, each built when first asked for.

    The documents are plain dict, list, str, bool, int, float and None, and are not changed afterwards.
    Not safe to ask from several threads at once.
    """

    def __init__(self, services: Sequence[Mapping[str, Any]]) -> None:
        self.services = services
        self._columns: dict[frozenset[Read], Column] = {}
        self._doubles: dict[tuple[str, ...], Doubles | None] = {}
        self._owners: dict[tuple[str, ...], Sequence[object]] = {(): services}

    def __len__(self) -> int:
        return len(self.services)

    def column(self, reads: frozenset[Read]) -> Column:
        """The column of the combinations of what is read; of one entry if nothing is."""
        if reads not in self._columns:
            self._columns[reads] = self._single(*reads) if len(reads) == 1 else self._combined(reads)
        return self._columns[reads]

    def doubles(self, fields: tuple[str, ...]) -> Doubles | None:
        """The values at a path where nothing but doubles is; None elsewhere."""
        if fields not in self._doubles:
            values = self._values(fields)
            self._doubles[fields] = None
            if all(type(value) is float or isinstance(value, _Absent) for value in values):
                absent = np.array([isinstance(value, _Absent) for value in values], np.bool_)
                numbers = [0.0 if isinstance(value, _Absent) else value for value in values]
                self._doubles[fields] = np.array(numbers, np.float64), absent
        return self._doubles[fields]

    def _single(self, read: Read) -> Column:
        values = self._values(read.fields)
        if read.presence:
            values = [value if isinstance(value, _Absent) else True for value in values]
        known: dict[Hashable, int] = {}
        codes = np.fromiter((known.setdefault(key, len(known)) for key in _keys(values)), np.intp, len(values))
        examples = _examples(codes, len(known))
        distinct = [values[example] for example in examples]
        numbers, texts, lists, others = _sorted(distinct)
        order = [*numbers, *texts, *lists, *others]
        ranks = np.empty(len(order), np.intp)
        ranks[order] = np.arange(len(order))
        return Column(
            ranks[codes],
            [self.services[examples[code]] for code in order],
            None if read.presence else read.fields,
            [distinct[code] for code in numbers],  # type: ignore[misc]
            [distinct[code] for code in texts],  # type: ignore[misc]
            [distinct[code] for code in lists],  # type: ignore[misc]
        )

    def _combined(self, reads: frozenset[Read]) -> Column:
        codes, size = np.zeros(len(self), np.intp), 1
        for read in sorted(reads):
            column = self.column(frozenset({read}))
            distinct, codes = np.unique(codes * len(column) + column.codes, return_inverse=True)
            size = len(distinct)
        return Column(codes, [self.services[example] for example in _examples(codes, size if len(self) else 0)])

    def _values(self, fields: tuple[str, ...]) -> Sequence[object]:
        """What each service has at the path. The owners of fields are kept, for the other fields."""
        if fields not in self._owners:
            *owner, name = fields
            path = tuple(owner)
            self._owners[path] = owners = self._values(path)
            return [one.get(name, _Absent.FIELD) if type(one) is dict else _Absent.OWNER for one in owners]
        return self._owners[fields]


def _examples(codes: Codes, size: int) -> list[int]:
    """For each code the index of a service that has it."""
    examples = np.empty(size, np.intp)
    examples[codes] = np.arange(len(codes))
    return examples.tolist()


def _keys(values: Sequence[Any]) -> Iterable[Hashable]:
    """A key for each value; of one type the values may do themselves, but for the two zeros."""
    kinds = set(map(type, values)) - {_Absent}
    if kinds <= {str} or kinds <= {bool} or kinds <= {int}:
        return values
    if kinds <= {float}:
        return [value or repr(value) for value in values]
    return map(_key, values)


def _key(value: Any) -> Hashable:
    """Equal for values that no expression tells apart. A list of texts is their tuple."""
    kind = type(value)
    key: object = kind
    if kind is str or kind is _Absent:
        key = value
    elif kind is float:
        key = float, value or repr(value)
    elif kind is int or kind is bool or value is None:
        key = kind, value
    elif kind is list or kind is tuple:
        key = tuple(value) if _are_texts(value) else (list, *map(_key, value))
    elif kind is dict:
        key = dict, *((_key(name), _key(item)) for name, item in value.items())
    return key


def _are_texts(values: Sequence[object]) -> bool:
    return all(type(one) is str for one in values)


def _sorted(values: Sequence[Any]) -> tuple[list[int], list[int], list[int], list[int]]:
    """The indices of the numbers, texts, lists of texts and others; NaN is not a number to sort."""
    numbers: list[int] = []
    texts: list[int] = []
    lists: list[int] = []
    others: list[int] = []
    for index, value in enumerate(values):
        kind = type(value)
        if kind is str:
            texts.append(index)
        elif kind is int or (kind is float and not isnan(value)):
            numbers.append(index)
        elif (kind is list or kind is tuple) and _are_texts(value):
            lists.append(index)
        else:
            others.append(index)
    return sorted(numbers, key=values.__getitem__), sorted(texts, key=values.__getitem__), lists, others
