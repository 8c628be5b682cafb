"""The closed sets of words that contracts and policies are written in.

``routing.model`` uses the same constants: a contract that could name a trust level or a locality
the kernel does not know would be a promise nobody can check.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, get_args

#: Upper-bound statistics, weakest first (DESIGN, law 5).
STRENGTH = ("p50", "p95", "p99", "max")

#: Every statistic a guarantee may bound; ``min`` is the only lower bound.
STATISTICS = ("min", *STRENGTH)

#: Trust levels, lowest first; a service may require one, a principal has one.
TrustLevel = Literal["untrusted", "standard", "elevated", "privileged"]
TRUST_LEVELS: tuple[str, ...] = get_args(TrustLevel)

#: Where data may go, strictest first; each satisfies a wish for itself or a later one.
LOCALITIES = ("on_device", "private", "regions", "cloud")

#: Objective terms in their canonical order.
Term = Literal["margin", "cost", "performance", "reliability", "preference"]
TERMS: tuple[str, ...] = get_args(Term)

#: How a service is spoken to.
Protocol = Literal["openai", "anthropic", "bedrock", "http-json", "process"]


class Effect(StrEnum):
    """What a policy does to the services for which ``then`` holds."""

    FORBID = "forbid"
    REQUIRE = "require"
    PREFER = "prefer"


class OnViolation(StrEnum):
    """What enforcement does when an answer breaks a guarantee."""

    REPORT = "report"
    RETRY = "retry"
    FALLBACK = "fallback"
    FAIL = "fail"


class Attach(StrEnum):
    """When a policy applies: to every request of its tenant, or to those that name it."""

    TENANT = "tenant"
    REQUEST = "request"
