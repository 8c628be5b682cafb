"""The independent checker: from the evidence alone, what the certificate must say.

Theory of operation
-------------------
A certificate commits by hashes to what a decision was made from; the evidence is what the hashes
stand for. ``check`` works the whole decision out again, slowly and by the definition
(docs/reference/routing-rules.md), and compares. It shares with the engine the words of the model,
the form of the certificate and the expression language's grammar, and no rule: expressions are
walked as trees here, and compiled there.

Laws (each has a test of the same name)
---------------------------------------
- every_clause_is_recomputed: each row of the rules' table gives its literal exclusion record.
- every_mutation_is_caught: no changed byte of certificate or evidence leaves all claims proved.
- nothing_is_raised: whatever the arguments hold, the answer is a list of claims.
- order_is_irrelevant: services and policies may be listed in any order, and repeated.

Not checked: that the evidence is the truth about the world (that the tenant's active services
were these, or the history so); the receipt's signature and its place in the audit log
(``audit.verify``); that a contract is valid in parts that no rule reads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caio.foundation import hashing
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import CaioError
from caio.foundation.quantity import decimal_text
from caio.routing import certificate as form
from caio.routing.checking.clauses import first_failure, tightest
from caio.routing.checking.evidence import READERS, Unreadable, World, exact_document, read_world
from caio.routing.checking.ranking import Row, on_violation_of, ranked, seed_of, weights_of

#: What a document of the wrong form can raise while it is read.
_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, CaioError)

#: Claims that need the whole decision, and the certificate's fields they cover.
_RECOMPUTED = {
    "seed": ("seed",),
    "objective": ("weights", "on_violation"),
    "exclusions": ("excluded",),
    "ranking": ("feasible", "ranked"),
    "winner": ("plan",),
    "guarantees": ("guarantees",),
}

#: The input each hash claim covers.
_HASHED = {
    "request hash": "request",
    "principal hash": "principal",
    "contract hashes": "services",
    "policy hashes": "policies",
    "history hash": "history",
}

#: The names of all claims, in the order in which ``check`` returns them.
CLAIMS = ("form", "decision hash", "evidence", *_HASHED, "inputs", *_RECOMPUTED)

_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement about a decision: proved, or not proved for the reason in ``detail``."""

    name: str
    proved: bool
    detail: str


def check(certificate: Mapping[str, Any], evidence: Mapping[str, Any], decision_hash: str) -> list[Claim]:
    """Every claim of ``certificate``, in the order of ``CLAIMS``; the decision is proved when all are.

    ``decision_hash`` comes from where it is trusted (a signed receipt). Raises nothing: what cannot
    be read is an unproved claim that says why.
    """
    stated, claims = _read_certificate(certificate, decision_hash)
    try:
        given = exact_document(evidence, form.EVIDENCE_FIELDS)
        claims.append(Claim("evidence", True, "complete"))
    except _UNREADABLE as error:
        given = {}
        claims.append(Claim("evidence", False, _reason(error)))
    for name, part in _HASHED.items():
        claims.append(_hash_claim(name, part, stated, given))
    try:
        expected = recompute(evidence)
    except _UNREADABLE as error:
        return claims + [Claim(name, False, _reason(error)) for name in ("inputs", *_RECOMPUTED)]
    claims.append(_compare("inputs", ("tenant", "service_count"), stated, expected))
    return claims + [_compare(name, fields, stated, expected) for name, fields in _RECOMPUTED.items()]


def recompute(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """The certificate that ``evidence`` makes necessary.

    Raises LookupError, TypeError, ValueError or CaioError when the evidence is not of its form.
    """
    world = read_world(evidence)
    feasible, excluded = [], defaultdict(list)
    for service in world.services:
        failure = first_failure(world, service)
        if failure is None:
            feasible.append(service)
        else:
            excluded[failure.clause].append([*service.key, *failure])
    rows = ranked(world, feasible)
    listed = [[*row.service.key, row.score, row.worst_cost] for row in rows]
    winner = rows[0] if rows else None
    return {
        "v": form.VERSION,
        "tenant": world.request["tenant_id"],
        **world.hashes,
        "service_count": len(world.services),
        "seed": seed_of(world),
        "weights": weights_of(world),
        "on_violation": on_violation_of(world),
        "feasible": {"count": len(listed), "hash": hashing.digest_of(hashing.FEASIBLE, listed)},
        "ranked": listed[: form.RANKED_ROWS],
        "excluded": [
            {
                "clause": clause,
                "count": len(excluded[clause]),
                "hash": hashing.digest_of(hashing.EXCLUDED, excluded[clause]),
            }
            for clause in form.CLAUSES
            if clause in excluded
        ],
        "plan": [] if winner is None else [_step(winner)],
        "guarantees": {} if winner is None else _guarantees(world, winner),
    }


def _step(winner: Row) -> dict[str, str]:
    service_id, version = winner.service.key
    return {"service": service_id, "version": version, "contract": winner.service.digest}


def _guarantees(world: World, winner: Row) -> dict[str, str]:
    offers = {bound: tightest(winner.service.contract, bound) for bound in world.bounds}
    promised = {bound: offered[1] for bound, offered in offers.items() if offered is not None}
    return promised | {"cost.max": decimal_text(winner.worst_cost)}


def _read_certificate(certificate: Mapping[str, Any], decision_hash: str) -> tuple[dict[str, Any], list[Claim]]:
    """The certificate as plain JSON, empty when unreadable, and the claims about it as a document."""
    try:
        stated = exact_document(certificate, form.FIELDS)
        if canonical_json(stated["v"]) != canonical_json(form.VERSION):
            raise Unreadable(f"version {stated['v']!r} is not {form.VERSION}")
        digest = form.decision_hash(stated)
    except _UNREADABLE as error:
        return {}, [Claim(name, False, _reason(error)) for name in ("form", "decision hash")]
    same = digest == decision_hash
    detail = digest if same else f"the certificate's digest is {digest}"
    return stated, [Claim("form", True, f"version {form.VERSION}"), Claim("decision hash", same, detail)]


def _hash_claim(name: str, part: str, stated: Mapping[str, Any], given: Mapping[str, Any]) -> Claim:
    try:
        digest, _ = READERS[part](given[part])
    except _UNREADABLE as error:
        return Claim(name, False, _reason(error))
    return _compare(name, (part,), stated, {part: digest})


def _compare(name: str, fields: tuple[str, ...], stated: Mapping[str, Any], expected: Mapping[str, Any]) -> Claim:
    """Equality of bytes: ``1`` and ``true`` are equal values to Python, and different evidence."""
    for field in fields:
        if field not in stated:
            return Claim(name, False, f"the certificate has no readable {field}")
        claimed, found = canonical_json(stated[field]), canonical_json(expected[field])
        if claimed != found:
            return Claim(name, False, f"{field} is {_shown(claimed)}, recomputed {_shown(found)}")
    return Claim(name, True, ", ".join(f"{field} {_shown(canonical_json(expected[field]))}" for field in fields))


def _shown(raw: bytes) -> str:
    text = raw.decode()
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
