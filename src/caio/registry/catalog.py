"""Registering contracts and policies: parse, compile, store, and tell the views.

Each method is one unit of work. A document is validated completely, its expressions compiled,
before anything is stored; storing is one transaction, and the leaf that says who changed what is
part of it. A retirement's leaf names no version: a retired name takes no further one, so it is the
last that was published.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from caio.audit.acts import Act, Acts
from caio.audit.ports import Leaf
from caio.contracts import Contract, PolicyDocument, parse_contract
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import InvalidInput, NotAllowed, Violation
from caio.foundation.scope import TenantScope
from caio.metering.storage_measure import StorageGauge
from caio.registry.advice import Advisor, compiled, refuse_severe
from caio.registry.ports import Page, Publication, Publications, Published
from caio.routing.analysis import Finding
from caio.tenancy.principals import Caller, Permission

Source = str | bytes | Mapping[str, Any]

#: Policies a tenant may have; they are all weighed in every decision.
POLICY_QUOTA = 10_000


@dataclass(frozen=True, slots=True)
class Accepted:
    """A stored publication and what its author should know: unknown fields, which are ignored, and
    what the analysis found."""

    published: Published
    warnings: tuple[Violation, ...]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Examined:
    """A valid policy that is not stored."""

    policy: PolicyDocument
    warnings: tuple[Violation, ...]
    findings: tuple[Finding, ...]


class Catalog:
    """The tenants' contracts and policies. ``changed(scope, shared)`` is called after each change;
    ``clock`` gives microseconds since the epoch; ``refuse_name`` raises Conflict for a service id that the tenant
    uses for something else."""

    def __init__(
        self,
        contracts: Publications,
        policies: Publications,
        changed: Callable[[TenantScope, bool], None],
        clock: Callable[[], int],
        advisor: Advisor,
        acts: Acts,
        storage: StorageGauge,
        refuse_name: Callable[[TenantScope, str], Awaitable[None]] | None = None,
    ) -> None:
        self.contracts = contracts
        self.policies = policies
        self._changed = changed
        self._clock = clock
        self._advisor = advisor
        self._acts = acts
        self._storage = storage
        self._refuse_name = refuse_name

    async def register(self, caller: Caller, source: Source) -> Accepted:
        """A new service, within the tenant's quotas of services and storage. Raises InvalidInput, Conflict
        ``already_exists`` or ``quota_exceeded``, and NotAllowed for a shared one unless the caller may share."""
        parsed = parse_contract(source)
        _check_sharing(parsed.value, caller)
        contract = self._contract(parsed.value)
        if self._refuse_name is not None:
            await self._refuse_name(caller.scope, contract.name)
        leaf = await self._publishing(caller, "contract.published", contract, shared=contract.shared)
        published = await self.contracts.publish_first(caller.scope, contract, caller.tenant.quotas.services, leaf)
        return self._accept(caller.scope, published, parsed.warnings)

    async def publish(self, caller: Caller, service_id: str, source: Source, if_match: int) -> Accepted:
        """A further version of a service; raises what ``Publications.publish_next`` does, NotAllowed as
        ``register``, and InvalidInput when the document is another service's."""
        parsed = parse_contract(source)
        _same_name("/service_id", service_id, parsed.value.service_id)
        _check_sharing(parsed.value, caller)
        findings = await self._advisor.of_contract(caller.scope, parsed.value)
        before = await self.contracts.get(caller.scope, service_id)
        contract = self._contract(parsed.value)
        leaf = await self._publishing(caller, "contract.published", contract, shared=contract.shared)
        published = await self.contracts.publish_next(caller.scope, contract, if_match, leaf)
        # A service that is shared no longer must leave the others' views as well.
        self._changed(caller.scope, before.publication.shared or published.publication.shared)
        return Accepted(published, parsed.warnings, findings)

    async def retire(self, caller: Caller, service_id: str, if_match: int | None) -> Published:
        leaf = await self._leaf(caller, "contract.retired", service_id, {})
        published = await self.contracts.retire(caller.scope, service_id, if_match, self._clock(), leaf)
        self._changed(caller.scope, published.publication.shared)
        return published

    async def save_policy(self, caller: Caller, source: Source, *, strict: bool = False) -> Accepted:
        """A new policy; raises InvalidInput (also for expressions that do not compile, and when
        ``strict`` for severe findings) or Conflict."""
        examined = await self.examine_policy(caller.scope, source, strict=strict)
        policy = self._policy(examined.policy)
        leaf = await self._publishing(caller, "policy.published", policy)
        published = await self.policies.publish_first(caller.scope, policy, POLICY_QUOTA, leaf)
        return self._accept(caller.scope, published, examined.warnings, examined.findings)

    async def publish_policy(
        self, caller: Caller, policy_id: str, source: Source, if_match: int, *, strict: bool = False
    ) -> Accepted:
        """A further version of a policy; raises as ``save_policy`` and ``Publications.publish_next``."""
        examined = await self.examine_policy(caller.scope, source, strict=strict)
        _same_name("/id", policy_id, examined.policy.policy_id)
        policy = self._policy(examined.policy)
        leaf = await self._publishing(caller, "policy.published", policy)
        published = await self.policies.publish_next(caller.scope, policy, if_match, leaf)
        return self._accept(caller.scope, published, examined.warnings, examined.findings)

    async def examine_policy(self, scope: TenantScope, source: Source, *, strict: bool = False) -> Examined:
        """What saving the policy would say, without saving it; raises InvalidInput."""
        parsed, rule = compiled(source)
        findings = await self._advisor.of_policy(scope, rule)
        if strict:
            refuse_severe(findings)
        return Examined(parsed.value, parsed.warnings, findings)

    async def retire_policy(self, caller: Caller, policy_id: str, if_match: int | None) -> Published:
        leaf = await self._leaf(caller, "policy.retired", policy_id, {})
        published = await self.policies.retire(caller.scope, policy_id, if_match, self._clock(), leaf)
        self._changed(caller.scope, False)
        return published

    async def services(self, scope: TenantScope, *, after: str, limit: int, tag: str | None, retired: bool) -> Page:
        return await self.contracts.page(scope, after=after, limit=limit, tag=tag, retired=retired)

    def _accept(
        self,
        scope: TenantScope,
        published: Published,
        warnings: tuple[Violation, ...],
        findings: tuple[Finding, ...] = (),
    ) -> Accepted:
        self._changed(scope, published.publication.shared)
        return Accepted(published, warnings, findings)

    async def _publishing(self, caller: Caller, action: str, made: Publication, **further: Any) -> Leaf:
        """The leaf of a publication that there is room for; raises Conflict ``quota_exceeded``."""
        size = len(canonical_json(made.document))
        await self._storage.admit_document(caller.scope, caller.tenant.quotas.storage_bytes, size)
        return await self._leaf(caller, action, made.name, {"version": made.version, "digest": made.digest, **further})

    async def _leaf(self, caller: Caller, action: str, name: str, details: Mapping[str, Any]) -> Leaf:
        return await self._acts.leaf(caller.scope, Act(action, caller.principal.principal_id, name, details))

    def _contract(self, contract: Contract) -> Publication:
        document = contract.document()
        shared = document["access"]["visibility"] == "shared"
        tags = tuple(document["tags"])
        return Publication(
            contract.service_id, contract.version, contract.digest, document, self._clock(), tags, shared
        )

    def _policy(self, policy: PolicyDocument) -> Publication:
        return Publication(policy.policy_id, str(policy.version), policy.digest, policy.document(), self._clock())


def _check_sharing(contract: Contract, caller: Caller) -> None:
    if contract.access.visibility == "shared" and Permission.SERVICES_SHARE not in caller.principal.permissions:
        raise NotAllowed("only the platform's operator may share a service with every tenant: visibility: tenant")


def _same_name(pointer: str, expected: str, found: str) -> None:
    if expected != found:
        raise InvalidInput(
            f"the document is for {found!r}, the address for {expected!r}",
            [Violation(pointer, f"must be {expected!r}")],
            code="name_mismatch",
        )
