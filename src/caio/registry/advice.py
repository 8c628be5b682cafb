"""What is about to be put in force, analysed among everything else that is.

The analysis takes some tenths of a second for a thousand services and a hundred policies as people
write them, and seconds for expressions made to be slow, so
it runs in a thread. It sees what is in force when it begins: of two policies that are saved at once,
neither may be told of the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from caio.contracts import Contract, Parsed, PolicyDocument, parse_policy
from caio.foundation.errors import InvalidInput, Violation
from caio.foundation.scope import TenantScope
from caio.registry.views import View, Views
from caio.routing.analysis import Finding, Severity, analyse, analyse_contract
from caio.routing.offers import offer_of
from caio.routing.policies import compile_policy
from caio.routing.rules import Rule

_Found = tuple[Finding, ...]


class Advisor:
    """Analyses policies and contracts against the tenant's view, for each tenant one at a time."""

    def __init__(self, views: Views) -> None:
        self._views = views
        # Held by those that have it or wait for it, and forgotten with the last of them.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def of_policy(self, scope: TenantScope, rule: Rule) -> tuple[Finding, ...]:
        """What to know before the policy is put in force; see ``routing.analysis``."""
        return await self._in_turn(scope, partial(self._policy, scope, rule))

    async def of_contract(self, scope: TenantScope, contract: Contract) -> tuple[Finding, ...]:
        """What the new version newly permits or forbids; nothing for a service that is new to the
        tenant, also where another tenant shares one of that name."""
        return await self._in_turn(scope, partial(self._contract, scope, contract))

    async def _in_turn(self, scope: TenantScope, analysis: Callable[[], Coroutine[Any, Any, _Found]]) -> _Found:
        """One analysis a tenant at a time. A thread cannot be stopped, so a turn lasts until it is done,
        also when the caller is gone before."""
        turn = self._turns.setdefault(scope.tenant_id, asyncio.Lock())
        await turn.acquire()
        task = asyncio.create_task(analysis())
        task.add_done_callback(lambda _: turn.release())
        return await asyncio.shield(task)

    async def _policy(self, scope: TenantScope, rule: Rule) -> _Found:
        view = await self._views.current(scope)
        rules = _active(view)
        old = next((each for each in rules if each.policy.policy_id == rule.policy.policy_id), None)
        return await asyncio.to_thread(analyse, rule, rules, view.snapshot.offers, old)

    async def _contract(self, scope: TenantScope, contract: Contract) -> _Found:
        view = await self._views.current(scope)
        own = (each for each in view.snapshot.offers if each.tenant_id == scope.tenant_id)
        old = next((each for each in own if each.service_id == contract.service_id), None)
        if old is None:
            return ()
        new = offer_of(scope.tenant_id, contract.document(), contract.digest)
        return await asyncio.to_thread(analyse_contract, old, new, _active(view))


def compiled(source: str | bytes | Mapping[str, Any]) -> tuple[Parsed[PolicyDocument], Rule]:
    """A policy's document and rule; raises InvalidInput with the line and column of every flaw."""
    parsed = parse_policy(source)
    return parsed, compile_policy(parsed.value.document(), parsed.value.digest, parsed.lines)


def refuse_severe(findings: Sequence[Finding]) -> None:
    """Raises InvalidInput ``policy_findings`` when a finding is severe: what ``strict`` asks for."""
    severe = [each for each in findings if each.severity is Severity.SEVERE]
    if severe:
        violations = [Violation(each.pointer, f"{each.code}: {each.message}") for each in severe]
        raise InvalidInput(f"not saved: {severe[0].message}", violations, code="policy_findings")


def _active(view: View) -> list[Rule]:
    """Each active policy's rule, also of those that wait to be named."""
    return [rule for name, rule in view.nameable.items() if "@" not in name]
