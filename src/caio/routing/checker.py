"""The independent checker: from the evidence alone, what the certificate must say.

Theory of operation
-------------------
A certificate commits by hashes to what a decision was made from and to what became of every
service; the evidence is what the hashes stand for. ``check`` works the whole decision out again,
slowly and by the definition (docs/reference/routing-rules.md), and compares. The certificate
counts the exclusions and shows five ranks; ``exclusions`` and ``ranking`` give them all, in words.

It shares with the engine the words of the model, the form of the certificate and the expression
language's grammar, and no rule: expressions are walked as trees here, and compiled there. Checker
and ``checking`` are below 400 lines of code, so that one person can read them in one sitting
(chains and graphs of stages are ``checking.plans``).

Laws (each has a test of the same name)
---------------------------------------
- every_clause_is_recomputed: each row of the rules' table gives its literal exclusion record and
  the number of its question.
- every_mutation_is_caught: no changed byte of certificate or evidence leaves all claims proved.
- nothing_is_raised: whatever the arguments hold, the answer is a list of claims.
- order_is_irrelevant: services and policies may be listed in any order, and repeated.

Not checked: that the evidence is the truth about the world (that the tenant's active services
were these, or the history so); the receipt's signature and its place in the audit log
(``audit.verify``); that a contract is valid in parts that no rule reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from caio.foundation import hashing
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import CaioError
from caio.foundation.quantity import decimal_text
from caio.routing import certificate as form
from caio.routing.checking.clauses import Failure, question_count, tightest, verdict
from caio.routing.checking.evidence import Service, Unreadable, World, exactly, plain, read_world
from caio.routing.checking.ranking import Row, first_stated, ranked, weights_of
from caio.routing.model import OnViolation

#: Verdicts are committed to as two bytes.
MOST_QUESTIONS = 65_535

#: The names of all claims, in the order in which ``check`` returns them: one for each field of the certificate.
CLAIMS = ("form", "decision hash", "evidence", *(name for name in form.FIELDS if name != "v"))

#: What a document of the wrong form can raise while it is read.
_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, CaioError)
_SHOWN = 80


class Claim(NamedTuple):
    """One statement about a decision: proved, or not proved for the reason in ``detail``."""

    name: str
    proved: bool
    detail: str


class Decided(NamedTuple):
    """A decision worked out again. ``verdicts`` are by id, then version: the number of the first question that a
    service fails, and how; 0 and None for the feasible ones, which ``ranked`` has best first."""

    world: World
    verdicts: Sequence[tuple[Service, int, Failure | None]]
    ranked: Sequence[Row]


def check(certificate: Mapping[str, Any], evidence: Mapping[str, Any], decision_hash: str) -> list[Claim]:
    """Every claim of ``certificate``, in the order of ``CLAIMS``; the decision is proved when all are.

    ``decision_hash`` comes from where it is trusted (a signed receipt). Raises nothing: what cannot
    be read is an unproved claim that says why.
    """
    stated, misformed = _tried(lambda: _read_certificate(certificate))
    expected, unreadable = _tried(lambda: recompute(evidence))
    digest = form.decision_hash(stated)
    return [
        Claim("form", not misformed, misformed or f"version {form.VERSION}"),
        Claim("decision hash", not misformed and digest == decision_hash, f"the certificate's digest is {digest}"),
        Claim("evidence", not unreadable, unreadable or "complete"),
        *(_compared(name, stated, expected) for name in CLAIMS[3:]),
    ]


def recompute(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """The certificate that ``evidence`` makes necessary; raises as ``decide_again`` does."""
    world, verdicts, rows = decide_again(evidence)
    numbers = b"".join(number.to_bytes(2) for _, number, _ in verdicts)
    by_name = sorted(rows, key=lambda row: row.service.key)
    counts = Counter(failure.clause for _, _, failure in verdicts if failure is not None)
    return {
        "v": form.VERSION,
        "tenant": world.request["tenant_id"],
        **world.hashes,
        "service_count": len(verdicts),
        "seed": world.seed,
        "weights": weights_of(world),
        "on_violation": OnViolation(first_stated(world, "on_violation", "report")),
        "verdicts": hashing.digest(hashing.VERDICTS, numbers),
        "feasible": {"count": len(rows), "hash": hashing.digest(hashing.FEASIBLE, b"".join(map(_scored, by_name)))},
        "ranked": [_listed(row) for row in rows[: form.RANKED_ROWS]],
        "excluded": [{"clause": name, "count": counts[name]} for name in form.CLAUSES if name in counts],
        "plan": [_step(row.service) for row in rows[:1]],
        "guarantees": _guarantees(world, rows[0]) if rows else {},
    }


def exclusions(evidence: Mapping[str, Any]) -> list[list[str]]:
    """Every exclusion, ``[id, version, clause, subject, required, offered]``, by id, then version.

    Raises as ``decide_again`` does.
    """
    verdicts = decide_again(evidence).verdicts
    return [[*service.key, *failure] for service, _, failure in verdicts if failure is not None]


def ranking(evidence: Mapping[str, Any]) -> list[list[str | int]]:
    """Every feasible service, ``[id, version, score, worst-case price]``, best first, the price in nano-units.

    Raises as ``decide_again`` does.
    """
    return [_listed(row) for row in decide_again(evidence).ranked]


def decide_again(evidence: Mapping[str, Any]) -> Decided:
    """The decision that ``evidence`` makes necessary.

    Raises LookupError, TypeError, ValueError, AttributeError, ArithmeticError or CaioError when the
    evidence is not of its form, and ValueError when it asks more than MOST_QUESTIONS questions.
    """
    world = read_world(evidence)
    if (count := question_count(world)) > MOST_QUESTIONS:
        raise Unreadable(f"{count} questions are more than {MOST_QUESTIONS}")
    verdicts = [(service, *verdict(world, service)) for service in world.services]
    return Decided(world, verdicts, ranked(world, [service for service, number, _ in verdicts if number == 0]))


def _scored(row: Row) -> bytes:
    return row.score.to_bytes(8) + row.worst_cost.to_bytes(8)


def _listed(row: Row) -> list[str | int]:
    return [*row.service.key, row.score, row.worst_cost]


def _step(chosen: Service) -> dict[str, str]:
    return {"service": chosen.key[0], "version": chosen.key[1], "contract": chosen.digest}


def _guarantees(world: World, winner: Row) -> dict[str, str]:
    promised = {bound: tightest(winner.service.contract, bound)[1] for bound in world.bounds}
    return promised | {"cost.max": decimal_text(winner.worst_cost)}


def _read_certificate(certificate: Mapping[str, Any]) -> dict[str, Any]:
    document = plain(certificate)
    if (version := document.get("v")) != form.VERSION:
        raise Unreadable(f"version {version} is not {form.VERSION}")
    return dict(exactly(document, form.FIELDS))


def _tried(work: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """What ``work`` yields, or nothing and the reason why."""
    try:
        return work(), ""
    except _UNREADABLE as error:
        return {}, str(error) if isinstance(error, Unreadable) else f"{type(error).__name__}: {error}"


def _compared(name: str, stated: Mapping[str, Any], expected: Mapping[str, Any]) -> Claim:
    """Equality of bytes: ``1`` and ``true`` are equal values to Python, and different evidence."""
    if not stated or not expected:
        return Claim(name, False, "certificate or evidence cannot be read")
    claimed, found = (canonical_json(document[name]).decode() for document in (stated, expected))
    detail = found[:_SHOWN] if claimed == found else f"{claimed[:_SHOWN]}, recomputed {found[:_SHOWN]}"
    return Claim(name, claimed == found, detail)
