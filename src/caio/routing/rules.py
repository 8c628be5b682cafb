"""Stage 2, rules: the tenant's policies, compiled once and applied to every decision.

Theory of operation
-------------------
A policy's ``then`` reads only the service, so what it says of each is computed when the snapshot is
compiled: one bit a rule, one row of words a service, in policy order. ``when`` reads request and
principal and is evaluated once a decision (``expressions.Conditions``), which gives the rules in
force as a mask. The first rule that excludes a service is then the lowest bit of its row under the
mask. Rules that come with a request have rows of their own, merged by their places in policy order.

An error in either expression denies (DESIGN, law 2), except in a ``prefer``, which can only reorder
what is permitted.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from caio.foundation.hashing import POLICIES, digest_of
from caio.routing.columns import Flags, Numbers, Rows, Words
from caio.routing.expressions import Conditions, Expression, ServiceColumns, compile_mask
from caio.routing.model import SCALE, Effect, InconsistentInputs, OnViolation, Policy
from caio.routing.sieve import Sieve
from caio.routing.sights import Sight

Predicate = Callable[[Mapping[str, Any]], bool]

_WORD = 64
#: The bits of every byte, lowest first.
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").astype(np.int64)
#: An offset beyond every question.
_NEVER = 2**62


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy with its expressions parsed and compiled (``routing.policies`` makes them)."""

    policy: Policy
    when: Expression
    then: Expression
    applies: Predicate
    says: Predicate


def in_order(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Policy order: priority descending, then id, then version; equal policies once. Raises
    InconsistentInputs for different policies of one id and version."""
    unique: dict[tuple[str, int], Rule] = {}
    for rule in rules:
        policy = rule.policy
        if unique.setdefault((policy.policy_id, policy.version), rule).policy.policy_hash != policy.policy_hash:
            raise InconsistentInputs(f"policy {policy.policy_id}@{policy.version} was given twice, and not the same")
    return tuple(sorted(unique.values(), key=_order))


def _order(rule: Rule) -> tuple[int, str, int]:
    return (-rule.policy.priority, rule.policy.policy_id, rule.policy.version)


def policies_manifest(rules: Sequence[Rule]) -> list[list[str | int]]:
    """What ``policies_hash`` covers; ``rules`` in policy order."""
    return [[rule.policy.policy_id, rule.policy.version, rule.policy.policy_hash] for rule in rules]


def policies_hash(rules: Sequence[Rule]) -> str:
    return digest_of(POLICIES, policies_manifest(rules))


@dataclass(frozen=True, slots=True)
class Rulebook:
    """Rules in policy order, and what they say of the services, one row each.

    Bit r of ``excluding`` and ``erring`` is about rule r: whether it excludes the service when it is
    in force, and whether it does so by failing to evaluate. Bit p of ``satisfied`` is about the p-th
    of the ``prefers``. The masks are sets of rules as Python integers. ``conditions`` answer every
    ``when`` for one request, ``sayings`` every ``then`` for one service.
    """

    rules: tuple[Rule, ...]
    conditions: Conditions
    sayings: Conditions
    prefers: tuple[int, ...]
    strict: int
    forbids: int
    weighing: int
    handling: int
    excluding: Words
    erring: Words
    satisfied: Words

    @classmethod
    def of(cls, rules: Sequence[Rule], services: Sequence[Mapping[str, Any]]) -> Self:
        """``rules`` in policy order; ``services`` as expressions read them."""
        columns = ServiceColumns(services)
        prefers: list[int] = []
        excluding, erring, satisfied = (_Packer(len(services), len(rules)) for _ in range(3))
        for place, rule in enumerate(rules):
            true, failed = compile_mask(rule.then)(columns)
            if rule.policy.effect is Effect.PREFER:
                satisfied.put(len(prefers), true)
                prefers.append(place)
            else:
                excluding.put(place, true | failed if rule.policy.effect is Effect.FORBID else ~true)
                erring.put(place, failed)
        return cls(
            tuple(rules),
            Conditions([rule.when for rule in rules]),
            Conditions([rule.then for rule in rules]),
            tuple(prefers),
            _mask(rule.policy.effect is not Effect.PREFER for rule in rules),
            _mask(rule.policy.effect is Effect.FORBID for rule in rules),
            _mask(rule.policy.weights is not None for rule in rules),
            _mask(rule.policy.on_violation is not None for rule in rules),
            excluding.words,
            erring.words,
            np.ascontiguousarray(satisfied.words[:, : _width(len(prefers))]),
        )

    def inserted(self, row: int, service: Mapping[str, Any]) -> Self:
        """This book with ``service`` at ``row``."""
        true, failed = self.sayings.outcome({"service": service})
        excluding = ((true | failed) & self.forbids) | (~true & self.strict & ~self.forbids)
        erring = failed & self.strict
        satisfied = _mask(bool(true >> place & 1) for place in self.prefers)
        return self._with(
            np.insert(self.excluding, row, _words(excluding, self.excluding.shape[1]), axis=0),
            np.insert(self.erring, row, _words(erring, self.erring.shape[1]), axis=0),
            np.insert(self.satisfied, row, _words(satisfied, self.satisfied.shape[1]), axis=0),
        )

    def removed(self, row: int) -> Self:
        matrices = (self.excluding, self.erring, self.satisfied)
        return self._with(*(np.delete(matrix, row, axis=0) for matrix in matrices))

    def _with(self, excluding: Words, erring: Words, satisfied: Words) -> Self:
        return replace(self, excluding=excluding, erring=erring, satisfied=satisfied)

    def first_exclusions(self, active: int, rows: Rows) -> tuple[Rows, Rows, Flags]:
        """The places in ``rows`` that a rule of ``active`` excludes, the first such rule of each, and
        whether it failed to evaluate."""
        hits = self.excluding[rows] & _words(active, self.excluding.shape[1])
        column = (hits != 0).argmax(axis=1)
        word = hits[np.arange(rows.size), column]
        found = word.nonzero()[0]
        word, column = word[found], column[found]
        lowest = word & (~word + np.uint64(1))
        bit = np.bitwise_count(lowest - np.uint64(1)).astype(np.intp)
        return found, column * _WORD + bit, (self.erring[rows[found], column] & lowest) != 0

    def preferred(self, priorities: Sequence[int], rows: Rows) -> Numbers:
        """The sum of the priorities of the prefers (0 for those not in force) that each row satisfies."""
        # Eight prefers share a byte, and what each of its 256 values is worth is summed but once.
        worth = np.zeros(64 * self.satisfied.shape[1], np.int64)
        worth[: len(priorities)] = priorities
        tables = _BITS @ worth.reshape(-1, 8).T
        total = np.zeros(rows.size, np.int64)
        of_each = self.satisfied[rows].view(np.uint8)
        for place in range(-(-len(priorities) // 8)):
            total += tables[:, place][of_each[:, place]]
        return total


class _Packer:
    """A matrix of bits, filled by columns."""

    def __init__(self, rows: int, columns: int) -> None:
        self._bytes = np.zeros((rows, 8 * _width(columns)), np.uint8)

    def put(self, column: int, flags: Flags) -> None:
        byte, bit = divmod(column, 8)
        self._bytes[:, byte] |= flags.astype(np.uint8) << np.uint8(bit)

    @property
    def words(self) -> Words:
        return self._bytes.view("<u8")


def _width(bits: int) -> int:
    return max(1, -(-bits // _WORD))


def _mask(flags: Iterable[bool]) -> int:
    return sum(1 << place for place, flag in enumerate(flags) if flag)


def _words(mask: int, width: int) -> Words:
    return np.frombuffer(mask.to_bytes(8 * width, "little"), "<u8")


def _lowest(mask: int) -> int:
    """The place of the lowest bit of a mask that has one."""
    return (mask & -mask).bit_length() - 1


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of a decision, in policy order: the attached ones' book, and those of the request.

    ``parts`` are the books, each with the places of its rules among ``ordered``. ``sight`` is what they see of
    what requests of one sort differ in.
    """

    ordered: tuple[Rule, ...]
    digest: str
    parts: tuple[tuple[Rulebook, Numbers], ...]
    sight: Sight

    @classmethod
    def of(cls, books: Sequence[Rulebook]) -> Self:
        """Raises InconsistentInputs. No rule may be in two books."""
        ordered = in_order(rule for book in books for rule in book.rules)
        place = {rule.policy.policy_hash: place for place, rule in enumerate(ordered)}
        parts = [(book, np.array([place[rule.policy.policy_hash] for rule in book.rules], np.int64)) for book in books]
        return cls(ordered, policies_hash(ordered), tuple(parts), Sight.of(rule.when for rule in ordered))

    def rewritten(self, book: Rulebook) -> Self:
        """These rules, all of one book, with that book's rows changed."""
        ((_, places),) = self.parts
        return type(self)(self.ordered, self.digest, ((book, places),), self.sight)

    def in_force(self, variables: Mapping[str, Any]) -> InForce:
        """Evaluate every ``when`` over ``variables`` (request and principal)."""
        outcomes = [book.conditions.outcome(variables) for book, _ in self.parts]
        acting = (Acting(*part, *outcome) for part, outcome in zip(self.parts, outcomes, strict=True))
        return InForce(tuple(acting), (self.digest, *outcomes))


@dataclass(frozen=True, slots=True)
class Acting:
    """One book's part in a decision: the rules whose ``when`` holds, and those whose ``when`` failed."""

    book: Rulebook
    places: Numbers
    true: int
    failed: int

    def offsets(self, rows: Rows) -> Numbers:
        """For each row the offset of the first question about rules that it fails, or ``_NEVER``:
        2 a rule, and 1 more for a rule that was evaluated."""
        found = np.full(rows.size, _NEVER, np.int64)
        active = self.true & self.book.strict
        if active:
            excluded, rules, erred = self.book.first_exclusions(active, rows)
            found[excluded] = 2 * self.places[rules] + ~erred
        broken = self.failed & self.book.strict
        return np.minimum(found, 2 * self.places[_lowest(broken)]) if broken else found

    def stated(self, among: int) -> Iterator[tuple[int, Policy]]:
        """The first rule in force that is ``among`` some, with its place in policy order."""
        if candidates := self.true & among:
            first = _lowest(candidates)
            yield int(self.places[first]), self.book.rules[first].policy

    def priorities(self) -> list[int]:
        """Of each ``prefer``, 0 for those not in force."""
        rules = self.book.rules
        return [rules[place].policy.priority if self.true >> place & 1 else 0 for place in self.book.prefers]


@dataclass(frozen=True, slots=True)
class InForce:
    """The rules that apply to one request; ``key`` says which, of which policies."""

    parts: tuple[Acting, ...]
    key: Hashable

    @property
    def weights(self) -> Mapping[str, int] | None:
        """Those of the first policy in force that states any."""
        stated = [found for part in self.parts for found in part.stated(part.book.weighing)]
        if not stated:
            return None
        return dict(min(stated, key=_place)[1].weights or ())

    @property
    def on_violation(self) -> OnViolation | None:
        stated = [found for part in self.parts for found in part.stated(part.book.handling)]
        return min(stated, key=_place)[1].on_violation if stated else None

    def exclude(self, sieve: Sieve, question: int) -> None:
        """Ask every question about rules, the first of which has the number ``question``."""
        for_each = [part.offsets(sieve.rows) for part in self.parts if part.true | part.failed]
        if for_each and sieve.rows.size:
            first = np.minimum.reduce(for_each)
            failing = (first != _NEVER).nonzero()[0]
            sieve.drop(failing, first[failing] + question)

    def preferences(self, rows: Rows) -> Numbers:
        """The preference term of each row: the satisfied priority of all in force, in [0, SCALE]."""
        satisfied, whole = np.zeros(rows.size, np.int64), 0
        for part in self.parts:
            priorities = part.priorities()
            if any(priorities):
                whole += sum(priorities)
                satisfied += part.book.preferred(priorities, rows)
        return satisfied * SCALE // whole if whole else satisfied


def _place(stated: tuple[int, Policy]) -> int:
    return stated[0]
