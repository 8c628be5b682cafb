"""What can be said of a policy by itself, and of what it does to the services there are."""

from __future__ import annotations

from collections.abc import Iterator

from caio.routing.analysis.findings import Finding, Severity
from caio.routing.analysis.formulas import ERROR, FALSE, TRUE
from caio.routing.analysis.search import Answer, Goal, Status
from caio.routing.analysis.subjects import Subject, Surroundings, counted, example, named
from caio.routing.model import Effect


def about_when(subject: Subject, among: Surroundings, holds: Answer) -> Iterator[Finding]:
    """``holds``: whether there is a request for which ``when`` is true."""
    if holds.status is Status.UNDECIDED:
        yield Finding("not_decided", Severity.INFORMATION, "could not decide whether `when` ever holds", "/when")
    fails = among.request(Goal(subject.when, ERROR))
    if holds.status is Status.IMPOSSIBLE:
        if fails.status is Status.FOUND and among.request(Goal(subject.when, FALSE)).status is Status.IMPOSSIBLE:
            severity = Severity.SEVERE if subject.strict else Severity.WARNING
            denies = ": every request is denied" if subject.strict else ": the policy prefers nothing"
            yield Finding("always_errs", severity, f"`when` fails for every request{denies}", "/when", example(fails))
            return
        yield Finding("never_applies", Severity.WARNING, "`when` holds for no possible request", "/when")
    if fails.status is Status.FOUND and subject.strict:
        message = "`when` fails for some requests, and an error denies: no service is left to them; ask has(…) first"
        yield Finding("may_err", Severity.WARNING, message, "/when", example(fails))


def about_then(subject: Subject, among: Surroundings, holds: Answer) -> Iterator[Finding]:
    """Whether any contract, registered or not, could satisfy ``then``."""
    possible = among.service(Goal(subject.then, TRUE))
    if possible.status is Status.UNDECIDED and not any(subject.on(offer) == TRUE for offer in among.offers):
        message = "could not decide whether any contract can satisfy `then`"
        yield Finding("not_decided", Severity.INFORMATION, message, "/then")
    if possible.status is not Status.IMPOSSIBLE:
        return
    if among.service(Goal(subject.then, FALSE)).status is Status.IMPOSSIBLE:
        denies = ": while it is in force it excludes every service" if subject.strict else ": it prefers nothing"
        severity = Severity.SEVERE if subject.strict else Severity.WARNING
        yield Finding("always_errs", severity, f"`then` fails for every contract{denies}", "/then", example(holds))
        return
    effect = {
        Effect.REQUIRE: "requires what nothing can have, and excludes every service",
        Effect.FORBID: "forbids nothing",
        Effect.PREFER: "prefers nothing",
    }[subject.effect]
    severity = Severity.SEVERE if subject.effect is Effect.REQUIRE else Severity.WARNING
    message = f"no possible contract satisfies `then`: while in force, the policy {effect}"
    yield Finding("never_matches", severity, message, "/then", example(holds))


def about_services(subject: Subject, among: Surroundings, outcomes: list[int], holds: Answer) -> Iterator[Finding]:
    """What ``then`` says of each registered service; ``outcomes`` in their order, not empty."""
    total, true = len(outcomes), outcomes.count(TRUE)
    if subject.effect is Effect.REQUIRE and not true:
        message = "no registered service satisfies `then`: while it is in force, every request is refused"
        found = example(holds, named(among.offers[0]))
        yield Finding("matches_nothing", Severity.SEVERE, message, "/then", found)
    elif subject.effect is Effect.FORBID and not outcomes.count(FALSE):
        message = "every registered service is forbidden: while it is in force, every request is refused"
        found = example(holds, named(among.offers[0]))
        yield Finding("forbids_everything", Severity.SEVERE, message, "/then", found)
    elif not true:
        verb = "forbids" if subject.effect is Effect.FORBID else "prefers"
        message = f"{verb} none of the {total} registered service{'s' * (total != 1)} now"
        yield Finding("matches_nothing", Severity.INFORMATION, message, "/then")
    if subject.strict and ERROR in outcomes:
        first = named(among.offers[outcomes.index(ERROR)])
        count = counted(outcomes.count(ERROR), total)
        message = f"`then` fails for {count}, and an error excludes: ask has(…) first if that is not meant"
        yield Finding("may_err", Severity.WARNING, message, "/then", example(None, first))
