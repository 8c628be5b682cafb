"""The rules' words: numbers, text, hashes, offers, and what expressions read.

Numbers in documents are decimal text (`"0.95"`) or integers; here they are integers of their unit,
so that all arithmetic is exact: quantities in nanos, prices in pico-units, amounts in nano-units.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

Document = dict[str, Any]

SCALE = 10**9
STRENGTH = ("p50", "p95", "p99", "max")
LOCALITIES = ("on_device", "private", "regions", "cloud")
TRUST_LEVELS = ("untrusted", "standard", "elevated", "privileged")
HOME = ("on_device", "private")


def units(decimal: str, places: int = 9) -> int:
    """A plain decimal as an integer of ``10 ** -places``; it has no further places."""
    whole, _, part = decimal.partition(".")
    return int(whole + part.ljust(places, "0"))


def text(amount: int) -> str:
    """An integer of billionths as the shortest plain decimal."""
    whole, part = divmod(abs(amount), SCALE)
    plain = f"{whole}.{part:09}".rstrip("0").rstrip(".")
    return f"-{plain}" if amount < 0 else plain


def join(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


# --- hashes -------------------------------------------------------------------------------------


def canonical(value: Any) -> bytes:
    """RFC 8785, for values without floats whose keys are within the basic plane: beyond it Python
    sorts by code points and the RFC by UTF-16."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(purpose: str, data: bytes) -> str:
    return sha256(purpose.encode() + b"\x00" + data).hexdigest()


def digest_of(purpose: str, value: Any) -> str:
    return digest(purpose, canonical(value))


def contract_hash(contract: Document) -> str:
    return digest_of("caio/contract/v1", contract)


def policy_hash(policy: Document) -> str:
    return digest_of("caio/policy/v1", policy)


# --- what contracts offer and requests need -----------------------------------------------------


def address(contract: Document) -> str:
    return f"{contract['service_id']}@{contract['version']}"


def place(contract: Document) -> str:
    """The locality; a contract that lists regions is in ``regions``."""
    locality: str | list[str] = contract["privacy"]["data_locality"]
    return locality if isinstance(locality, str) else "regions"


def limit(capability: Document, name: str) -> int | None:
    value: int | None = capability.get("limits", {}).get(name)
    return value


def output_limit(capability: Document) -> int | None:
    most = limit(capability, "max_tokens")
    return limit(capability, "context_length") if most is None else most


def bounds(request: Document) -> dict[str, int]:
    """The bounds as evaluated, by name: for a stream the latency is the first token's."""
    evaluated: dict[str, int] = {}
    for stated, decimal in request["bounds"].items():
        name = stated.replace("latency_ms.", "first_token_ms.") if by_first_token(request, stated) else stated
        tighter = max if name.endswith(".min") else min
        evaluated[name] = tighter(units(decimal), evaluated.get(name, units(decimal)))
    return dict(sorted(evaluated.items()))


def by_first_token(request: Document, bound: str) -> bool:
    return request["stream"] and bound.rpartition(".")[0] == "latency_ms"


def offer(contract: Document, bound: str) -> tuple[str, int] | None:
    """The tightest offered bound that may serve ``bound``: its statistic (of equals the weakest) and value."""
    name, _, statistic = bound.rpartition(".")
    promise = contract["guarantees"].get(name, {})
    if name == "determinism" and promise:
        promise = {"min": "1"}
    serving = STRENGTH[STRENGTH.index(statistic) :] if statistic in STRENGTH else ("min",)
    offers = [(each, units(promise[each])) for each in serving if each in promise]
    return min(offers, key=lambda pair: pair[1], default=None)


def offer_text(contract: Document, bound: str) -> str:
    found = offer(contract, bound)
    if found is None:
        return "undeclared"
    statistic, value = found
    return text(value) if statistic == "min" else f"{statistic} {text(value)}"


# --- what expressions read: decimals are the nearest doubles ------------------------------------


def request_variables(request: Document) -> Document:
    plain = ("capabilities", "features", "regions", "compliance", "services", "sensitive", "stream")
    stated = ("data_locality", "context_length", "max_tokens")
    variables = {name: request[name] for name in (*plain, "input_bytes", "deadline_ms", "labels")}
    variables |= {name: request[name] for name in stated if request[name] is not None}
    variables["capability"] = request["capabilities"][0]
    variables["data_classification"] = request["classification"]
    variables["bounds"] = {name: float(value) for name, value in request["bounds"].items()}
    if request["max_cost"] is not None:
        variables["max_cost"] = float(request["max_cost"])
    return variables


def principal_variables(principal: Document) -> Document:
    return {name: principal[name] for name in ("id", "kind", "roles", "permissions", "trust_level")}


def service_variables(contract: Document) -> Document:
    copied = ("service_id", "name", "version", "description", "tags", "owner", "constraints", "alignment", "access")
    variables = {name: contract[name] for name in copied if name in contract}
    variables["id"] = contract["service_id"]
    variables["capabilities"] = [each["type"] for each in contract["capabilities"]]
    variables["features"] = sorted({name for each in contract["capabilities"] for name in each["features"]})
    variables["guarantees"] = {name: _doubles(promise, "min", *STRENGTH) for name, promise in _promises(contract)}
    variables["cost"] = _doubles(contract["cost"], "per_request", "per_input_token", "per_output_token", "per_second")
    variables["privacy"] = {**contract["privacy"], "data_locality": place(contract)}
    if place(contract) == "regions":
        variables["privacy"]["regions"] = contract["privacy"]["data_locality"]
    api = ("protocol", "base_url", "timeout_ms", "model")
    variables["api"] = {name: contract["api"][name] for name in api if name in contract["api"]}
    return variables


def _promises(contract: Document) -> Iterable[tuple[str, Document]]:
    """The guarantees, with determinism as the bound that it is."""
    for name, promise in contract["guarantees"].items():
        yield name, {**promise, "min": "1"} if name == "determinism" else promise


def _doubles(document: Document, *names: str) -> Document:
    return {name: float(value) if name in names else value for name, value in document.items()}
