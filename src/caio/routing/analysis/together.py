"""What a policy does together with each of the others: nothing is left, or nothing is added."""

from __future__ import annotations

from collections.abc import Iterator

from caio.routing.analysis.findings import Finding, Severity
from caio.routing.analysis.formulas import ERROR, FALSE, TRUE
from caio.routing.analysis.search import Goal, Status
from caio.routing.analysis.subjects import Subject, Surroundings, example, named


def contradictions(subject: Subject, among: Surroundings, outcomes: list[int]) -> Iterator[Finding]:
    """Others that leave something, and this one too, but not both together. ``outcomes`` are this
    policy's for the registered services, in their order."""
    if not subject.strict:
        return
    kept = [offer for offer, each in zip(among.offers, outcomes, strict=True) if each & subject.keeping]
    for other in among.others:
        if not other.strict or (among.offers and (not kept or any(other.on(offer) & other.keeping for offer in kept))):
            continue
        if not _leaves_something(other, among) or not _leaves_something(subject, among):
            continue
        service = among.service(Goal(subject.then, subject.keeping), Goal(other.then, other.keeping))
        if not among.offers and service.status is not Status.IMPOSSIBLE:
            continue
        both = among.request(Goal(subject.when, TRUE), Goal(other.when, TRUE))
        if both.status is not Status.FOUND:
            continue
        which = "no possible service" if service.status is Status.IMPOSSIBLE else "no registered service"
        message = f"while this policy and {other.name} are both in force, {which} passes: every request is refused"
        seen = example(both, named(kept[0]) if kept else None)
        yield Finding("contradicts", Severity.SEVERE, message, "/then", seen, (other.name,))


def _leaves_something(subject: Subject, among: Surroundings) -> bool:
    if among.offers:
        return any(subject.on(offer) & subject.keeping for offer in among.offers)
    return among.service(Goal(subject.then, subject.keeping)).status is not Status.IMPOSSIBLE


def redundancy(subject: Subject, among: Surroundings, outcomes: list[int]) -> Iterator[Finding]:
    """The first other policy that excludes, whatever the request and the service, all that this one does."""
    policy = subject.rule.policy
    if not subject.strict or policy.weights is not None or policy.on_violation is not None:
        return
    excluded = [offer for offer, each in zip(among.offers, outcomes, strict=True) if each & subject.excluding]
    for other in among.others:
        if not other.strict or not other.always_attached or other.effect is not subject.effect:
            continue
        if not all(other.on(offer) & other.excluding for offer in excluded):
            continue
        unproved = (
            among.request(Goal(subject.when, TRUE | ERROR), Goal(other.when, FALSE)),
            among.request(Goal(subject.when, ERROR), Goal(other.when, TRUE | FALSE)),
            among.service(Goal(subject.then, subject.excluding), Goal(other.then, other.keeping)),
        )
        if all(each.status is Status.IMPOSSIBLE for each in unproved):
            message = f"{other.name} already excludes everything that this policy does"
            yield Finding("redundant", Severity.WARNING, message, "", None, (other.name,))
            return
