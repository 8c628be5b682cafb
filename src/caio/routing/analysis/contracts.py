"""What a further version of a contract newly permits or forbids, as the tenant's policies see it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from caio.routing.analysis.findings import Finding, Severity
from caio.routing.analysis.formulas import FALSE, TRUE
from caio.routing.analysis.questions import STEPS
from caio.routing.analysis.search import Budget, Goal, Status
from caio.routing.analysis.subjects import Subject, Surroundings, example, named
from caio.routing.model import Offer
from caio.routing.rules import Rule


def analyse_contract(old: Offer, new: Offer, rules: Sequence[Rule]) -> tuple[Finding, ...]:
    """One finding for each policy in force whose verdict on the service changes, for some request.

    A service is newly permitted only where no other policy excludes the new version, and newly forbidden
    only where none excluded the old one. Deterministic and bounded; contract clauses and access rules
    are not considered.
    """
    subjects = [each for each in map(Subject, rules) if each.strict and each.always_attached]
    among = Surroundings((), (old, new), Budget(STEPS))
    permitted = _changes("newly_permits", old, new, subjects, among)
    return (*permitted, *_changes("newly_forbids", new, old, subjects, among))


def _changes(
    code: str, excluded: Offer, kept: Offer, subjects: Sequence[Subject], among: Surroundings
) -> Iterator[Finding]:
    """Policies that exclude ``excluded`` and not ``kept``, where no other excludes ``kept``."""
    others = [each for each in subjects if each.on(kept) & each.excluding]
    for subject in subjects:
        if subject in others or not subject.on(excluded) & subject.excluding:
            continue
        request = among.request(Goal(subject.when, TRUE), *(Goal(other.when, FALSE) for other in others))
        if request.status is not Status.FOUND:
            continue
        permits = code == "newly_permits"
        shown = kept if permits else excluded
        change = "no longer excludes" if permits else "now excludes"
        message = f"{subject.name} {change} {shown.service_id}, for requests such as the example's"
        severity = Severity.WARNING if permits else Severity.INFORMATION
        yield Finding(code, severity, message, "", example(request, named(shown)), (subject.name,))
