"""A tenant's services column by column, so that a clause is one comparison over all of them.

Theory of operation
-------------------
Row i of every column is the i-th service in order of (id, version). Sets of names are bitsets over
the names that occur; what few services have (a capability's limits, a guarantee) is kept for those
alone, as the rows that have it and their values. Nothing here changes after it was made: a service
that is registered or retired gives new columns (``inserted``, ``removed``), copied, not compiled.

Laws (each has a test of the same name)
---------------------------------------
- columns_are_the_same_however_made: compiled at once, or by any order of inserting and removing.
- columns_do_not_change: making others from them leaves them as they were.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from caio.routing.model import LOCALITIES, TRUST_LEVELS, Capability, Offer

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Words = NDArray[np.uint64]
Rows = NDArray[np.intp]
#: One number a candidate: a list where they are few (``few``), else a column.
Values = list[int] | Numbers

#: An undeclared upper limit, above every quantity that a contract can state.
UNLIMITED = 2**63 - 1
#: An undeclared capacity, below every need.
NONE = -1

_WORD = 64
_NOBODY: Rows = np.zeros(0, np.intp)


@dataclass(frozen=True, slots=True)
class Sets:
    """A column of sets of names. ``words[w, i]`` holds the bits 64w … 64w + 63 of row i."""

    bits: Mapping[str, int]
    words: Words

    @classmethod
    def of(cls, sets: Iterable[Collection[str]]) -> Self:
        bits: dict[str, int] = {}
        numbers = [sum(1 << bits.setdefault(name, len(bits)) for name in members) for members in sets]
        width = _width(len(bits))
        raw = b"".join(number.to_bytes(8 * width, "little") for number in numbers)
        return cls(bits, np.ascontiguousarray(np.frombuffer(raw, "<u8").reshape(-1, width).T))

    def within(self, allowed: Collection[str], rows: Rows) -> Flags:
        """Whether each row's set holds no name but those ``allowed``."""
        return ~self._meets([name for name in self.bits if name not in allowed], rows)

    def holds(self, name: str, rows: Rows) -> Flags:
        return self._meets([name] if name in self.bits else [], rows)

    def meets(self, names: Collection[str], rows: Rows) -> Flags:
        """Whether each row's set holds at least one of ``names``."""
        return self._meets([name for name in names if name in self.bits], rows)

    def occupied(self, rows: Rows) -> Flags:
        """Whether each row's set holds any name."""
        return self._meets(self.bits, rows)

    def _meets(self, names: Iterable[str], rows: Rows) -> Flags:
        masks: dict[int, int] = {}
        for name in names:
            word, bit = divmod(self.bits[name], _WORD)
            masks[word] = masks.get(word, 0) | 1 << bit
        met: Flags | None = None
        for word, mask in masks.items():
            here = (self.words[word][rows] & mask) != 0
            met = here if met is None else met | here
        return np.zeros(rows.size, np.bool_) if met is None else met

    def inserted(self, row: int, members: Collection[str]) -> Self:
        bits = {**self.bits}
        number = sum(1 << bits.setdefault(name, len(bits)) for name in members)
        width = _width(len(bits))
        wide = np.zeros((width, self.words.shape[1]), np.uint64)
        wide[: len(self.words)] = self.words
        own = np.frombuffer(number.to_bytes(8 * width, "little"), "<u8")
        return type(self)(bits, np.insert(wide, row, own, axis=1))

    def removed(self, row: int) -> Self:
        """Names that no row holds any more keep their bit: they are few, and harm nothing."""
        return type(self)(self.bits, np.delete(self.words, row, axis=1))


def _width(names: int) -> int:
    return max(1, -(-names // _WORD))


@dataclass(frozen=True, slots=True)
class Promises:
    """The rows that promise one bound, and the promised values in nanos."""

    rows: Rows
    values: Numbers

    @classmethod
    def of(cls, rows: Sequence[int], values: Sequence[int]) -> Self:
        return cls(np.array(rows, np.intp), np.array(values, np.int64))

    def inserted(self, row: int, value: int | None) -> Self:
        place, moved = _made_room(self.rows, row)
        if value is None:
            return type(self)(moved, self.values)
        return type(self)(np.insert(moved, place, row), np.insert(self.values, place, value))

    def removed(self, row: int) -> Self:
        kept = self.rows != row
        return type(self)(_closed_up(self.rows[kept], row), self.values[kept])


@dataclass(frozen=True, slots=True)
class Offerings:
    """The rows that offer one capability, with its limits: in tokens, and bytes of input. No row has
    a smaller limit of input than ``least_input``."""

    rows: Rows
    context_length: Numbers
    output_limit: Numbers
    input_limit: Numbers
    features: Sets
    least_input: int

    @classmethod
    def of(cls, rows: Sequence[int], offered: Sequence[Capability]) -> Self:
        context, output, most_input = np.array([_limits(each) for each in offered], np.int64).reshape(-1, 3).T.copy()
        features = Sets.of(each.features for each in offered)
        least = int(most_input.min(initial=UNLIMITED))
        return cls(np.array(rows, np.intp), context, output, most_input, features, least)

    def at(self, rows: Rows) -> Rows:
        """The places of ``rows``, which all offer the capability, in this block's columns."""
        return np.searchsorted(self.rows, rows) if rows.size != self.rows.size else np.arange(rows.size)

    def inserted(self, row: int, offered: Capability | None) -> Self:
        place, moved = _made_room(self.rows, row)
        if offered is None:
            return replace(self, rows=moved)
        context, output, most_input = _limits(offered)
        return type(self)(
            np.insert(moved, place, row),
            np.insert(self.context_length, place, context),
            np.insert(self.output_limit, place, output),
            np.insert(self.input_limit, place, most_input),
            self.features.inserted(place, offered.features),
            min(most_input, self.least_input),
        )

    def removed(self, row: int) -> Self:
        place = int(np.searchsorted(self.rows, row))
        if place == self.rows.size or self.rows[place] != row:
            return replace(self, rows=_closed_up(self.rows, row))
        limits = np.delete(self.input_limit, place)
        return type(self)(
            _closed_up(np.delete(self.rows, place), row),
            np.delete(self.context_length, place),
            np.delete(self.output_limit, place),
            limits,
            self.features.removed(place),
            int(limits.min(initial=UNLIMITED)),
        )


def _limits(offered: Capability) -> tuple[int, int, int]:
    output = offered.max_tokens if offered.max_tokens is not None else offered.context_length
    limit = UNLIMITED if offered.max_input_bytes is None else offered.max_input_bytes
    return _or_none(offered.context_length), _or_none(output), limit


def _or_none(capacity: int | None) -> int:
    return NONE if capacity is None else capacity


def _made_room(rows: Rows, row: int) -> tuple[int, Rows]:
    return int(np.searchsorted(rows, row)), rows + (rows >= row)


def _closed_up(rows: Rows, row: int) -> Rows:
    return rows - (rows > row)


@dataclass(frozen=True, slots=True)
class Dense:
    """What every service has. Prices are pico-units; levels are places in the vocabulary's order."""

    per_request: Numbers
    per_input_token: Numbers
    per_output_token: Numbers
    per_second: Numbers
    timeout_ms: Numbers
    retention_days: Numbers
    locality: Numbers
    trust: Numbers
    free: Flags
    hidden: Flags
    encrypted: Flags
    trains: Flags
    internet: Flags
    protocol: Sets
    currency: Sets
    regions: Sets
    compliance: Sets
    all_of: Sets
    any_of: Sets


def _row(tenant_id: str, offer: Offer) -> tuple[Any, ...]:
    """The values of ``Dense``'s fields for one offer, in their order."""
    prices, privacy, access = offer.prices, offer.privacy, offer.access
    each = (prices.per_request, prices.per_input_token, prices.per_output_token, prices.per_second)
    return (
        *each,
        offer.timeout_ms,
        UNLIMITED if privacy.retention_days is None else privacy.retention_days,
        LOCALITIES.index(privacy.locality),
        TRUST_LEVELS.index(access.trust_level),
        not any(each),
        offer.tenant_id != tenant_id and not access.shared,
        privacy.encrypted_in_transit and privacy.encrypted_at_rest,
        privacy.trains_on_data,
        offer.needs_internet,
        (offer.protocol,),
        (prices.currency,),
        privacy.regions,
        privacy.compliance,
        access.all_of,
        access.any_of,
    )


_KINDS = {"Numbers": np.int64, "Flags": np.bool_}


def _column(kind: str, values: Sequence[Any]) -> Any:
    return Sets.of(values) if kind == "Sets" else np.array(values, _KINDS[kind])


@dataclass(frozen=True, slots=True)
class Columns:
    """All that match and security read of a tenant's services. ``keys`` are (id, version), ``rows``
    all row numbers. ``derived`` and ``margins`` keep what was computed from the rest, and may be emptied."""

    tenant_id: str
    keys: tuple[tuple[str, str], ...]
    rows: Rows
    dense: Dense
    capabilities: Mapping[str, Offerings]
    bounds: Mapping[str, Promises]
    #: The largest price of each kind, in the order of ``Prices``.
    dearest: tuple[int, ...]
    derived: dict[str, Numbers] = field(default_factory=dict, compare=False, repr=False)
    margins: dict[tuple[str, int], Numbers] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, tenant_id: str, offers: Sequence[Offer]) -> Self:
        capabilities: dict[str, tuple[list[int], list[Capability]]] = {}
        bounds: dict[str, tuple[list[int], list[int]]] = {}
        for row, offer in enumerate(offers):
            for name, capability in offer.capabilities.items():
                rows, offered = capabilities.setdefault(name, ([], []))
                rows.append(row)
                offered.append(capability)
            for name, value in offer.bounds.items():
                places, values = bounds.setdefault(name, ([], []))
                places.append(row)
                values.append(value)
        by_row = [_row(tenant_id, offer) for offer in offers]
        named = list(zip(*by_row, strict=True)) if by_row else [()] * len(fields(Dense))
        dense = Dense(*(_column(str(each.type), values) for each, values in zip(fields(Dense), named, strict=True)))
        return cls(
            tenant_id,
            tuple(offer.key for offer in offers),
            np.arange(len(offers), dtype=np.intp),
            dense,
            {name: Offerings.of(rows, offered) for name, (rows, offered) in capabilities.items()},
            {name: Promises.of(rows, values) for name, (rows, values) in bounds.items()},
            _dearest(dense),
        )

    def named(self, address: str) -> slice:
        """The rows of a service id, or of ``id@version``."""
        service_id, pinned, version = address.partition("@")
        start, end = (service_id, version), (service_id, f"{version}\0")
        if not pinned:
            start, end = (service_id, ""), (f"{service_id}\0", "")
        return slice(bisect_left(self.keys, start), bisect_left(self.keys, end))

    def addressed(self, addresses: Collection[str], rows: Rows) -> Flags:
        """Whether each of ``rows`` is a service that one of the addresses names."""
        named = np.zeros(self.rows.size, np.bool_)
        for address in addresses:
            named[self.named(address)] = True
        return named[rows]

    def offering(self, wanted: str) -> Rows:
        """The rows that offer a capability."""
        offered = self.capabilities.get(wanted)
        return _NOBODY if offered is None else offered.rows

    def inserted(self, row: int, offer: Offer) -> Self:
        """These columns with ``offer`` at ``row``, and what was there and after it one row on."""
        values = _row(self.tenant_id, offer)
        dense = Dense(
            *(
                _inserted(getattr(self.dense, each.name), row, value)
                for each, value in zip(fields(Dense), values, strict=True)
            )
        )
        nobody, nothing = Offerings.of([], []), Promises.of([], [])
        return type(self)(
            self.tenant_id,
            (*self.keys[:row], offer.key, *self.keys[row:]),
            np.arange(self.rows.size + 1, dtype=np.intp),
            dense,
            {
                name: self.capabilities.get(name, nobody).inserted(row, offer.capabilities.get(name))
                for name in {**self.capabilities, **offer.capabilities}
            },
            {
                name: self.bounds.get(name, nothing).inserted(row, offer.bounds.get(name))
                for name in {**self.bounds, **offer.bounds}
            },
            _dearest(dense),
        )

    def removed(self, row: int) -> Self:
        dense = Dense(*(_removed(getattr(self.dense, each.name), row) for each in fields(Dense)))
        capabilities = {name: each.removed(row) for name, each in self.capabilities.items()}
        bounds = {name: each.removed(row) for name, each in self.bounds.items()}
        return type(self)(
            self.tenant_id,
            (*self.keys[:row], *self.keys[row + 1 :]),
            np.arange(self.rows.size - 1, dtype=np.intp),
            dense,
            {name: each for name, each in capabilities.items() if each.rows.size},
            {name: each for name, each in bounds.items() if each.rows.size},
            _dearest(dense),
        )


def _dearest(dense: Dense) -> tuple[int, ...]:
    prices = (dense.per_request, dense.per_input_token, dense.per_output_token, dense.per_second)
    return tuple(int(price.max(initial=0)) for price in prices)


def _inserted(column: Any, row: int, value: Any) -> Any:
    return column.inserted(row, value) if isinstance(column, Sets) else np.insert(column, row, value)


def _removed(column: Any, row: int) -> Any:
    return column.removed(row) if isinstance(column, Sets) else np.delete(column, row)
