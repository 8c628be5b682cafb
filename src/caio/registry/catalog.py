"""Registering contracts and policies: parse, compile, store, and tell the views.

Each method is one unit of work. A document is validated completely, its expressions compiled,
before anything is stored; storing is one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from caio.contracts import Contract, PolicyDocument, parse_contract
from caio.foundation.errors import InvalidInput, NotAllowed, Violation
from caio.foundation.scope import TenantScope
from caio.registry.advice import Advisor, compiled, refuse_severe
from caio.registry.ports import Page, Publication, Publications, Published
from caio.routing.analysis import Finding

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
    ``clock`` gives microseconds since the epoch."""

    def __init__(
        self,
        contracts: Publications,
        policies: Publications,
        changed: Callable[[TenantScope, bool], None],
        clock: Callable[[], int],
        advisor: Advisor,
    ) -> None:
        self.contracts = contracts
        self.policies = policies
        self._changed = changed
        self._clock = clock
        self._advisor = advisor

    async def register(self, scope: TenantScope, source: Source, quota: int, *, may_share: bool = False) -> Accepted:
        """A new service. Raises InvalidInput, Conflict ``already_exists`` or ``quota_exceeded``, and
        NotAllowed for a shared one unless ``may_share``."""
        parsed = parse_contract(source)
        _check_sharing(parsed.value, may_share)
        published = await self.contracts.publish_first(scope, self._contract(parsed.value), quota)
        return self._accept(scope, published, parsed.warnings)

    async def publish(
        self, scope: TenantScope, service_id: str, source: Source, if_match: int, *, may_share: bool = False
    ) -> Accepted:
        """A further version of a service; raises what ``Publications.publish_next`` does, and
        InvalidInput when the document is another service's."""
        parsed = parse_contract(source)
        _same_name("/service_id", service_id, parsed.value.service_id)
        _check_sharing(parsed.value, may_share)
        findings = await self._advisor.of_contract(scope, parsed.value)
        before = await self.contracts.get(scope, service_id)
        published = await self.contracts.publish_next(scope, self._contract(parsed.value), if_match)
        # A service that is shared no longer must leave the others' views as well.
        self._changed(scope, before.publication.shared or published.publication.shared)
        return Accepted(published, parsed.warnings, findings)

    async def retire(self, scope: TenantScope, service_id: str, if_match: int | None) -> Published:
        published = await self.contracts.retire(scope, service_id, if_match, self._clock())
        self._changed(scope, published.publication.shared)
        return published

    async def save_policy(self, scope: TenantScope, source: Source, *, strict: bool = False) -> Accepted:
        """A new policy; raises InvalidInput (also for expressions that do not compile, and when
        ``strict`` for severe findings) or Conflict."""
        examined = await self.examine_policy(scope, source, strict=strict)
        published = await self.policies.publish_first(scope, self._policy(examined.policy), POLICY_QUOTA)
        return self._accept(scope, published, examined.warnings, examined.findings)

    async def publish_policy(
        self, scope: TenantScope, policy_id: str, source: Source, if_match: int, *, strict: bool = False
    ) -> Accepted:
        """A further version of a policy; raises as ``save_policy`` and ``Publications.publish_next``."""
        examined = await self.examine_policy(scope, source, strict=strict)
        _same_name("/id", policy_id, examined.policy.policy_id)
        published = await self.policies.publish_next(scope, self._policy(examined.policy), if_match)
        return self._accept(scope, published, examined.warnings, examined.findings)

    async def examine_policy(self, scope: TenantScope, source: Source, *, strict: bool = False) -> Examined:
        """What saving the policy would say, without saving it; raises InvalidInput."""
        parsed, rule = compiled(source)
        findings = await self._advisor.of_policy(scope, rule)
        if strict:
            refuse_severe(findings)
        return Examined(parsed.value, parsed.warnings, findings)

    async def retire_policy(self, scope: TenantScope, policy_id: str, if_match: int | None) -> Published:
        published = await self.policies.retire(scope, policy_id, if_match, self._clock())
        self._changed(scope, False)
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

    def _contract(self, contract: Contract) -> Publication:
        document = contract.document()
        shared = document["access"]["visibility"] == "shared"
        tags = tuple(document["tags"])
        return Publication(
            contract.service_id, contract.version, contract.digest, document, self._clock(), tags, shared
        )

    def _policy(self, policy: PolicyDocument) -> Publication:
        return Publication(policy.policy_id, str(policy.version), policy.digest, policy.document(), self._clock())


def _check_sharing(contract: Contract, may_share: bool) -> None:
    if contract.access.visibility == "shared" and not may_share:
        raise NotAllowed("only the platform's operator may share a service with every tenant: visibility: tenant")


def _same_name(pointer: str, expected: str, found: str) -> None:
    if expected != found:
        raise InvalidInput(
            f"the document is for {found!r}, the address for {expected!r}",
            [Violation(pointer, f"must be {expected!r}")],
            code="name_mismatch",
        )
