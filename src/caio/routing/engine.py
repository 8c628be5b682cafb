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
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import msgspec
from msgspec import Raw

from caio.foundation.canonical import Form, canonical_plain
from caio.foundation.hashing import DECISION, PRINCIPAL, REQUEST, digest
from caio.routing.certificate import RANKED_ROWS, VERSION
from caio.routing.commitments import feasible_hash
from caio.routing.matching import Needs
from caio.routing.model import Decision, History, Offer, OnViolation, Principal, Request
from caio.routing.optimization import Ranking
from caio.routing.reasons import Exclusions
from caio.routing.rules import InForce, Rule, RuleSet
from caio.routing.shapes import Shape, shape_key
from caio.routing.shapes_of_few import ShapeOfFew
from caio.routing.shapes_of_many import ShapeOfMany
from caio.routing.snapshot import Snapshot, compile_snapshot
from caio.routing.sorts import Sort
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
    rules, caller, sort = snapshot.rule_set(named), _caller(principal), snapshot.sort(request)
    request_json = sort.written(request)
    request_hash = digest(REQUEST, request_json)
    shape = _shape(snapshot, sort, request, request_json, caller, rules)
    sifted, scores, prices = shape.valued(request, partial(snapshot.observed, history), history.digest)
    seed = request_hash if request.seed is None else request.seed
    ranked = Ranking(snapshot.offers, sifted.feasible, scores, prices, seed)
    on_violation = shape.on_violation or request.on_violation or OnViolation.REPORT
    shown = ranked.best(RANKED_ROWS)[:RANKED_ROWS]
    best = shown[0] if shown else None
    # By position, which is that of canonical order: by name it would take three times as long.
    certificate = _Certificate(
        sifted.excluded,
        {"count": len(ranked), "hash": feasible_hash(scores, prices)},
        NOTHING if best is None else shape.promises(ranked.row(0), best.offer).at(best.worst_cost),
        history.digest,
        on_violation,
        [] if best is None else [_step(best.offer)],
        rules.digest,
        caller.hash,
        [[each.offer.service_id, each.offer.version, each.score, each.worst_cost] for each in shown],
        request_hash,
        seed,
        len(snapshot.offers),
        snapshot.services_hash,
        snapshot.tenant_id,
        VERSION,
        sifted.commitment,
        shape.weights_json,
    ).canonical()
    excluded = Exclusions(snapshot.offers, sifted.verdicts, shape.asked, request, principal, rules.ordered)
    decision_hash = digest(DECISION, certificate)
    return Decision(ranked, excluded, certificate, decision_hash, on_violation, request_json, caller.canonical)


NOTHING = Raw(b"{}")


class _Certificate(Form, frozen=True):
    """``certificate.FIELDS``."""

    excluded: Raw
    feasible: Mapping[str, int | str]
    guarantees: Raw
    history: str
    on_violation: OnViolation
    plan: Sequence[Mapping[str, str]]
    policies: str
    principal: str
    ranked: Sequence[Sequence[int | str]]
    request: str
    seed: str
    service_count: int
    services: str
    tenant: str
    v: int
    verdicts: str
    weights: Raw


def _step(offer: Offer) -> dict[str, str]:
    return {"contract": offer.contract_hash, "service": offer.service_id, "version": offer.version}


@dataclass(frozen=True, slots=True, eq=False)
class _Caller:
    """A principal, what expressions read as it, its canonical bytes and their hash. Equal to itself alone."""

    principal: Principal
    variables: Mapping[str, Any]
    canonical: bytes
    hash: str


@lru_cache(maxsize=1024)
def _caller(principal: Principal) -> _Caller:
    document = principal.document()
    canonical = canonical_plain(document)
    return _Caller(principal, principal_variables(document), canonical, digest(PRINCIPAL, canonical))


def _shape(
    snapshot: Snapshot, sort: Sort, request: Request, request_json: bytes, caller: _Caller, rules: RuleSet
) -> Shape:
    """The request's shape. Where neither the rules nor a limit of size tell it from an earlier one of its sort, it
    is found without evaluating a rule."""
    is_alike = request.input_bytes <= sort.least_input and not rules.sight.is_whole
    key = (sort, caller, rules.digest, rules.sight.glance(request)) if is_alike else None
    known = None if key is None else snapshot.known(key)
    if known is not None:
        return known
    variables = {"request": request_variables(msgspec.json.decode(request_json)), "principal": caller.variables}
    force = rules.in_force(variables)
    shape = snapshot.shape(
        shape_key(sort, request, caller.principal, force),
        lambda: _worked_out(snapshot, Needs.of(request), caller.principal, force, len(rules.ordered)),
    )
    if key is not None and sort.is_worth_keeping:
        snapshot.know(key, shape)
    return shape


def _worked_out(snapshot: Snapshot, needs: Needs, principal: Principal, force: InForce, policies: int) -> Shape:
    if (few := snapshot.few) is not None:
        return ShapeOfFew.of(few, needs, principal, force, policies)
    return ShapeOfMany.of(snapshot.columns, needs, principal, force, policies)
