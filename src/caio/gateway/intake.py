"""What a caller may ask: the wire form of a request, and its reading as the kernel's Request.

What is valid is mostly read by ``accepting``, which is faster and takes nothing that these models refuse.
Every surface ends here: ``/api/v1/orchestrate`` sends a RequestBody with a payload, the
OpenAI-compatible routes send the same wishes without one (``metadata.caio`` and ``x-caio-*``
headers), the library and the command line build it from a file. Validation reports every
violation at once with its JSON pointer. The models also generate the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Annotated, Any, Literal, Self, TypeVar

import msgspec
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from caio.foundation.errors import InvalidInput, Violation
from caio.foundation.quantity import NANO, NotExact, nanos
from caio.gateway.accepting import (
    AcceptedBody,
    AcceptedObjective,
    AcceptedRequirements,
    AcceptedWishes,
    accepted_body,
    accepted_wishes,
)
from caio.routing.model import STRENGTH, OnViolation, Request

MAX_BOUNDS = 16
MAX_DEADLINE_MS = 600_000
DEADLINE_MS = 30_000
STREAM_DEADLINE_MS = 300_000

#: The statistics of a bound, and those of a wish in their order.
_STATISTICS = (*STRENGTH, "min")
_stated = attrgetter(*_STATISTICS)
_NONE: frozenset[str] = frozenset()

T = TypeVar("T", bound=BaseModel)

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]
ServiceAddress = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}(@[0-9A-Za-z.+-]{1,64})?$")]
#: Bounded, so that no request asks more questions of a service than verdicts have numbers.
Names = Annotated[list[Name], Field(max_length=64)]
Addresses = Annotated[list[ServiceAddress], Field(max_length=1_000)]
Term = Literal["margin", "cost", "performance", "reliability", "preference"]
Label = Annotated[str, StringConstraints(max_length=256)]
Exact = Annotated[Decimal, Field(allow_inf_nan=False, strict=False)]
#: Text; a whole number stands for its digits, so 7 and "7" are one seed.
Seed = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    BeforeValidator(lambda stated: str(stated) if type(stated) is int else stated),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1, "maxLength": 128}, {"type": "integer"}]}),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BoundWish(_Strict):
    """Bounds wanted of one property, by statistic."""

    p50: Exact | None = None
    p95: Exact | None = None
    p99: Exact | None = None
    max: Exact | None = None
    min: Exact | None = None


class Requirements(BaseModel):
    """What the answer must fulfil. Any further key is a bound on the guarantee of that name, such
    as ``accuracy: {min: 0.95}`` or ``latency_ms: {p95: 800}``."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    __pydantic_extra__: dict[str, BoundWish] = Field(init=False)

    max_latency_ms: Exact | None = None
    max_cost: Annotated[Exact, Field(ge=0)] | None = None
    regions: Names = []
    data_locality: Literal["on_device", "private", "regions", "cloud"] | None = None
    features: Names = []
    context_length: Annotated[int, Field(ge=1, le=10**9)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10**9)] | None = None
    deterministic: bool = False
    compliance: Names = []

    @property
    def bounds(self) -> Mapping[str, BoundWish]:
        """Those on guarantees, by their names."""
        return self.__pydantic_extra__


class Constraints(_Strict):
    """What the caller forbids or insists on, apart from guarantees."""

    services: Addresses = []
    excluded_services: Addresses = []
    egress: bool = True
    training: bool = True
    max_retention_days: Annotated[int, Field(ge=0, le=36_500)] | None = None


NO_REQUIREMENTS = Requirements()
NO_CONSTRAINTS = Constraints()


class Objective(_Strict):
    """How to choose among services that satisfy everything: non-negative weights per term."""

    weights: dict[Term, Annotated[int, Field(ge=0, le=1000)]]

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if not any(self.weights.values()):
            raise ValueError("at least one weight must be above 0")
        return self


class Wishes(_Strict):
    """Everything a request may say about routing; the payload is apart."""

    capability: Name | None = None
    capabilities: Annotated[list[Name], Field(max_length=8)] = []
    # Frozen, so all requests may share one default; pydantic would copy a plain default deeply each time.
    requirements: Annotated[Requirements, Field(default_factory=lambda: NO_REQUIREMENTS)]
    constraints: Annotated[Constraints, Field(default_factory=lambda: NO_CONSTRAINTS)]
    data_classification: Literal["public", "internal", "confidential", "restricted"] = "internal"
    sensitive: bool = False
    objective: Objective | None = None
    policies: Annotated[list[str | dict[str, Any]], Field(max_length=64)] = []
    on_violation: OnViolation | None = None
    seed: Seed | None = None
    deadline_ms: Annotated[int, Field(ge=1, le=MAX_DEADLINE_MS)] | None = None


class RequestBody(Wishes):
    """The ``request`` of ``/api/v1/orchestrate``: wishes and the payload to hand to the service."""

    payload: Any = None


class Context(_Strict):
    """Whom and what a call belongs to; labels allocate usage and are readable by policies."""

    session: Label | None = None
    labels: Annotated[dict[Name, Label], Field(max_length=16)] = {}


NO_CONTEXT = Context()


class OrchestrateBody(_Strict):
    """``{"request": …, "policies": […], "context": …}``; policies by id, ``id@version`` or inline."""

    request: RequestBody
    policies: Annotated[list[str | dict[str, Any]], Field(max_length=64)] = []
    context: Annotated[Context, Field(default_factory=lambda: NO_CONTEXT)]


def read_body(raw: bytes) -> OrchestrateBody | AcceptedBody:
    """The body of ``/api/v1/orchestrate``; raises as ``read`` does."""
    return accepted_body(raw) or read(OrchestrateBody, raw)


def read_wishes(stated: Mapping[str, Any]) -> Wishes | AcceptedWishes:
    """Wishes that a surface has put together; raises as ``read`` does."""
    return accepted_wishes(stated) or read(Wishes, stated)


def read(model: type[T], source: bytes | Mapping[str, Any]) -> T:
    """Validate a body; raises InvalidInput ``invalid_request`` with every violation."""
    raw = source if isinstance(source, bytes) else msgspec.json.encode(source)
    try:
        document = model.model_validate_json(raw)
        # pydantic lets NaN and 1e999 through where anything may stand; no service would take them.
        msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        message = f"the request is not JSON: {error}"
        raise InvalidInput(message, [Violation("", str(error))], code="invalid_request") from None
    except ValidationError as error:
        violations = [_violation(each["loc"], each["msg"]) for each in error.errors(include_url=False)]
        raise _invalid(violations) from None
    return document


def _invalid(violations: Sequence[Violation]) -> InvalidInput:
    first = violations[0]
    more = f"; and {len(violations) - 1} more" if len(violations) > 1 else ""
    where = f"{first.pointer}: " if first.pointer else ""
    return InvalidInput(f"the request is not valid: {where}{first.message}{more}", violations, code="invalid_request")


def _violation(location: tuple[int | str, ...], message: str) -> Violation:
    # Pydantic marks a bad key of a mapping by one more part, and our own checks by a prefix.
    parts = [str(part) for part in location if part != "[key]"]
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
    return Violation(pointer, message.removeprefix("Value error, "))


def kernel_request(
    wishes: Wishes | AcceptedWishes,
    *,
    tenant_id: str,
    currency: str,
    input_bytes: int,
    labels: Mapping[str, str],
    stream: bool = False,
    protocols: frozenset[str] = frozenset(),
) -> Request:
    """The kernel's Request. Raises InvalidInput when numbers leave the exact domain, when no
    capability is named, or when a bound names an unknown statistic."""
    if wishes.capabilities:
        capabilities = tuple(dict.fromkeys([*([wishes.capability] if wishes.capability else []), *wishes.capabilities]))
    else:
        capabilities = (wishes.capability,) if wishes.capability else ()
    violations: list[Violation] = []
    if not capabilities:
        violations.append(Violation("/request/capability", "name at least one capability"))
    needs, constraints = wishes.requirements, wishes.constraints
    bounds = _bounds(needs, violations)
    max_cost = _exact(needs.max_cost, "/request/requirements/max_cost", violations)
    if violations:
        raise _invalid(violations)
    # By position: by name it would take three times as long.
    return Request(
        tenant_id,
        currency,
        capabilities,
        bounds,
        max_cost,
        frozenset(needs.features) if needs.features else _NONE,
        needs.context_length,
        needs.data_locality,
        frozenset(needs.regions) if needs.regions else _NONE,
        frozenset(needs.compliance) if needs.compliance else _NONE,
        wishes.data_classification,
        wishes.sensitive,
        constraints.egress,
        constraints.training,
        constraints.max_retention_days,
        frozenset(constraints.services) if constraints.services else _NONE,
        frozenset(constraints.excluded_services) if constraints.excluded_services else _NONE,
        protocols,
        stream,
        input_bytes,
        needs.max_tokens,
        1,  # answer, unless a surface asks for more
        wishes.deadline_ms or (STREAM_DEADLINE_MS if stream else DEADLINE_MS),
        tuple(sorted(labels.items())) if labels else (),
        _weights(wishes.objective),
        wishes.on_violation,
        None if wishes.seed is None else str(wishes.seed),
    )


def _weights(objective: Objective | AcceptedObjective | None) -> tuple[tuple[str, int], ...] | None:
    if objective is None:
        return None
    stated: Iterable[tuple[str, int]] = objective.weights.items()
    return tuple(sorted(stated))


def _bounds(needs: Requirements | AcceptedRequirements, violations: list[Violation]) -> tuple[tuple[str, int], ...]:
    found: dict[str, int] = {}
    if needs.max_latency_ms is not None:
        value = _exact(needs.max_latency_ms, "/request/requirements/max_latency_ms", violations)
        found["latency_ms.max"] = value or 0
    if needs.deterministic:
        found["determinism.min"] = NANO
    for name, wish in needs.bounds.items():
        for statistic, stated in zip(_STATISTICS, _stated(wish), strict=True):
            if stated is None:
                continue
            value = _exact(stated, f"/request/requirements/{name}/{statistic}", violations) or 0
            bound = f"{name}.{statistic}"
            # Both `max_latency_ms` and `latency_ms.max` may be given: the tighter one counts.
            found[bound] = min(value, found.get(bound, value))
    if len(found) > MAX_BOUNDS:
        violations.append(Violation("/request/requirements", f"at most {MAX_BOUNDS} bounds"))
    return tuple(sorted(found.items())) if found else ()


def _exact(value: Decimal | float | str | None, pointer: str, violations: list[Violation]) -> int | None:
    if value is None:
        return None
    try:
        return nanos(value)
    except NotExact as error:
        violations.append(Violation(pointer, str(error)))
        return None
