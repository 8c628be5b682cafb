"""Reading what callers ask in a fraction of the time, where there is nothing to complain of.

Theory of operation
-------------------
``intake`` says what a request may be, words every violation and describes it for the OpenAPI document; its models
are pydantic's. Nearly every body is valid, and whether it is costs less to find with msgspec, into the structures
below: they have the fields of those models under the same names, with the same bounds. What they do not take is
read again by the models, so that at the worst a reading here is in vain; they must never take what the models refuse.

Law (has a test of the same name): what_is_accepted_reads_the_same.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from caio.contracts.vocabulary import OnViolation

#: The models refuse what is nested deeper than 200 levels; what has fewer brackets than this is not.
_SHALLOW = 190

# Python's `$` would let a line break pass.
_NAME = r"^[a-z0-9][a-z0-9_.-]{0,62}\Z"
_ADDRESS = r"^[a-z0-9][a-z0-9_-]{0,62}(@[0-9A-Za-z.+-]{1,64})?\Z"
_DECIMAL = r"^-?[0-9]{1,10}(\.[0-9]{1,9})?\Z"
_AMOUNT = r"^[0-9]{1,10}(\.[0-9]{1,9})?\Z"

_Name = Annotated[str, Meta(pattern=_NAME)]
_Names = Annotated[list[_Name], Meta(max_length=64)]
_Addresses = Annotated[list[Annotated[str, Meta(pattern=_ADDRESS)]], Meta(max_length=1_000)]
_Label = Annotated[str, Meta(max_length=256)]
_Tokens = Annotated[int, Meta(ge=1, le=10**9)] | None
_Exact = int | float | Annotated[str, Meta(pattern=_DECIMAL)] | None
_Amount = Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0)] | Annotated[str, Meta(pattern=_AMOUNT)] | None
_Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Policies = Annotated[list[str | dict[str, Any]], Meta(max_length=64)]
_Term = Literal["margin", "cost", "performance", "reliability", "preference"]


class Bounds(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """``intake.BoundWish``."""

    p50: _Exact = None
    p95: _Exact = None
    p99: _Exact = None
    max: _Exact = None
    min: _Exact = None


class AcceptedRequirements(Struct, frozen=True, forbid_unknown_fields=True):
    """``intake.Requirements``; ``bounds`` are those on guarantees, which a body states as members beside the others."""

    max_latency_ms: _Exact = None
    max_cost: _Amount = None
    regions: _Names = []
    data_locality: Literal["on_device", "private", "regions", "cloud"] | None = None
    features: _Names = []
    context_length: _Tokens = None
    max_tokens: _Tokens = None
    deterministic: bool = False
    compliance: _Names = []
    bounds: dict[str, Bounds] = {}


class AcceptedConstraints(Struct, frozen=True, forbid_unknown_fields=True):
    """``intake.Constraints``."""

    services: _Addresses = []
    excluded_services: _Addresses = []
    egress: bool = True
    training: bool = True
    max_retention_days: Annotated[int, Meta(ge=0, le=36_500)] | None = None


class AcceptedObjective(Struct, frozen=True, forbid_unknown_fields=True):
    """``intake.Objective``."""

    weights: dict[_Term, Annotated[int, Meta(ge=0, le=1000)]]

    def __post_init__(self) -> None:
        if not any(self.weights.values()):
            raise ValueError("at least one weight must be above 0")


_NO_REQUIREMENTS, _NO_CONSTRAINTS = AcceptedRequirements(), AcceptedConstraints()
_NAMED = frozenset(AcceptedRequirements.__struct_fields__) - {"bounds"}

#: A member of the requirements: a bound on a guarantee, or else the value of a member that is named above.
_Requirement = Bounds | int | float | bool | str | list[str] | None


class AcceptedWishes(Struct, forbid_unknown_fields=True, dict=True):
    """``intake.Wishes``."""

    capability: _Name | None = None
    capabilities: Annotated[list[_Name], Meta(max_length=8)] = []
    stated: dict[str, _Requirement] = msgspec.field(default_factory=dict, name="requirements")
    constraints: AcceptedConstraints = _NO_CONSTRAINTS
    data_classification: Literal["public", "internal", "confidential", "restricted"] = "internal"
    sensitive: bool = False
    objective: AcceptedObjective | None = None
    policies: _Policies = []
    on_violation: OnViolation | None = None
    seed: Annotated[str, Meta(min_length=1, max_length=128)] | _Whole | None = None
    deadline_ms: Annotated[int, Meta(ge=1, le=600_000)] | None = None

    @cached_property
    def requirements(self) -> AcceptedRequirements:
        """Raises msgspec.ValidationError for a member that is neither one of those named nor a bound."""
        if not self.stated:
            return _NO_REQUIREMENTS
        bounds: dict[str, Any] = {}
        read: dict[str, Any] = {}
        for name, value in self.stated.items():
            (read if name in _NAMED else bounds)[name] = value
        if bounds:
            read["bounds"] = bounds
        return msgspec.convert(read, AcceptedRequirements)


class AcceptedRequest(AcceptedWishes):
    """``intake.RequestBody``."""

    payload: Any = None


class AcceptedContext(Struct, frozen=True, forbid_unknown_fields=True):
    """``intake.Context``."""

    session: _Label | None = None
    labels: Annotated[dict[_Name, _Label], Meta(max_length=16)] = {}


class AcceptedBody(Struct, forbid_unknown_fields=True):
    """``intake.OrchestrateBody``."""

    request: AcceptedRequest
    policies: _Policies = []
    context: AcceptedContext = AcceptedContext()


_BRACKETS = (b"{", b"[")
_body = msgspec.json.Decoder(AcceptedBody)


def accepted_body(raw: bytes) -> AcceptedBody | None:
    """The body, or None where ``intake.OrchestrateBody`` is to read it."""
    if sum(map(raw.count, _BRACKETS)) >= _SHALLOW:
        return None
    try:
        body = _body.decode(raw)
        body.request.requirements  # noqa: B018 - read once, here, where it may be refused
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return body


def accepted_wishes(stated: Mapping[str, Any]) -> AcceptedWishes | None:
    """The wishes, or None where ``intake.Wishes`` is to read them."""
    try:
        wishes = msgspec.convert(stated, AcceptedWishes)
        wishes.requirements  # noqa: B018 - as above
    except msgspec.ValidationError:
        return None
    return wishes
