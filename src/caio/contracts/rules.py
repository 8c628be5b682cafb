"""The rules that tie a contract's fields together, over plain values.

They read values as they were written, checked or not, and pass over what is missing or of another
type: so they can be reported together with the fields' own violations, all at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

from caio.contracts.aws_region import region_of
from caio.contracts.tree import escape
from caio.contracts.vocabulary import STATISTICS, STRENGTH

MAX_PROPERTIES = 24

_PROPERTY = re.compile(r"[a-z][a-z0-9_]{0,62}")

Flaw = tuple[str, str]


def broken_rules(document: Mapping[str, Any]) -> Iterator[Flaw]:
    """Each broken rule, as (JSON pointer, message)."""
    yield from _guarantees(_mapping(document.get("guarantees")))
    capabilities = _capabilities(document)
    yield from _repeated(capabilities)
    yield from _unbounded_price(_mapping(document.get("cost")), capabilities)
    yield from _api(_mapping(document.get("api")), {kind for _, kind, _ in capabilities})


def _guarantees(guarantees: Mapping[str, Any]) -> Iterator[Flaw]:
    if len(guarantees) > MAX_PROPERTIES:
        yield "/guarantees", f"may name at most {MAX_PROPERTIES} properties"
    for name, promise in guarantees.items():
        pointer = f"/guarantees/{escape(name)}"
        if not _PROPERTY.fullmatch(name):
            yield pointer, "a property's name is a lower-case letter, then up to 62 of a-z, 0-9 and _"
        if isinstance(promise, Mapping):
            if name != "determinism" and not any(statistic in promise for statistic in STATISTICS):
                yield pointer, f"promises nothing; state at least one of {', '.join(STATISTICS)}"
            yield from _ordered(pointer, promise)


def _ordered(pointer: str, promise: Mapping[str, Any]) -> Iterator[Flaw]:
    """Of two upper bounds, the one that holds more often cannot be the smaller one."""
    stated = [(name, bound) for name in STRENGTH if (bound := _number(promise.get(name))) is not None]
    for (weaker, low), (stronger, high) in pairwise(stated):
        if high < low:
            yield f"{pointer}/{stronger}", f"must not be below {weaker} ({low:f}), since it holds more often"
    least, most = _number(promise.get("min")), _number(promise.get("max"))
    if least is not None and most is not None and most < least:
        yield f"{pointer}/max", f"must not be below min ({least:f})"


def _capabilities(document: Mapping[str, Any]) -> list[tuple[int, str, Mapping[str, Any]]]:
    """The capabilities that have a name: their index, type and content."""
    listed = document.get("capabilities")
    named = []
    for index, item in enumerate(listed if isinstance(listed, list | tuple) else ()):
        content = {"type": item} if isinstance(item, str) else _mapping(item)
        if isinstance(kind := content.get("type"), str):
            named.append((index, kind, content))
    return named


def _repeated(capabilities: list[tuple[int, str, Mapping[str, Any]]]) -> Iterator[Flaw]:
    seen: set[str] = set()
    for index, kind, _ in capabilities:
        if kind in seen:
            yield f"/capabilities/{index}", f"repeats the capability '{kind[:63]}'"
        seen.add(kind)


def _unbounded_price(cost: Mapping[str, Any], capabilities: list[tuple[int, str, Mapping[str, Any]]]) -> Iterator[Flaw]:
    """The worst-case price of a call is reserved before it is made, so it must be finite."""
    if not _number(cost.get("per_output_token")):
        return
    for index, kind, content in capabilities:
        limits = _mapping(content.get("limits"))
        if "max_tokens" not in limits and "context_length" not in limits:
            need = f"'{kind[:63]}' needs limits.max_tokens or limits.context_length"
            yield f"/capabilities/{index}", f"{need}: a per_output_token price makes a limitless answer limitless too"


def _api(api: Mapping[str, Any], kinds: set[str]) -> Iterator[Flaw]:
    protocol = api.get("protocol")
    if isinstance(protocol, str) and protocol != "process" and "base_url" not in api:
        yield "/api/base_url", f"is required for the protocol '{protocol[:40]}'"
    endpoints = api.get("endpoints")
    for index, endpoint in enumerate(endpoints if isinstance(endpoints, list | tuple) else ()):
        kind = _mapping(endpoint).get("capability")
        if isinstance(kind, str) and kind not in kinds:
            yield f"/api/endpoints/{index}/capability", f"'{kind[:63]}' is none of the contract's capabilities"
    auth = _mapping(api.get("auth"))
    scheme = auth.get("scheme")
    if scheme == "none" and "secret_ref" in auth:
        yield "/api/auth/secret_ref", "must be left out with the scheme 'none'"
    if isinstance(scheme, str) and scheme not in ("none", "aws") and "secret_ref" not in auth:
        yield "/api/auth/secret_ref", f"is required for the scheme '{scheme[:40]}'"
    if isinstance(protocol, str):
        yield from _of_one_protocol(api, protocol, scheme)


def _of_one_protocol(api: Mapping[str, Any], protocol: str, scheme: Any) -> Iterator[Flaw]:
    """What only Bedrock, or only a command of the operator's, is called with."""
    if "command" in api and protocol != "process":
        yield "/api/command", "must be left out: only the protocol 'process' runs a command"
    if "region" in api and scheme != "aws":
        yield "/api/region", "must be left out: only signatures of the scheme 'aws' are for a region"
    if scheme != "aws":
        return
    if protocol != "bedrock":
        yield "/api/auth/scheme", "may be 'aws' for the protocol 'bedrock' only"
    if "model" not in api:
        yield "/api/model", "is required for the scheme 'aws': it is part of the address that is signed"
    if "region" not in api and region_of(api.get("base_url")) is None:
        yield "/api/region", "is required for the scheme 'aws', since base_url names none"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> Decimal | None:
    """A number of ordinary size; others are violations already, and costly to print."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 20 else None
