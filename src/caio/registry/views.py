"""A tenant's compiled view: what its decisions run on.

A view is built from the store when a tenant first needs one, and again after a change; it is
immutable and swapped whole. Where other processes publish too, what stands is read again every few
seconds (``standings``). Before a view is used, the manifests its certificates will name are
stored, so that every decision can be replayed from its evidence.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from caio.contracts import parse_policy
from caio.foundation.canonical import canonical_json, canonical_plain
from caio.foundation.errors import InvalidInput, NotAllowed, Violation
from caio.foundation.scope import TenantScope
from caio.registry.building import offers_now, snapshot_of
from caio.registry.ports import InputSnapshots, Publications
from caio.registry.standings import Standings
from caio.routing.engine import Snapshot
from caio.routing.model import InconsistentInputs
from caio.routing.policies import compile_policy
from caio.routing.rules import Rule, in_order, policies_hash, policies_manifest

#: Inline policies kept compiled, over all tenants, and the size of one.
INLINE_KEPT = 256
INLINE_BYTES = 16_384
#: Inline policies of one request.
INLINE_OF_ONE = 8
#: Tenants whose views are kept; another's is made again when it is needed.
TENANTS_KEPT = 1_000
#: What the views of all tenants may take together, in bytes as their snapshots tell (about; looked at once in so many
#: calls). Beyond it the tenants that called longest ago lose what is kept of their requests, then their views.
BYTES_KEPT = 512 << 20
CALLS_BETWEEN_LOOKS = 1_024
#: How often a view is read again because something changed meanwhile.
READINGS = 5

Reference = str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """The snapshot of services with the tenant's attached rules, and the rules a request may name."""

    snapshot: Snapshot
    nameable: Mapping[str, Rule]


class Views:
    """Builds and keeps the tenants' views. ``alone`` is whether every change comes through this process."""

    def __init__(
        self, contracts: Publications, policies: Publications, snapshots: InputSnapshots, *, alone: bool = True
    ) -> None:
        self._contracts = contracts
        self._policies = policies
        self._snapshots = snapshots
        self._standings = None if alone else Standings(contracts, policies, self._changed_elsewhere)
        self._views: dict[str, View] = {}
        #: The views last made, out of date or not: the next is made from them. Those least recently used go.
        self._last: OrderedDict[str, View] = OrderedDict()
        self._compiling: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._building: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._generation: defaultdict[str, int] = defaultdict(int)
        self._shared_generation = 0
        self._inline: OrderedDict[bytes, Rule] = OrderedDict()
        self._kept: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._calls = 0

    def changed(self, scope: TenantScope, shared: bool) -> None:
        """Forget the tenant's view (every tenant's, when a shared service changed)."""
        self._generation[scope.tenant_id] += 1
        self._views.pop(scope.tenant_id, None)
        if shared:
            self._shared_generation += 1
            self._views.clear()

    def forget(self, tenant_id: str) -> None:
        """Drop all that is kept of a deleted tenant, and what others have built with what it shared."""
        self._generation[tenant_id] += 1
        self._shared_generation += 1
        self._views.clear()
        self._last.pop(tenant_id, None)
        for key in [key for key in self._kept if key[0] == tenant_id]:
            del self._kept[key]

    def _changed_elsewhere(self, scope: TenantScope) -> None:
        self.changed(scope, shared=False)  # a shared service is in every tenant's own reading

    async def stop(self) -> None:
        """End what is being read beside calls."""
        if self._standings is not None:
            await self._standings.stop()

    async def current(self, scope: TenantScope) -> View:
        """The tenant's view, with every change of this process that was finished before the call, and of others
        that was LATEST_SECONDS before it."""
        if self._standings is not None:
            await self._standings.check(scope)
        view = self._views.get(scope.tenant_id)
        if view is not None:
            self._last.move_to_end(scope.tenant_id)
            self._calls += 1
            if self._calls >= CALLS_BETWEEN_LOOKS:
                self._make_room()
            return view
        async with self._building.setdefault(scope.tenant_id, asyncio.Lock()):
            for reading in range(1, READINGS + 1):
                if (kept := self._views.get(scope.tenant_id)) is not None:
                    return kept
                before = self._generation[scope.tenant_id], self._shared_generation
                built = await self._build(scope)
                # A change that came while we were reading makes what we read old: read again. But changes
                # without a pause must not keep the tenant from being served: all that was finished before
                # the call is in what was read, and the next call reads again.
                if before == (self._generation[scope.tenant_id], self._shared_generation):
                    self._views[scope.tenant_id] = built
                elif reading < READINGS:
                    continue
                return built
            raise AssertionError("the last reading returns")

    async def compiled(self, scope: TenantScope, view: View, rules: Sequence[Rule]) -> None:
        """Have the view's snapshot know what ``rules``, which came with a request, say of every service.
        One at a time for a tenant, and while others are served."""
        if not view.snapshot.has_rule_set(rules):
            async with self._compiling.setdefault(scope.tenant_id, asyncio.Lock()):
                await asyncio.to_thread(view.snapshot.rule_set, rules)

    async def missing(self, scope: TenantScope, policy_ids: Sequence[str]) -> Sequence[str]:
        """Those of ``policy_ids`` that no active policy of the tenant has."""
        nameable = (await self.current(scope)).nameable
        return [policy_id for policy_id in policy_ids if policy_id not in nameable]

    async def rules(
        self,
        scope: TenantScope,
        view: View,
        references: Sequence[Reference],
        bound_by: Sequence[str] = (),
        *,
        keep: bool = True,
    ) -> list[Rule]:
        """The rules of the policies in ``bound_by``, which the caller's key names, and of those that a
        request names by id or brings along. When there are any, what the certificate will say of them
        is stored before this returns, unless nothing is to be kept. Raises InvalidInput for the request's,
        and NotAllowed ``key_policy_missing`` when one of the key's is gone: without it the key may do nothing."""
        if not (references or bound_by):
            return []
        bound = [view.nameable[policy_id] for policy_id in bound_by if policy_id in view.nameable]
        if len(bound) < len(bound_by):
            gone = next(policy_id for policy_id in bound_by if policy_id not in view.nameable)
            message = f"your key is bound by the policy {gone!r}, which is retired: ask for another key"
            raise NotAllowed(message, code="key_policy_missing")
        rules, violations = [], []
        if sum(not isinstance(reference, str) for reference in references) > INLINE_OF_ONE:
            violations.append(Violation("/policies", f"a request may bring {INLINE_OF_ONE} policies of its own"))
            references = []
        for index, reference in enumerate(references):
            try:
                rules.append(self._named(view, reference))
            except InvalidInput as error:
                violations += [Violation(f"/policies/{index}{v.pointer}", v.message, v.line) for v in error.violations]
        try:
            in_force = in_order([*view.snapshot.rules, *bound, *rules])
        except InconsistentInputs as error:
            violations.append(Violation("/policies", str(error)))
        if violations:
            raise InvalidInput("a policy of the request is not usable", violations, code="invalid_policy")
        if keep and (bound or rules):
            for rule, reference in zip(rules, references, strict=True):
                if not isinstance(reference, str):
                    await self._keep(scope, rule.policy.policy_hash, canonical_json(dict(rule.policy.document)))
            await self._keep_manifest(scope, in_force)
        return [*bound, *rules]

    def _named(self, view: View, reference: Reference) -> Rule:
        if isinstance(reference, str):
            rule = view.nameable.get(reference)
            if rule is None:
                raise InvalidInput("unknown policy", [Violation("", f"no policy is named {reference!r}")])
            return rule
        source = msgspec.json.encode(reference, order="sorted")
        if len(source) > INLINE_BYTES:
            raise InvalidInput("too large", [Violation("", f"an inline policy may have {INLINE_BYTES} bytes")])
        rule = self._inline.get(source)
        if rule is None:
            document = parse_policy(source).value
            if document.weights is not None or document.on_violation is not None:
                message = "belongs to a saved policy; a request states its own objective and on_violation"
                given = {"weights": document.weights, "on_violation": document.on_violation}
                violations = [Violation(f"/{name}", message) for name, value in given.items() if value is not None]
                raise InvalidInput("an inline policy that outranks saved ones", violations, code="invalid_policy")
            rule = compile_policy(document.document(), document.digest)
            self._inline[source] = rule
            if len(self._inline) > INLINE_KEPT:
                self._inline.popitem(last=False)
        return rule

    async def _build(self, scope: TenantScope) -> View:
        last = self._last.get(scope.tenant_id)
        offers = await offers_now(self._contracts, scope, last.snapshot.offers if last else ())
        known = {rule.policy.policy_hash: rule for rule in last.nameable.values()} if last else {}
        compiled = []
        for each in await self._policies.active(scope):
            digest = each.publication.digest
            compiled.append((each, known.get(digest) or compile_policy(each.publication.document, digest)))
        attached = [rule for each, rule in compiled if each.publication.document["attach"] == "tenant"]
        nameable = {}
        for each, rule in compiled:
            nameable[each.publication.name] = rule
            nameable[f"{each.publication.name}@{each.publication.version}"] = rule
        before = last.snapshot if last else None
        # Compiling thousands of services takes seconds, in which others are to be served.
        snapshot = await asyncio.to_thread(snapshot_of, scope.tenant_id, before, offers, attached)
        await self._keep(scope, snapshot.services_hash, canonical_plain(snapshot.manifest()))
        await self._keep_manifest(scope, snapshot.rules)
        view = self._last[scope.tenant_id] = View(snapshot, nameable)
        self._last.move_to_end(scope.tenant_id)
        if len(self._last) > TENANTS_KEPT:
            self._let_go(next(iter(self._last)))
        self._make_room()
        return view

    def _make_room(self) -> None:
        """Keep to BYTES_KEPT, but for what the tenant that called last needs."""
        self._calls = 0
        beyond = sum(view.snapshot.weight for view in self._last.values()) - BYTES_KEPT
        *others, _ = self._last
        for give_up in (self._forget_requests, self._let_go):
            for tenant_id in others:
                if beyond <= 0:
                    return
                beyond -= give_up(tenant_id)

    def _forget_requests(self, tenant_id: str) -> int:
        snapshot = self._last[tenant_id].snapshot
        before = snapshot.weight
        snapshot.forget_requests()
        return before - snapshot.weight

    def _let_go(self, tenant_id: str) -> int:
        self._views.pop(tenant_id, None)
        return self._last.pop(tenant_id).snapshot.weight

    async def _keep_manifest(self, scope: TenantScope, rules: Sequence[Rule]) -> None:
        await self._keep(scope, policies_hash(rules), canonical_json(policies_manifest(rules)))

    async def _keep(self, scope: TenantScope, digest: str, body: bytes) -> None:
        """Store once; remembers what is stored already, within bounds."""
        key = (scope.tenant_id, digest)
        if key in self._kept:
            return
        await self._snapshots.keep(scope, digest, body)
        self._kept[key] = None
        if len(self._kept) > 10 * INLINE_KEPT:
            self._kept.popitem(last=False)
