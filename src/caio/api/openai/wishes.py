"""Routing wishes of an OpenAI-shaped call, and its reading as the kernel's request.

A client says what it wants of routing in ``metadata.caio``, in ``x-caio-*`` headers, or by the ``model`` it names;
a header beats ``metadata.caio``, and an alias binds beside both (``gateway.aliases``). What a body itself says is a
wish too: ``tools`` needs a service with that feature, ``max_tokens`` and ``n`` bound what is reserved.

Laws (each has a test of the same name)
---------------------------------------
- a_service_is_told_what_was_reserved: the most tokens that a call is priced for is the most it asks the service for.
- an_unknown_header_is_refused: a wish that is misspelt is not a wish for nothing.
- without_wishes_is_the_same_as_with_none: the short way to a request gives what the long way gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from caio.api.openai.naming import Meant
from caio.api.wanted import CACHE, only_known
from caio.foundation.errors import InvalidInput, Violation
from caio.gateway.accepting import AcceptedWishes
from caio.gateway.aliases import common, narrowed
from caio.gateway.intake import DEADLINE_MS, STREAM_DEADLINE_MS, Wishes, kernel_request, read_wishes
from caio.gateway.ports import PROTOCOLS_OF, Operation
from caio.registry.views import Reference
from caio.routing.model import Request
from caio.tenancy.principals import Caller

Headers = Mapping[str, str]

#: Routing wishes as headers, and where they stand in ``metadata.caio``.
PLACES: dict[str, tuple[str, ...]] = {
    "x-caio-capability": ("capability",),
    "x-caio-max-cost": ("requirements", "max_cost"),
    "x-caio-max-latency-ms": ("requirements", "max_latency_ms"),
    "x-caio-data-locality": ("requirements", "data_locality"),
    "x-caio-regions": ("requirements", "regions"),
    "x-caio-compliance": ("requirements", "compliance"),
    "x-caio-excluded-services": ("constraints", "excluded_services"),
    "x-caio-data-classification": ("data_classification",),
    "x-caio-sensitive": ("sensitive",),
    "x-caio-policy": ("policies",),
    "x-caio-on-violation": ("on_violation",),
    "x-caio-deadline-ms": ("deadline_ms",),
    "x-caio-seed": ("seed",),
}
#: Headers that hold several words, separated by commas; they add to what ``metadata.caio`` lists.
_LISTS = frozenset({"x-caio-regions", "x-caio-compliance", "x-caio-excluded-services", "x-caio-policy"})

_KNOWN = frozenset({*PLACES, CACHE})


@dataclass(frozen=True, slots=True)
class Asked:
    """What a body itself says of the service that it needs."""

    operation: Operation
    capability: str
    features: Sequence[str] = ()
    max_tokens: int | None = None
    answers: int = 1
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Wished:
    """A call's request, and the policies that it is decided under beside the tenant's and the caller's."""

    request: Request
    policies: Sequence[Reference]


def wished(body: Mapping[str, Any], headers: Headers, size: int, caller: Caller, asked: Asked, meant: Meant) -> Wished:
    """What a call of ``size`` bytes asks of routing. Raises InvalidInput, naming the member or header at fault."""
    only_known(headers, _KNOWN)
    metadata = body.get("metadata")
    stated = metadata.get("caio") if metadata else None
    policies: tuple[Reference, ...] = ()
    if stated is None and PLACES.keys().isdisjoint(headers):
        request, deadline_stated = _plain(caller, size, asked, meant), False
    else:
        wishes = _wishes({} if stated is None else stated, headers, asked, meant)
        request, policies = _request(wishes, caller, size, asked, meant), tuple(wishes.policies)
        deadline_stated = wishes.deadline_ms is not None
    if meant.terms is None:
        return Wished(request, policies)
    narrow = narrowed(request, meant.terms, deadline_stated=deadline_stated)
    return Wished(narrow, (*meant.terms.policies, *policies))


def _plain(caller: Caller, size: int, asked: Asked, meant: Meant) -> Request:
    """The request of a call that wishes for nothing but what its body says."""
    return Request(
        tenant_id=caller.scope.tenant_id,
        currency=caller.tenant.currency,
        capabilities=(meant.capability or asked.capability,),
        features=frozenset(asked.features),
        services=meant.services,
        protocols=PROTOCOLS_OF[asked.operation],
        stream=asked.stream,
        input_bytes=size,
        max_tokens=asked.max_tokens,
        answers=asked.answers,
        deadline_ms=STREAM_DEADLINE_MS if asked.stream else DEADLINE_MS,
    )


def _request(wishes: Wishes | AcceptedWishes, caller: Caller, size: int, asked: Asked, meant: Meant) -> Request:
    request = kernel_request(
        wishes,
        tenant_id=caller.scope.tenant_id,
        currency=caller.tenant.currency,
        input_bytes=size,
        labels={},
        stream=asked.stream,
        protocols=PROTOCOLS_OF[asked.operation],
    )
    services = common(request.services, meant.services)
    if meant.services and not services:
        raise _broken("/metadata/caio/constraints/services", "leaves nothing of the model that the call names")
    return replace(request, services=services, answers=asked.answers)


def _wishes(stated: Any, headers: Headers, asked: Asked, meant: Meant) -> Wishes | AcceptedWishes:
    if not isinstance(stated, dict):
        raise _broken("/metadata/caio", "must be an object")
    wishes: dict[str, Any] = {**stated}
    for part in ("requirements", "constraints"):
        wishes[part] = {**_object(stated, part)}
    for header in PLACES.keys() & headers.keys():
        place, name = _place(wishes, header)
        place[name] = _value(header, headers[header], place.get(name))
    needs = wishes["requirements"]
    if asked.features:
        needs["features"] = _with(needs.get("features", []), asked.features)
    if asked.max_tokens is not None:
        needs["max_tokens"] = _least(needs.get("max_tokens"), asked.max_tokens)
    wishes.setdefault("capability", meant.capability or asked.capability)
    try:
        return read_wishes(wishes)
    except InvalidInput as error:
        raise _told_by_the_callers_names(error, headers) from None


def _place(wishes: dict[str, Any], header: str) -> tuple[dict[str, Any], str]:
    *parts, name = PLACES[header]
    return (wishes[parts[0]] if parts else wishes), name


def _value(header: str, text: str, stated: Any) -> Any:
    """A header's text as the wish's value; what cannot be one stays text, for validation to say so: a misspelt
    wish for care is not a "no"."""
    if header in _LISTS:
        return _with([] if stated is None else stated, [part.strip() for part in text.split(",")])
    if header == "x-caio-sensitive":
        return {"true": True, "false": False}.get(text.lower(), text)
    if header == "x-caio-deadline-ms":
        return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else text
    return text


def _least(stated: Any, other: int) -> Any:
    return min(stated, other) if type(stated) is int else other if stated is None else stated


def _with(stated: Any, more: Sequence[str]) -> Any:
    """The list with more in it; what is no list stays as it is, for validation to say so."""
    return [*stated, *more] if isinstance(stated, list) else stated


def _object(stated: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = stated.get(name)
    if value is not None and not isinstance(value, dict):
        raise _broken(f"/metadata/caio/{name}", "must be an object")
    return value or {}


def _broken(pointer: str, rule: str) -> InvalidInput:
    return InvalidInput(f"{pointer[1:].replace('/', '.')} {rule}", [Violation(pointer, rule)], code="invalid_request")


def _told_by_the_callers_names(error: InvalidInput, headers: Headers) -> InvalidInput:
    """The violations of wishes, where the caller stated them."""
    stated = {"/" + "/".join(place): name for name, place in PLACES.items() if name in headers}
    found = []
    for each in error.violations:
        header = next(
            (name for pointer, name in stated.items() if (each.pointer + "/").startswith(pointer + "/")), None
        )
        pointer = f"/metadata/caio{each.pointer}" if header is None else f"/header/{header}"
        found.append(Violation(pointer, each.message))
    first = found[0]
    where = first.pointer.removeprefix("/header/").removeprefix("/").replace("/", ".")
    more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
    return InvalidInput(f"the request is not valid: {where}: {first.message}{more}", found, code=error.code)
