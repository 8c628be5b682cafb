"""What single change would help a refused request: found by deciding again with it, never guessed.

Each group of losers names the requirement they failed. That one requirement is dropped, and the
decision is made again; where it is a number, also relaxed to the best that anybody who would then
qualify offers. What helps nobody is not mentioned. At most ``MOST_TRIALS`` decisions are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from caio.foundation.quantity import decimal_text
from caio.routing.engine import decide
from caio.routing.explaining.phrases import bound_words, brief, label, locality_words, thousands
from caio.routing.matching import as_evaluated
from caio.routing.model import (
    LOCALITIES,
    Capability,
    Decision,
    Exclusion,
    History,
    Offer,
    Principal,
    Request,
)
from caio.routing.reasons import tightest
from caio.routing.snapshot import Snapshot

MOST_TRIALS = 12


@dataclass(frozen=True, slots=True)
class Remedy:
    """``qualifying`` services would be feasible with this one change, ``first`` the winner.

    The change is that of ``request`` (fields of the request's document, with new values), of
    ``principal`` (likewise), or the absence of the policy ``without``.
    """

    words: str
    qualifying: int
    first: str
    request: Mapping[str, Any]
    principal: Mapping[str, Any]
    without: str | None


@dataclass(frozen=True, slots=True)
class Case:
    """What was decided on, and may be decided on again with something changed."""

    snapshot: Snapshot
    request: Request
    principal: Principal
    history: History
    without: str | None = None

    def decision(self) -> Decision:
        snapshot = self.snapshot
        if self.without is not None:
            rules = [rule for rule in snapshot.rules if _key(rule.policy) != self.without]
            snapshot = snapshot.with_rules(rules)
        return decide(snapshot, self.request, self.principal, self.history)


@dataclass(frozen=True, slots=True)
class _Change:
    """A case with one requirement less; ``best`` gives, from those that then qualify, the case with
    that requirement as they can meet it."""

    words: str
    case: Case
    best: Callable[[Sequence[Offer], Decision], tuple[str, Case] | None] | None = None
    only_best: bool = False


def remedies(case: Case, losers: Iterable[tuple[Exclusion, Offer]]) -> tuple[tuple[Remedy, ...], int]:
    """The changes that help, those that help most services first, and how many decisions were made.

    ``losers`` are one of each group, those that came closest to qualifying first.
    """
    found: list[Remedy] = []
    tried: set[tuple[Request, Principal, str | None]] = set()
    for loser, offer in losers:
        change = _change(case, loser, offer)
        if change is None or _identity(change.case) in tried or len(tried) >= MOST_TRIALS:
            continue
        found += _helping(case, change, tried)
    return tuple(sorted(found, key=lambda remedy: -remedy.qualifying)), len(tried)


def _helping(case: Case, change: _Change, tried: set[tuple[Request, Principal, str | None]]) -> Iterator[Remedy]:
    tried.add(_identity(change.case))
    dropped = change.case.decision()
    if not dropped.ranked:
        return
    reached = 0
    if change.best is not None:
        relaxed = change.best([each.offer for each in dropped.ranked], dropped)
        if relaxed is not None and len(tried) < MOST_TRIALS:
            words, nearest = relaxed
            tried.add(_identity(nearest))
            decision = nearest.decision()
            reached = len(decision.ranked)
            if reached:
                yield _remedy(case, words, nearest, decision)
    if len(dropped.ranked) > reached and not change.only_best:
        yield _remedy(case, change.words, change.case, dropped)


def _remedy(case: Case, words: str, changed: Case, decision: Decision) -> Remedy:
    count, best = len(decision.ranked), decision.ranked[0].offer
    return Remedy(
        f"{count:,} service{'s' * (count > 1)} would qualify {words}",
        count,
        f"{best.service_id}@{best.version}",
        _difference(case.request.document(), changed.request.document()),
        _difference(case.principal.document(), changed.principal.document()),
        changed.without,
    )


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in after.items() if value != before[name]}


def _identity(case: Case) -> tuple[Request, Principal, str | None]:
    return case.request, case.principal, case.without


def _key(policy: Any) -> str:
    return f"{policy.policy_id}@{policy.version}"


# --- One requirement less, by clause ------------------------------------------------------------


def _change(case: Case, loser: Exclusion, offer: Offer) -> _Change | None:
    """None where no request, caller or policy could make a difference."""
    if loser.clause in ("policy", "policy_error"):
        return _Change(f"without policy {loser.subject}", replace(case, without=loser.subject))
    if loser.clause in _CALLERS:
        return _CALLERS[loser.clause](case, loser, offer)
    change = _REQUESTS.get(loser.clause)
    return None if change is None else change(case, loser)


def _asking(case: Case, words: str, **changes: Any) -> _Change | None:
    """The request with ``changes``; None when they change nothing."""
    request = replace(case.request, **changes)
    return None if request == case.request else _Change(words, replace(case, request=request))


def _service(case: Case, loser: Exclusion) -> _Change | None:
    if loser.subject == "services":
        return _asking(case, "if any service might be chosen", services=frozenset())
    return _asking(case, "if no service were excluded by the request", excluded_services=frozenset())


def _capability(case: Case, loser: Exclusion) -> _Change | None:
    others = tuple(each for each in case.request.capabilities if each != loser.subject)
    return _asking(case, f"without the capability {loser.subject}", capabilities=others) if others else None


def _protocol(case: Case, loser: Exclusion) -> _Change | None:
    return _asking(case, "with any protocol", protocols=frozenset())


def _feature(case: Case, loser: Exclusion) -> _Change | None:
    features = case.request.features - {loser.required}
    if loser.required == "streaming" and case.request.stream:
        return _asking(case, "without streaming", features=features, stream=False)
    return _asking(case, f"without the feature {loser.required}", features=features)


def _least_of(offer: Offer, request: Request, limit: Callable[[Capability], int | None]) -> int | None:
    limits = [limit(offer.capabilities[wanted]) for wanted in request.capabilities]
    return min((each for each in limits if each is not None), default=None)


def _output(capability: Capability) -> int | None:
    return capability.context_length if capability.max_tokens is None else capability.max_tokens


def _sized(
    case: Case, field: str, dropped: int | None, limit: Callable[[Capability], int | None], words: tuple[str, str]
) -> _Change:
    """One of the request's sizes dropped, or as large as the largest that anybody takes."""

    def resized(value: int | None) -> Case:
        changes: dict[str, Any] = {field: value}
        return replace(case, request=replace(case.request, **changes))

    def best(offers: Sequence[Offer], _: Decision) -> tuple[str, Case] | None:
        limits = [_least_of(offer, case.request, limit) for offer in offers]
        smaller = [each for each in limits if each is not None and each < getattr(case.request, field)]
        return (words[0].format(thousands(str(max(smaller)))), resized(max(smaller))) if smaller else None

    return _Change(words[1], resized(dropped), best, only_best=dropped is not None)


def _context_length(case: Case, loser: Exclusion) -> _Change | None:
    words = ("with a context of {} tokens", "if no context length were asked for")
    return _sized(case, "context_length", None, lambda each: each.context_length, words)


def _max_tokens(case: Case, loser: Exclusion) -> _Change | None:
    return _sized(
        case, "max_tokens", None, _output, ("with {} tokens of output", "if no length of output were asked for")
    )


def _input_size(case: Case, loser: Exclusion) -> _Change | None:
    return _sized(case, "input_bytes", 0, lambda each: each.max_input_bytes, ("with {} bytes of input", ""))


def _guarantee(case: Case, loser: Exclusion) -> _Change | None:
    name, request = loser.subject, case.request
    others = tuple((each, value) for each, value in request.bounds if as_evaluated(each, request.stream) != name)
    # As it was stated: a stream's latency is evaluated under another name.
    stated = next(each for each, _ in request.bounds if as_evaluated(each, request.stream) == name)

    def best(offers: Sequence[Offer], _: Decision) -> tuple[str, Case] | None:
        promised = [found[1] for offer in offers if (found := tightest(offer.bounds, name)) is not None]
        if not promised:
            return None
        value = max(promised) if name.endswith(".min") else min(promised)
        bounds = tuple(sorted([*others, (stated, value)]))
        return f"at {bound_words(name, decimal_text(value))}", replace(case, request=replace(request, bounds=bounds))

    changed = replace(case, request=replace(request, bounds=others))
    return _Change(f"without the bound on {label(name)}", changed, best)


def _cost(case: Case, loser: Exclusion) -> _Change | None:
    request = case.request
    if request.max_cost is None:
        return None

    def best(_: Sequence[Offer], dropped: Decision) -> tuple[str, Case]:
        price = min(each.worst_cost for each in dropped.ranked)
        words = f"at up to {thousands(decimal_text(price))} {request.currency}"
        return words, replace(case, request=replace(request, max_cost=price))

    return _Change("without a limit of cost", replace(case, request=replace(request, max_cost=None)), best)


def _currency(case: Case, loser: Exclusion) -> _Change | None:
    if case.request.max_cost is not None:  # an amount of another currency would be another requirement
        return None
    return _asking(case, f"if the tenant paid in {loser.offered}", currency=loser.offered)


def _locality(case: Case, loser: Exclusion) -> _Change | None:
    request = case.request

    def best(offers: Sequence[Offer], _: Decision) -> tuple[str, Case]:
        closest = min((offer.privacy.locality for offer in offers), key=LOCALITIES.index)
        words = f"if data might be processed {locality_words(closest)}"
        return words, replace(case, request=replace(request, data_locality=closest))

    changed = replace(case, request=replace(request, data_locality=None))
    return _Change("if data might be processed anywhere", changed, best)


def _residency(case: Case, loser: Exclusion) -> _Change | None:
    return _asking(case, f"if data were not confined to {brief(loser.required)}", regions=frozenset())


def _sensitivity(case: Case, loser: Exclusion) -> _Change | None:
    return _asking(case, "if the data were internal and not sensitive", classification="internal", sensitive=False)


def _training(case: Case, loser: Exclusion) -> _Change | None:
    return (
        _sensitivity(case, loser) if case.request.training else _asking(case, "if training were allowed", training=True)
    )


def _retention(case: Case, loser: Exclusion) -> _Change | None:
    request = case.request

    def best(offers: Sequence[Offer], _: Decision) -> tuple[str, Case] | None:
        kept = [days for offer in offers if (days := offer.privacy.retention_days) is not None]
        if not kept:
            return None
        days = min(kept)
        words = f"if data might be kept for {thousands(str(days))} days"
        return words, replace(case, request=replace(request, max_retention_days=days))

    changed = replace(case, request=replace(request, max_retention_days=None))
    return _Change("if data might be kept for any time", changed, best)


def _compliance(case: Case, loser: Exclusion) -> _Change | None:
    return _asking(case, f"without {loser.required}", compliance=case.request.compliance - {loser.required})


def _egress(case: Case, loser: Exclusion) -> _Change | None:
    return _asking(case, "if egress were allowed", egress=True)


def _permission(case: Case, loser: Exclusion, offer: Offer) -> _Change:
    missing = loser.required if loser.offered == "not held" else min(offer.access.any_of)
    held = replace(case.principal, permissions=case.principal.permissions | {missing})
    return _Change(f"if the caller held the permission {missing}", replace(case, principal=held))


def _trust(case: Case, loser: Exclusion, offer: Offer) -> _Change:
    trusted = replace(case.principal, trust_level=loser.required)
    return _Change(f"if the caller's trust level were {loser.required}", replace(case, principal=trusted))


_CALLERS: Mapping[str, Callable[[Case, Exclusion, Offer], _Change]] = {"permission": _permission, "trust": _trust}
_REQUESTS: Mapping[str, Callable[[Case, Exclusion], _Change | None]] = {
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
    "locality": _locality,
    "residency": _residency,
    "sensitivity": _sensitivity,
    "training": _training,
    "retention": _retention,
    "compliance": _compliance,
    "egress": _egress,
}
