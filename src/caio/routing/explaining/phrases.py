"""What a service lacked, in words with units: one phrase for every clause of the rules' table."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from caio.routing.model import STRENGTH, Exclusion, Request

#: Text from a request or a contract, such as a list of names, is cut at so many characters.
_LONGEST = 120
_UNDECLARED = "undeclared"
_PLACES = {
    "on_device": "on the device",
    "private": "in a private network",
    "regions": "in listed regions",
    "cloud": "in the cloud",
    "internet": "on the internet",
}


def lack(found: Exclusion, request: Request) -> str:
    """Why the service of ``found`` was excluded, as a predicate: "needs p95 <= 800 ms, offers 1,200 ms"."""
    return _PHRASES[found.clause](found, request)


def distance(found: Exclusion) -> Decimal | None:
    """How far a numeric offer is from what was required; None where nothing was offered or no number is."""
    if found.clause not in _NUMERIC or found.offered == _UNDECLARED:
        return None
    return abs(Decimal(_number(found.required)) - Decimal(_number(found.offered)))


def bound_words(name: str, value: str) -> str:
    """``latency_ms.p95`` and ``800`` as "p95 <= 800 ms"."""
    return f"{label(name)} {'>=' if name.endswith('.min') else '<='} {amount(name, value)}"


def label(name: str) -> str:
    """What a bound is about: ``latency_ms.p95`` is "p95", ``first_token_ms.p95`` "first token p95"."""
    prop, statistic = name.rsplit(".", 1)
    words = prop.removesuffix("_ms").replace("_", " ")
    if prop == "latency_ms":
        return "latency" if statistic == "max" else statistic
    return words if statistic in ("min", "max") else f"{words} {statistic}"


def amount(name: str, value: str) -> str:
    """A bound's value with its unit and thousands set apart."""
    unit = " ms" if name.rsplit(".", 1)[0].endswith("_ms") else ""
    return thousands(value) + unit


def thousands(number: str) -> str:
    """``1200.5`` as ``1,200.5``."""
    whole, point, part = number.partition(".")
    return f"{int(whole):,}{point}{part}" if whole.removeprefix("-") != "0" else number


def brief(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def locality_words(locality: str) -> str:
    """Where data is processed; what is no locality is a list of regions."""
    return _PLACES.get(locality, f"in {brief(locality)}")


def _number(text: str) -> str:
    return text.rsplit(" ", 1)[-1]


def _service(found: Exclusion, request: Request) -> str:
    if found.subject == "services":
        return f"is not among the services asked for: {brief(found.required)}"
    return f"is excluded by the request, which does not want {brief(found.required.removeprefix('not '))}"


def _capability(found: Exclusion, request: Request) -> str:
    return f"does not offer {found.required}, only {brief(found.offered)}"


def _protocol(found: Exclusion, request: Request) -> str:
    return f"speaks {found.offered}, the request allows {brief(found.required)}"


def _feature(found: Exclusion, request: Request) -> str:
    return f"needs the feature {found.required} for {found.subject}, offers {brief(found.offered)}"


def _context_length(found: Exclusion, request: Request) -> str:
    return _limit(found, f"needs a context of {thousands(found.required)} tokens for {found.subject}")


def _max_tokens(found: Exclusion, request: Request) -> str:
    return _limit(found, f"needs {thousands(found.required)} tokens of output for {found.subject}")


def _limit(found: Exclusion, need: str) -> str:
    if found.offered == _UNDECLARED:
        return f"{need}, declares no limit"
    return f"{need}, offers {thousands(found.offered)}"


def _input_size(found: Exclusion, request: Request) -> str:
    took, sent = thousands(found.offered), thousands(found.required)
    return f"takes at most {took} bytes of input for {found.subject}, the request has {sent}"


def _guarantee(found: Exclusion, request: Request) -> str:
    need = f"needs {bound_words(found.subject, _number(found.required))}"
    if found.offered == _UNDECLARED:
        return f"{need}, promises none"
    statistic, _, value = found.offered.rpartition(" ")
    shown = amount(found.subject, value)
    other = statistic in STRENGTH and statistic != found.subject.rsplit(".", 1)[1]
    return f"{need}, offers {statistic} {shown}" if other else f"{need}, offers {shown}"


def _currency(found: Exclusion, request: Request) -> str:
    return f"prices in {found.offered}, the tenant pays in {found.required}"


def _cost(found: Exclusion, request: Request) -> str:
    own, most = thousands(found.offered), thousands(_number(found.required))
    return f"may cost {own} {request.currency}, at most {most} {request.currency} were allowed"


def _policy(found: Exclusion, request: Request) -> str:
    words = f"policy {found.subject} forbids it"
    if found.required == "require":
        words = f"does not meet what policy {found.subject} requires"
    return f"{words}: {brief(found.message)}" if found.message else words


def _policy_error(found: Exclusion, request: Request) -> str:
    words = f"policy {found.subject} ({found.required}) failed to evaluate, which denies"
    return f"{words}: {brief(found.message)}" if found.message else words


def _visibility(found: Exclusion, request: Request) -> str:
    return "belongs to another tenant, which does not share it"


def _permission(found: Exclusion, request: Request) -> str:
    if found.offered == "not held":
        return f"needs permission {found.required}, which the caller does not hold"
    return f"needs {brief(found.required.replace('one of', 'one of the permissions', 1))}, the caller holds none"


def _trust(found: Exclusion, request: Request) -> str:
    return f"needs trust level {found.required}, the caller has {found.offered}"


def _locality(found: Exclusion, request: Request) -> str:
    closest = locality_words(found.required)
    return f"processes data {locality_words(found.offered)}, the request keeps it {closest} or closer"


def _residency(found: Exclusion, request: Request) -> str:
    return f"processes data {locality_words(found.offered)}, which is not confined to {brief(found.required)}"


def _sensitivity(found: Exclusion, request: Request) -> str:
    where = locality_words(found.offered)
    if "encrypted" not in found.required:
        return f"processes data {where}, restricted data stays on the device or in a private network"
    kind = "confidential" if request.classification == "confidential" else "sensitive"
    return f"processes data {where} without encryption in transit and at rest, which {kind} data needs there"


def _training(found: Exclusion, request: Request) -> str:
    why = "the data is sensitive" if request.training else "the request forbids it"
    return f"trains on data or does not say, and {why}"


def _retention(found: Exclusion, request: Request) -> str:
    most = _number(found.required)
    allowed = f"at most {thousands(most)} {'was' if most == '1' else 'were'} allowed"
    if found.offered == _UNDECLARED:
        return f"does not say how many days it keeps data, {allowed}"
    return f"keeps data {thousands(found.offered)} day{'s' * (found.offered != '1')}, {allowed}"


def _compliance(found: Exclusion, request: Request) -> str:
    return f"does not declare {found.required}, only {brief(found.offered)}"


def _egress(found: Exclusion, request: Request) -> str:
    if found.offered == "internet":
        return "needs the internet, the request forbids egress"
    return f"processes data {locality_words(found.offered)}, the request forbids egress"


_NUMERIC = frozenset({"context_length", "max_tokens", "input_size", "guarantee", "cost", "retention"})
_PHRASES: dict[str, Callable[[Exclusion, Request], str]] = {
    "service": _service,
    "capability": _capability,
    "protocol": _protocol,
    "feature": _feature,
    "context_length": _context_length,
    "max_tokens": _max_tokens,
    "input_size": _input_size,
    "guarantee": _guarantee,
    "currency": _currency,
    "cost": _cost,
    "policy_error": _policy_error,
    "policy": _policy,
    "visibility": _visibility,
    "permission": _permission,
    "trust": _trust,
    "locality": _locality,
    "residency": _residency,
    "sensitivity": _sensitivity,
    "training": _training,
    "retention": _retention,
    "compliance": _compliance,
    "egress": _egress,
}
