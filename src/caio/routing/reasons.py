"""Why each service was excluded, in words: from its verdict, its contract and the request.

A decision keeps a number a service (``questions``). The words are those of the table in
``docs/reference/routing-rules.md``, and are worked out when somebody reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from caio.foundation.money import Usage
from caio.foundation.quantity import decimal_text
from caio.routing.matching import Needs, price_limit, qualifying
from caio.routing.model import Capability, Exclusion, Offer, Principal, Request
from caio.routing.questions import KINDS, Questions
from caio.routing.rules import Rule
from caio.routing.sieve import Verdicts

#: Subject, required, offered.
_Words = tuple[str, str, str]


@dataclass(slots=True, eq=False)  # not frozen: every decision makes one, that few read
class Exclusions(Sequence[Exclusion]):
    """The excluded ones of ``offers``, in their order, each with the first clause that it failed."""

    offers: Sequence[Offer]
    verdicts: Verdicts
    asked: Questions
    request: Request
    principal: Principal
    rules: Sequence[Rule]

    @property
    def rows(self) -> list[int]:
        if isinstance(self.verdicts, list):
            return [row for row, verdict in enumerate(self.verdicts) if verdict]
        return self.verdicts.nonzero()[0].tolist()

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Exclusion: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Exclusion, ...]: ...
    def __getitem__(self, index: int | slice) -> Exclusion | tuple[Exclusion, ...]:
        if isinstance(index, slice):
            return tuple(self._exclusions(self.rows[index]))
        return next(self._exclusions([self.rows[index]]))

    def __iter__(self) -> Iterator[Exclusion]:
        return self._exclusions(self.rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def _exclusions(self, rows: Sequence[int]) -> Iterator[Exclusion]:
        needs = Needs.of(self.request)
        return (self._exclusion(row, needs) for row in rows)

    def _exclusion(self, row: int, needs: Needs) -> Exclusion:
        offer = self.offers[row]
        kind, place = self.asked.place(int(self.verdicts[row]))
        if kind == "rules":
            return _by_rule(offer, self.rules[place // 2], failed=place % 2 == 0)
        if kind in _BY_REQUEST:
            words = _BY_REQUEST[kind](offer, needs, place)
        else:
            words = _by_caller(kind, offer, self.principal)
        return Exclusion(offer.service_id, offer.version, KINDS[kind], *words)


def join(members: Iterable[str]) -> str:
    return ", ".join(sorted(members)) or "none"


def tightest(bounds: Mapping[str, int], name: str) -> tuple[str, int] | None:
    """The statistic and value of the tightest offered bound that may serve ``name``, or None."""
    found: tuple[str, int] | None = None
    for candidate, statistic in qualifying(name):
        if candidate in bounds and (found is None or bounds[candidate] < found[1]):
            found = (statistic, bounds[candidate])
    return found


def offered_text(name: str, found: tuple[str, int] | None) -> str:
    if found is None:
        return "undeclared"
    return decimal_text(found[1]) if name.endswith(".min") else f"{found[0]} {decimal_text(found[1])}"


def worst_price(offer: Offer, request: Request) -> int:
    """The most that one call can cost, in nano-units, exactly, however much that is."""
    tokens = request.max_tokens
    if tokens is None:
        tokens = max((_output_limit(offer.capabilities[name]) or 0 for name in request.capabilities), default=0)
    milliseconds = min(offer.timeout_ms, request.deadline_ms)
    return offer.prices.of(Usage(request.input_bytes, tokens * request.answers, milliseconds))


def _by_rule(offer: Offer, rule: Rule, *, failed: bool) -> Exclusion:
    policy = rule.policy
    words = (f"{policy.policy_id}@{policy.version}", policy.effect.value, "", policy.message)
    return Exclusion(offer.service_id, offer.version, "policy_error" if failed else "policy", *words)


# --- match --------------------------------------------------------------------------------------


def _services(offer: Offer, needs: Needs, place: int) -> _Words:
    return "services", join(needs.request.services), f"{offer.service_id}@{offer.version}"


def _excluded_services(offer: Offer, needs: Needs, place: int) -> _Words:
    excluded = join(needs.request.excluded_services)
    return "excluded_services", f"not {excluded}", f"{offer.service_id}@{offer.version}"


def _capability(offer: Offer, needs: Needs, place: int) -> _Words:
    wanted = needs.request.capabilities[place]
    return wanted, wanted, join(offer.capabilities)


def _protocol(offer: Offer, needs: Needs, place: int) -> _Words:
    return "protocol", join(needs.request.protocols), offer.protocol


def _feature(offer: Offer, needs: Needs, place: int) -> _Words:
    wanted = needs.request.capabilities[place // len(needs.features)]
    return wanted, needs.features[place % len(needs.features)], join(offer.capabilities[wanted].features)


def _context_length(offer: Offer, needs: Needs, place: int) -> _Words:
    wanted = needs.request.capabilities[place]
    return wanted, str(needs.request.context_length), _limit(offer.capabilities[wanted].context_length)


def _max_tokens(offer: Offer, needs: Needs, place: int) -> _Words:
    wanted = needs.request.capabilities[place]
    return wanted, str(needs.request.max_tokens), _limit(_output_limit(offer.capabilities[wanted]))


def _input_size(offer: Offer, needs: Needs, place: int) -> _Words:
    wanted = needs.request.capabilities[place]
    return wanted, str(needs.request.input_bytes), _limit(offer.capabilities[wanted].max_input_bytes)


def _guarantee(offer: Offer, needs: Needs, place: int) -> _Words:
    name, required = needs.bounds[place]
    sign = ">=" if name.endswith(".min") else "<="
    return name, f"{sign} {decimal_text(required)}", offered_text(name, tightest(offer.bounds, name))


def _currency(offer: Offer, needs: Needs, place: int) -> _Words:
    return "currency", needs.request.currency, offer.prices.currency


def _cost(offer: Offer, needs: Needs, place: int) -> _Words:
    return "cost.max", f"<= {decimal_text(price_limit(needs.request))}", decimal_text(worst_price(offer, needs.request))


def _output_limit(capability: Capability) -> int | None:
    return capability.max_tokens if capability.max_tokens is not None else capability.context_length


def _limit(limit: int | None) -> str:
    return "undeclared" if limit is None else str(limit)


# --- security -----------------------------------------------------------------------------------


def _by_caller(kind: str, offer: Offer, principal: Principal) -> _Words:
    """The clauses that depend on who calls."""
    access = offer.access
    if kind == "visibility":
        return "visibility", "own or shared", "not shared"
    if kind == "all_of":
        return "permission", min(access.all_of - principal.permissions), "not held"
    if kind == "any_of":
        return "permission", f"one of {join(access.any_of)}", "none held"
    return "trust_level", access.trust_level, principal.trust_level


def _locality(offer: Offer, needs: Needs, place: int) -> _Words:
    return "data_locality", str(needs.request.data_locality), offer.privacy.locality


def _residency(offer: Offer, needs: Needs, place: int) -> _Words:
    privacy = offer.privacy
    return "regions", join(needs.request.regions), join(privacy.regions) if privacy.regions else privacy.locality


def _restricted(offer: Offer, needs: Needs, place: int) -> _Words:
    return "data_classification", "on_device or private", offer.privacy.locality


def _encrypted(offer: Offer, needs: Needs, place: int) -> _Words:
    return "data_classification", "on_device, private or encrypted", offer.privacy.locality


def _training(offer: Offer, needs: Needs, place: int) -> _Words:
    return "trains_on_data", "false", "true"


def _retention(offer: Offer, needs: Needs, place: int) -> _Words:
    return "data_retention_days", f"<= {needs.request.max_retention_days}", _limit(offer.privacy.retention_days)


def _compliance(offer: Offer, needs: Needs, place: int) -> _Words:
    return "compliance", sorted(needs.request.compliance)[place], join(offer.privacy.compliance)


def _egress(offer: Offer, needs: Needs, place: int) -> _Words:
    return "egress", "none", "internet" if offer.needs_internet else offer.privacy.locality


#: What each kind of question says of an offer that failed it: its place among the kind is the last argument.
_BY_REQUEST = {
    "services": _services,
    "excluded_services": _excluded_services,
    "capability": _capability,
    "protocol": _protocol,
    "feature": _feature,
    "context_length": _context_length,
    "max_tokens": _max_tokens,
    "input_size": _input_size,
    "guarantee": _guarantee,
    "currency": _currency,
    "cost": _cost,
    "locality": _locality,
    "residency": _residency,
    "restricted": _restricted,
    "encrypted": _encrypted,
    "training": _training,
    "retention": _retention,
    "compliance": _compliance,
    "egress": _egress,
}
