"""The kernel: from contracts, policies and a request to a decision, as a pure function.

Theory of operation
-------------------
``compile_snapshot`` fixes the services a tenant may see as columns and rows of bits; a ``Snapshot``
is immutable and swapped whole, so a decision never sees half a change. ``decide`` runs match, rules,
security, optimize and compose over it, each clause over all services at once, and returns the
ranking or a refusal, with a certificate from which ``routing.checker`` recomputes everything. The
rules are written down, exactly, in ``docs/reference/routing-rules.md``, and as slow Python in
``spec/``; this file only puts the stages together.

Laws (each has a test of the same name)
---------------------------------------
- same_inputs_same_decision: in any registration order, with duplicates, in any process.
- winner_is_in_every_set: the winner passes every clause of every stage.
- every_decision_has_a_valid_certificate: the independent checker agrees.
- tightening_never_adds_a_candidate.
- default_deny, forbid_beats_everything, an_error_denies.

Time, ids, randomness and history are arguments. Payloads never get here, only their size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from caio.foundation.canonical import canonical_plain
from caio.foundation.hashing import DECISION, PRINCIPAL, REQUEST, digest
from caio.routing import composition
from caio.routing.certificate import RANKED_ROWS, VERSION
from caio.routing.commitments import feasible_hash
from caio.routing.matching import Needs
from caio.routing.model import Decision, History, Offer, OnViolation, Principal, Request
from caio.routing.optimization import Ranking
from caio.routing.reasons import Exclusions
from caio.routing.rules import Rule
from caio.routing.shapes import Shape, shape_key
from caio.routing.snapshot import Snapshot, compile_snapshot
from caio.routing.variables import principal_variables, request_variables

__all__ = ["Snapshot", "compile_snapshot", "decide"]


def decide(
    snapshot: Snapshot,
    request: Request,
    principal: Principal,
    history: History,
    named: Sequence[Rule] = (),
) -> Decision:
    """Choose among the snapshot's services, or refuse with the first failed clause of each.

    ``named`` are the rules that the request brought or named, beside the attached ones. Raises
    InconsistentInputs when one of them is another policy of an attached one's id and version,
    TooManyQuestions, and ValueError when the request is another tenant's than the snapshot.
    """
    if request.tenant_id != snapshot.tenant_id:
        raise ValueError("the request and the snapshot belong to different tenants")
    rules, columns = snapshot.rule_set(named), snapshot.columns
    document = request.document()
    request_json = canonical_plain(document)
    request_hash = digest(REQUEST, request_json)
    caller, principal_json, principal_hash = _caller(principal)
    force = rules.in_force({"request": request_variables(document), "principal": caller})
    needs = Needs.of(request)
    shape = snapshot.shape(
        shape_key(columns, needs, principal, force),
        lambda: Shape.of(columns, needs, principal, force, len(rules.ordered)),
    )
    sifted, prices = shape.with_prices(needs)
    scores = shape.scores(sifted, prices, needs, columns, snapshot.observed(history), history.digest)
    seed = request.seed if request.seed is not None else request_hash
    ranked = Ranking(snapshot.offers, sifted.feasible, scores, prices, seed)
    on_violation = shape.on_violation or request.on_violation or OnViolation.REPORT
    certificate = canonical_plain(
        {
            "v": VERSION,
            "tenant": snapshot.tenant_id,
            "request": request_hash,
            "principal": principal_hash,
            "services": snapshot.services_hash,
            "policies": rules.digest,
            "history": history.digest,
            "service_count": len(snapshot.offers),
            "seed": seed,
            "weights": dict(shape.weights),
            "on_violation": on_violation.value,
            "verdicts": sifted.commitment,
            "excluded": [dict(each) for each in sifted.excluded],
            **_outcome(ranked, needs),
        }
    )
    excluded = Exclusions(snapshot.offers, sifted.verdicts, shape.asked, needs, principal, rules.ordered)
    decision_hash = digest(DECISION, certificate)
    return Decision(ranked, excluded, certificate, decision_hash, on_violation, request_json, principal_json)


@lru_cache(maxsize=1024)
def _caller(principal: Principal) -> tuple[Mapping[str, Any], bytes, str]:
    """What expressions read as the principal, its canonical bytes, and their hash."""
    document = principal.document()
    canonical = canonical_plain(document)
    return principal_variables(document), canonical, digest(PRINCIPAL, canonical)


def _outcome(ranked: Ranking, needs: Needs) -> dict[str, Any]:
    shown = ranked.best(RANKED_ROWS)
    best = ranked[0] if shown else None
    return {
        "feasible": {"count": len(ranked), "hash": feasible_hash(ranked.scores, ranked.prices)},
        "ranked": shown,
        "plan": [] if best is None else [_step(best.offer)],
        "guarantees": {} if best is None else composition.guarantees(best, needs),
    }


def _step(offer: Offer) -> dict[str, str]:
    return {"service": offer.service_id, "version": offer.version, "contract": offer.contract_hash}
