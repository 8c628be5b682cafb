"""What a change newly permits or forbids: a request and a service whose verdict is another one.

A policy excludes a service in one of two ways, ``when`` fails or it holds and ``then`` says so, and
keeps it in one of two, ``when`` does not hold or it holds and ``then`` does not say so. A verdict
changes where one version excludes in some way and the other keeps in some way: four questions, each
about a request and, apart from it, about a service. A registered service is preferred as example, and
a pair that no other policy excludes; every pair is evaluated under both versions before it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from caio.routing.analysis.findings import Counterexample, Finding, Severity
from caio.routing.analysis.formulas import ERROR, FALSE, TRUE, outcome
from caio.routing.analysis.search import Answer, Goal, Status
from caio.routing.analysis.subjects import Subject, Surroundings, counted, example, named
from caio.routing.model import Offer

#: An outcome of ``when``, and the wanted ones of ``then`` (None: whatever it says).
Way = tuple[int, int | None]


def changes(old: Subject | None, new: Subject | None, among: Surroundings) -> Iterator[Finding]:
    """``old`` and ``new`` are the policy as far as it is in force without being named, or None."""
    yield from _change("newly_permits", Severity.WARNING, old, new, among)
    yield from _change("newly_forbids", Severity.INFORMATION, new, old, among)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A verdict that changes; ``masked`` when other policies exclude the pair either way."""

    counterexample: Counterexample
    affected: int
    masked: str | None


def _change(
    code: str, severity: Severity, excluding: Subject | None, keeping: Subject | None, among: Surroundings
) -> Iterator[Finding]:
    """Pairs that ``excluding`` excludes and ``keeping`` does not."""
    decided, constructed, masked = True, None, None
    for excludes, keeps in _ways(excluding, keeping):
        request = among.request(*_goals(excluding, keeping, excludes, keeps))
        if request.status is not Status.FOUND:
            decided = decided and request.status is Status.IMPOSSIBLE
            continue
        affected = [each for each in among.offers if _is(excluding, excludes, each) and _is(keeping, keeps, each)]
        seen = _registered(request, affected, excluding, keeping, among, _goals(excluding, keeping, excludes, keeps))
        if seen is not None and seen.masked is None:
            yield _finding(code, severity, seen, among)
            return
        masked = masked or seen
        if not affected and constructed is None:
            contract = among.service(*_then_goals(excluding, keeping, excludes, keeps))
            decided = decided and contract.status is not Status.UNDECIDED
            if contract.status is Status.FOUND and _differ(request, contract, excluding, keeping):
                constructed = _Seen(example(request, None, contract), 0, None)
    remaining = masked or constructed
    if remaining is not None:
        yield _finding(code, Severity.INFORMATION, remaining, among)
    elif not decided:
        message = f"could not decide whether the change {code.replace('_', ' ')} anything; no example was found"
        yield Finding("not_decided", Severity.INFORMATION, message)


def _ways(excluding: Subject | None, keeping: Subject | None) -> Iterator[tuple[Way, Way]]:
    if excluding is None or not excluding.strict:
        return
    kept: list[Way] = [(ANY_OUTCOME, None)]
    if keeping is not None and keeping.strict:
        kept = [(TRUE, keeping.keeping), (FALSE, None)]
    for excludes in ((TRUE, excluding.excluding), (ERROR, None)):
        for keeps in kept:
            yield excludes, keeps


ANY_OUTCOME = TRUE | FALSE | ERROR


def _goals(excluding: Subject | None, keeping: Subject | None, excludes: Way, keeps: Way) -> list[Goal]:
    pairs = ((excluding, excludes[0]), (keeping, keeps[0]))
    return [Goal(each.when, wanted) for each, wanted in pairs if each is not None]


def _then_goals(excluding: Subject | None, keeping: Subject | None, excludes: Way, keeps: Way) -> list[Goal]:
    pairs = ((excluding, excludes[1]), (keeping, keeps[1]))
    return [Goal(each.then, wanted) for each, wanted in pairs if each is not None and wanted is not None]


def _is(subject: Subject | None, way: Way, offer: Offer) -> bool:
    return subject is None or way[1] is None or bool(subject.on(offer) & way[1])


def _registered(
    request: Answer,
    affected: Sequence[Offer],
    excluding: Subject | None,
    keeping: Subject | None,
    among: Surroundings,
    goals: list[Goal],
) -> _Seen | None:
    """The first affected service that no other policy excludes; else the first, with one that does."""
    if not affected:
        return None
    always = [other for other in among.others if other.always_attached and other.strict]
    free, maskers = _unmasked(request, affected, always)
    if not free:
        # Another request, to which those policies do not apply, may show the change.
        calmer = among.request(*goals, *(Goal(other.when, FALSE) for other in maskers))
        if calmer.status is Status.FOUND:
            request = calmer
            free, _ = _unmasked(request, affected, always)
    shown = free[0] if free else affected[0]
    if not _differ(request, shown, excluding, keeping):
        return None
    return _Seen(example(request, named(shown)), len(free or affected), None if free else maskers[0].name)


def _unmasked(
    request: Answer, affected: Sequence[Offer], others: Sequence[Subject]
) -> tuple[list[Offer], list[Subject]]:
    """The services that none of the others excludes for the request, and those that exclude some."""
    whens = [(other, outcome(other.rule.applies, request.variables or {})) for other in others]
    free, maskers = [], {}
    for offer in affected:
        excluded = (o for o, when in whens if when == ERROR or (when == TRUE and o.on(offer) & o.excluding))
        masker = next(excluded, None)
        if masker is None:
            free.append(offer)
        else:
            maskers[masker.name] = masker
    return free, list(maskers.values())


def _excludes(other: Subject | None, request: Answer, service: Offer | Answer) -> bool:
    variables = {"service": service.variables} if isinstance(service, Offer) else service.variables
    return other is not None and other.excludes(request.variables or {}, variables or {})


def _differ(request: Answer, service: Offer | Answer, excluding: Subject | None, keeping: Subject | None) -> bool:
    return _excludes(excluding, request, service) and not _excludes(keeping, request, service)


def _finding(code: str, severity: Severity, seen: _Seen, among: Surroundings) -> Finding:
    verb = "permits" if code == "newly_permits" else "forbids"
    if not seen.affected:
        message = f"newly {verb} services as in the example; none is registered now"
    else:
        shown, count = seen.counterexample.service, counted(seen.affected, len(among.offers))
        message = f"newly {verb} {shown} ({count}) to requests such as the example's"
    if seen.masked is not None:
        message += f"; other policies, such as {seen.masked}, exclude them all the same"
    return Finding(code, severity, message, "", seen.counterexample)
