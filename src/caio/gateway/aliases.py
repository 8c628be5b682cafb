"""Aliases of models: a name that stands for a target and for terms that bind every call which uses it.

Theory of operation
-------------------
A tenant gives a name to what its programs call a model: services, or a capability, with policies and wishes that
hold for all calls by that name. An alias only ever narrows. What the caller wishes, its key's policies and the
tenant's own bind all the same; where the alias and the caller state one thing twice, the tighter holds:

- bounds and ``max_cost``: the smaller, of lower bounds the larger; what only one states holds too.
- ``features``, ``compliance``, ``excluded_services``, policies and capabilities: both lists.
- ``services`` and ``regions``: what both allow; a call that is left with none is refused and told so.
- ``data_locality``: the nearer. ``data_classification``: the more secret. ``sensitive``, ``deterministic``, and a
  forbidden ``egress`` or ``training``: whoever says so. ``max_retention_days``, ``max_tokens``: the smaller.
  ``context_length``: the larger.
- ``on_violation``: the stricter of report, retry, fallback, fail. ``deadline_ms``: the smaller, where the caller
  states one; else the alias's.
- ``objective``: the caller's, else the alias's: it orders services and admits none.

Laws (each has a test of the same name)
---------------------------------------
- an_alias_never_widens: a service that satisfies a narrowed request satisfies the caller's own.
- an_alias_always_binds: and it satisfies the alias's.
- narrowing_again_changes_nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from caio.foundation.errors import InvalidInput, Violation
from caio.gateway.intake import (
    MAX_DEADLINE_MS,
    NO_CONSTRAINTS,
    NO_REQUIREMENTS,
    Addresses,
    Constraints,
    Name,
    Objective,
    Requirements,
    Wishes,
    kernel_request,
    read,
)
from caio.routing.model import CLASSIFICATIONS, LOCALITIES, OnViolation, Request

#: From what lets most through to what lets least.
_STRICTER = (OnViolation.REPORT, OnViolation.RETRY, OnViolation.FALLBACK, OnViolation.FAIL)

PolicyAddress = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}(@[0-9]{1,9})?$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class AliasTarget(_Strict):
    """What calls by the alias go to: some services (`id` or `id@version`), or whoever offers a capability."""

    services: Addresses = []
    capability: Name | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.services and self.capability is None:
            raise ValueError("name services, a capability, or both")
        return self


class AliasWishes(_Strict):
    """What every call by the alias wishes for, beside what it says itself; the tighter of both holds."""

    requirements: Annotated[Requirements, Field(default_factory=lambda: NO_REQUIREMENTS)]
    constraints: Annotated[Constraints, Field(default_factory=lambda: NO_CONSTRAINTS)]
    data_classification: Literal["public", "internal", "confidential", "restricted"] = "public"
    sensitive: bool = False
    objective: Objective | None = None
    on_violation: OnViolation | None = None
    deadline_ms: Annotated[int, Field(ge=1, le=MAX_DEADLINE_MS)] | None = None


NO_WISHES = read(AliasWishes, b"{}")


class AliasBody(_Strict):
    """An alias, as it is stored: ``policies`` are the tenant's own, by id or ``id@version``."""

    target: AliasTarget
    description: Annotated[str, StringConstraints(max_length=1_000)] = ""
    policies: Annotated[list[PolicyAddress], Field(max_length=64)] = []
    wishes: Annotated[AliasWishes, Field(default_factory=lambda: NO_WISHES)]

    def document(self) -> dict[str, Any]:
        """What is stored: what was stated and nothing else."""
        stated: dict[str, Any] = msgspec.json.decode(self.model_dump_json(exclude_unset=True))
        return stated


@dataclass(frozen=True, slots=True)
class Terms:
    """An alias, ready to narrow requests. ``request`` says its wishes in the kernel's words; what it leaves unsaid
    narrows nothing. ``capabilities`` is that of its target, or empty."""

    alias: str
    capabilities: tuple[str, ...]
    policies: tuple[str, ...]
    request: Request
    deadline_ms: int | None


def terms_of(alias: str, content: str) -> Terms:
    """The terms of an alias's stored ``content``. Raises InvalidInput for wishes outside the exact domain."""
    try:
        return _terms(alias, content)
    except InvalidInput as error:
        found = [Violation(_own_pointer(each.pointer), each.message, each.line) for each in error.violations]
        raise InvalidInput(f"the alias {alias!r} is not valid: {found[0].message}", found, code=error.code) from None


def _own_pointer(pointer: str) -> str:
    return pointer.replace("/request/", "/wishes/", 1)


@lru_cache(maxsize=10_000)
def _terms(alias: str, content: str) -> Terms:
    body = read(AliasBody, content.encode())
    target, wished = body.target, body.wishes
    services = common(frozenset(target.services), frozenset(wished.constraints.services))
    if not services and (target.services or wished.constraints.services):
        raise InvalidInput(
            "its constraints leave none of its services", [Violation("/target/services", "none is left")]
        )
    wishes = Wishes(
        capability=target.capability or "any",
        requirements=wished.requirements,
        constraints=wished.constraints,
        data_classification=wished.data_classification,
        sensitive=wished.sensitive,
        objective=wished.objective,
        on_violation=wished.on_violation,
    )
    request = kernel_request(wishes, tenant_id="", currency="", input_bytes=0, labels={})
    terms = replace(request, services=services)
    return Terms(
        alias, (target.capability,) if target.capability else (), tuple(body.policies), terms, wished.deadline_ms
    )


def narrowed(asked: Request, terms: Terms, *, deadline_stated: bool) -> Request:
    """``asked`` under the terms. Raises InvalidInput when they leave no service, or no region."""
    own = terms.request
    return replace(
        asked,
        capabilities=tuple(dict.fromkeys((*terms.capabilities, *asked.capabilities))),
        bounds=_bounds(asked.bounds, own.bounds),
        max_cost=_least(asked.max_cost, own.max_cost),
        features=asked.features | own.features,
        context_length=max((asked.context_length or 0, own.context_length or 0)) or None,
        data_locality=_first(LOCALITIES, asked.data_locality, own.data_locality),
        regions=_left(terms, "regions", asked.regions & own.regions, asked.regions, own.regions),
        compliance=asked.compliance | own.compliance,
        classification=max(asked.classification, own.classification, key=CLASSIFICATIONS.index),
        sensitive=asked.sensitive or own.sensitive,
        egress=asked.egress and own.egress,
        training=asked.training and own.training,
        max_retention_days=_least(asked.max_retention_days, own.max_retention_days),
        services=_left(terms, "services", common(asked.services, own.services), asked.services, own.services),
        excluded_services=asked.excluded_services | own.excluded_services,
        max_tokens=_least(asked.max_tokens, own.max_tokens),
        deadline_ms=_deadline(asked, terms, stated=deadline_stated),
        weights=own.weights if asked.weights is None else asked.weights,
        on_violation=_stricter(asked.on_violation, own.on_violation),
    )


def common(some: frozenset[str], others: frozenset[str]) -> frozenset[str]:
    """The services that two lists allow, by id or ``id@version``; an empty list allows all of them."""
    if not some or not others:
        return some or others
    return _in(some, others) | _in(others, some)


def _in(some: frozenset[str], others: frozenset[str]) -> frozenset[str]:
    return frozenset(each for each in some if each in others or each.partition("@")[0] in others)


def _left(
    terms: Terms, name: str, both: frozenset[str], some: frozenset[str], others: frozenset[str]
) -> frozenset[str]:
    """What two lists both allow; an empty one allows all."""
    if not some or not others:
        return some or others
    if not both:
        rule = (
            f"the alias {terms.alias!r} allows the {name} {', '.join(sorted(others))} only, and this call none of them"
        )
        raise InvalidInput(rule, [Violation("/model", rule)], code="invalid_request")
    return both


def _bounds(some: tuple[tuple[str, int], ...], others: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    found = dict(some)
    for name, value in others:
        tighter = max if name.endswith(".min") else min
        found[name] = tighter(value, found.get(name, value))
    return tuple(sorted(found.items()))


def _least(one: int | None, other: int | None) -> int | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _first(order: tuple[str, ...], one: str | None, other: str | None) -> str | None:
    return min((each for each in (one, other) if each is not None), key=order.index, default=None)


def _stricter(one: OnViolation | None, other: OnViolation | None) -> OnViolation | None:
    return max((each for each in (one, other) if each is not None), key=_STRICTER.index, default=None)


def _deadline(asked: Request, terms: Terms, *, stated: bool) -> int:
    if terms.deadline_ms is None:
        return asked.deadline_ms
    return min(asked.deadline_ms, terms.deadline_ms) if stated else terms.deadline_ms
