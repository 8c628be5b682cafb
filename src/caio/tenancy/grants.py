"""What one may give to others: never more than one has.

Laws (each has a test of the same name)
---------------------------------------
- a_grant_never_exceeds_its_grantor: in permissions, trust, limits and time, be it a key, a membership or an
  invitation.
- operators_are_of_the_platforms_tenant: the role exists nowhere else, whoever gives it.

Pure. Not bounded: how many one gives; each key of a limited grantor has limits of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from caio.foundation.errors import InvalidInput, NotAllowed, Violation
from caio.foundation.scope import DEFAULT_TENANT
from caio.routing.model import TRUST_LEVELS
from caio.tenancy.limits import UNLIMITED, Limits
from caio.tenancy.principals import ROLES, Caller, permissions_of

_OPERATOR = "operator"


def granted_roles(grantor: Caller, roles: Sequence[str], trust_level: str) -> tuple[str, ...]:
    """The roles as they are stored: each once, in order. Raises InvalidInput for unknown or no roles, an unknown
    trust level or an operator outside the platform's tenant; NotAllowed for more than the grantor has."""
    if not roles or any(role not in ROLES for role in roles):
        message = f"must be one or more of {', '.join(sorted(ROLES))}"
        raise InvalidInput("the roles are not valid", [Violation("/roles", message)])
    if trust_level not in TRUST_LEVELS:
        message = f"must be one of {', '.join(TRUST_LEVELS)}"
        raise InvalidInput("the trust level is not valid", [Violation("/trust_level", message)])
    check_reach(grantor, roles, trust_level)
    if _OPERATOR in roles and grantor.scope.tenant_id != DEFAULT_TENANT:
        message = f"the role {_OPERATOR} exists in the platform's own tenant only"
        raise InvalidInput("the roles are not valid", [Violation("/roles", message)])
    return tuple(sorted(set(roles)))


def check_reach(grantor: Caller, roles: Sequence[str], trust_level: str) -> None:
    """Raises NotAllowed when these roles or this trust go beyond the grantor's own."""
    own = grantor.principal
    if TRUST_LEVELS.index(trust_level) > TRUST_LEVELS.index(own.trust_level) or (
        not permissions_of(roles) <= own.permissions
    ):
        raise NotAllowed("nobody can be given, or lose at your hand, more than you have yourself")


def check_unbound(grantor: Caller) -> None:
    """Raises NotAllowed for a grantor who is bound by policies, limits or an end: for what is given to members and
    by invitations, which would not be."""
    if grantor.policies or grantor.limits != UNLIMITED or grantor.ends_at is not None:
        raise NotAllowed("who is bound by policies, limits or an end can give nobody more: they would not be")


def granted_limits(grantor: Caller, limits: Limits) -> Limits:
    """The limits, with the grantor's own where none are stated. Raises NotAllowed for wider ones."""
    merged = {}
    for field in fields(Limits):
        own, stated = getattr(grantor.limits, field.name), getattr(limits, field.name)
        if own is not None and stated is not None and stated > own:
            raise NotAllowed(f"the limit {field.name} is wider than your own, which is {own}")
        merged[field.name] = own if stated is None else stated
    return Limits(**merged)


def granted_end(grantor: Caller, expires_at: int | None) -> int | None:
    """When a key ends: not after the grantor's own key. Raises NotAllowed for a later moment."""
    if grantor.ends_at is None:
        return expires_at
    if expires_at is not None and expires_at > grantor.ends_at:
        raise NotAllowed("the key would outlive the one it is made with")
    return grantor.ends_at if expires_at is None else expires_at
