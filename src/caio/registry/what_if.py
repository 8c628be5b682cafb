"""A change tried on the decisions that were made, before it is made.

Theory of operation
-------------------
The journal's decisions are walked from the newest back. For each, what it was made from is fetched
by the hashes in its certificate, and it is decided twice (``routing.replay``): as it was, which must
give the recorded hash bit by bit, and with the change. What does not give its hash (another version
of the rules decided it, or its record does not open) is counted and left out. Nothing is stored and
nobody is called.

Decisions come in pages; the arithmetic of a page runs in a thread, so that requests go on. A snapshot
is compiled once a manifest, from the one before as far as that goes; what the current page does not
need is forgotten, so memory does not grow with the number of decisions. One replay a tenant runs at
a time, and none longer than ``SECONDS``.

Laws (each has a test of the same name)
---------------------------------------
- what_is_not_reproduced_is_counted_and_left_out.
- every_decision_is_counted_once.
- a_replay_ends: at the limit, or when its time is over, and says how far it came.
- another_tenants_decisions_never_count.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from caio.audit.ports import DecisionRow, JournalStore, LeafKind
from caio.audit.record import open_leaf
from caio.audit.sealing import Sealer, TenantVault
from caio.contracts import parse_contract
from caio.foundation.errors import CaioError, InvalidInput, NotFound, Violation
from caio.foundation.scope import TenantScope
from caio.registry.advice import compiled
from caio.registry.building import snapshot_of
from caio.registry.ports import InputSnapshots, Publications
from caio.routing.engine import Snapshot
from caio.routing.model import History, InconsistentInputs, Offer, Principal, Request
from caio.routing.offers import offer_of
from caio.routing.policies import compile_policy
from caio.routing.replay import (
    Change,
    Outcome,
    Past,
    PutPolicy,
    PutService,
    Replayed,
    RetirePolicy,
    RetireService,
    Why,
    World,
    changed,
    replayed,
)
from caio.routing.rules import Rule

Source = str | bytes | Mapping[str, Any]

MOST_DECISIONS = 10_000
#: A replay that takes longer says how far it came.
SECONDS = 60
#: Moved requests that a report shows one by one.
MOST_SHOWN = 100

_PAGE = 200
_READ_AT_ONCE = 16
_WORLDS_KEPT = 8

#: What a certificate names by hash, each kept under it.
_PARTS = ("services", "policies", "history")

#: What a record that is not as this version writes it may raise when it is read and decided again.
_NOT_AS_RECORDED = (CaioError, LookupError, TypeError, ValueError, AttributeError)


class Ended(StrEnum):
    """Why a replay went no further back."""

    COMPLETE = "complete"
    LIMIT = "limit"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the ``compared`` decisions that have the figure on both sides."""

    before: int = 0
    after: int = 0
    compared: int = 0

    def plus(self, before: int, after: int) -> Totals:
        return Totals(self.before + before, self.after + after, self.compared + 1)


@dataclass(frozen=True, slots=True)
class Moved:
    """A request that another service would take; ``before`` or ``after`` is None for a refusal."""

    decision_id: str
    decided_at: int
    capability: str
    before: Outcome | None
    after: Outcome | None
    why: Why


@dataclass(slots=True)
class Report:
    """What the change would have done. Times in microseconds since the epoch, money in nano-units,
    latencies (the p95 to expect of the winner, see ``replay.Outcome``) in nanos of a millisecond.

    ``unchanged``, ``moved``, ``newly_refused`` and ``newly_served`` add up to ``replayed``. ``flows``
    counts the last three by service ids, None for a refusal. ``without_latency`` counts the decisions
    served on both sides of which one side's latency is unknown; ``observed`` those winners, before
    and after, whose latency was observed. ``requests`` are the newest ``MOST_SHOWN``.
    """

    since: int
    reached: int | None = None
    ended: Ended = Ended.COMPLETE
    replayed: int = 0
    not_reproduced: int = 0
    unchanged: int = 0
    moved: int = 0
    newly_refused: int = 0
    newly_served: int = 0
    flows: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    cost: Totals = Totals()
    latency: Totals = Totals()
    without_latency: int = 0
    observed: tuple[int, int] = (0, 0)
    requests: list[Moved] = field(default_factory=list)

    @property
    def looked_at(self) -> int:
        return self.replayed + self.not_reproduced

    def add(self, row: DecisionRow, found: Replayed | None) -> None:
        """Count one decision; None for one that was not reproduced."""
        self.reached = row.decided_at
        if found is None:
            self.not_reproduced += 1
            return
        self.replayed += 1
        before, after = found.before, found.after
        if before is not None and after is not None:
            self._total(before, after)
        if not found.moves:
            self.unchanged += 1
            return
        self.moved += before is not None and after is not None
        self.newly_refused += after is None
        self.newly_served += before is None
        self.flows[_id(before), _id(after)] += 1
        if len(self.requests) < MOST_SHOWN:
            why = found.why()
            self.requests.append(Moved(row.decision_id, row.decided_at, row.capability, before, after, why))

    def _total(self, before: Outcome, after: Outcome) -> None:
        self.cost = self.cost.plus(before.worst_cost, after.worst_cost)
        if before.p95 is None or after.p95 is None:
            self.without_latency += 1
            return
        self.latency = self.latency.plus(before.p95, after.p95)
        self.observed = self.observed[0] + before.observed, self.observed[1] + after.observed


@dataclass(frozen=True, slots=True)
class _Entry:
    """A decision with its record, None when that does not open."""

    row: DecisionRow
    document: Mapping[str, Any] | None


class WhatIf:
    """Tries changes on a tenant's recorded decisions. ``clock`` gives microseconds since the epoch."""

    def __init__(
        self,
        journal: JournalStore,
        vault: TenantVault,
        contracts: Publications,
        policies: Publications,
        snapshots: InputSnapshots,
        clock: Callable[[], int],
    ) -> None:
        self._journal = journal
        self._vault = vault
        self._contracts = contracts
        self._policies = policies
        self._snapshots = snapshots
        self._clock = clock
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def retiring_service(self, scope: TenantScope, service_id: str) -> RetireService:
        """Raises InvalidInput when the tenant has and sees no such service."""
        if all(each.name != service_id for each in await self._contracts.standing(scope)):
            await _known(self._contracts, scope, service_id, "/retire_service", "service")
        return RetireService(service_id)

    async def retiring_policy(self, scope: TenantScope, policy_id: str) -> RetirePolicy:
        """Raises InvalidInput when the tenant has no such policy."""
        await _known(self._policies, scope, policy_id, "/retire_policy", "policy")
        return RetirePolicy(policy_id)

    async def replay(self, scope: TenantScope, change: Change, since: int, limit: int) -> Report:
        """What ``change`` would have done to the decisions since ``since``, at most ``limit`` (up to
        MOST_DECISIONS) of them, newest first."""
        async with self._turns[scope.tenant_id]:
            until = self._clock() + SECONDS * 1_000_000
            report, worlds = Report(since), _Worlds(self, scope, change)
            place: tuple[int, str] | None = None
            while report.ended is Ended.COMPLETE:
                left = limit - report.looked_at
                found = await self._journal.decisions(scope, place, min(_PAGE, max(1, left)))
                rows = [row for row, _ in found if row.decided_at >= report.since]
                if rows and left <= 0:
                    report.ended = Ended.LIMIT
                elif not rows:
                    break
                else:
                    place = rows[-1].decided_at, rows[-1].decision_id
                    entries = await self._entries(scope, rows)
                    await worlds.prepare([each.document for each in entries if each.document is not None])
                    await asyncio.to_thread(self._page, entries, worlds, report, until)
            return report

    def _page(self, entries: Sequence[_Entry], worlds: _Worlds, report: Report, until: int) -> None:
        for entry in entries:
            if self._clock() >= until:
                report.ended = Ended.TIME
                return
            report.add(entry.row, worlds.replayed(entry.document))

    async def _entries(self, scope: TenantScope, rows: Sequence[DecisionRow]) -> list[_Entry]:
        sealer = await self._vault.sealer(scope)
        entries: list[_Entry] = []
        for start in range(0, len(rows), _READ_AT_ONCE):
            some = rows[start : start + _READ_AT_ONCE]
            entries += await asyncio.gather(*(self._entry(scope, row, sealer) for row in some))
        return entries

    async def _entry(self, scope: TenantScope, row: DecisionRow, sealer: Sealer) -> _Entry:
        stored = await self._journal.read(scope, LeafKind.DECISION, row.decision_id)
        try:
            document = None if stored is None else open_leaf(stored, sealer).document
        except CaioError:  # erased or altered: it is not what was recorded
            document = None
        known = document is not None and all(part in document["certificate"] for part in _PARTS)
        return _Entry(row, document if known else None)

    async def body(self, scope: TenantScope, digest: str) -> Any:
        """The document kept under ``digest``, None when there is none."""
        try:
            return json.loads(await self._snapshots.fetch(scope, digest))
        except NotFound:
            return None

    async def documents(
        self, scope: TenantScope, digests: Sequence[str], *, policies: bool = False
    ) -> dict[str, Mapping[str, Any]]:
        """Registered contracts, or policies, by their hash; unknown ones are left out."""
        store = self._policies if policies else self._contracts
        found = await store.by_digest(scope, digests) if digests else {}
        return {digest: each.publication.document for digest, each in found.items()}


class _Worlds:
    """The snapshots and histories that a page's decisions were made on, and the changed snapshots.

    ``prepare`` reads what a page needs, on the loop; ``replayed`` only computes.
    """

    def __init__(self, source: WhatIf, scope: TenantScope, change: Change) -> None:
        self._source = source
        self._scope = scope
        self._change = change
        self._bodies: dict[str, Any] = {}
        self._histories: dict[str, History] = {}
        self._contracts: dict[str, Mapping[str, Any]] = {}
        self._policies: dict[str, Mapping[str, Any]] = {}
        self._brought: set[str] = set()
        self._offers: dict[tuple[str, str], Offer] = {}
        self._rules: dict[str, Rule] = {}
        self._last: Snapshot | None = None
        self._worlds: OrderedDict[tuple[str, str], tuple[World, Snapshot | InconsistentInputs]] = OrderedDict()

    async def prepare(self, documents: Sequence[Mapping[str, Any]]) -> None:
        certificates = [document["certificate"] for document in documents]
        named = {each[part] for each in certificates for part in _PARTS}
        self._bodies = {digest: await self._body(digest) for digest in sorted(named)}
        self._histories = {digest: each for digest, each in self._histories.items() if digest in named}
        services = self._listed(certificates, "services")
        self._offers = {key: offer for key, offer in self._offers.items() if key in services}
        missing = sorted({digest for owner, digest in services - self._offers.keys()})
        self._contracts = await self._source.documents(self._scope, missing)
        policies = {digest for _, digest in self._listed(certificates, "policies")}
        self._rules = {digest: rule for digest, rule in self._rules.items() if digest in policies}
        self._brought &= policies
        unread = sorted(policies - self._rules.keys())
        self._policies = await self._source.documents(self._scope, unread, policies=True)
        for digest in unread:
            if digest not in self._policies and (document := await self._source.body(self._scope, digest)) is not None:
                self._policies[digest] = document
                self._brought.add(digest)

    def replayed(self, document: Mapping[str, Any] | None) -> Replayed | None:
        """None for what is not reproduced."""
        if document is None:
            return None
        try:
            certificate = document["certificate"]
            past = Past(
                Request.from_document(document["request"]),
                Principal.from_document(document["principal_document"]),
                self._history(certificate["history"]),
                document["decision_hash"],
            )
            world, after = self._world(certificate["services"], certificate["policies"])
            return replayed(world, after, past, self._change)
        except _NOT_AS_RECORDED:
            return None

    async def _body(self, digest: str) -> Any:
        known = self._bodies.get(digest)
        return known if known is not None else await self._source.body(self._scope, digest)

    def _listed(self, certificates: Sequence[Mapping[str, Any]], part: str) -> set[tuple[str, str]]:
        """Owner (of a policy: nobody) and hash of everything in the manifests."""
        manifests = [self._bodies[digest] or () for digest in {each[part] for each in certificates}]
        return {(row[3] if part == "services" else "", row[2]) for manifest in manifests for row in manifest}

    def _history(self, digest: str) -> History:
        if digest not in self._histories:
            self._histories[digest] = History.from_document(self._bodies[digest])
        return self._histories[digest]

    def _world(self, services: str, policies: str) -> tuple[World, Snapshot | InconsistentInputs]:
        found = self._worlds.pop((services, policies), None) or self._made(services, policies)
        self._worlds[services, policies] = found
        if len(self._worlds) > _WORLDS_KEPT:
            self._worlds.popitem(last=False)
        return found

    def _made(self, services: str, policies: str) -> tuple[World, Snapshot | InconsistentInputs]:
        offers = [self._offer(row[3], row[2]) for row in self._bodies[services]]
        rules = [self._rule(row[2]) for row in self._bodies[policies]]
        self._last = snapshot_of(self._scope.tenant_id, self._last, offers, rules)
        world = World(self._last, frozenset(rule.policy.policy_hash for rule in rules) & self._brought)
        try:
            return world, changed(world, self._change)
        except InconsistentInputs as error:
            return world, error

    def _offer(self, owner: str, digest: str) -> Offer:
        key = owner, digest
        if key not in self._offers:
            self._offers[key] = offer_of(owner, self._contracts[digest], digest)
        return self._offers[key]

    def _rule(self, digest: str) -> Rule:
        if digest not in self._rules:
            self._rules[digest] = compile_policy(self._policies[digest], digest)
        return self._rules[digest]


def putting_service(scope: TenantScope, source: Source) -> PutService:
    """The contract as a change; raises InvalidInput as registering it would."""
    contract = parse_contract(source).value
    return PutService(offer_of(scope.tenant_id, contract.document(), contract.digest))


def putting_policy(source: Source) -> PutPolicy:
    """The policy as a change; raises InvalidInput as saving it would."""
    return PutPolicy(compiled(source)[1])


def _id(outcome: Outcome | None) -> str | None:
    return None if outcome is None else outcome.service_id


async def _known(store: Publications, scope: TenantScope, name: str, pointer: str, noun: str) -> None:
    try:
        await store.get(scope, name)
    except NotFound:
        violation = Violation(pointer, f"you have no {noun} of this id")
        raise InvalidInput(f"no {noun} is named {name!r}", [violation], code="invalid_request") from None
