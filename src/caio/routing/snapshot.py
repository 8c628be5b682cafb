"""What a tenant's decisions are made from: its services and its rules, compiled.

A ``Snapshot`` never changes and is swapped whole, so a decision never sees half a change. One more
service, or one fewer, gives a new snapshot by copying columns (``with_service``, ``without``): a few
milliseconds at ten thousand services, where compiling takes seconds.

Laws (each has a test of the same name)
---------------------------------------
- snapshots_are_the_same_however_made: compiled, or by any order of adding and taking away.
- a_snapshot_never_changes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from caio.foundation.hashing import DIGEST_BYTES, SERVICE, SERVICES, digest, digest_of
from caio.routing import bits
from caio.routing.columns import Columns
from caio.routing.few import Few
from caio.routing.model import History, InconsistentInputs, Offer, Request
from caio.routing.observed import Observed
from caio.routing.rules import Rule, Rulebook, RuleSet, in_order
from caio.routing.shapes import Shape
from caio.routing.sorts import Sort, sort_key

Kept = TypeVar("Kept")

#: Rules that came with requests, all sets of them together, and histories, which are kept compiled.
_KEPT_RULES = 300
_KEPT_HISTORIES = 4

#: What is kept of requests, in rows of all of it together: rule sets, and four times as much of shapes,
#: so that a snapshot of whatever size keeps some hundred megabytes at the most.
_KEPT_ROWS = 1_000_000
_FEWEST = 4

#: Bytes, rounded up from what was measured: a service with its place in every column, and what is kept of a sort
#: or shape, or of a bound that requests name, beside what that has for each service.
_SERVICE_BYTES = 12_000
_KEPT_BYTES = 5_000
_KEPT_ROW_BYTES = 24
_COLUMN_BYTES = 500
_COLUMN_ROW_BYTES = 8


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The services one tenant may see, in order of (id, version), and the rules attached to it.

    ``_rows`` are the digests that ``services_hash`` covers, one after the other. ``_combined``,
    ``_observed``, ``_sorts`` and ``_shapes`` keep what follows from the rest, so they change no answer; ``_known``
    keeps shapes once more, by what a request need not be evaluated for. ``_few`` is what ``few`` made.
    """

    tenant_id: str
    offers: tuple[Offer, ...]
    columns: Columns
    attached: RuleSet
    services_hash: str
    _rows: bytes = field(repr=False)
    _combined: dict[tuple[str, ...], RuleSet] = field(default_factory=dict, compare=False, repr=False)
    _observed: dict[str, Observed] = field(default_factory=dict, compare=False, repr=False)
    _sorts: dict[Hashable, Sort] = field(default_factory=dict, compare=False, repr=False)
    _shapes: dict[Hashable, Shape] = field(default_factory=dict, compare=False, repr=False)
    _known: dict[Hashable, Shape] = field(default_factory=dict, compare=False, repr=False)
    _few: list[Few] = field(default_factory=list, compare=False, repr=False)

    @property
    def rules(self) -> tuple[Rule, ...]:
        return self.attached.ordered

    @property
    def policies_hash(self) -> str:
        return self.attached.digest

    @property
    def weight(self) -> int:
        """About how many bytes of memory it takes with what it keeps."""
        services, kept = len(self.offers), len(self._sorts) + len(self._shapes)
        columns = len(self.columns.derived) + len(self.columns.margins)
        return (
            services * _SERVICE_BYTES
            + kept * (_KEPT_BYTES + _KEPT_ROW_BYTES * services)
            + columns * (_COLUMN_BYTES + _COLUMN_ROW_BYTES * services)
            + sum([few.weight for few in self._few])
        )

    def forget_requests(self) -> None:
        """Let go of what is kept of requests; it is worked out again when it is needed."""
        for kept in (self._known, self._shapes, self._sorts, self.columns.derived, self.columns.margins):
            kept.clear()
        for few in self._few:
            few.forget()

    def manifest(self) -> list[list[str]]:
        """What ``services_hash`` covers, by row."""
        return [_entry(offer) for offer in self.offers]

    def with_service(self, offer: Offer) -> Self:
        """This snapshot with one service version more. Raises InconsistentInputs when that version
        is here already and is not the same."""
        row = bisect_left(self.columns.keys, offer.key)
        if row < len(self.offers) and self.offers[row].key == offer.key:
            _refuse_unequal(self.offers[row], offer)
            return self
        book, _ = self.attached.parts[0]
        rows = self._rows[: row * DIGEST_BYTES] + _digest(offer) + self._rows[row * DIGEST_BYTES :]
        return type(self)(
            self.tenant_id,
            (*self.offers[:row], offer, *self.offers[row:]),
            self.columns.inserted(row, offer),
            self.attached.rewritten(book.inserted(row, offer.variables)),
            digest(SERVICES, rows),
            rows,
        )

    def without(self, service_id: str, version: str) -> Self:
        """This snapshot without one service version, which need not be in it."""
        row = bisect_left(self.columns.keys, (service_id, version))
        if row == len(self.offers) or self.offers[row].key != (service_id, version):
            return self
        book, _ = self.attached.parts[0]
        rows = self._rows[: row * DIGEST_BYTES] + self._rows[(row + 1) * DIGEST_BYTES :]
        return type(self)(
            self.tenant_id,
            (*self.offers[:row], *self.offers[row + 1 :]),
            self.columns.removed(row),
            self.attached.rewritten(book.removed(row)),
            digest(SERVICES, rows),
            rows,
        )

    def with_rules(self, rules: Iterable[Rule]) -> Self:
        """This snapshot with other rules attached."""
        attached = RuleSet.of([Rulebook.of(in_order(rules), [offer.variables for offer in self.offers])])
        return type(self)(self.tenant_id, self.offers, self.columns, attached, self.services_hash, self._rows)

    def rule_set(self, named: Sequence[Rule]) -> RuleSet:
        """The attached rules and ``named`` ones together. Raises InconsistentInputs."""
        if not named:
            return self.attached
        key = _named(named)
        known = self._combined.get(key)
        if known is None:
            own = {rule.policy.policy_hash for rule in self.rules}
            further = [rule for rule in in_order(named) if rule.policy.policy_hash not in own]
            book = Rulebook.of(further, [offer.variables for offer in self.offers])
            known = RuleSet.of([self.attached.parts[0][0], book])
            # A rule weighs as much as its text and what it was compiled to, and a bit a service.
            room = min(_KEPT_RULES, 4 * _KEPT_ROWS // _rows_of(self)) - len(named)
            while self._combined and sum(map(len, list(self._combined))) > room:
                _forget_oldest(self._combined)
            self._combined[key] = known
        return known

    def has_rule_set(self, named: Sequence[Rule]) -> bool:
        """Whether ``rule_set`` answers at once. Otherwise it asks ``named`` about every service."""
        return not named or _named(named) in self._combined

    def shape(self, key: Hashable, work_out: Callable[[], Shape]) -> Shape:
        """What requests of one shape share; ``key`` must say everything that it depends on beside
        this snapshot. None is kept for no other request."""
        if key is None:
            return work_out()
        # Taken out and put back: the least recently used is the first, and the first to go.
        shape = self._shapes.pop(key, None) or work_out()
        self._keep(self._shapes, key, shape)
        return shape

    def known(self, key: Hashable) -> Shape | None:
        """The shape that was last found by ``key``, if it is still kept."""
        return self._known.get(key)

    def know(self, key: Hashable, shape: Shape) -> None:
        """Have ``shape`` found by ``key``, which must say everything that it depends on."""
        self._keep(self._known, key, shape)

    @property
    def few(self) -> Few | None:
        """What is worked out of the services where they are few."""
        if not self._few and len(self.offers) <= bits.FEW:
            self._few.append(Few(self.columns))
        return self._few[0] if self._few else None

    def sort(self, request: Request) -> Sort:
        """The sort of ``request``."""
        key = sort_key(request)
        sort = self._sorts.get(key)
        if sort is None:
            sort = Sort.of(request, self.columns)
            if sort.is_worth_keeping:
                self._keep(self._sorts, key, sort)
        return sort

    def _keep(self, kept: dict[Hashable, Kept], key: Hashable, value: Kept) -> None:
        while len(kept) >= max(_FEWEST, 4 * _KEPT_ROWS // _rows_of(self)):
            _forget_oldest(kept)
        kept[key] = value

    def observed(self, history: History) -> Observed:
        """``history`` beside the services."""
        known = self._observed.get(history.digest)
        if known is None:
            known = Observed.of(self.columns, history)
            while len(self._observed) >= _KEPT_HISTORIES:
                _forget_oldest(self._observed)
            self._observed[history.digest] = known
        return known


def _named(rules: Sequence[Rule]) -> tuple[str, ...]:
    return tuple(rule.policy.policy_hash for rule in rules)


def _forget_oldest(kept: dict[Any, Any]) -> None:
    # By way of a list, in one step: other threads may be deciding over the same snapshot. Several at once, so
    # that where every request is new the list is not made for each.
    for key in list(kept)[: 1 + len(kept) // 8]:
        kept.pop(key, None)


def _rows_of(snapshot: Snapshot) -> int:
    # What is kept for a request weighs some kilobytes before the first row: as much as a thousand rows.
    return len(snapshot.offers) + 1_000


def compile_snapshot(tenant_id: str, offers: Iterable[Offer], rules: Iterable[Rule] = ()) -> Snapshot:
    """Raises InconsistentInputs; equal entries count once."""
    by_key: dict[tuple[str, str], Offer] = {}
    for offer in offers:
        _refuse_unequal(by_key.setdefault(offer.key, offer), offer)
    ordered = tuple(by_key[key] for key in sorted(by_key))
    attached = RuleSet.of([Rulebook.of(in_order(rules), [offer.variables for offer in ordered])])
    rows = b"".join(map(_digest, ordered))
    return Snapshot(tenant_id, ordered, Columns.of(tenant_id, ordered), attached, digest(SERVICES, rows), rows)


def _refuse_unequal(known: Offer, other: Offer) -> None:
    if (known.contract_hash, known.tenant_id) != (other.contract_hash, other.tenant_id):
        raise InconsistentInputs(f"{known.service_id}@{known.version} was given twice, and not the same")


def _entry(offer: Offer) -> list[str]:
    return [offer.service_id, offer.version, offer.contract_hash, offer.tenant_id]


def _digest(offer: Offer) -> bytes:
    return bytes.fromhex(digest_of(SERVICE, _entry(offer)))
