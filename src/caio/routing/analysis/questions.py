"""The questions that are asked of a policy when it is saved."""

from __future__ import annotations

from collections.abc import Sequence

from caio.routing.analysis.alone import about_services, about_then, about_when
from caio.routing.analysis.changes import changes
from caio.routing.analysis.findings import Finding, Severity
from caio.routing.analysis.formulas import TRUE
from caio.routing.analysis.search import Budget, Goal, Status
from caio.routing.analysis.subjects import Subject, Surroundings
from caio.routing.analysis.together import contradictions, redundancy
from caio.routing.model import Offer
from caio.routing.rules import Rule

#: Steps one analysis may take in all, and verdicts of other policies on services.
STEPS = 10_000
VERDICTS = 200_000

_ORDER = list(Severity)


def analyse(new: Rule, others: Sequence[Rule], offers: Sequence[Offer], old: Rule | None = None) -> tuple[Finding, ...]:
    """What to know before ``new`` is put in force, the most severe first.

    ``others`` are the tenant's other active rules, ``offers`` the services it sees, ``old`` the version
    that is replaced, None for a new policy. Rules of ``new``'s own id among the others are left out.
    Deterministic and bounded; never raises for rules that compiled. Not considered: evaluations that run
    out of steps, which deny; the contract clauses and access rules of a decision; combinations of more
    than two policies.
    """
    subject = Subject(new)
    rest = [Subject(rule) for rule in others if rule.policy.policy_id != new.policy.policy_id]
    seen = rest[: VERDICTS // max(1, len(offers))]
    among = Surroundings(seen, offers, Budget(STEPS))
    holds = among.request(Goal(subject.when, TRUE))
    findings = [*about_when(subject, among, holds)]
    if holds.status is not Status.IMPOSSIBLE:
        outcomes = [subject.on(offer) for offer in offers]
        findings += about_then(subject, among, holds)
        if offers and not any(each.pointer == "/then" and each.severity is Severity.SEVERE for each in findings):
            findings += about_services(subject, among, outcomes, holds)
        findings += contradictions(subject, among, outcomes)
        findings += redundancy(subject, among, outcomes)
    if old is None or not _same(old, new):
        before = None if old is None else Subject(old)
        findings += changes(_unnamed(before), _unnamed(subject), among)
    if len(seen) < len(rest):
        message = f"not compared with {len(rest) - len(seen)} of the {len(rest)} other policies: too many"
        findings.append(Finding("not_decided", Severity.INFORMATION, message))
    return tuple(sorted(findings, key=lambda each: _ORDER.index(each.severity)))


def _unnamed(subject: Subject | None) -> Subject | None:
    return subject if subject is not None and subject.always_attached else None


def _same(old: Rule, new: Rule) -> bool:
    names = ("effect", "when", "then", "attach")
    return all(old.policy.document.get(name) == new.policy.document.get(name) for name in names)
